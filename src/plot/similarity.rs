//! How alike methods are, as a matrix.

use polars::prelude::DataFrame;
use tch::{Kind, Tensor};

use super::figure::Figure;
use super::intervals::finite;
use super::matrix::matrix;
use crate::error::{Error, Result, guarded};
use crate::frame::column;

/// One metric of a table from [`metric::mean_similarity`](crate::metric::mean_similarity) as a symmetric matrix of methods, with ones on
/// its diagonal; a missing pair is drawn as zero.
///
/// Errors: [`Error::Data`] if a column is missing or there is no row of this metric; those of [`matrix`](super::matrix()).
///
/// ```
/// use ascribe::{plot, polars::df};
/// let table = df!("method" => ["a"], "other" => ["b"], "metric" => ["Jaccard"], "value" => [0.25])?;
/// assert!(plot::similarity(&table, "Jaccard")?.svg().contains("0.25"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn similarity(frame: &DataFrame, metric: &str) -> Result<Figure> {
    let texts =
        |name: &str| -> Result<Vec<&str>> { Ok(column(frame, name)?.str()?.iter().map(Option::unwrap_or_default).collect()) };
    let (methods, others, metrics, values) = (texts("method")?, texts("other")?, texts("metric")?, finite(frame, "value")?);
    let rows: Vec<usize> = (0..frame.height()).filter(|&row| metrics[row] == metric).collect();
    if rows.is_empty() {
        return Err(Error::data("metric", format!("expected a row of {metric}, got none")));
    }
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|&row| [methods[row], others[row]]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let n = names.len();
    let mut cells = vec![0.0f32; n * n];
    (0..n).for_each(|at| cells[at * n + at] = 1.0);
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap_or(0);
    for row in rows {
        let (a, b, value) = (place(methods[row]), place(others[row]), values[row].unwrap_or(0.0) as f32);
        (cells[a * n + b], cells[b * n + a]) = (value, value);
    }
    let cells = guarded(|| Ok(Tensor::from_slice(&cells).view([n as i64, n as i64]).to_kind(Kind::Float)))?;
    matrix(&cells, &names, &names)
}
