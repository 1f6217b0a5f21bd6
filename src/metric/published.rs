use polars::prelude::{DataFrame, DataType, IntoColumn, NamedFrom, Series};

use super::correlation::floats;
use crate::error::{Error, Result};
use crate::frame::column;
use crate::plot::{end, finite};

/// Numbers published elsewhere beside ours: do they lie in our intervals?
///
/// The table with two more columns, for the rows whose `method` has a published number and null for others: `published`, and `verdict`:
/// `inside` the interval of the column `value` (its ends are the columns `<value>_low` and `<value>_high`, or else `low` and `high`) give or
/// take `tolerance`, the error of reading a figure, say; else `above` or `below`, where the published number lies.
///
/// Errors: [`Error::Data`] for a missing column, for a published number of a method that the table has not, or a tolerance below 0.
///
/// ```
/// use ascribe::{metric, polars::df};
/// let table = df!("method" => ["a", "b", "c"], "lds" => [0.3, 0.3, 0.3], "lds_low" => [0.2, 0.2, 0.2], "lds_high" => [0.4, 0.4, 0.4])?;
/// let table = metric::published(&table, "lds", &[("a", 0.402), ("b", 0.1)], 0.003)?;
/// let verdict: Vec<Option<&str>> = table.column("verdict")?.str()?.iter().collect();
/// assert_eq!(verdict, [Some("inside"), Some("below"), None]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn published(table: &DataFrame, value: &str, published: &[(&str, f64)], tolerance: f64) -> Result<DataFrame> {
    if !(tolerance >= 0.0 && tolerance.is_finite()) {
        return Err(Error::option("published.tolerance", "a number from 0", tolerance));
    }
    column(table, value)?;
    let methods = column(table, "method")?.cast(&DataType::String)?;
    let methods: Vec<Option<&str>> = methods.str()?.iter().collect();
    if let Some((unknown, _)) = published.iter().find(|(name, _)| !methods.contains(&Some(name))) {
        let known: Vec<&str> = methods.iter().flatten().copied().collect();
        return Err(Error::data(format!("published method {unknown}"), format!("expected one of {}", known.join(", "))));
    }
    let theirs: Vec<Option<f64>> = methods
        .iter()
        .map(|method| published.iter().find(|(name, _)| *method == Some(name)).map(|(_, number)| *number))
        .collect();
    let (low, high) = (finite(table, &end(table, value, "low"))?, finite(table, &end(table, value, "high"))?);
    let verdict = |(theirs, (low, high)): (&Option<f64>, (&Option<f64>, &Option<f64>))| match ((*theirs)?, (*low)?, (*high)?) {
        (theirs, low, _) if theirs < low - tolerance => Some("below"),
        (theirs, _, high) if theirs > high + tolerance => Some("above"),
        _ => Some("inside"),
    };
    let verdicts: Vec<Option<&str>> = theirs.iter().zip(low.iter().zip(&high)).map(verdict).collect();
    let mut table = table.clone();
    table.with_column(floats("published", theirs.iter().copied()))?;
    table.with_column(Series::new("verdict".into(), verdicts).into_column())?;
    Ok(table)
}
