//! How many runs would be enough.

use polars::df;
use polars::prelude::DataFrame;

use super::{Posterior, Test};
use crate::error::{Error, Result};
use crate::statistics::{squared_effect, t_test_power};

/// Runs beyond which nobody goes.
const MOST: usize = 1 << 16;
/// Effects for which the chance is computed; between them it is interpolated.
const GRID: usize = 400;

impl Posterior {
    /// The chance to find a score different from zero with other numbers of runs, from the noise that was measured.
    ///
    /// Each pair's effect `(μ / σ)²` is estimated from its t, corrected for the luck of these runs
    /// ([`squared_effect`](crate::statistics::squared_effect)); below zero it counts as none. Columns: `runs`, `power` (mean over pairs of the chance
    /// that Student's t over so many runs has p below `alpha`), `sure` (share of pairs with a chance of at least 0.8).
    ///
    /// Before any correction for the number of pairs. The effects of single pairs are estimated with much noise, so that the curve is flatter than
    /// the truth: too high for few runs, too low for many.
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
        let found: Vec<[f64; 2]> = runs.iter().map(|&runs| chances(&effects, runs, alpha)).collect();
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
        let enough = |runs: usize| chances(&effects, runs, alpha)[0] >= power;
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

    /// `|μ / σ|` of every pair that has a t, none below zero, sorted.
    fn effects(&self) -> Result<Vec<f64>> {
        let runs = self.balanced(4)?.len();
        let [_, _, t, _] = self.tested(Test::T)?;
        let effect = |t: &f64| squared_effect(*t, runs).map(|square| square.max(0.0).sqrt());
        let mut effects: Vec<f64> = t.iter().filter(|t| !t.is_nan()).filter_map(effect).collect();
        effects.sort_unstable_by(f64::total_cmp);
        match effects.is_empty() {
            true => Err(Error::data(
                format!("posterior of {}", self.method()),
                "all runs give the same scores, so that nothing is noise",
            )),
            false => Ok(effects),
        }
    }
}

fn check(alpha: f64) -> Result<()> {
    match alpha > 0.0 && alpha < 1.0 {
        true => Ok(()),
        false => Err(Error::option("alpha", "above 0 and below 1", alpha)),
    }
}

/// Mean chance over pairs, and the share of pairs with a chance of at least 0.8; `effects` are sorted.
fn chances(effects: &[f64], runs: usize, alpha: f64) -> [f64; 2] {
    // Beyond an effect of 20 / √runs all is found, up to rounding; for two runs the t distribution has a longer tail.
    let end = if runs == 2 { 200.0 } else { 30.0 } / (runs as f64).sqrt();
    // Denser where effects are small.
    let place = |at: usize| end * (at as f64 / GRID as f64).powi(2);
    let grid: Vec<f64> = (0..=GRID).map(|at| t_test_power(place(at), runs, alpha).unwrap_or(1.0)).collect();
    let chance = |effect: f64| {
        let at = (effect / end).sqrt() * GRID as f64;
        if at >= GRID as f64 {
            return 1.0;
        }
        let (below, share) = (at.floor() as usize, at.fract());
        grid[below] + (grid[below + 1] - grid[below]) * share
    };
    let n = effects.len() as f64;
    let sure = effects.len() - effects.partition_point(|&effect| chance(effect) < 0.8);
    [effects.iter().map(|&effect| chance(effect)).sum::<f64>() / n, sure as f64 / n]
}
