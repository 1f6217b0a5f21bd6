//! Answers: what does an example add, on average over all sizes of sets of others?
//! Formula: `score(z', z_j) = E_π [m(z'; θ_{S ∪ j}) − m(z'; θ_S)]`, S those before j in a random order π of the train examples;
//! `θ_∅` are fresh weights. [`Semivalue`] counts sizes differently.
//! Parts: [`Retraining`] on the prefixes of some orders side by side, all of one length at a time. Networks of one order share their
//! initial weights, so that what an example adds is not drowned by another start.
//! Cost: one training for each example and order, less what truncation saves.
//! Defaults: orders 16 at a time, at most 96, until standard errors are a tenth of the values (both as root mean squares); an order
//! ends once the measurements are within 1 % of the way from fresh weights to all examples, root mean square over test examples.
//! Misleads: the error of a value falls with the root of the orders; truncation takes from late comers up to its tolerance.
//! Reference: Ghorbani and Zou 2019, algorithm 1 (arXiv 1904.02868).

use serde::{Deserialize, Serialize};
use tch::Kind;

use super::estimated::Estimated;
use super::permutations::{Prefix, Walk, Walked};
use super::retraining::Retraining;
use super::semivalue::Semivalue;
use super::subsets::Subsets;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::scores::Side;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;

/// Shapley values by truncated Monte Carlo over permutations.
///
/// ```
/// use ascribe::prelude::*;
/// // Three players; the last needs one of the others to be worth anything.
/// let worth = |set: &[usize]| f64::from(u8::from(set.contains(&2) && set.len() > 1));
/// let played = DataShapley { permutations: 2_000, precision: 0.0, ..default() }.play(3, &worth)?;
/// assert!((played.values[2] - 2.0 / 3.0).abs() < 4.0 * played.standard_errors[2]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataShapley {
    /// How networks are trained. With a cache, a stopped run goes on: a folder for each size of subsets.
    pub retraining: Retraining,
    /// How sizes count.
    pub semivalue: Semivalue,
    /// Orders at most; at least 2.
    pub permutations: usize,
    /// Orders walked side by side; the stopping rule is asked after each such round.
    pub together: usize,
    /// An order ends when this share, or less, of the way to all examples is left; 0 walks every order to its end.
    pub tolerance: f64,
    /// Ends when standard errors are this share of the values; 0 uses all permutations.
    pub precision: f64,
    /// Root of the orders.
    pub seed: u64,
}

impl Default for DataShapley {
    fn default() -> DataShapley {
        DataShapley {
            retraining: Retraining::default(),
            semivalue: Semivalue::Shapley,
            permutations: 96,
            together: 16,
            tolerance: 0.01,
            precision: 0.1,
            seed: 0,
        }
    }
}

/// Values of the players of a game.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// One for each player.
    pub values: Vec<f64>,
    /// Over permutations, one for each player.
    pub standard_errors: Vec<f64>,
    /// Permutations walked.
    pub permutations: usize,
    /// Sets of at least one player whose worth was asked.
    pub evaluations: usize,
}

/// Scores of the train examples, and what they took.
#[derive(Clone, Debug)]
pub struct Shapley {
    /// Scores `[n_test, n_train]` with standard errors over permutations, which include the noise of training.
    pub estimated: Estimated,
    /// Permutations walked.
    pub permutations: usize,
    /// Networks trained.
    pub trainings: usize,
}

impl DataShapley {
    /// Values of the players of any game: `worth` of a set of players, given in ascending order, the empty one included.
    ///
    /// Errors: [`Error::Option`]; [`Error::Numerical`] if a worth is not finite.
    pub fn play(&self, players: usize, worth: &dyn Fn(&[usize]) -> f64) -> Result<Played> {
        let walked = self.walk(players, &mut |sets| {
            let values = guarded(|| Ok(sets.iter().map(|(_, set)| worth(set)).collect::<Vec<f64>>()))?;
            match values.iter().position(|value| !value.is_finite()) {
                Some(at) => Err(Error::numerical("the game", format!("the worth of {:?} is {}", sets[at].1, values[at]))),
                None => Ok(values),
            }
        })?;
        let found = walked.contrast()?;
        let list = |tensor: &tch::Tensor| guarded(|| Ok(Vec::<f64>::try_from(&tensor.view([-1]))?));
        Ok(Played {
            values: list(&found.difference)?,
            standard_errors: list(&found.standard_error)?,
            permutations: walked.permutations,
            evaluations: walked.evaluations,
        })
    }

    /// Trains networks on prefixes of permutations of `train` and measures them on `test`.
    ///
    /// Errors: [`Error::Option`]; what [`Retraining::run`] says.
    pub fn score(&self, task: &Task, train: &Dataset, test: &Dataset) -> Result<Shapley> {
        let walked = self.walk(train.len(), &mut |sets| self.measure(task, train, test, sets))?;
        let digests = (test.digests()?, train.digests()?);
        let sides = (Side { frame: test.frame(), digests: &digests.0 }, Side { frame: train.frame(), digests: &digests.1 });
        let name = match self.semivalue {
            Semivalue::Shapley => "Data Shapley".to_string(),
            Semivalue::Beta { alpha, beta } => format!("Beta({alpha}, {beta}) Shapley"),
            Semivalue::Banzhaf => "Banzhaf (permutations)".to_string(),
        };
        Ok(Shapley {
            estimated: Estimated::new(walked.contrast()?, &name, &sides.0, &sides.1)?,
            permutations: walked.permutations,
            trainings: walked.evaluations * self.retraining.runs,
        })
    }

    fn walk(&self, players: usize, worth: &mut super::permutations::Worth<'_>) -> Result<Walked> {
        let (semivalue, permutations, together) = (self.semivalue, self.permutations, self.together);
        let (tolerance, precision, seed) = (self.tolerance, self.precision, self.seed);
        Walk { players, semivalue, permutations, together, tolerance, precision, seed }.walk(worth)
    }

    /// Measurements of each test example and their mean, for sets of one size.
    fn measure(&self, task: &Task, train: &Dataset, test: &Dataset, sets: &[Prefix]) -> Result<Vec<f64>> {
        let size = sets.first().map_or(0, |(_, set)| set.len());
        let values = if size == 0 {
            let untrained = |number: usize| {
                let mut sum = vec![0.0; test.len()];
                for run in 0..self.retraining.runs {
                    let fresh = Snapshot::fresh(task, self.retraining.trainer_of(number, run).seed)?;
                    let values = fresh.measure(Of::Measurement, test)?;
                    let values = guarded(|| Ok(Vec::<f64>::try_from(&values.to_kind(Kind::Double).contiguous())?))?;
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / self.retraining.runs as f64);
                }
                Ok(sum)
            };
            sets.iter().map(|(number, _)| untrained(*number)).collect::<Result<Vec<_>>>()?
        } else {
            let named = sets.iter().map(|(number, set)| (format!("{size} of permutation {number}"), set.clone()));
            let numbers = sets.iter().map(|(number, _)| *number).collect();
            let subsets = Subsets::of(train, sets.len(), named)?.numbered(numbers);
            let cache = self.retraining.cache.as_ref().map(|folder| folder.join(format!("size-{size:05}")));
            let retraining = Retraining { cache, keep_checkpoints: false, ..self.retraining.clone() };
            let values = retraining.run(task, train, test, &subsets)?.mean()?;
            guarded(|| Ok(Vec::<Vec<f64>>::try_from(&values)?))?
        };
        let with_mean = |row: Vec<f64>| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            row.into_iter().chain([mean])
        };
        Ok(values.into_iter().flat_map(with_mean).collect())
    }
}
