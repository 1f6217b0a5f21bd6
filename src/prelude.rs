//! What a notebook needs: `use ascribe::prelude::*;`.

#[doc(no_inline)]
pub use crate::{
    checkpoint::Checkpoint,
    curvature::{
        self, Arnoldi, ConjugateGradient, Curvature, Damping, DataInf, Diagonal, Ekfac, Explicit, Kfac, Lissa, Matrix, Nystrom,
        Precondition, Preconditioner, Spectrum,
    },
    dataset::{self, Dataset},
    default,
    display::Show,
    error::Error,
    gradient::{Function, Gradients, Operator},
    measurement::{LogLikelihood, Logit, Margin, Measurement, NegativeSquaredError},
    method::{
        self, Attributor, GradCos, GradDot, Influence, Method, Random, RelatIf, Relative, RepresentationSimilarity, Similarity,
        TracIn, UnitNorm,
    },
    metric,
    model::{Cnn, GeluCnn, Gpt, GptOptions, Logistic, Mlp, Model, ResNet9, Tape, layer},
    plot,
    projection::{self, Projection, Projector},
    retrain::{LeaveOneOut, Newton, OneStep},
    scores::Scores,
    snapshot::{Of, Snapshot},
    store::{Kept, Recording, Shard, Store},
    task::Task,
    train::{Keep, Optimizer, Schedule, Trainer},
};
#[doc(no_inline)]
pub use polars::prelude::{DataFrame, NamedFrom, Series};
#[doc(no_inline)]
pub use tch::{Tensor, nn};
