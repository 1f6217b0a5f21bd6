//! Planted faults: datasets whose wrong examples are known, to test whether attribution finds them.
//!
//! A draw belongs to an example's id, not to its position: the same seed flips the same examples to the same classes in
//! whatever order they stand, and `n + 1` flips are the `n` flips and one more.

use polars::prelude::{NamedFrom, Series};
use rand::Rng;

use super::Dataset;
use crate::error::{Error, Result};
use crate::random::{self, Purpose};

/// Gives `n` random examples another class, each of the others equally likely; the column `flipped` says which.
///
/// Inputs, ids and all other labels stay. `flipped` tells of this call: it replaces a column of that name.
///
/// Errors: [`Error::Data`] without class labels, with fewer than two classes, or if there are fewer than `n` examples.
///
/// ```
/// use ascribe::dataset;
/// let clean = dataset::digits()?;
/// let noisy = dataset::flip_labels(&clean, 100, 0)?;
/// let (before, after) = (clean.labels().unwrap_or_default(), noisy.labels().unwrap_or_default());
/// assert_eq!(before.iter().zip(&after).filter(|(a, b)| a != b).count(), 100);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn flip_labels(data: &Dataset, n: usize, seed: u64) -> Result<Dataset> {
    let (Some(mut labels), Some(classes)) = (data.labels(), data.classes()) else {
        return Err(Error::data(data.name(), "expected one class label per example to flip, got other targets"));
    };
    if n > data.len() {
        let reason = format!("expected at most {} labels to flip, {n} were asked for", data.len());
        return Err(Error::data(data.name(), reason));
    }
    if classes < 2 {
        return Err(Error::data(data.name(), format!("expected at least 2 classes to flip between, got {classes}")));
    }
    let draws = data.examples().into_iter().enumerate().map(|(position, id)| {
        let mut generator = random::generator(seed, Purpose::Flip, u64::from(id));
        let (key, step) = (generator.r#gen::<u64>(), generator.gen_range(1..classes as i64));
        (key, position, step)
    });
    let mut draws: Vec<(u64, usize, i64)> = draws.collect();
    draws.sort_unstable();
    let mut flipped = vec![false; labels.len()];
    for &(_, position, step) in &draws[..n] {
        labels[position] = (labels[position] + step) % classes as i64;
        flipped[position] = true;
    }
    data.with_labels(&labels)?.with_column(Series::new("flipped".into(), flipped))
}
