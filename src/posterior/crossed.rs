//! Initial weights against batch order against data: whose noise is it?

use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use super::Posterior;
use super::variance::components;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::progress::Progress;
use crate::random::{self, Purpose};
use crate::task::Task;
use crate::train::Trainer;

/// Every initialisation with every batch order on every subset of the data, one network for each combination: a crossed design.
///
/// Answers: how much of the variance of a score comes from initial weights, how much from the order of batches, how much from which data
/// happened to be there? One seed for both, as is usual, cannot tell.
/// Cost: `initialisations · orders · subsets` trainings. Defaults: 4 × 4 × 1, all data.
/// Misleads: with fewer examples than a batch holds, every epoch is one batch and order is no factor at all; and few levels leave wide
/// intervals, which are given.
/// Reference: Nguyen, Seo & Oh 2023, section 4 (arXiv 2305.19765), where either is varied with the other fixed.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(80, 10, 0)?;
/// let trainer = Trainer { epochs: 4, batch_size: 16, ..default() };
/// let grid = Crossed { trainer, initialisations: 3, orders: 3, ..default() }.train(&Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])), &train)?;
/// let posterior = Posterior::of(&GradCos::default(), grid.task(), &train, &test)?;
/// let shares = grid.variance_shares(&posterior)?; // factor, share, low, high
/// let share = shares.column("share")?.f64()?;
/// assert!((share.iter().flatten().sum::<f64>() - 1.0).abs() < 1e-9 && share.get(0) > share.get(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Crossed {
    /// How each network is trained; its seed is the root of all seeds.
    pub trainer: Trainer,
    /// Different initial weights.
    pub initialisations: usize,
    /// Different orders of batches.
    pub orders: usize,
    /// Different subsets of the train examples.
    pub subsets: usize,
    /// Share of the train examples in each subset.
    pub fraction: f64,
}

impl Default for Crossed {
    fn default() -> Crossed {
        Crossed { trainer: Trainer::default(), initialisations: 4, orders: 4, subsets: 1, fraction: 1.0 }
    }
}

/// What may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// Initial weights (and dropout).
    Initialisation,
    /// Order of batches.
    Order,
    /// Which examples are trained on.
    Subset,
}

impl Factor {
    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Factor::Initialisation => "initialisation",
            Factor::Order => "batch order",
            Factor::Subset => "data subset",
        }
    }
}

/// The networks of a [`Crossed`] design: run `(i · orders + o) · subsets + s` of the task.
pub struct Grid {
    task: Task,
    levels: [usize; 3],
}

impl Crossed {
    /// Trains them all.
    ///
    /// Errors: [`Error::Option`] for a count of 0, fewer than two factors with several levels, a fraction outside 0 to 1, or several subsets of
    /// all data; what training says.
    pub fn train(&self, task: &Task, train: &Dataset) -> Result<Grid> {
        let levels = [self.initialisations, self.orders, self.subsets];
        for (name, count) in [("initialisations", levels[0]), ("orders", levels[1]), ("subsets", levels[2])] {
            if count == 0 {
                return Err(Error::option(format!("Crossed.{name}"), "at least 1", count));
            }
        }
        if levels.iter().filter(|&&count| count > 1).count() < 2 {
            return Err(Error::option("Crossed", "at least 2 levels of two factors", format!("{levels:?}")));
        }
        if !(self.fraction > 0.0 && self.fraction <= 1.0) {
            return Err(Error::option("Crossed.fraction", "above 0 and at most 1", self.fraction));
        }
        let size = (self.fraction * train.len() as f64).round() as usize;
        if self.subsets > 1 && size == train.len() {
            return Err(Error::option("Crossed.fraction", "below 1 where there are several subsets", self.fraction));
        }
        if size == 0 {
            return Err(Error::option("Crossed.fraction", format!("one of {} examples at least", train.len()), self.fraction));
        }
        let seed = |part: u64, level: usize| {
            rand::RngCore::next_u64(&mut random::generator(self.trainer.seed, Purpose::Crossed, part << 32 | level as u64))
        };
        let bare = task.clone().with_checkpoints(Vec::new())?;
        let mut subsets = Vec::new();
        for level in 0..self.subsets {
            let mut chosen = random::sample(train.len(), size, seed(2, level), Purpose::Subset, 0);
            chosen.sort_unstable();
            subsets.push(train.select(&chosen)?);
        }
        let mut progress = Progress::new("crossed design", levels.iter().product::<usize>() as u64);
        let mut checkpoints = Vec::new();
        for i in 0..self.initialisations {
            for o in 0..self.orders {
                let trainer =
                    Trainer { seed: seed(0, i), seeds: Vec::new(), order_seed: Some(seed(1, o)), ..self.trainer.clone() };
                for (s, subset) in subsets.iter().enumerate() {
                    let run = (i * self.orders + o) * self.subsets + s;
                    let kept = guarded(|| trainer.run(&bare, subset, 0, &mut |_| Ok(None)))?;
                    checkpoints.extend(kept.into_iter().map(|checkpoint| checkpoint.of_run(run)));
                    progress.add(1);
                }
            }
        }
        progress.finish();
        Ok(Grid { task: bare.with_checkpoints(checkpoints)?, levels })
    }
}

impl Grid {
    /// The task with a run for every combination.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// How much of the variance of the scores each factor makes, all pairs together.
    ///
    /// By expected mean squares of crossed random effects of the scores averaged over the draws of a network, summed over pairs; a sum below
    /// zero counts as 0. Columns: `method`, `factor` (`initialisation`, `batch order`, `data subset`, those with several levels, and what they do
    /// together beyond that, such as `initialisation × batch order`; the last of these holds the residual), `freedom`, `variance`, `share` with `low` and `high`:
    /// those of [`statistics::variance_components`](crate::statistics::variance_components), a 95 % jackknife interval over levels, null where a factor
    /// has two. Ready for [`plot::intervals`](crate::plot::intervals()).
    ///
    /// Errors: [`Error::Data`] if the posterior is not of the grid's networks; [`Error::Unsupported`] for running moments.
    pub fn variance_shares(&self, posterior: &Posterior) -> Result<DataFrame> {
        let (runs, cells) = (posterior.balanced(2)?, self.levels.iter().product::<usize>());
        if runs.len() != cells || posterior.by_run().iter().enumerate().any(|(at, (run, _))| *run != at) {
            let reason = format!("expected the draws of the grid's {cells} networks in their order, got {} runs", runs.len());
            return Err(Error::data(format!("posterior of {}", posterior.method()), reason));
        }
        let kept = posterior.kept("components of variance")?;
        let mean = |draws: &Vec<usize>| -> Vec<f32> {
            let sum = |pair: usize| draws.iter().map(|&draw| f64::from(kept[draw][pair])).sum::<f64>() / draws.len() as f64;
            (0..kept[draws[0]].len()).map(|pair| sum(pair) as f32).collect()
        };
        let means: Vec<Vec<f32>> = runs.iter().map(mean).collect();
        let draws: Vec<&[f32]> = means.iter().map(Vec::as_slice).collect();
        let factors = [Factor::Initialisation, Factor::Order, Factor::Subset].map(Factor::name);
        let varied: Vec<(&str, usize)> = factors.into_iter().zip(self.levels).filter(|(_, count)| *count > 1).collect();
        components(posterior.method(), &varied, &draws)
    }
}
