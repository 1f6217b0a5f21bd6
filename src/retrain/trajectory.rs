//! The same training run without an example.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::retraining::room;
use super::threads::{Threads, locked};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::progress::Progress;
use crate::scores::Scores;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;
use crate::train::{Keep, Learner, Step, Trainer, stacks};

/// Trajectory-specific leave-one-out: the truth that unrolled training predicts.
///
/// Answers: what would this very run have given without an example? Training is repeated from the same initial weights with the same
/// batches in the same order; the example is left out of the sum of every batch it is in, which stays divided by the batch's size.
/// Formula: `score(z', z) = m(z'; θ) − m(z'; θ without z)`, at the end of training or at each checkpoint that the trainer keeps. Works for
/// every optimiser and network, but not dropout of other examples: masks stay the same.
/// Cost: one training run for each example and one more, on every core, small networks side by side.
/// Misleads: says what one order of batches did, and rounding in float32 hides changes of the measurement below about 1e-6 of its size.
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
    /// How the task's runs were trained; for [`TrajectoryLeaveOneOut::each`], `keep` may be another.
    pub trainer: Trainer,
}

/// Stands where an example is left out, for none.
const NONE: i64 = -1;

/// A run, its steps that are kept, and the scores there, `[steps, n_test, k]`, float64.
type Differences = (usize, Vec<usize>, Tensor);

