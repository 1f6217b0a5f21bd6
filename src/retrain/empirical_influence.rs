//! Answers: are test examples better off after trainings that saw this example?
//! Formula: `score(z', z_j) = mean { m(z'; θ_S) : j ∈ S } − mean { m(z'; θ_S) : j ∉ S }`, over the subsets S of a [`Retrained`].
//! Parts: none of the network's insides; standard errors from the spread of both sides.
//! Cost: two products `[n_test, subsets] × [subsets, n]`.
//! Defaults: none. Misleads: in subsets of one size an example comes in where another goes out, so scores are relative to the
//! average example; the noise of training is part of it, about `2σ/√subsets`.
//! Reference: Feldman and Zhang 2020, section 3 (arXiv 2008.03703); subsets of all examples but one give leave-one-out.

use super::contrast::{Inclusion, with_overall};
use super::estimated::Estimated;
use super::retrained::Retrained;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::scores::Side;

/// Mean measurement with an example less that without it.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(60, 4, 0)?;
/// let halves = Subsets::fraction(&train, 0.5, 40, 0)?;
/// // A measurement that counts train example 7, whoever else is there.
/// let counts = halves.masks().narrow(1, 7, 1).to_kind(ascribe::tch::Kind::Float).repeat([1, 4]);
/// let found = EmpiricalInfluence::of(&Retrained::new(counts, &halves, &test)?)?;
/// assert!((found.scores().get(0, 7)? - 1.0).abs() < 1e-6);
/// assert_eq!(found.scores().top(0, 1)?, [7]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmpiricalInfluence;

impl EmpiricalInfluence {
    /// Scores of every train example.
    ///
    /// For [`Subsets::leave_one_out`](super::Subsets::leave_one_out) of every example, this is leave-one-out: the mean over the
    /// other networks less what the one without the example says.
    ///
    /// Errors: [`Error::Data`] naming an example that every subset has, or none.
    pub fn of(retrained: &Retrained) -> Result<Estimated> {
        let rows = Inclusion::of_all(retrained.subsets())?.contrast(&with_overall(retrained)?)?;
        Estimated::of(retrained, rows, "Empirical influence")
    }

    /// Scores of some train examples, where the others are in every subset, say.
    ///
    /// Errors: as [`EmpiricalInfluence::of`], and for an example that the subsets were not drawn from.
    pub fn of_some(retrained: &Retrained, some: &Dataset) -> Result<Estimated> {
        let all = retrained.subsets().side().examples()?;
        let place = |id: &u32| {
            let found = all.iter().position(|other| other == id);
            found.ok_or_else(|| {
                Error::data(some.name(), format!("train example {id} is not among the {} of the subsets", all.len()))
            })
        };
        let positions = some.examples().iter().map(place).collect::<Result<Vec<_>>>()?;
        let rows = Inclusion::of(retrained.subsets(), &positions)?.contrast(&with_overall(retrained)?)?;
        let digests = some.digests()?;
        Estimated::new(rows, "Empirical influence", &retrained.side(), &Side { frame: some.frame(), digests: &digests })
    }
}
