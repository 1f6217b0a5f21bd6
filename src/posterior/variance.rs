//! Where the noise comes from: other runs, or other checkpoints of the same run.

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use super::Posterior;
use super::frames::Table;
use crate::error::{Error, Result};
use crate::statistics::variance_components;

impl Posterior {
    /// The variance of every pair, split into that between runs and that within them, one row each.
    ///
    /// A score is `μ + a_run + b_draw` with independent random parts (one-way random effects). Columns: `test`, `train`, `between` (variance
    /// of `a`), `within` (of `b`), `share` (`between` of both: the intraclass correlation of draws of one run, at least 0). The estimate of
    /// `between` is that of analysis of variance, `(MS_between − MS_within) / draws`; below zero it is given as 0.
    ///
    /// Errors: [`Error::Data`] for fewer than two runs or fewer than two draws of each.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(60, 10, 0)?;
    /// let trainer = Trainer { epochs: 6, keep: Keep::LastEpochs(3), ..default() };
    /// let task = (0..4).try_fold(Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])), |task, _| task.train(&trainer, &train))?;
    /// let posterior = Posterior::of(&GradCos::default(), &task, &train, &test)?;
    /// let split = posterior.variance_shares()?; // another seed changes a score far more than another epoch
    /// assert!(split.column("share")?.f64()?.get(0) > Some(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn variance(&self) -> Result<DataFrame> {
        let runs = self.split()?;
        let [between, within, share] = self.components(&runs)?;
        let mut table = Table::of_pairs(self)?;
        for (name, values) in [("between", between), ("within", within), ("share", share)] {
            table.push(name, values);
        }
        table.finish()
    }

    /// How much of the variance of all pairs together comes from runs, and how much from checkpoints within them; two rows.
    ///
    /// Columns: `method`, `factor` (`run`, `checkpoint`), `freedom`, `variance`, `share` with `low` and `high`: those of
    /// [`statistics::variance_components`](crate::statistics::variance_components), a 95 % jackknife interval over runs. Pairs of large scores count most.
    /// Ready for [`plot::intervals`](crate::plot::intervals()).
    ///
    /// Errors: those of [`Posterior::variance`]; [`Error::Unsupported`] for running moments.
    pub fn variance_shares(&self) -> Result<DataFrame> {
        let (runs, kept) = (self.split()?, self.kept("an interval over runs")?);
        let draws: Vec<&[f32]> = runs.iter().flatten().map(|&draw| kept[draw].as_slice()).collect();
        let mut table = components(self.method(), &[("run", runs.len())], &draws)?;
        table.replace("factor", Series::new("factor".into(), ["run", "checkpoint"]).into_column())?;
        Ok(table)
    }

    fn split(&self) -> Result<Vec<Vec<usize>>> {
        let runs = self.balanced(2)?;
        match runs[0].len() {
            1 => {
                let reason = "expected at least 2 draws of each run, got 1; keep more checkpoints, as by Keep::LastEpochs(5)";
                Err(Error::data(format!("posterior of {}", self.method()), reason))
            }
            _ => Ok(runs),
        }
    }

    /// Between, within, and the share of the former; NaN where nothing varies.
    fn components(&self, runs: &[Vec<usize>]) -> Result<[Vec<f64>; 3]> {
        let (count, steps) = (runs.len() as f64, runs[0].len() as f64);
        self.each(runs, true, |pair| {
            let within = pair.within / (count * (steps - 1.0));
            let between = (pair.between / (count - 1.0) - within / steps).max(0.0);
            let total = between + within;
            [between, within, if total > 0.0 { between / total } else { f64::NAN }]
        })
    }
}

/// The components of pooled variances as the table of a method.
pub(super) fn components(method: &str, factors: &[(&str, usize)], draws: &[&[f32]]) -> Result<DataFrame> {
    let mut table = variance_components(factors, draws)?;
    table.rename("component", "factor".into())?;
    table.insert_column(0, Series::new("method".into(), vec![method; table.height()]).into_column())?;
    Ok(table)
}
