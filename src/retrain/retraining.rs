use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rand::RngCore;
use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use super::cache::{Cache, Provenance};
use super::retrained::Retrained;
use super::subsets::Subsets;
use super::threads::{Threads, locked};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::model::Operation;
use crate::progress::Progress;
use crate::random::{self, Purpose};
use crate::snapshot::{Of, Snapshot, finite};
use crate::task::Task;
use crate::train::{Keep, Learner, Step, Trainer, Watch, stacks};

/// Bytes of the batches and weights of networks that are trained as one stack: more leave the cache of a processor core, fewer spend
/// their time on calls.
const BYTES: usize = 5 << 19;
const MOST: usize = 16;

/// Trains a network on each of some subsets, several times if asked, and measures each on the test set.
///
/// Answers: what the network would say had it seen these examples only; the truth behind [`metric::lds`](crate::metric::lds).
/// Parts: `trainer` trains each network as it would alone: same initial weights, batches and steps, to rounding. Small networks of
/// linear and convolutional layers are trained as stacks, each operation serving all of a stack; every processor core trains its own.
/// Networks that fill the core's cache by themselves, as most on images do, gain nothing from it and are trained one by one on each core.
/// The weights of a subset and run follow from `trainer.seed`, the subset's number and the run; which others are trained, in which
/// order and on how many threads, changes them by no more than rounding.
/// Cost: `subsets · runs` trainings; memory for a stack of networks per core.
/// Defaults: one run, weights thrown away after measuring, nothing on disk.
/// Misleads: one run per subset carries the noise of training; more runs average it away, slowly.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
/// let trainer = Trainer { epochs: 2, optimizer: Optimizer::sgd(0.0, 0.0), learning_rate: 0.1, ..default() };
/// let halves = Subsets::fraction(&train, 0.5, 6, 0)?;
/// let truth = Retraining { trainer, ..default() }.run(&task, &train, &test, &halves)?;
/// assert_eq!(truth.tensor().size(), [6, 1, 10]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retraining {
    /// How each network is trained; its seed is the root of all seeds, and `keep` does not matter.
    pub trainer: Trainer,
    /// Networks for each subset.
    pub runs: usize,
    /// Whether all subsets share a seed for each run: common initial weights, dropout and, with [`Order::ByExample`](crate::train::Order),
    /// batches, so that the difference between two subsets is that of their examples and not of the draw. What leaving one example out
    /// does is drowned by the draw otherwise.
    pub paired: bool,
    /// Whether to keep the weights, for [`Retrained::ensemble`].
    pub keep_checkpoints: bool,
    /// Networks in a stack; by default as many as the processor's cache has room for. 1 trains each by itself, which rounds otherwise.
    pub side_by_side: Option<usize>,
    /// Stacks trained at the same time; by default libtorch's number of threads.
    pub threads: Option<usize>,
    /// A folder that keeps what is done: see [`Retraining::cached`].
    pub cache: Option<PathBuf>,
}

impl Default for Retraining {
    fn default() -> Retraining {
        Retraining {
            trainer: Trainer::default(),
            runs: 1,
            paired: false,
            keep_checkpoints: false,
            side_by_side: None,
            threads: None,
            cache: None,
        }
    }
}

/// One network to train.
struct Job {
    /// Row of the subset.
    place: usize,
    number: usize,
    run: usize,
    size: usize,
}

