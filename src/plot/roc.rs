//! Found against falsely accused.

use polars::prelude::DataFrame;

use super::curve::Curve;
use super::figure::Figure;
use crate::error::Result;

/// Receiver operating characteristics, one line for each `method` of a table from [`metric::roc`](crate::metric::roc); the dashed
/// diagonal is chance.
///
/// Errors: those of [`curve`](super::curve()).
///
/// ```
/// use ascribe::{plot, polars::df};
/// let curve = df!("method" => ["a", "a", "a"], "false_positives" => [0.0, 0.0, 1.0], "true_positives" => [0.0, 0.8, 1.0])?;
/// assert!(plot::roc(&curve)?.svg().contains("false_positives"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn roc(frame: &DataFrame) -> Result<Figure> {
    Curve { diagonal: true, ..Curve::default() }.draw(frame, "false_positives", "true_positives", Some("method"))
}
