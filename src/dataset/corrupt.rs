//! Planted faults: datasets whose wrong examples are known, to test whether attribution finds them.
//!
//! A draw belongs to an example's id, not to its position: the same seed flips the same examples to the same classes in
//! whatever order they stand, and `n + 1` flips are the `n` flips and one more. So it is with copies, backdoors and shortcuts. Each
//! function marks what it planted in a boolean column, by which metrics such as `MislabelDetection` find it.

mod copies;
mod patch;

pub use copies::{duplicate, near_duplicates};
pub use patch::{Patch, backdoor, shortcut};

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

/// Positions of `n` of the examples that may be chosen, by draws that belong to their ids.
fn drawn(data: &Dataset, n: usize, what: &str, seed: u64, purpose: Purpose, may: impl Fn(usize) -> bool) -> Result<Vec<usize>> {
    let ids = data.examples().into_iter().enumerate().filter(|(position, _)| may(*position));
    let mut draws: Vec<(u64, usize)> =
        ids.map(|(position, id)| (random::generator(seed, purpose, u64::from(id)).r#gen(), position)).collect();
    if n > draws.len() {
        let reason = format!("expected at most {} examples {what}, {n} were asked for", draws.len());
        return Err(Error::data(data.name(), reason));
    }
    draws.sort_unstable();
    Ok(draws[..n].iter().map(|&(_, position)| position).collect())
}
