//! What a notebook needs: `use ascribe::prelude::*;`.

#[doc(no_inline)]
pub use crate::{
    checkpoint::Checkpoint,
    curvature::{
        self, Arnoldi, ConjugateGradient, Curvature, Damping, DataInf, Diagonal, Ekfac, Explicit, Kfac, Lissa, Matrix, Nystrom,
        Precondition, Preconditioner, Spectrum,
    },
    dataset::{self, Blocks, Categories, Cifar2, Columns, Dataset, Encoding, Events, Images, Patch, Resize, Vocabulary},
    default,
    display::Show,
    error::Error,
    gradient::{Function, Gradients, Operator},
    measurement::{
        Contrastive, LogLikelihood, Logit, Margin, Masked, MeanOverPositions, MeanSquaredOutput, Measurement,
        NegativeSquaredError, NextToken, OfClass, Prediction, Region,
    },
    method::{
        self, Ats, Attributor, BlockProjected, DTrak, DampingPath, DataValueEmbedding, Dropout, FactGrass, FisherKind, GradCos,
        GradDot, Influence, KnnShapley, KrylovPath, LoGra, Method, Random, RelatIf, Relative, Replay, RepresentationSimilarity,
        Representer, Similarity, Space, Start, StepCurvature, Threshold, TracIn, Trak, UnitNorm,
    },
    metric::{
        self, Brittleness, Change, ClassDetection, Lds, LooCorrelation, Metric, MislabelDetection, MixedDatasets,
        ModelRandomisation, Scale, ShortcutDetection, TopCardinality,
    },
    model::{
        self, Cnn, GeluCnn, Gpt, GptOptions, Logistic, Mlp, MobileNetV2, MobileNetV2Options, Model, ResNet9, ResNet18,
        ResNet18Options, Script, Tape, Vit, VitOptions, layer,
    },
    plot,
    posterior::{self, Aspect, Crossed, Posterior},
    projection::{self, Projection, Projector},
    read,
    retrain::{
        Banzhaf, DataOob, DataShapley, Datamodel, EmpiricalInfluence, Estimated, FittedDatamodel, LeaveOneOut, Newton, OneStep,
        Penalty, Played, Retrained, Retraining, Semivalue, Shapley, Strength, Subsets, TrajectoryLeaveOneOut, Valuation,
    },
    sampler::{self, Laplace, Sampler, Swag, Thinned},
    scores::Scores,
    snapshot::{Of, Snapshot},
    statistics,
    store::{Kept, Recording, Shard, Store},
    task::Task,
    train::{Keep, Optimizer, Order, Schedule, Trainer},
};
#[doc(no_inline)]
pub use polars::prelude::{DataFrame, NamedFrom, Series};
#[doc(no_inline)]
pub use tch::{Tensor, nn};
