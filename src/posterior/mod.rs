//! Scores as random variables: what training again would have said of the same pair.
//!
//! A score belongs to one network, and another seed gives another network. [`Posterior`] holds the scores of the same test and train
//! examples at every checkpoint of every run, and says which of them can be told from the noise of training ([`Posterior::noise`],
//! [`Posterior::reliable`]), where that noise comes from ([`Posterior::variance`], [`Crossed`]), how many runs would do
//! ([`Posterior::power`]), and whether methods agree about more than their means ([`correlations`]).

mod compare;
mod crossed;
mod frames;
mod moments;
mod noise;
mod pairs;
mod power;
mod published;
mod variance;

pub use compare::{Aspect, correlations, correlations_within};
pub use crossed::{Crossed, Factor, Grid};
pub use noise::{Noise, Test};

use polars::prelude::DataFrame;
use tch::Tensor;

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::method::Method;
use crate::progress::Progress;
use crate::scores::{Scores, Side};
use crate::task::Task;
use moments::Moments;

/// Scores of the same pairs over runs × checkpoints: draws of a random variable for every test and train example.
///
/// Runs are independent draws; the checkpoints within a run are not, and are averaged before anything is tested. Every run needs as many
/// draws as the others.
/// Cost: the method's, for every checkpoint. Memory: `4 · draws · n_test · n_train` bytes, or 32 bytes a pair with
/// [`Posterior::moments`].
/// Misleads: runs differ by their seeds alone, so the noise is that of training on this very data, not of drawing other data.
/// Reference: Nguyen, Seo & Oh 2023 (arXiv 2305.19765).
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::posterior::Test;
/// let (train, test) = dataset::digits()?.split(100, 20, 0)?;
/// let trainer = Trainer { epochs: 6, keep: Keep::LastEpochs(2), ..default() };
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10]));
/// let task = (0..5).try_fold(task, |task, _| task.train(&trainer, &train))?;
/// let posterior = Posterior::of(&GradCos::default(), &task, &train, &test)?;
/// assert_eq!((posterior.runs(), posterior.draws().len()), (5, 10));
/// let noise = posterior.noise(Test::T)?; // test, train, mean, std, snr, t, p, q, q_storey
/// assert_eq!(noise.height(), 20 * 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Posterior {
    /// Set by the first draw.
    about: Option<Subject>,
    draws: Vec<Draw>,
    values: Values,
}

/// Which network a draw is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Number of the training run.
    pub run: usize,
    /// Optimiser steps, or whatever else tells the draws of a run apart.
    pub step: usize,
}

/// What all draws are about.
#[derive(Clone)]
struct Subject {
    method: String,
    test: Examples,
    train: Examples,
}

#[derive(Clone)]
struct Examples {
    frame: DataFrame,
    digests: Vec<i64>,
}

impl Examples {
    fn of(side: &Side<'_>) -> Examples {
        Examples { frame: side.frame.clone(), digests: side.digests.to_vec() }
    }

    fn side(&self) -> Side<'_> {
        Side { frame: &self.frame, digests: &self.digests }
    }

    /// An error unless a later draw is of the same examples in the same order.
    fn check(&self, name: &str, side: &str, other: &Side<'_>) -> Result<()> {
        let (mine, theirs) = (self.side().examples()?, other.examples()?);
        if mine.len() != theirs.len() {
            let reason = format!("expected the {} {side} examples of the first draw, got {}", mine.len(), theirs.len());
            return Err(Error::data(name, reason));
        }
        if let Some(at) = (0..mine.len()).find(|&at| mine[at] != theirs[at]) {
            let reason = format!("expected {side} example {} of the first draw at position {at}, got {}", mine[at], theirs[at]);
            return Err(Error::data(name, reason));
        }
        match (0..mine.len()).find(|&at| self.digests[at] != other.digests[at]) {
            Some(at) => {
                Err(Error::data(name, format!("{side} example {} has other inputs or targets than in the first draw", mine[at])))
            }
            None => Ok(()),
        }
    }
}

#[derive(Clone)]
enum Values {
    /// Every draw, test by test.
    Kept(Vec<Vec<f32>>),
    Moments(Moments),
}

impl Default for Posterior {
    fn default() -> Posterior {
        Posterior::new()
    }
}

impl Posterior {
    /// Without draws; keeps every one that is added.
    pub fn new() -> Posterior {
        Posterior { about: None, draws: Vec::new(), values: Values::Kept(Vec::new()) }
    }

