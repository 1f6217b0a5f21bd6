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
    measurement::{
        Contrastive, LogLikelihood, Logit, Margin, Masked, MeanOverPositions, MeanSquaredOutput, Measurement,
        NegativeSquaredError, NextToken, Prediction,
    },
    method::{
        self, Attributor, BlockProjected, DTrak, DampingPath, DataValueEmbedding, Dropout, FactGrass, FisherKind, GradCos,
        GradDot, Influence, KnnShapley, LoGra, Method, Random, RelatIf, Relative, Replay, RepresentationSimilarity, Representer,
        Similarity, Space, StepCurvature, Threshold, TracIn, Trak, UnitNorm,
    },
    metric::{
        self, Brittleness, Change, ClassDetection, Lds, LooCorrelation, Metric, MislabelDetection, MixedDatasets,
        ModelRandomisation, Scale, ShortcutDetection, TopCardinality,
    },
    model::{Cnn, GeluCnn, Gpt, GptOptions, Logistic, Mlp, Model, ResNet9, Tape, layer},
    plot,
    projection::{self, Projection, Projector},
    read,
    retrain::{
        Banzhaf, DataOob, DataShapley, Datamodel, EmpiricalInfluence, Estimated, FittedDatamodel, LeaveOneOut, Newton, OneStep,
        Penalty, Played, Retrained, Retraining, Semivalue, Shapley, Strength, Subsets, TrajectoryLeaveOneOut, Valuation,
    },
    scores::Scores,
    snapshot::{Of, Snapshot},
    store::{Kept, Recording, Shard, Store},
    task::Task,
    train::{Keep, Optimizer, Order, Schedule, Trainer},
};
#[doc(no_inline)]
pub use polars::prelude::{DataFrame, NamedFrom, Series};
#[doc(no_inline)]
pub use tch::{Tensor, nn};
