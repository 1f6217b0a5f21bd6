//! Answers: what would this very training run have given, had it left out an example wherever it came up?
//! Formula: `score(z', z) = Σ_{t: z ∈ B_t} (1/b_t) ⟨x_t, ∇o(z; θ_t)⟩`, backward from `u_T = ∇m(z'; θ_T)` `[p]`: `x_t = η_t u_{t+1}`,
//! `u_t = u_{t+1} − H_t x_t`, with `H_t = (1/b_t) Σ_{z ∈ B_t} ∇o ∇oᵀ` as published, or the Hessian of the batch's mean loss: then the score
//! is the derivative of the measurement in the weight of z in every batch. Not divided by anything: about the change itself.
//! Parts: gradients at every step instead of checkpoints, mean over the task's runs. SGD with momentum and weight decay are exact.
//! Cost: without a projection one more training run to record it, and then a pass over all steps for each group of test sets of
//! 1 GB / 12 p examples: O(T b p m); memory T p floats of weights, or T b (in + out) of gradients. With one: epochs · n · k floats
//! while it trains, n · k after it, unless an epoch is asked for. More than 8 GB is refused before it trains.
//! Defaults: curvature and no projection as in the paper; a trainer of plain SGD. Misleads: where the outer products of gradients
//! are not the curvature, as at the start of training; grows without bound where η H_t has eigenvalues above 2.
//! Reference: Wang et al. 2025, section 4 (arXiv 2412.09538); momentum and weight decay are derived in `recursion.rs`.

mod recursion;
mod trajectory;
mod unrolled;

use std::sync::Arc;

use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};

pub use unrolled::Unrolled;

use self::trajectory::{Recorder, Trajectory, check_same};
use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::stream::batch_size;
use crate::plan;
use crate::projection::{Projection, Projector};
use crate::snapshot::Snapshot;
use crate::task::Task;
use crate::train::{Optimizer, Trainer};

/// Bytes that may be kept of all steps of all runs.
const LARGEST_BYTES: i64 = 8 << 30;

/// What stands for the curvature of the loss in a training step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepCurvature {
    /// The mean outer product of the batch's gradients, as published.
    #[default]
    BatchGradients,
    /// The Hessian of the batch's mean loss: exact unrolled differentiation. Four passes over the data for each test example.
    Hessian,
}

/// What is kept of each step of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replay {
    /// The weights: p numbers a step; gradients are computed anew for every test set.
    #[default]
    Weights,
    /// The gradients of its examples, as the factors of their layers where the tape allows.
    Gradients,
}

/// Influence through the steps of one training run: trajectory-specific leave-one-out.
///
/// `trainer` is how the task was trained: `fit` trains again from the seed, watches, and checks that it ends at the task's weights, up to
/// 1e-4 of their length, since another number of threads rounds differently; the steps are then those of the replay. [`train`](DataValueEmbedding::train) watches the training itself.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
/// let trainer = Trainer { optimizer: Optimizer::sgd(0.0, 0.0), learning_rate: 0.1, batch_size: 10, epochs: 2, ..default() };
/// let method = DataValueEmbedding { trainer: trainer.clone(), ..default() };
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&trainer, &train)?;
/// let scores = method.fit(&task, &train)?.score(&test)?;
/// let (same, fitted) = method.train(Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])), &train)?;
/// assert!(fitted.score(&test)?.tensor().equal(scores.tensor()));
/// let first = fitted.of_epoch(Some(1))?.score(&test)?;
/// let second = fitted.of_epoch(Some(2))?.score(&test)?;
/// assert!((first.get(0, 7)? + second.get(0, 7)? - scores.get(0, 7)?).abs() < 1e-6);
/// # assert_eq!(same.checkpoints().len(), 1);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DataValueEmbedding {
    /// How the runs of the task were trained. Its optimiser must be SGD.
    pub trainer: Trainer,
    /// What stands for the curvature in a step.
    pub curvature: StepCurvature,
    /// Shortens gradients, so that the embedding of every train example is kept, and scoring is one matrix product.
    pub projection: Option<Arc<dyn Projection>>,
    /// What is kept of each step, without a projection.
    pub replay: Replay,
    /// The share of one epoch, counted from 1, instead of all. With a projection, every epoch's embeddings are kept only if one is
    /// asked for here.
    pub epoch: Option<usize>,
}

