//! How few train examples carry a prediction.

mod curve;
mod search;

pub use curve::support_curve;
use search::Search;

use std::collections::HashMap;

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use tch::{Kind, Tensor};

use super::evaluate::{Metric, Trial};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::retrain::{Retraining, Subsets};
use crate::scores::Scores;
use crate::statistics::{Estimate, bootstrap_mean};
use crate::task::Task;
use crate::train::{Order, Trainer};

/// What is done to the highest-ranked train examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change {
    /// They are left out.
    #[default]
    Remove,
    /// They get the class that the unchanged networks find most likely after the true one, by mean rank.
    Relabel,
}

/// Smallest number of highest-ranked train examples whose removal, or mislabelling, flips a prediction.
///
/// Answers: how many of the train examples that a method ranks highest carry a prediction? Fewer is a better ranking.
/// Formula: the smallest `k` for which most of `runs` networks, trained without the first `k` (or with them mislabelled), get the test
/// example wrong; a tie is wrong.
/// Parts: bisection over `k` in `0..=pool`, to `pool / 2^steps` examples; all test examples and methods search side by side, every
/// network is trained once. Common random numbers: all start from the same `runs` initial weights, and see what they have in common in
/// the same order (whatever `retraining.trainer.order` says, it is [`Order::ByExample`]; a relabelled example keeps its place).
/// Cost: at most `(1 + steps) · runs` trainings for each test example and method, and `runs` more.
/// Defaults: removal among examples of the same class, 7 steps, as published; 5 runs is the published number.
/// Misleads: bisection assumes that more removals never flip back; restriction to the same class favours rankings that only look for
/// likeness.
/// Reference: Singla et al. 2023, arXiv 2311.03386.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::Brittleness;
/// let (train, test) = dataset::digits()?.split(120, 4, 0)?;
/// let (task, trainer) = (Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), Trainer { epochs: 5, learning_rate: 0.02, ..default() });
/// let scores = GradDot::default().fit(&task.clone().train(&trainer, &train)?, &train)?.score(&test)?;
/// let removal = Brittleness { pool: 100, same_class: false, retraining: Retraining { trainer, runs: 3, ..default() }, ..default() };
/// let table = removal.evaluate(&[scores], &task, &train, &test)?;
/// assert!(table.column("value")?.u32()?.iter().flatten().count() > 0); // without its 100 proponents a prediction flips
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Brittleness {
    /// What is done to the examples.
    pub change: Change,
    /// Largest number of examples to change.
    pub pool: usize,
    /// Halvings of the pool.
    pub steps: usize,
    /// Whether only train examples with the label of the test example are ranked.
    pub same_class: bool,
    /// How networks are trained, and how many (`runs`) decide by majority.
    pub retraining: Retraining,
}

impl Default for Brittleness {
    fn default() -> Brittleness {
        let retraining = Retraining { runs: 5, ..Retraining::default() };
        Brittleness { change: Change::Remove, pool: 1280, steps: 7, same_class: true, retraining }
    }
}

impl Brittleness {
    /// One row per method and test example. Columns: `method`, `metric`, `test` (example id), `value`: the support, null where the whole
    /// pool does not flip the prediction; `censored`: whether that is so; `pool`. A prediction that is wrong from the start has support 0.
    /// [`support_curve`] sums it up.
    ///
    /// Errors: [`Error::Option`] for a pool larger than what there is to change; [`Error::Data`] without class labels, or for scores of other
    /// examples; what training says.
    pub fn evaluate(&self, scores: &[Scores], task: &Task, train: &Dataset, test: &Dataset) -> Result<DataFrame> {
        let found = self.supports(scores, task, train, test)?;
        let (rows, m) = (found.len(), test.len());
        let tests: Vec<u32> = scores.iter().flat_map(|_| test.examples()).collect();
        let values: Vec<Option<u32>> = found.iter().map(|support| support.map(|support| support as u32)).collect();
        let censored: Vec<bool> = found.iter().map(Option::is_none).collect();
        let methods: Vec<&str> = scores.iter().flat_map(|scores| std::iter::repeat_n(scores.method(), m)).collect();
        let columns = vec![
            Series::new("method".into(), methods).into_column(),
            Series::new("metric".into(), vec![self.name(); rows]).into_column(),
            Series::new("test".into(), tests).into_column(),
            Series::new("value".into(), values).into_column(),
            Series::new("censored".into(), censored).into_column(),
            Series::new("pool".into(), vec![self.pool as u32; rows]).into_column(),
        ];
        Ok(DataFrame::new(rows, columns)?)
    }