    /// Without draws; keeps running means and variances only, for matrices too large to keep once for every draw. The draws of a run
    /// must come one after the other. What needs the draws themselves ([`Test::Sign`], [`Test::SignFlip`], [`Posterior::last`], …) is refused.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// use ascribe::posterior::Test;
    /// let (train, test) = dataset::digits()?.split(60, 10, 0)?;
    /// let trainer = Trainer { epochs: 2, ..default() };
    /// let task = (0..3).try_fold(Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])), |task, _| task.train(&trainer, &train))?;
    /// let (mut kept, mut running) = (Posterior::new(), Posterior::moments());
    /// for posterior in [&mut kept, &mut running] {
    ///     posterior.score(&GradDot::default(), &task, &train, &test)?;
    /// }
    /// let apart = kept.matrices(Test::T)?.std - running.matrices(Test::T)?.std;
    /// assert!(apart.abs().max().double_value(&[]) < 1e-4 * kept.mean()?.tensor().abs().max().double_value(&[]));
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn moments() -> Posterior {
        Posterior { values: Values::Moments(Moments::default()), ..Posterior::new() }
    }

    /// The scores of a method at every checkpoint of a task, each fitted alone.
    ///
    /// Errors: what the method says; [`Error::Checkpoint`] for a task without checkpoints.
    pub fn of(method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset) -> Result<Posterior> {
        let mut posterior = Posterior::new();
        posterior.score(method, task, train, test)?;
        Ok(posterior)
    }

    /// Draws that are there already, by run and step: those of [`TrajectoryLeaveOneOut::each`](crate::retrain::TrajectoryLeaveOneOut), say.
    ///
    /// Errors: those of [`Posterior::add`].
    pub fn of_draws(draws: &[(usize, usize, Scores)]) -> Result<Posterior> {
        let mut posterior = Posterior::new();
        for (run, step, scores) in draws {
            posterior.add(*run, *step, scores)?;
        }
        Ok(posterior)
    }

    /// Adds the scores of a method at every checkpoint of a task.
    pub fn score(&mut self, method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset) -> Result<()> {
        if task.checkpoints().is_empty() {
            return Err(Error::checkpoint("task", "it has no checkpoints yet: train it or add some"));
        }
        let mut progress = Progress::new(&format!("posterior of {}", method.name()), task.checkpoints().len() as u64);
        for checkpoint in task.checkpoints() {
            let one = task.clone().with_checkpoints(vec![checkpoint.clone()])?;
            let scored = guarded(|| method.fit(&one, train)?.score(test));
            let scores = scored.map_err(|error| match error {
                Error::Numerical { operation, reason } => {
                    Error::numerical(format!("{operation} at {}", checkpoint.name()), reason)
                }
                other => other,
            })?;
            self.add(checkpoint.run, checkpoint.step, &scores)?;
            progress.add(1);
        }
        progress.finish();
        Ok(())
    }

    /// Adds one draw, from wherever it comes: [`Scores::load`], [`read::bayesian_scores`](crate::read::bayesian_scores), another method of
    /// making draws.
    ///
    /// Errors: [`Error::Data`] for another method or other examples than those of the first draw, or, for running moments, a run
    /// that was already left.
    pub fn add(&mut self, run: usize, step: usize, scores: &Scores) -> Result<()> {
        let name = format!("run {run}, step {step}");
        let (test, train) = scores.sides();
        match &self.about {
            Some(about) if about.method != scores.method() => {
                let reason = format!("expected scores of {}, as the draws before, got {}", about.method, scores.method());
                return Err(Error::data(name, reason));
            }
            Some(about) => {
                about.test.check(&name, "test", &test)?;
                about.train.check(&name, "train", &train)?;
            }
            None => {
                let method = scores.method().to_string();
                self.about = Some(Subject { method, test: Examples::of(&test), train: Examples::of(&train) });
            }
        }
        if matches!(self.values, Values::Moments(_)) {
            let left = self.draws.iter().any(|draw| draw.run == run) && self.draws.last().is_some_and(|draw| draw.run != run);
            if left {
                return Err(Error::data(name, "running moments need the draws of a run one after the other; run came back"));
            }
        }
        let values = guarded(|| Ok(Vec::<f32>::try_from(&scores.tensor().contiguous().view([-1]))?))?;
        match &mut self.values {
            Values::Kept(kept) => kept.push(values),
            Values::Moments(moments) => moments.add(&values, self.draws.last().is_none_or(|draw| draw.run != run)),
        }
        self.draws.push(Draw { run, step });
        Ok(())
    }

    /// Name of the method.
    pub fn method(&self) -> &str {
        self.about.as_ref().map_or("no draws", |about| &about.method)
    }

