use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, Series};

use crate::error::{Error, Result};
use crate::frame;
use crate::method::Attributor;
use crate::statistics::wilson;

/// How soon planted examples are found when a table is inspected from its largest score down.
///
/// `table` has one row per example, a number in `score` and a boolean in `truth`: what [`self_influence`] gives for a dataset
/// with planted label noise. Columns of the result, one row per number of inspected examples from 0 to n: `inspected`,
/// `found` (shares of all examples and of all planted ones), `low` and `high`: a 95 % Wilson interval for the share found, as
/// if the planted examples were a sample. Tied scores are inspected in an order that shares their finds evenly.
///
/// Errors: [`Error::Data`] for a missing column, NaN, or nothing planted.
///
/// [`self_influence`]: crate::method::Attributor::self_influence
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::polars::df;
/// let table = df!("score" => [0.9, 0.1, 0.8, 0.2], "flipped" => [true, false, false, true])?;
/// let curve = metric::detection(&table, "score", "flipped")?;
/// let found: Vec<f64> = curve.column("found")?.f64()?.into_no_null_iter().collect();
/// assert_eq!(found, vec![0.0, 0.5, 0.5, 1.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn detection(table: &DataFrame, score: &str, truth: &str) -> Result<DataFrame> {
    let scores = frame::column(table, score)?.cast(&DataType::Float64)?;
    let scores: Vec<f64> = scores.f64()?.iter().map(|s| s.unwrap_or(f64::NAN)).collect();
    let planted: Vec<bool> = frame::column(table, truth)?.bool()?.iter().map(|t| t.unwrap_or(false)).collect();
    if let Some(row) = scores.iter().position(|s| s.is_nan()) {
        return Err(Error::data(score, format!("expected numbers, row {row} is NaN or null")));
    }
    let total = planted.iter().filter(|&&p| p).count();
    if total == 0 {
        return Err(Error::data(truth, "expected at least one planted example, got none"));
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut found = vec![0.0];
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let share = tied.iter().filter(|&&i| planted[i]).count() as f64 / tied.len() as f64;
        let before = found[found.len() - 1];
        found.extend((1..=tied.len()).map(|k| before + share * k as f64));
    }
    let intervals: Vec<(f64, f64)> = found.iter().map(|&k| wilson(k, total as f64)).collect();
    let column = |name: &str, values: Vec<f64>| Series::new(name.into(), values).into_column();
    let n = scores.len();
    let columns: Vec<Column> = vec![
        column("inspected", (0..=n).map(|k| k as f64 / n as f64).collect()),
        column("found", found.iter().map(|k| k / total as f64).collect()),
        column("low", intervals.iter().map(|i| i.0).collect()),
        column("high", intervals.iter().map(|i| i.1).collect()),
    ];
    Ok(DataFrame::new(n + 1, columns)?)
}

/// [`detection`] by self-influence for several fitted methods, one below the other, with a column `method`.
///
/// ```
/// use ascribe::prelude::*;
/// let noisy = dataset::flip_labels(&dataset::digits()?.head(100)?, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &noisy)?;
/// let fitted = [GradDot::default().fit(&task, &noisy)?, Random::default().fit(&task, &noisy)?];
/// let curves = metric::detections(&fitted, "flipped")?;
/// assert_eq!(curves.height(), 2 * 101);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn detections(fitted: &[Box<dyn Attributor>], truth: &str) -> Result<DataFrame> {
    let mut all: Option<DataFrame> = None;
    for attributor in fitted {
        let mut curve = detection(&attributor.self_influence()?, "self_influence", truth)?;
        let names = vec![attributor.name(); curve.height()];
        curve.with_column(Series::new("method".into(), names).into_column())?;
        all = Some(match all {
            Some(above) => above.vstack(&curve)?,
            None => curve,
        });
    }
    all.ok_or_else(|| Error::data("fitted methods", "expected at least one, got none"))
}