    /// The support of each method and test example, method by method.
    fn supports(&self, scores: &[Scores], task: &Task, train: &Dataset, test: &Dataset) -> Result<Vec<Option<usize>>> {
        let mut lab = Lab::new(self, task, train, test)?;
        let mut searches = Vec::new();
        for scores in scores {
            scores.check(test, train)?;
            for at in 0..test.len() {
                searches.push((Search::new(self.pool, self.steps), at, self.ranked(scores, at, &lab)?));
            }
        }
        loop {
            let change = |at: usize, ranked: &[usize], k: usize| -> Recipe {
                let mut changed = ranked[..k].to_vec();
                changed.sort_unstable();
                (changed, if k > 0 { lab.class_of(at) } else { None })
            };
            let asked = searches.iter().map(|(search, at, ranked)| search.next().map(|k| change(*at, ranked, k)));
            let asked: Vec<Option<Recipe>> = asked.collect();
            if asked.iter().all(Option::is_none) {
                return Ok(searches.iter().map(|(search, ..)| search.found()).collect());
            }
            lab.train(asked.iter().flatten())?;
            for ((search, at, _), recipe) in searches.iter_mut().zip(&asked) {
                if let Some(recipe) = recipe {
                    search.tell(lab.right(recipe, *at) <= 0.5);
                }
            }
        }
    }

    /// The first train positions by falling score, ties by position.
    fn ranked(&self, scores: &Scores, at: usize, lab: &Lab) -> Result<Vec<usize>> {
        let label = lab.test_labels[at];
        let mut order = scores.top(at, scores.n_train())?;
        order.retain(|&position| !self.same_class || lab.labels[position] == label);
        let left = usize::from(self.change == Change::Remove && order.len() == lab.labels.len());
        if self.pool + left > order.len() {
            let class = if self.same_class { format!(" of class {label}") } else { String::new() };
            let expected = format!("at most {} of the {} train examples{class}", order.len() - left, order.len());
            return Err(Error::option("Brittleness.pool", expected, self.pool));
        }
        order.truncate(self.pool);
        Ok(order)
    }
}

impl Metric for Brittleness {
    fn name(&self) -> String {
        match self.change {
            Change::Remove => "removal support",
            Change::Relabel => "mislabel support",
        }
        .into()
    }

    /// The mean support over test examples, with the pool for those it does not flip, and its percentile bootstrap interval (2,000
    /// samples, seed 0). Smaller is better.
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let found = self.supports(std::slice::from_ref(trial.scores), trial.task, trial.train, trial.test)?;
        let supports: Vec<f64> = found.into_iter().map(|support| support.unwrap_or(self.pool) as f64).collect();
        Ok(bootstrap_mean(&supports, 2_000, 0))
    }
}

/// Changed train positions, ascending, and the class they get.
type Recipe = (Vec<usize>, Option<i64>);

/// Trains what is asked for, once, and remembers who got it right.
struct Lab {
    retraining: Retraining,
    task: Task,
    /// The train examples, then a copy of them for each class if they are to be relabelled.
    data: Dataset,
    test: Dataset,
    labels: Vec<i64>,
    test_labels: Vec<i64>,
    /// The class that each test example's supporters get.
    second: Option<Vec<i64>>,
    /// Share of the networks that are right, by test example.
    known: HashMap<Recipe, Vec<f64>>,
}