    /// The same under another name, for tables that compare.
    pub fn named(mut self, method: impl Into<String>) -> Posterior {
        if let Some(about) = &mut self.about {
            about.method = method.into();
        }
        self
    }

    /// Which network each draw is of, in the order they were added.
    pub fn draws(&self) -> &[Draw] {
        &self.draws
    }

    /// Number of runs.
    pub fn runs(&self) -> usize {
        self.by_run().len()
    }

    /// Number of test and of train examples.
    pub fn size(&self) -> (usize, usize) {
        self.about.as_ref().map_or((0, 0), |about| (about.test.frame.height(), about.train.frame.height()))
    }

    /// The scores averaged over all draws.
    pub fn mean(&self) -> Result<Scores> {
        let runs = self.balanced(1)?;
        let [mean] = self.each(&runs, false, |pair| [pair.mean as f32])?;
        let about = self.about()?;
        let mean = guarded(|| Ok(Tensor::from_slice(&mean).view(self.shape())))?;
        Scores::of_sides(mean, &about.method, &about.test.side(), &about.train.side())
    }

    /// One draw as scores.
    ///
    /// Errors: [`Error::Data`] for a position outside; [`Error::Unsupported`] for running moments.
    pub fn draw(&self, position: usize) -> Result<Scores> {
        let (kept, about) = (self.kept("a single draw")?, self.about()?);
        let reason = || Error::data("draw", format!("expected a position below {}, got {position}", kept.len()));
        let values = kept.get(position).ok_or_else(reason)?;
        let values = guarded(|| Ok(Tensor::from_slice(values).view(self.shape())))?;
        Scores::of_sides(values, &about.method, &about.test.side(), &about.train.side())
    }

    /// The last `count` draws of every run only: what fewer checkpoints would have said.
    ///
    /// Errors: [`Error::Data`] unless every run has as many; [`Error::Unsupported`] for running moments.
    pub fn last(&self, count: usize) -> Result<Posterior> {
        let kept = self.kept("the last draws")?;
        let mut chosen = Vec::new();
        for (run, draws) in self.by_run() {
            if count == 0 || count > draws.len() {
                return Err(Error::data(format!("run {run}"), format!("expected {count} draws, it has {}", draws.len())));
            }
            chosen.extend_from_slice(&draws[draws.len() - count..]);
        }
        Ok(Posterior {
            about: self.about.clone(),
            draws: chosen.iter().map(|&at| self.draws[at]).collect(),
            values: Values::Kept(chosen.iter().map(|&at| kept[at].clone()).collect()),
        })
    }

    fn about(&self) -> Result<&Subject> {
        self.about.as_ref().ok_or_else(|| Error::data("posterior", "expected at least one draw, got none"))
    }

    fn shape(&self) -> [i64; 2] {
        let (m, n) = self.size();
        [m as i64, n as i64]
    }

    fn kept(&self, what: &str) -> Result<&[Vec<f32>]> {
        match &self.values {
            Values::Kept(kept) => Ok(kept),
            Values::Moments(_) => {
                Err(Error::Unsupported(format!("{what}: running moments do not keep draws; use Posterior::new")))
            }
        }
    }

    /// Positions of the draws of each run, runs by their first draw.
    fn by_run(&self) -> Vec<(usize, Vec<usize>)> {
        let mut runs: Vec<(usize, Vec<usize>)> = Vec::new();
        for (at, draw) in self.draws.iter().enumerate() {
            match runs.iter_mut().find(|(run, _)| *run == draw.run) {
                Some((_, draws)) => draws.push(at),
                None => runs.push((draw.run, vec![at])),
            }
        }
        runs
    }

    /// The same, an error unless there are so many runs and each has equally many draws.
    fn balanced(&self, least: usize) -> Result<Vec<Vec<usize>>> {
        let runs = self.by_run();
        let name = || format!("posterior of {}", self.method());
        if runs.len() < least {
            let reason = format!(
                "expected at least {least} runs, got {}: checkpoints of one run are not independent draws, train further runs",
                runs.len()
            );
            return Err(Error::data(name(), reason));
        }
        match runs.iter().find(|(_, draws)| draws.len() != runs[0].1.len()) {
            Some((run, draws)) => {
                let reason = format!(
                    "expected as many draws of run {run} as of run {}, {}; got {}",
                    runs[0].0,
                    runs[0].1.len(),
                    draws.len()
                );
                Err(Error::data(name(), reason))
            }
            None => Ok(runs.into_iter().map(|(_, draws)| draws).collect()),
        }
    }
}
