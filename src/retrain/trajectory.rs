//! The same training run without an example.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::progress::Progress;
use crate::scores::Scores;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;
use crate::train::Trainer;

/// Trajectory-specific leave-one-out: the truth that unrolled training predicts.
///
/// Answers: what would this very run have given without an example? Training is repeated from the same initial weights with the same
/// batches in the same order; the example is left out of the sum of every batch it is in, which stays divided by the batch's size.
/// Formula: `score(z', z) = m(z'; θ) − m(z'; θ without z)`. Works for every optimiser and network, but not dropout of other examples:
/// masks stay the same. Cost: one training run for each example. Misleads: says what one order of batches did, and rounding in
/// float32 hides changes of the measurement below about 1e-6 of its size.
/// Reference: Wang et al. 2025, section 3 (arXiv 2412.09538).
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
/// let trainer = Trainer { optimizer: Optimizer::sgd(0.9, 0.0), learning_rate: 0.1, batch_size: 10, epochs: 2, ..default() };
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &train)?;
/// let truth = TrajectoryLeaveOneOut { trainer: trainer.clone() }.score(&task, &train, &test, &[0, 7, 9])?;
/// let exact = DataValueEmbedding { trainer, curvature: StepCurvature::Hessian, ..default() }.fit(&task, &train)?.score(&test)?;
/// assert_eq!(truth.tensor().size(), [5, 3]);
/// assert!((truth.get(1, 2)? - exact.get(1, 9)?).abs() < 0.2 * truth.tensor().abs().max().double_value(&[]) as f32);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrajectoryLeaveOneOut {
    /// How the task's runs were trained.
    pub trainer: Trainer,
}

impl TrajectoryLeaveOneOut {
    /// Scores `[n_test, k]` of the train examples at these `k` positions, mean over the task's runs; their train side is
    /// `train.select(positions)`.
    ///
    /// Errors: as of [`Task::train`]; [`Error::Data`] for no position or one outside.
    pub fn score(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Scores> {
        let chosen = train.select(positions)?;
        let runs = task.runs();
        if runs.is_empty() {
            return Err(Error::checkpoint("task", "it has no checkpoints yet: train it or add some"));
        }
        let size = [test.len() as i64, positions.len() as i64];
        let total = guarded(|| Ok(Tensor::f_zeros(size, (Kind::Double, Device::Cpu))?))?;
        let mut progress = Progress::new("trajectory leave-one-out", (positions.len() * runs.len()) as u64);
        for &run in &runs {
            let whole = self.measured(task, train, test, run, None)?;
            for (column, &position) in positions.iter().enumerate() {
                let without = self.measured(task, train, test, run, Some(position as i64))?;
                guarded(|| Ok(drop(total.select(1, column as i64).f_add_(&(&whole - without))?)))?;
                progress.add(1);
            }
        }
        progress.finish();
        let values = guarded(|| Ok((total / runs.len() as f64).to_kind(Kind::Float)))?;
        Scores::new(values, "Trajectory leave-one-out", test, &chosen)
    }

    /// The measurement of the test examples after a run without an example, `[m]`, float64.
    fn measured(&self, task: &Task, train: &Dataset, test: &Dataset, run: usize, without: Option<i64>) -> Result<Tensor> {
        guarded(|| {
            let kept = self.trainer.run(task, train, run, &mut |step| {
                Ok(without.map(|position| step.batch.not_equal(position).to_kind(Kind::Float)))
            })?;
            let last = kept.last().ok_or_else(|| Error::checkpoint("task", "training kept none"))?;
            Ok(Snapshot::new(task, last)?.measure(Of::Measurement, test)?.to_kind(Kind::Double))
        })
    }
}