impl Lab {
    fn new(how: &Brittleness, task: &Task, train: &Dataset, test: &Dataset) -> Result<Lab> {
        if how.pool == 0 {
            return Err(Error::option("Brittleness.pool", "at least 1", 0));
        }
        if how.retraining.cache.is_some() {
            return Err(Error::option("Brittleness.retraining.cache", "none: its networks share their numbers", "a folder"));
        }
        let labels_of = |data: &Dataset| {
            data.labels()
                .ok_or_else(|| Error::data(data.name(), "a prediction flips between classes: expected one label per example"))
        };
        let (labels, test_labels) = (labels_of(train)?, labels_of(test)?);
        let right = |outputs: &Tensor, targets: &Tensor| outputs.argmax(-1, false).eq_tensor(targets).to_kind(Kind::Float);
        let mut lab = Lab {
            retraining: Retraining {
                trainer: Trainer { order: Order::ByExample, ..how.retraining.trainer.clone() },
                ..how.retraining.clone()
            },
            task: task.clone().with_checkpoints(Vec::new())?.with_measurement(right),
            data: train.clone(),
            test: test.clone(),
            labels,
            test_labels,
            second: None,
            known: HashMap::new(),
        };
        if how.change == Change::Relabel {
            lab.second = Some(lab.second_classes()?);
            let classes = lab.second.iter().flatten().max().map_or(0, |&class| class + 1);
            let n = train.len();
            // Copies keep the ids, and with them their place in the order.
            let copies = (0..classes).flat_map(|class| std::iter::repeat_n(class, n));
            let labels: Vec<i64> = lab.labels.iter().copied().chain(copies).collect();
            let positions: Vec<usize> = (0..=classes).flat_map(|_| 0..n).collect();
            lab.data = train.select(&positions)?.with_labels(&labels)?;
        }
        Ok(lab)
    }

    fn class_of(&self, at: usize) -> Option<i64> {
        self.second.as_ref().map(|second| second[at])
    }

    /// Of each test example, the most likely class but the true one, among the first two by mean rank over unchanged networks.
    fn second_classes(&mut self) -> Result<Vec<i64>> {
        let (how, nothing) = (Retraining { keep_checkpoints: true, ..self.retraining.clone() }, (Vec::new(), None));
        let base = how.run(&self.task, &self.data, &self.test, &self.subsets(&[&nothing])?)?;
        let ensemble = base.ensemble(&self.task)?;
        let shares = guarded(|| Ok(Vec::<f64>::try_from(&base.mean()?.get(0))?))?;
        self.known.insert(nothing, shares);
        let mut ranks = Vec::new();
        for index in 0..ensemble.checkpoints().len() {
            let outputs = ensemble.snapshot(index)?.outputs(&self.test)?;
            ranks.push(guarded(|| Ok(outputs.argsort(-1, true).argsort(-1, false).to_kind(Kind::Double)))?);
        }
        let order = guarded(|| {
            let mean = Tensor::stack(&ranks, 0).mean_dim([0i64].as_slice(), false, None::<Kind>);
            Ok(Vec::<Vec<i64>>::try_from(&mean.argsort_stable(true, -1, false).narrow(1, 0, 2))?)
        })?;
        Ok(order
            .iter()
            .zip(&self.test_labels)
            .map(|(first, label)| if first[1] == *label { first[0] } else { first[1] })
            .collect())
    }

    /// All examples with these changes; every subset has the number 0, and with it the same seeds.
    fn subsets(&self, recipes: &[&Recipe]) -> Result<Subsets> {
        let (n, rows) = (self.labels.len(), self.data.len());
        let mut inside = vec![0u8; recipes.len() * rows];
        for ((changed, class), row) in recipes.iter().zip(inside.chunks_mut(rows)) {
            row[..n].fill(1);
            changed.iter().for_each(|&at| row[at] = 0);
            if let Some(class) = class {
                changed.iter().for_each(|&at| row[n * (*class as usize + 1) + at] = 1);
            }
        }
        let masks = Tensor::from_slice(&inside).view([recipes.len() as i64, rows as i64]);
        Ok(Subsets::from_masks(&self.data, &masks)?.numbered(vec![0; recipes.len()]))
    }

    fn train<'a>(&mut self, recipes: impl Iterator<Item = &'a Recipe>) -> Result<()> {
        let mut new: Vec<&Recipe> = recipes.filter(|recipe| !self.known.contains_key(*recipe)).collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(());
        }
        let retrained = self.retraining.run(&self.task, &self.data, &self.test, &self.subsets(&new)?)?;
        let shares = guarded(|| Ok(Vec::<Vec<f64>>::try_from(&retrained.mean()?.contiguous())?))?;
        self.known.extend(new.into_iter().cloned().zip(shares));
        Ok(())
    }

    fn right(&self, recipe: &Recipe, at: usize) -> f64 {
        self.known.get(recipe).map_or(f64::NAN, |shares| shares[at])
    }
}