impl TrajectoryLeaveOneOut {
    /// Scores `[n_test, k]` of the train examples at these `k` positions at the end of training, mean over the task's runs; their train
    /// side is `train.select(positions)`.
    ///
    /// Errors: as of [`Task::train`]; [`Error::Data`] for no position or one outside; [`Error::Checkpoint`] where `trainer` does not
    /// lead to the task's last weights of a run, or a run has no checkpoint.
    pub fn score(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Scores> {
        let end = TrajectoryLeaveOneOut { trainer: Trainer { keep: Keep::Last, ..self.trainer.clone() } };
        let runs = end.differences(task, train, test, positions)?;
        let values: Vec<&Tensor> = runs.iter().map(|(_, _, values)| values).collect();
        let mean = guarded(|| Ok(Tensor::cat(&values, 0).mean_dim([0i64].as_slice(), false, Kind::Double)))?;
        scores(mean, test, &train.select(positions)?)
    }

    /// The same of each run at each checkpoint that `trainer` keeps: the run, the step, and the scores, by run and step.
    ///
    /// Both sides of a difference are measured at that step. The task needs only the last checkpoint of a run; that each run has the
    /// steps that it has here is for the trainer to say.
    ///
    /// Errors: as of [`TrajectoryLeaveOneOut::score`].
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
    /// let trainer = Trainer { batch_size: 20, epochs: 3, keep: Keep::LastEpochs(2), ..default() };
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &train)?.train(&trainer, &train)?;
    /// let truth = TrajectoryLeaveOneOut { trainer };
    /// let each = truth.each(&task, &train, &test, &[0, 7])?;
    /// assert_eq!(each.iter().map(|(run, step, _)| (*run, *step)).collect::<Vec<_>>(), [(0, 6), (0, 9), (1, 6), (1, 9)]);
    /// let mean = (each[1].2.get(4, 1)? + each[3].2.get(4, 1)?) / 2.0;
    /// assert!((mean - truth.score(&task, &train, &test, &[0, 7])?.get(4, 1)?).abs() < 1e-6);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn each(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Vec<(usize, usize, Scores)>> {
        let chosen = train.select(positions)?;
        let mut each = Vec::new();
        for (run, steps, values) in self.differences(task, train, test, positions)? {
            for (at, step) in steps.into_iter().enumerate() {
                each.push((run, step, scores(values.get(at as i64), test, &chosen)?));
            }
        }
        Ok(each)
    }

    fn differences(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Vec<Differences>> {
        train.select(positions)?;
        let runs = task.runs();
        if runs.is_empty() {
            return Err(Error::checkpoint("task", "it has no checkpoints yet: train it or add some"));
        }
        for &run in &runs {
            self.repeat(task, train, run)?;
        }
        // The whole run is trained like those without an example, so that rounding is the same on both sides of the difference.
        let positions: Vec<i64> = positions.iter().map(|&position| position as i64).collect();
        let together = if stacks(task, train)? { room(&self.trainer, task, train)? } else { 1 };
        let stacks: Vec<Vec<i64>> = match together {
            0..3 => [NONE].iter().chain(&positions).map(|&without| vec![without]).collect(),
            _ => positions.chunks(together - 1).map(|some| [&[NONE], some].concat()).collect(),
        };
        let jobs: Vec<(usize, &[i64])> = runs.iter().flat_map(|&run| stacks.iter().map(move |stack| (run, &stack[..]))).collect();
        let work = jobs.iter().map(|(_, stack)| stack.len() * self.trainer.steps(train.len())).sum::<usize>();
        let progress = Mutex::new(Progress::new("trajectory leave-one-out", work as u64));
        let (threads, done) = (Threads::new(), Mutex::new(Vec::new()));
        let count = threads.count(None, jobs.len());
        threads.share_out(jobs.into_iter().enumerate().collect(), count, || {
            let (task, train, test) = (task.clone(), train.clone(), test.clone());
            let (progress, done) = (&progress, &done);
            move |(place, (run, without))| {
                let (steps, measured) = self.measured(&task, (&train, &test), run, without, progress)?;
                locked(done).push((place, steps, measured));
                Ok(())
            }
        })?;
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(place, ..)| *place);
        let per_run = done.chunks(stacks.len()).zip(runs).map(|(own, run)| {
            let (steps, measured) = (own[0].1.clone(), own.iter().map(|(.., measured)| measured));
            guarded(|| {
                let together: Vec<Tensor> = match stacks[0].len() {
                    1 => vec![Tensor::cat(&measured.collect::<Vec<_>>(), 0)],
                    _ => measured.map(Tensor::shallow_clone).collect(),
                };
                let less = together.iter().map(|all| all.narrow(0, 0, 1) - all.narrow(0, 1, all.size()[0] - 1));
                Ok((run, steps, Tensor::cat(&less.collect::<Vec<_>>(), 0).permute([1, 2, 0])))
            })
        });
        per_run.collect()
    }

    /// An error unless the trainer leads where a run of the task ends.
    fn repeat(&self, task: &Task, train: &Dataset, run: usize) -> Result<()> {
        let repeated = guarded(|| self.trainer.run(task, train, run, &mut |_| Ok(None)))?;
        let ends = task.checkpoints().iter().filter(|c| c.run == run).max_by_key(|c| c.step).zip(repeated.last());
        let (expected, last) = ends.ok_or_else(|| Error::checkpoint("task", format!("run {run} has no checkpoint")))?;
        match difference(expected, last)? {
            None => Ok(()),
            Some(what) => {
                let hint = "TrajectoryLeaveOneOut.trainer is not how this run was trained on these examples";
                Err(Error::checkpoint(expected.name(), format!("{what}; {hint}")))
            }
        }
    }

    /// The steps that are kept, and the measurement of the test examples there in runs without an example each,
    /// `[networks, steps, n_test]`, float64.
    fn measured(
        &self,
        task: &Task,
        (train, test): (&Dataset, &Dataset),
        run: usize,
        without: &[i64],
        progress: &Mutex<Progress>,
    ) -> Result<(Vec<usize>, Tensor)> {
        let seed = self.trainer.seed_of(run);
        let learner = match without {
            [_] => Learner::alone(task, seed)?,
            _ => Learner::stacked(task, &vec![seed; without.len()])?,
        };
        guarded(|| {
            let everything = vec![(0..train.len() as i64).collect::<Vec<_>>(); without.len()];
            let left_out = Tensor::from_slice(without).unsqueeze(1);
            let kept = self.trainer.fit(&learner, train, &everything, &mut |step: &Step| {
                locked(progress).add(without.len() as u64);
                let batch = step.batch.view([without.len() as i64, -1]);
                Ok(Some(batch.not_equal_tensor(&left_out).to_kind(Kind::Float).view([-1])))
            })?;
            let steps = kept[0].iter().map(|checkpoint| checkpoint.step).collect();
            let measure = |checkpoint| Snapshot::new(task, checkpoint)?.measure(Of::Measurement, test);
            let measured = kept.iter().flatten().map(measure).collect::<Result<Vec<_>>>()?;
            let measured = Tensor::stack(&measured, 0).to_kind(Kind::Double);
            Ok((steps, measured.view([without.len() as i64, -1, test.len() as i64])))
        })
    }
}

fn scores(values: Tensor, test: &Dataset, chosen: &Dataset) -> Result<Scores> {
    let values = guarded(|| Ok(values.to_kind(Kind::Float).contiguous()))?;
    Scores::new(values, "Trajectory leave-one-out", test, chosen)
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
