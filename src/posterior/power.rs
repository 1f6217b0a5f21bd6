//! How many runs would be enough.

use polars::df;
use polars::prelude::DataFrame;

use super::{Posterior, Test};
use crate::error::{Error, Result};
use crate::statistics::t_test_power;

/// Runs beyond which nobody goes.
const MOST: usize = 1 << 16;
/// Sizes of effects that a pair may have, beside none.
const SIZES: usize = 60;
/// Rounds of expectation and maximisation.
const ROUNDS: usize = 500;

impl Posterior {
    /// The chance to find a score different from zero with other numbers of runs, from the noise that was measured.
    ///
    /// From the measured p-values of all pairs follows how many pairs have an effect `|μ / σ|` of which size: the distribution that makes these p-values
    /// most probable, found by expectation and maximisation over sizes from 0.05 to 30 / √R, and none (Kiefer & Wolfowitz 1956). So the luck of these R runs is
    /// taken off, which the measured ratio of a single pair still has. Columns: `runs`, `power` (mean over pairs of the chance that Student's t over so many runs
    /// has p below `alpha`; at R itself about the share that was found), `sure` (share of pairs with a chance of at least 0.8).
    ///
    /// Before any correction for the number of pairs. Far beyond R the sizes of the smallest effects decide, of which the data says least.
    ///
    /// Errors: [`Error::Option`] for `alpha` outside 0 to 1 or fewer than two runs asked for; [`Error::Data`] for fewer than four runs measured.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(60, 10, 0)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train_runs(&Trainer { epochs: 4, ..default() }, &train, 6)?;
    /// let posterior = Posterior::of(&GradCos::default(), &task, &train, &test)?;
    /// let table = posterior.power(0.05, &[3, 6, 12])?;
    /// let power: Vec<f64> = table.column("power")?.f64()?.iter().flatten().collect();
    /// assert!(power[0] < power[1] && power[1] < power[2]);
    /// assert!(posterior.runs_needed(0.05, power[1])?.is_some_and(|runs| (5..=7).contains(&runs)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn power(&self, alpha: f64, runs: &[usize]) -> Result<DataFrame> {
        check(alpha)?;
        if let Some(few) = runs.iter().find(|&&runs| runs < 2) {
            return Err(Error::option("runs", "at least 2 each", few));
        }
        let effects = self.effects()?;
        let found: Vec<[f64; 2]> = runs.iter().map(|&runs| effects.chances(runs, alpha)).collect();
        Ok(df!(
            "runs" => runs.iter().map(|&runs| runs as u32).collect::<Vec<_>>(),
            "power" => found.iter().map(|chances| chances[0]).collect::<Vec<_>>(),
            "sure" => found.iter().map(|chances| chances[1]).collect::<Vec<_>>(),
        )?)
    }

    /// The fewest runs whose [`power`](Posterior::power) is at least `power`; `None` where 65,536 do not do, since scores of pairs without an effect
    /// are found with chance `alpha` whatever the number.
    ///
    /// Errors: those of [`Posterior::power`]; [`Error::Option`] for `power` outside 0 to 1.
    pub fn runs_needed(&self, alpha: f64, power: f64) -> Result<Option<usize>> {
        check(alpha)?;
        if !(power > 0.0 && power < 1.0) {
            return Err(Error::option("power", "above 0 and below 1", power));
        }
        let effects = self.effects()?;
        let enough = |runs: usize| effects.chances(runs, alpha)[0] >= power;
        let (mut low, mut high) = (1, 2);
        while !enough(high) {
            if high >= MOST {
                return Ok(None);
            }
            (low, high) = (high, 2 * high);
        }
        while high - low > 1 {
            let middle = (low + high) / 2;
            if enough(middle) { high = middle } else { low = middle }
        }
        Ok(Some(high))
    }

    /// How many pairs have an effect of which size.
    fn effects(&self) -> Result<Effects> {
        let runs = self.balanced(4)?.len();
        let [_, _, _, p] = self.tested(Test::T)?;
        let known: Vec<f64> = p.into_iter().filter(|p| !p.is_nan()).collect();
        match known.is_empty() {
            true => Err(Error::data(
                format!("posterior of {}", self.method()),
                "all runs give the same scores, so that nothing is noise",
            )),
            false => Ok(Effects::of(&known, runs)),
        }
    }
}

/// A distribution of effects.
struct Effects {
    /// `|μ / σ|`.
    sizes: Vec<f64>,
    /// Share of the pairs.
    shares: Vec<f64>,
}

impl Effects {
    fn of(p: &[f64], runs: usize) -> Effects {
        let (least, most) = (0.05f64, 30.0 / (runs as f64).sqrt());
        let size = |at: usize| least * (most / least).powf(at as f64 / (SIZES - 1) as f64);
        let sizes: Vec<f64> = std::iter::once(0.0).chain((0..SIZES).map(size)).collect();
        // Upper ends of bins of p-values: by powers of ten from far out, then evenly.
        let ends: Vec<f64> =
            (0..24).map(|at| 10f64.powf(-13.0 + at as f64 / 2.0)).chain((1..20).map(|at| f64::from(at) / 20.0)).collect();
        let mut ends: Vec<f64> = ends.into_iter().filter(|end| *end < 0.999).chain([1.0]).collect();
        ends.sort_unstable_by(f64::total_cmp);
        ends.dedup();
        let (mut counts, share) = (vec![0.0; ends.len()], 1.0 / p.len() as f64);
        p.iter().for_each(|p| counts[ends.partition_point(|end| end < p).min(ends.len() - 1)] += share);
        // The chance of each bin for an effect of each size.
        let chances: Vec<Vec<f64>> = sizes
            .iter()
            .map(|&size| {
                let below = |end: f64| if end < 1.0 { t_test_power(size, runs, end).unwrap_or(1.0) } else { 1.0 };
                let upto: Vec<f64> = ends.iter().map(|&end| below(end)).collect();
                (0..ends.len()).map(|bin| (upto[bin] - if bin > 0 { upto[bin - 1] } else { 0.0 }).max(0.0)).collect()
            })
            .collect();
        let mut shares = vec![1.0 / sizes.len() as f64; sizes.len()];
        for _ in 0..ROUNDS {
            let mut next = vec![0.0; sizes.len()];
            for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0.0) {
                let all: f64 = shares.iter().zip(&chances).map(|(share, chances)| share * chances[bin]).sum();
                let add = |((next, share), chances): ((&mut f64, &f64), &Vec<f64>)| {
                    *next += count * share * chances[bin] / all.max(1e-300)
                };
                next.iter_mut().zip(&shares).zip(&chances).for_each(add);
            }
            let sum: f64 = next.iter().sum();
            shares = next.into_iter().map(|share| share / sum.max(1e-300)).collect();
        }
        Effects { sizes, shares }
    }

    /// Mean chance over pairs, and the share of pairs with a chance of at least 0.8.
    fn chances(&self, runs: usize, alpha: f64) -> [f64; 2] {
        let chances = self.sizes.iter().map(|&size| t_test_power(size, runs, alpha).unwrap_or(1.0));
        chances.zip(&self.shares).fold([0.0; 2], |[mean, sure], (chance, share)| {
            [mean + share * chance, if chance >= 0.8 { sure + share } else { sure }]
        })
    }
}

fn check(alpha: f64) -> Result<()> {
    match alpha > 0.0 && alpha < 1.0 {
        true => Ok(()),
        false => Err(Error::option("alpha", "above 0 and below 1", alpha)),
    }
}
