//! Answers: what does an example add, on average over all sets of others, where noise of training must not decide the ranking?
//! Formula: `score(z', z_j) = E_S [m(z'; θ_{S ∪ j}) − m(z'; θ_{S \ j})]`, S with each example at probability p. For such subsets it
//! is the mean measurement with j less that without, so every training serves every example (maximum sample reuse).
//! Parts: [`Subsets::independent`](super::Subsets::independent); p = ½ is the Banzhaf value, another p the weighted one.
//! Cost: two products `[n_test, subsets] × [subsets, n]`.
//! Defaults: none. Misleads: subsets near one size only are looked at, half of all examples for p = ½.
//! Reference: Wang and Jia 2023, sections 4 and 5 (arXiv 2205.15466).

use tch::Kind;

use super::contrast::{Inclusion, with_overall};
use super::estimated::Estimated;
use super::retrained::Retrained;
use crate::error::{Error, Result, guarded};

/// Banzhaf values by maximum sample reuse.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(6, 1, 0)?;
/// let subsets = Subsets::independent(&train, 0.5, 4_000, 0)?;
/// // Each example counts; together they count more than apart: v(S) = |S|².
/// let sizes = subsets.masks().to_kind(ascribe::tch::Kind::Float).sum_dim_intlist([1i64].as_slice(), true, None);
/// let found = Banzhaf::of(&Retrained::new(sizes.square(), &subsets, &test)?)?;
/// let (value, error) = (f64::from(found.scores().get(0, 2)?), found.standard_errors().double_value(&[0, 2]));
/// assert!((value - 6.0).abs() < 4.0 * error); // E [(s + 1)² − s²] with s of five others: 2 · 2.5 + 1
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Banzhaf;

impl Banzhaf {
    /// Scores of every train example.
    ///
    /// Errors: [`Error::Data`] naming an example that every subset has, or none; [`Error::Data`] for subsets of one size, in which
    /// examples are not drawn independently: these give [`EmpiricalInfluence`](super::EmpiricalInfluence).
    pub fn of(retrained: &Retrained) -> Result<Estimated> {
        let inclusion = Inclusion::of_all(retrained.subsets())?;
        let sizes =
            guarded(|| Ok(Vec::<f64>::try_from(&inclusion.masks.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))?))?;
        let mut distinct = sizes.clone();
        distinct.sort_unstable_by(f64::total_cmp);
        distinct.dedup();
        if distinct.len() == 1 && sizes.len() > 2 && retrained.subsets().n() > 1 {
            let reason = format!("all {} have {} examples; draw them with Subsets::independent", sizes.len(), sizes[0]);
            return Err(Error::data("subsets", reason));
        }
        Estimated::of(retrained, inclusion.contrast(&with_overall(retrained)?)?, "Banzhaf")
    }
}