impl Default for DataValueEmbedding {
    fn default() -> DataValueEmbedding {
        DataValueEmbedding {
            trainer: Trainer { optimizer: Optimizer::sgd(0.0, 0.0), ..Trainer::default() },
            curvature: StepCurvature::default(),
            projection: None,
            replay: Replay::default(),
            epoch: None,
        }
    }
}

impl DataValueEmbedding {
    /// Trains one more run of the task and records it; what is fitted speaks of that run alone.
    ///
    /// Errors: as of [`Task::train`] and [`fit`](Method::fit).
    pub fn train(&self, task: Task, train: &Dataset) -> Result<(Task, Unrolled)> {
        self.check()?;
        self.check_memory(&task, train, 1)?;
        let projector = self.projector(&task, train, task.runs().len())?;
        let mut recorder = Recorder { replay: self.replay, projector: projector.as_deref(), steps: Vec::new() };
        let task = task.train_watched(&self.trainer, train, &mut |step| recorder.watch(train, step))?;
        let steps = recorder.steps;
        let last = task.checkpoints().last().ok_or_else(|| Error::checkpoint("task", "training kept none"))?;
        let trajectory = Trajectory::new(&task, last, steps)?;
        let fitted = Unrolled::new(self, train, vec![(trajectory, projector)])?;
        Ok((task, fitted))
    }

    fn check(&self) -> Result<()> {
        self.trainer.check()?;
        if !matches!(self.trainer.optimizer, Optimizer::Sgd { .. }) {
            return self.only_sgd();
        }
        if let Some(epoch) = self.epoch.filter(|epoch| !(1..=self.trainer.epochs).contains(epoch)) {
            return Err(Error::option("DataValueEmbedding.epoch", format!("1 to {}", self.trainer.epochs), epoch));
        }
        if self.curvature == StepCurvature::Hessian {
            if self.projection.is_some() {
                return Err(Error::Unsupported("the Hessian of a step in projected coordinates; choose one of the two".into()));
            }
            if self.replay == Replay::Gradients {
                return Err(Error::option(
                    "DataValueEmbedding.replay",
                    "Replay::Weights, of which the Hessian is taken",
                    "Replay::Gradients",
                ));
            }
        }
        Ok(())
    }

    /// An error if what training of so many runs keeps takes more than [`LARGEST_BYTES`]; before it begins.
    fn check_memory(&self, task: &Task, train: &Dataset, runs: usize) -> Result<()> {
        let snapshot = Snapshot::fresh(task, self.trainer.seed)?;
        snapshot.check(train, task.objective.as_ref())?;
        let (steps, seen) = (self.trainer.steps(train.len()) as f64, self.trainer.epochs as f64 * train.len() as f64);
        let gigabytes = |numbers: f64| 4.0 * runs as f64 * numbers / 1e9;
        let weights = gigabytes(steps * snapshot.p() as f64);
        let gradients = seen * batch_size(&snapshot, train, false)?.held as f64 * runs as f64 / 1e9;
        let (option, got, bytes) = match (&self.projection, self.replay) {
            (Some(projection), _) => {
                let k = projection.fit(snapshot.layout(), 0)?.k() as f64;
                let sums = train.len() * if self.epoch.is_some() { self.trainer.epochs } else { 1 };
                ("projection", projection.name(), gigabytes((seen + sums as f64) * k))
            }
            (None, Replay::Weights) => ("replay", "Replay::Weights".to_string(), weights),
            (None, Replay::Gradients) => ("replay", "Replay::Gradients".to_string(), gradients),
        };
        let most = LARGEST_BYTES as f64 / 1e9;
        if bytes <= most {
            return Ok(());
        }
        let expected = match (&self.projection, self.replay) {
            (Some(_), _) => "a projection to fewer numbers".to_string(),
            (None, Replay::Weights) if gradients <= most => format!("a projection, or Replay::Gradients ({gradients:.1} GB)"),
            (None, Replay::Gradients) if weights <= most => format!("a projection, or Replay::Weights ({weights:.1} GB)"),
            _ => "a projection".to_string(),
        };
        let got = format!("{got}, which keeps {bytes:.1} GB of {steps} steps and {runs} runs (at most {most:.1} GB)");
        Err(Error::option(format!("DataValueEmbedding.{option}"), expected, got))
    }

