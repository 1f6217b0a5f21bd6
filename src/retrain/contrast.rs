//! Means over subsets with an example against those without it.

use tch::{Kind, Tensor};

use super::retrained::Retrained;
use super::subsets::Subsets;
use crate::error::{Error, Result, guarded};

/// Differences of means and their standard errors, `[rows, n]` each, float64.
pub(super) struct Contrast {
    pub(super) difference: Tensor,
    pub(super) standard_error: Tensor,
}

/// Columns that the masks and the values have in common: one mask per subset, and how often each example is inside and outside.
pub(super) struct Inclusion {
    /// `[subsets, n]`, float64.
    pub(super) masks: Tensor,
    /// `[n]`, float64.
    inside: Tensor,
    outside: Tensor,
}

impl Inclusion {
    /// Of the examples at these positions. Errors: [`Error::Data`] naming an example that is in no subset, or in every one.
    pub(super) fn of(subsets: &Subsets, positions: &[usize]) -> Result<Inclusion> {
        let index: Vec<i64> = positions.iter().map(|&at| at as i64).collect();
        let ids = crate::frame::column(subsets.train(), "example")?.u32()?.clone();
        guarded(|| {
            let masks = subsets.masks().index_select(1, &Tensor::from_slice(&index)).to_kind(Kind::Double);
            let inside = masks.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
            let counts = Vec::<f64>::try_from(&inside)?;
            let all = subsets.len();
            for (&at, count) in positions.iter().zip(counts) {
                let (which, lacks) = match count as usize {
                    0 => ("none", "with"),
                    some if some == all => ("each", "without"),
                    _ => continue,
                };
                let id = ids.get(at).unwrap_or_default();
                let reason = format!("it is in {which} of the {all} subsets: what it adds needs some {lacks} it");
                return Err(Error::data(format!("train example {id}"), reason));
            }
            let outside = all as f64 - &inside;
            Ok(Inclusion { masks, inside, outside })
        })
    }

    /// Of every train example.
    pub(super) fn of_all(subsets: &Subsets) -> Result<Inclusion> {
        Inclusion::of(subsets, &(0..subsets.n()).collect::<Vec<_>>())
    }

    /// Mean value with each example less that without it, for values `[subsets, m]`.
    ///
    /// The standard error takes the two variances as they are; where one side has a single subset it takes the two as equal; with
    /// one subset on each side there is none (NaN).
    pub(super) fn contrast(&self, values: &Tensor) -> Result<Contrast> {
        guarded(|| {
            let (inside, outside) = (&self.inside, &self.outside);
            let values = (values - values.mean_dim([0i64].as_slice(), true, None::<Kind>)).transpose(0, 1).contiguous(); // [m, subsets]
            let sums = values.matmul(&self.masks); // [m, n]; those outside are their negatives
            let (with, without) = (&sums / inside, -&sums / outside);
            let squares = values.square();
            let squares_inside = squares.matmul(&self.masks);
            let squares_outside = squares.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>) - &squares_inside;
            let spread_inside = (squares_inside - with.square() * inside).clamp_min(0.0);
            let spread_outside = (squares_outside - without.square() * outside).clamp_min(0.0);
            let apart = &spread_inside / (inside * (inside - 1.0)) + &spread_outside / (outside * (outside - 1.0));
            let pooled =
                (spread_inside + spread_outside) / (inside + outside - 2.0) * (inside.reciprocal() + outside.reciprocal());
            let single = inside.eq(1.0).logical_or(&outside.eq(1.0)).expand_as(&apart);
            let standard_error = pooled.where_self(&single, &apart).sqrt();
            Ok(Contrast { difference: with - without, standard_error })
        })
    }
}

/// Means over runs with a last column that is their mean over test examples, `[subsets, n_test + 1]`.
pub(super) fn with_overall(retrained: &Retrained) -> Result<Tensor> {
    let values = retrained.mean()?;
    guarded(|| Ok(Tensor::cat(&[&values, &values.mean_dim([1i64].as_slice(), true, None::<Kind>)], 1)))
}
