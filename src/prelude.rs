//! What a notebook needs: `use ascribe::prelude::*;`.

#[doc(no_inline)]
pub use crate::{
    checkpoint::Checkpoint,
    curvature::{self, ConjugateGradient, Curvature, Damping, Explicit, Matrix, Preconditioner},
    dataset::{self, Dataset},
    default,
    display::Show,
    error::Error,
    gradient::{Gradients, Operator},
    measurement::{LogLikelihood, Logit, Margin, Measurement, NegativeSquaredError},
    method::{self, Attributor, GradCos, GradDot, Influence, Method, Random, RepresentationSimilarity, Similarity, TracIn},
    metric,
    model::{Cnn, Logistic, Mlp, Model, Tape, layer},
    plot,
    retrain::{LeaveOneOut, Newton, OneStep},
    scores::Scores,
    snapshot::{Of, Snapshot},
    task::Task,
    train::{Keep, Optimizer, Schedule, Trainer},
};
#[doc(no_inline)]
pub use polars::prelude::{DataFrame, NamedFrom, Series};
#[doc(no_inline)]
pub use tch::{Tensor, nn};
