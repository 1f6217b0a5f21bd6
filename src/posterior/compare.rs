//! Whether methods agree: about scores, about noise, about which scores are noise.

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use super::{Posterior, Test};
use crate::error::{Error, Result};
use crate::statistics::{Coefficient, Correlations, correlation_matrix, ranks};

/// What of a pair is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Mean over runs.
    Mean,
    /// Standard deviation over runs.
    Std,
    /// Mean / std, signed: what the published code of Nguyen et al. calls "p".
    Snr,
    /// Two-sided p of Student's t over runs.
    P,
    /// Rank of the mean among the train examples of the same test example.
    Rank,
}

impl Aspect {
    /// For tables: `mean`.
    pub fn name(self) -> &'static str {
        match self {
            Aspect::Mean => "mean",
            Aspect::Std => "std",
            Aspect::Snr => "snr",
            Aspect::P => "p",
            Aspect::Rank => "rank",
        }
    }
}

/// Correlations of one aspect of every pair between methods, a row for each two methods and coefficient.
///
/// Columns: `aspect`, then those of [`correlation_matrix`]: `a`, `b`, `coefficient`, `value`, `low`, `high`, `p`, `n`, `method` (of the
/// interval). With `options.resamples` and no groups, whole test examples are drawn, since the pairs of one depend on each other. Where
/// an aspect is not defined (p of equal draws), `options.missing` says what happens.
///
/// Errors: [`Error::Data`] for fewer than two posteriors, or two of one name or of other examples; those of [`Posterior::noise`] and
/// [`correlation_matrix`].
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::posterior::{self, Aspect};
/// use ascribe::statistics::Correlations;
/// let (train, test) = dataset::digits()?.split(60, 10, 0)?;
/// let trainer = Trainer { epochs: 3, ..default() };
/// let task = (0..4).try_fold(Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])), |task, _| task.train(&trainer, &train))?;
/// let dot = Posterior::of(&GradDot::default(), &task, &train, &test)?;
/// let cos = Posterior::of(&GradCos::default(), &task, &train, &test)?;
/// let table = posterior::correlations(&[&dot, &cos], Aspect::Snr, &Correlations { resamples: 200, ..default() })?;
/// assert!(table.column("low")?.f64()?.get(0) > Some(0.3)); // they agree about which scores are noise
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn correlations(posteriors: &[&Posterior], aspect: Aspect, options: &Correlations) -> Result<DataFrame> {
    let columns = columns(posteriors, aspect)?;
    let (_, n) = posteriors[0].size();
    let mut options = options.clone();
    if options.resamples > 0 && options.groups.is_none() {
        options.groups = Some((0..columns[0].1.len()).map(|pair| pair / n).collect());
    }
    let named: Vec<(&str, &[f64])> = columns.iter().map(|(name, values)| (*name, values.as_slice())).collect();
    let mut table = correlation_matrix(&named, &options)?;
    let name = Series::new("aspect".into(), vec![aspect.name(); table.height()]).into_column();
    table.insert_column(0, name)?;
    Ok(table)
}

/// The same within test examples: the correlation over train examples for each test example, averaged. Scores of one test example are larger
/// than those of another for every method, and that alone makes methods agree over all pairs.
///
/// Columns: `aspect`, `a`, `b`, `coefficient`, `value` with `low` and `high` (the 95 % interval of
/// [`within_groups`](crate::statistics::within_groups), over test examples), `n` (test examples in the mean).
///
/// Errors: those of [`correlations`].
pub fn correlations_within(posteriors: &[&Posterior], aspect: Aspect, coefficient: Coefficient) -> Result<DataFrame> {
    let columns = columns(posteriors, aspect)?;
    let (_, n) = posteriors[0].size();
    let groups: Vec<usize> = (0..columns[0].1.len()).map(|pair| pair / n).collect();
    let mut rows = Vec::new();
    for (at, a) in columns.iter().enumerate() {
        for b in &columns[at + 1..] {
            rows.push((a.0, b.0, crate::statistics::within_groups(&a.1, &b.1, &groups, coefficient)));
        }
    }
    Ok(polars::df!(
        "aspect" => vec![aspect.name(); rows.len()],
        "a" => rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        "b" => rows.iter().map(|row| row.1).collect::<Vec<_>>(),
        "coefficient" => vec![coefficient.name(); rows.len()],
        "value" => rows.iter().map(|row| row.2.map(|e| e.mean)).collect::<Vec<_>>(),
        "low" => rows.iter().map(|row| row.2.map(|e| e.low)).collect::<Vec<_>>(),
        "high" => rows.iter().map(|row| row.2.map(|e| e.high)).collect::<Vec<_>>(),
        "n" => rows.iter().map(|row| row.2.map(|e| e.n as u32)).collect::<Vec<_>>(),
    )?)
}

/// The aspect of every pair by each method, pairs in one order.
fn columns<'a>(posteriors: &[&'a Posterior], aspect: Aspect) -> Result<Vec<(&'a str, Vec<f64>)>> {
    let [first, _, ..] = posteriors else {
        return Err(Error::data("posteriors", format!("expected at least two to compare, got {}", posteriors.len())));
    };
    let mut columns = Vec::new();
    for posterior in posteriors {
        let (here, about) = (first.about()?, posterior.about()?);
        here.test.check(&about.method, "test", &about.test.side())?;
        here.train.check(&about.method, "train", &about.train.side())?;
        columns.push((posterior.method(), posterior.aspect(aspect)?));
    }
    Ok(columns)
}

impl Posterior {
    fn aspect(&self, aspect: Aspect) -> Result<Vec<f64>> {
        let [mean, std, _, p] = self.tested(Test::T)?;
        Ok(match aspect {
            Aspect::Mean => mean,
            Aspect::Std => std,
            Aspect::P => p,
            Aspect::Snr => mean.iter().zip(&std).map(|(mean, std)| mean / std).collect(),
            Aspect::Rank => mean.chunks(self.size().1).flat_map(ranks).collect(),
        })
    }
}