    fn only_sgd<T>(&self) -> Result<T> {
        let got = format!("{:?}", self.trainer.optimizer);
        let expected = "SGD, with or without momentum and weight decay: an adaptive step is no linear function of the gradients";
        Err(Error::option("DataValueEmbedding.trainer.optimizer", expected, got))
    }

    fn title(&self) -> String {
        match self.curvature {
            StepCurvature::BatchGradients => "Data value embedding".into(),
            StepCurvature::Hessian => "Data value embedding (Hessian)".into(),
        }
    }

    /// The projection of a run; the network's layout does not depend on its weights.
    fn projector(&self, task: &Task, train: &Dataset, run: usize) -> Result<Option<Box<dyn Projector>>> {
        let Some(projection) = &self.projection else { return Ok(None) };
        let snapshot = Snapshot::fresh(task, self.trainer.seed)?;
        snapshot.check(train, task.objective.as_ref())?;
        projection.fit(snapshot.layout(), run as u64).map(Some)
    }

    /// Trains a run of the task again and compares where it ends.
    fn replay(&self, task: &Task, train: &Dataset, run: usize) -> Result<(Trajectory, Option<Box<dyn Projector>>)> {
        let projector = self.projector(task, train, run)?;
        let mut recorder = Recorder { replay: self.replay, projector: projector.as_deref(), steps: Vec::new() };
        let replayed = guarded(|| self.trainer.run(task, train, run, &mut |step| recorder.watch(train, step)))?;
        let steps = recorder.steps;
        let ends = task.checkpoints().iter().filter(|c| c.run == run).max_by_key(|c| c.step).zip(replayed.last());
        let (end, replayed) = ends.ok_or_else(|| Error::checkpoint("task", format!("run {run} has no checkpoint")))?;
        check_same(end, replayed)?;
        Ok((Trajectory::new(task, end, steps)?, projector))
    }
}

impl Method for DataValueEmbedding {
    fn name(&self) -> String {
        self.title()
    }

    /// Errors: [`Error::Option`] for another optimiser than SGD or an epoch that was not trained; [`Error::Checkpoint`] where the
    /// replay ends elsewhere; [`Error::Unsupported`] for dropout and batch norm; [`Error::Numerical`] where the recursion diverges.
    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.check()?;
        if !task.layers.is_empty() {
            let reason = "DataValueEmbedding follows training, which is of all parameters; give it a task without with_layers";
            return Err(Error::Unsupported(reason.into()));
        }
        task.snapshot(0)?;
        self.check_memory(task, train, task.runs().len())?;
        let runs = task.runs().into_iter().map(|run| self.replay(task, train, run)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Unrolled::new(self, train, runs)?))
    }

    fn has_own_scores(&self) -> bool {
        false
    }

    /// Rehearsed by training on few examples, and watching it.
    fn plan(&self, task: &Task, train: &Dataset, test: &Dataset) -> Result<DataFrame> {
        let watched = |few: &Dataset| -> Result<Box<dyn Attributor>> { Ok(Box::new(self.train(task.clone(), few)?.1)) };
        plan::table(&plan::rehearse(watched, train, test, task.runs().len())?)
    }
}
