//! The same training run without an example.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::retraining::room;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::progress::Progress;
use crate::scores::Scores;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;
use crate::train::{Learner, Trainer, stacks};

/// Networks in a stack at most.
const MOST: usize = 16;

/// Trajectory-specific leave-one-out: the truth that unrolled training predicts.
///
/// Answers: what would this very run have given without an example? Training is repeated from the same initial weights with the same
/// batches in the same order; the example is left out of the sum of every batch it is in, which stays divided by the batch's size.
/// Formula: `score(z', z) = m(z'; θ) − m(z'; θ without z)`. Works for every optimiser and network, but not dropout of other examples:
/// masks stay the same. Cost: one training run for each example, small networks of linear layers side by side. Misleads: says what one order of batches did, and rounding in
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
    /// Errors: as of [`Task::train`]; [`Error::Data`] for no position or one outside; [`Error::Checkpoint`] where `trainer` does not
    /// lead to the task's last weights of a run, or a run has no checkpoint.
    pub fn score(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Scores> {
        let chosen = train.select(positions)?;
        let runs = task.runs();
        if runs.is_empty() {
            return Err(Error::checkpoint("task", "it has no checkpoints yet: train it or add some"));
        }
        let size = [test.len() as i64, positions.len() as i64];
        let total = guarded(|| Ok(Tensor::f_zeros(size, (Kind::Double, Device::Cpu))?))?;
        let stacked = stacks(task, train)?;
        // The whole run goes along in every stack, so that rounding is the same on both sides of the difference.
        let together = if stacked { room(&self.trainer, task, train)?.clamp(2, MOST) - 1 } else { 1 };
        let mut progress = Progress::new("trajectory leave-one-out", (positions.len() * runs.len()) as u64);
        for &run in &runs {
            let whole = self.repeated(task, train, run)?;
            let alone = if stacked { None } else { Some(end(task, &whole, test)?.unsqueeze(1)) };
            for (chunk, some) in positions.chunks(together).enumerate() {
                let without = some.iter().map(|&position| position as i64);
                let without: Vec<i64> = alone.is_none().then_some(-1).into_iter().chain(without).collect();
                let measured = self.measured(task, train, test, run, &without)?;
                let (whole, without) = match &alone {
                    Some(whole) => (whole.shallow_clone(), measured),
                    None => (measured.narrow(1, 0, 1), measured.narrow(1, 1, some.len() as i64)),
                };
                let columns = total.narrow(1, (chunk * together) as i64, some.len() as i64);
                guarded(|| {
                    let _ = columns.shallow_clone().f_add_(&(whole - without))?;
                    Ok(())
                })?;
                progress.add(some.len() as u64);
            }
        }
        progress.finish();
        let values = guarded(|| Ok((total / runs.len() as f64).to_kind(Kind::Float)))?;
        Scores::new(values, "Trajectory leave-one-out", test, &chosen)
    }

    /// A run of the task again, without leaving out any example.
    fn repeated(&self, task: &Task, train: &Dataset, run: usize) -> Result<Vec<Checkpoint>> {
        let repeated = guarded(|| self.trainer.run(task, train, run, &mut |_| Ok(None)))?;
        let ends = task.checkpoints().iter().filter(|c| c.run == run).max_by_key(|c| c.step).zip(repeated.last());
        let (expected, last) = ends.ok_or_else(|| Error::checkpoint("task", format!("run {run} has no checkpoint")))?;
        match difference(expected, last)? {
            None => Ok(repeated),
            Some(what) => {
                let hint = "TrajectoryLeaveOneOut.trainer is not how this run was trained on these examples";
                Err(Error::checkpoint(expected.name(), format!("{what}; {hint}")))
            }
        }
    }

    /// The measurement of the test examples after runs without an example each, −1 for none: `[m, k]`, float64.
    fn measured(&self, task: &Task, train: &Dataset, test: &Dataset, run: usize, without: &[i64]) -> Result<Tensor> {
        self.trainer.check()?;
        let seed = self.trainer.seed_of(run);
        let learner = match without {
            [_] => Learner::alone(task, seed)?,
            _ => Learner::stacked(task, &vec![seed; without.len()])?,
        };
        learner.check(train)?;
        guarded(|| {
            let everything = vec![(0..train.len() as i64).collect::<Vec<_>>(); without.len()];
            let left_out = Tensor::from_slice(without).unsqueeze(1);
            let kept = self.trainer.fit(&learner, train, &everything, &mut |step| {
                let batch = step.batch.view([without.len() as i64, -1]);
                Ok(Some(batch.not_equal_tensor(&left_out).to_kind(Kind::Float).view([-1])))
            })?;
            Ok(Tensor::stack(&kept.iter().map(|kept| end(task, kept, test)).collect::<Result<Vec<_>>>()?, 1))
        })
    }
}

/// The measurement of the test examples with the last weights, `[m]`, float64.
fn end(task: &Task, kept: &[Checkpoint], test: &Dataset) -> Result<Tensor> {
    let last = kept.last().ok_or_else(|| Error::checkpoint("task", "training kept none"))?;
    let values = Snapshot::new(task, last)?.measure(Of::Measurement, test)?;
    guarded(|| Ok(values.to_kind(Kind::Double)))
}

/// The first thing by which a repeated run ends elsewhere, other than by rounding on another processor.
fn difference(expected: &Checkpoint, repeated: &Checkpoint) -> Result<Option<String>> {
    if expected.step != repeated.step {
        return Ok(Some(format!("repeated, the run ends at step {}", repeated.step)));
    }
    for (name, there) in expected.tensors() {
        let Some(here) = repeated.tensor(name).filter(|here| here.size() == there.size()) else {
            return Ok(Some(format!("the repeated run has no {name} of shape {:?}", there.size())));
        };
        let (apart, size) = guarded(|| {
            let (here, there) = (here.to_kind(Kind::Double), there.to_kind(Kind::Double));
            Ok(((here - &there).abs().max().double_value(&[]), there.abs().max().double_value(&[])))
        })?;
        if apart.is_nan() || apart > 1e-4 * size {
            return Ok(Some(format!("{name} differs from that of the repeated run by {apart:.1e}")));
        }
    }
    Ok(None)
}