/// The last weights and what they measure on the test set, `[n_test]`.
pub(super) struct Outcome {
    pub(super) values: Tensor,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Retraining {
    /// Keeps each trained network's result in this folder, so that a stopped run goes on where it was, and further subsets or runs are
    /// added to those there. Several processes may share the folder, each with a part of the subsets ([`Subsets::shard`]); a last run on
    /// all of them reads what they have done.
    ///
    /// One safetensors file per subset and run, with the measurements, the positions of the subset and the weights if they are kept;
    /// `retraining.json` says what they belong to, and a run with other settings, data or network is refused.
    pub fn cached(mut self, folder: impl Into<PathBuf>) -> Retraining {
        self.cache = Some(folder.into());
        self
    }

    /// The trainer of one network: `task.train(&retraining.trainer_of(number, run), &train.select(&positions)?)` for a task
    /// without checkpoints gives its weights.
    pub fn trainer_of(&self, number: usize, run: usize) -> Trainer {
        let number = if self.paired { 0 } else { number as u64 };
        let index = (number << 20) | run as u64;
        let seed = random::generator(self.trainer.seed, Purpose::Retraining, index).next_u64();
        Trainer { seed, seeds: Vec::new(), keep: Keep::Last, keep_optimizer: false, ..self.trainer.clone() }
    }

    /// Trains on every subset of `train` and measures on `test`.
    ///
    /// A subset without any example of some class is trained on like any other; [`Subsets::frame`] counts the missing classes.
    ///
    /// Errors: [`Error::Option`]; [`Error::Data`] if the subsets are of other examples, or the cache of another setting; what
    /// training says.
    pub fn run(&self, task: &Task, train: &Dataset, test: &Dataset, subsets: &Subsets) -> Result<Retrained> {
        self.check()?;
        subsets.side().check("subsets", "train", train)?;
        let task = task.clone().with_checkpoints(Vec::new())?;
        let probe = Learner::alone(&task, 0)?;
        probe.check(train)?;
        Snapshot::fresh(&task, 0)?.check(test, task.measurement.as_ref())?;
        let provenance = || Provenance::new(self, &task, train, test);
        let cache = self.cache.as_ref().map(|folder| Cache::open(folder, &provenance()?)).transpose()?;
        let (mut done, mut jobs) = (Vec::new(), Vec::new());
        for (place, (&number, size)) in subsets.numbers().iter().zip(subsets.sizes()?).enumerate() {
            for run in 0..self.runs {
                let known = match &cache {
                    Some(cache) => cache.load(number, run, || positions(subsets, place), test.len())?,
                    None => None,
                };
                match known.filter(|outcome| !self.keep_checkpoints || outcome.checkpoint.is_some()) {
                    Some(outcome) => done.push((place, run, outcome)),
                    None => jobs.push(Job { place, number, run, size }),
                }
            }
        }
        // Of all kept weights one is measured again: it is the same network, so the others are.
        if let (Some(cache), Some((place, run, known))) = (&cache, done.iter().find(|(_, _, known)| known.checkpoint.is_some())) {
            cache.check((subsets.numbers()[*place], *run), known, &task, test)?;
        }
        if !jobs.is_empty() {
            done.extend(self.train(&task, (train, test, subsets), jobs, cache.as_ref())?);
        }
        done.sort_unstable_by_key(|(place, run, _)| (*place, *run));
        let values: Vec<&Tensor> = done.iter().map(|(_, _, outcome)| &outcome.values).collect();
        let size = [subsets.len() as i64, self.runs as i64, test.len() as i64];
        let values = guarded(|| Ok(Tensor::stack(&values, 0).view(size)))?;
        let checkpoints = done.into_iter().enumerate().filter(|_| self.keep_checkpoints);
        let checkpoints = checkpoints.filter_map(|(run, (_, _, outcome))| Some(outcome.checkpoint?.of_run(run))).collect();
        Ok(Retrained::new(values, subsets, test)?.trained(task.measurement.name(), checkpoints))
    }

    fn check(&self) -> Result<()> {
        self.trainer.check()?;
        let counts = [("runs", Some(self.runs)), ("side_by_side", self.side_by_side), ("threads", self.threads)];
        match counts.into_iter().find(|(_, count)| *count == Some(0)) {
            Some((name, _)) => Err(Error::option(format!("Retraining.{name}"), "at least 1", 0)),
            None => Ok(()),
        }
    }

    fn train(
        &self,
        task: &Task,
        (train, test, subsets): (&Dataset, &Dataset, &Subsets),
        jobs: Vec<Job>,
        cache: Option<&Cache>,
    ) -> Result<Vec<(usize, usize, Outcome)>> {
        let threads = Threads::new();
        let count = threads.count(self.threads, jobs.len());
        let most = match self.side_by_side {
            Some(1) => 1,
            _ if !stacks(task, train)? => 1,
            most => most.map_or_else(|| room(&self.trainer, task, train), Ok)?,
        };
        let total = jobs.iter().map(|job| self.trainer.steps(job.size) as u64).sum();
        let progress = Mutex::new(Progress::new("retraining", total));
        let done = Mutex::new(Vec::new());
        threads.share_out(into_stacks(jobs, most, count), count, || {
            let (task, train, test, subsets) = (task.clone(), train.clone(), test.clone(), subsets.clone());
            let (progress, done) = (&progress, &done);
            move |jobs: Vec<Job>| {
                let mut count = |_: &Step| {
                    locked(progress).add(jobs.len() as u64);
                    Ok(None)
                };
                for (job, outcome) in
                    jobs.iter().zip(self.stack(&task, (&train, &test, &subsets), &jobs, most > 1, &mut count)?)
                {
                    if let Some(cache) = cache {
                        cache.store(job.number, job.run, &positions(&subsets, job.place)?, &outcome)?;
                    }
                    locked(done).push((job.place, job.run, outcome));
                }
                Ok(())
            }
        })?;
        Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Trains a stack of networks and measures each.
    fn stack(
        &self,
        task: &Task,
        (train, test, subsets): (&Dataset, &Dataset, &Subsets),
        jobs: &[Job],
        stacked: bool,
        watch: &mut Watch,
    ) -> Result<Vec<Outcome>> {
        let seeds: Vec<u64> = jobs.iter().map(|job| self.trainer_of(job.number, job.run).seed).collect();
        let learner = if stacked { Learner::stacked(task, &seeds)? } else { Learner::alone(task, seeds[0])? };
        let positions = jobs.iter().map(|job| positions(subsets, job.place)).collect::<Result<Vec<_>>>()?;
        let trainer = self.trainer_of(0, 0);
        let kept = guarded(|| trainer.fit(&learner, train, &positions, watch))?;
        let measured = jobs.iter().zip(kept.into_iter().flatten()).map(|(job, checkpoint)| {
            let values = Snapshot::new(task, &checkpoint)?.measure(Of::Measurement, test)?;
            let hint = format!("the measurement of a test example is NaN or infinite for subset {}", job.number);
            let values = guarded(|| finite("retraining", values, &hint))?;
            Ok(Outcome { values, checkpoint: self.keep_checkpoints.then_some(checkpoint) })
        });
        measured.collect()
    }
}

fn positions(subsets: &Subsets, place: usize) -> Result<Vec<i64>> {
    Ok(subsets.positions(place)?.into_iter().map(|at| at as i64).collect())
}

/// How many networks the cache of a core has room for: their inputs, their weights, and what convolutions take and give.
pub(super) fn room(trainer: &Trainer, task: &Task, train: &Dataset) -> Result<usize> {
    let fresh = Snapshot::fresh(task, 0)?;
    let one = train.head(1)?;
    let (_, records) = guarded(|| Ok(no_grad(|| fresh.record(one.inputs()))))?;
    let convolutions = records.iter().filter(|record| matches!(record.operation, Operation::Convolution(_)));
    let images: usize = convolutions.map(|record| record.input.numel() + record.output.numel()).sum();
    let batch = trainer.batch_size.min(train.len()) * (one.inputs().numel() + images);
    let weights = 4 * fresh.p() as usize;
    Ok((BYTES / (4 * (batch + weights))).clamp(1, MOST))
}

/// Networks whose subsets are equally large, `most` at a time, and no fewer stacks than threads where there are enough.
fn into_stacks(mut jobs: Vec<Job>, most: usize, threads: usize) -> Vec<Vec<Job>> {
    jobs.sort_by_key(|job| job.size);
    let most = most.min(jobs.len().div_ceil(threads)).max(1);
    let mut stacks: Vec<Vec<Job>> = Vec::new();
    for job in jobs {
        match stacks.last_mut() {
            Some(last) if last.len() < most && last[0].size == job.size => last.push(job),
            _ => stacks.push(vec![job]),
        }
    }
    stacks
}
