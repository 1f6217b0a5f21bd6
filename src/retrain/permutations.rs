//! What each player adds along random orders of all of them.

use super::contrast::Contrast;
use super::semivalue::Semivalue;
use crate::error::{Error, Result, guarded};
use crate::random::{self, Purpose};
use tch::Tensor;

/// The first players of an order, ascending, and the number of the order.
pub(super) type Prefix = (usize, Vec<usize>);

/// Values `[k, m]` of k prefixes of one length, row by row.
pub(super) type Worth<'a> = dyn FnMut(&[Prefix]) -> Result<Vec<f64>> + 'a;

/// How orders are walked.
pub(super) struct Walk {
    pub(super) players: usize,
    pub(super) semivalue: Semivalue,
    pub(super) permutations: usize,
    pub(super) together: usize,
    pub(super) tolerance: f64,
    pub(super) precision: f64,
    pub(super) seed: u64,
}

/// Sums over orders of what players added, `[m, players]`.
pub(super) struct Walked {
    sums: Vec<f64>,
    squares: Vec<f64>,
    players: usize,
    pub(super) permutations: usize,
    /// Values asked for of at least one player.
    pub(super) evaluations: usize,
}

impl Walk {
    fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64| match value.is_finite() && value >= 0.0 {
            true => Ok(()),
            false => Err(Error::option(format!("DataShapley.{name}"), "0 or more", value)),
        };
        within("tolerance", self.tolerance)?;
        within("precision", self.precision)?;
        match (self.players, self.permutations, self.together) {
            (0, _, _) => Err(Error::data("players", "expected at least one, got none")),
            (_, 0 | 1, _) => Err(Error::option("DataShapley.permutations", "at least 2", self.permutations)),
            (_, _, 0) => Err(Error::option("DataShapley.together", "at least 1", 0)),
            _ => self.semivalue.check(),
        }
    }

    /// Walks until the errors are small enough or the orders are used up.
    pub(super) fn walk(&self, worth: &mut Worth<'_>) -> Result<Walked> {
        self.check()?;
        let weights = self.semivalue.weights(self.players);
        let everyone = worth(&[(0, (0..self.players).collect())])?;
        let m = everyone.len();
        let size = m * self.players;
        let mut walked =
            Walked { sums: vec![0.0; size], squares: vec![0.0; size], players: self.players, permutations: 0, evaluations: 1 };
        while walked.permutations < self.permutations {
            let end = (walked.permutations + self.together).min(self.permutations);
            self.round(walked.permutations..end, &everyone, &weights, worth, &mut walked)?;
            walked.permutations = end;
            if self.precision > 0.0 && walked.permutations > 1 && walked.error_share() <= self.precision {
                break;
            }
        }
        Ok(walked)
    }

    /// Some orders side by side, so that all prefixes at one time have one length.
    fn round(
        &self,
        numbers: std::ops::Range<usize>,
        everyone: &[f64],
        weights: &[f64],
        worth: &mut Worth<'_>,
        walked: &mut Walked,
    ) -> Result<()> {
        let (m, players) = (everyone.len(), self.players);
        let order = |number| random::permutation(players, self.seed, Purpose::Permutation, number as u64);
        let mut going: Vec<(usize, Vec<usize>)> = numbers.map(|number| (number, order(number))).collect();
        let nobody: Vec<Prefix> = going.iter().map(|(number, _)| (*number, Vec::new())).collect();
        let mut before = worth(&nobody)?;
        if before.len() != m * going.len() {
            return Err(Error::shape("values of sets", m * going.len(), before.len()));
        }
        let share = |values: &[f64]| distance(values, everyone);
        let limits: Vec<f64> = before.chunks(m).map(|values| self.tolerance * share(values)).collect();
        let mut limits: Vec<f64> = limits;
        for length in 1..=players {
            let prefix = |(number, order): &(usize, Vec<usize>)| {
                let mut prefix = order[..length].to_vec();
                prefix.sort_unstable();
                (*number, prefix)
            };
            let after = worth(&going.iter().map(prefix).collect::<Vec<_>>())?;
            walked.evaluations += going.len();
            let (mut kept, mut kept_values, mut kept_limits) = (Vec::new(), Vec::new(), Vec::new());
            for (at, (number, order)) in std::mem::take(&mut going).into_iter().enumerate() {
                let (now, then) = (&after[at * m..(at + 1) * m], &before[at * m..(at + 1) * m]);
                for (row, (now, then)) in now.iter().zip(then).enumerate() {
                    let gain = weights[length - 1] * (now - then);
                    walked.sums[row * players + order[length - 1]] += gain;
                    walked.squares[row * players + order[length - 1]] += gain * gain;
                }
                // What comes after adds nothing that counts.
                if limits[at] == 0.0 || share(now) >= limits[at] {
                    kept.push((number, order));
                    kept_values.extend_from_slice(now);
                    kept_limits.push(limits[at]);
                }
            }
            (going, before, limits) = (kept, kept_values, kept_limits);
            if going.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

impl Walked {
    fn moments(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let count = self.permutations as f64;
        self.sums.iter().zip(&self.squares).map(move |(sum, squares)| {
            let mean = sum / count;
            (mean, ((squares / count - mean * mean).max(0.0) / (count - 1.0)).sqrt())
        })
    }

    /// Root mean square standard error as a share of that of the values.
    fn error_share(&self) -> f64 {
        let (values, errors) = self.moments().fold((0.0, 0.0), |(a, b), (value, error)| (a + value * value, b + error * error));
        if errors == 0.0 { 0.0 } else { (errors / values).sqrt() }
    }

    /// Means over orders and their standard errors, `[m, players]`.
    pub(super) fn contrast(&self) -> Result<Contrast> {
        let (values, errors): (Vec<f64>, Vec<f64>) = self.moments().unzip();
        let shaped = |values: &[f64]| guarded(|| Ok(Tensor::from_slice(values).view([-1, self.players as i64])));
        Ok(Contrast { difference: shaped(&values)?, standard_error: shaped(&errors)? })
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / a.len() as f64).sqrt()
}
