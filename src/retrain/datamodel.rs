//! Answers: which weights of the train examples, summed over a subset, predict what a network trained on that subset says?
//! Formula: `m(z'; θ_S) ≈ b + Σ_{j ∈ S} w_j`, for each test example by least squares over the subsets of a [`Retrained`], with
//! `Σ_S r_S² + λ Σ_j w_j²` (ridge) or `(1/2s) Σ_S r_S² + λ Σ_j |w_j|` (lasso) for residuals `r` of `s` subsets; b is not penalised.
//! These are scikit-learn's scales of λ, its `alpha`.
//! Parts: one symmetric eigendecomposition, of size min(subsets, n), serves all test examples and λ; coordinate descent on the
//! examples in use, each λ starting from the one before.
//! Cost: products `[subsets, n] × [n, subsets]` and `[n, subsets] × [subsets, n_test]` for each fold; the lasso more, by its path.
//! Defaults: ridge, λ for each test example by 5 folds out of 13 values around the mean eigenvalue.
//! Misleads: with fewer subsets than examples the weights are mostly the penalty's choice; look at the held-out R² of
//! [`FittedDatamodel::frame`].
//! Reference: Ilyas et al. 2022, section 2 (arXiv 2202.00622); ridge as in D-TRAK's comparison (arXiv 2311.00500, appendix).

mod active;
mod design;
mod fitted;
mod lasso;
mod ridge;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

pub use fitted::FittedDatamodel;

use super::contrast::Inclusion;
use super::retrained::Retrained;
use crate::error::{Error, Result, guarded};
use crate::random::{self, Purpose};
use lasso::Lasso;
use ridge::Ridge;

/// What keeps the weights small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Penalty {
    /// The sum of their squares.
    #[default]
    Ridge,
    /// The sum of their absolute values: most weights are zero.
    Lasso,
}

/// How strong a penalty is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Strength {
    /// The same λ for every test example.
    Fixed(f64),
    /// For each test example, the λ with the least squared error on subsets that were held out.
    CrossValidated {
        /// How many parts the subsets are held out in, one after the other.
        folds: usize,
        /// Values of λ to choose from; empty for 13 values over six decades around the mean eigenvalue (ridge), or 20 from the
        /// least λ without any weight down to a twentieth of it (lasso).
        grid: Vec<f64>,
    },
}

impl Default for Strength {
    fn default() -> Strength {
        Strength::CrossValidated { folds: 5, grid: Vec::new() }
    }
}

/// Linear regression of what networks say on what they were trained on.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(30, 2, 0)?;
/// let subsets = Subsets::fraction(&train, 0.5, 200, 0)?;
/// let masks = subsets.masks().to_kind(ascribe::tch::Kind::Float);
/// // The first test example is about train example 3, the second about 4 and 5.
/// let says = Tensor::cat(&[masks.narrow(1, 3, 1) * 2.0 + 1.0, masks.narrow(1, 4, 1) - masks.narrow(1, 5, 1)], 1);
/// let truth = Retrained::new(says, &subsets, &test)?;
/// let fitted = Datamodel { penalty: Penalty::Lasso, ..default() }.fit(&truth)?;
/// assert_eq!((fitted.scores().top(0, 1)?, fitted.scores().bottom(1, 1)?), (vec![3], vec![5]));
/// assert!((fitted.scores().get(0, 3)? - 2.0).abs() < 0.2); // 2, less what the penalty takes
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Datamodel {
    /// Ridge or lasso.
    pub penalty: Penalty,
    /// λ, or how it is chosen.
    pub strength: Strength,
    /// Which subsets are held out together.
    pub seed: u64,
}

/// Weights `[n_test, n]` and the constants `[n_test]`, float64.
struct Fit {
    weights: Tensor,
    intercepts: Tensor,
}

/// λ of each test example, `[n_test]`, and the grid it was chosen from with the squared errors there, `[grid, n_test]` both.
struct Chosen {
    lambda: Tensor,
    validation: Option<(Tensor, Tensor)>,
}

impl Datamodel {
    /// Weights of every train example for every test example.
    ///
    /// Errors: [`Error::Option`]; [`Error::Data`] naming an example that every subset has, or none; for fewer subsets than folds.
    pub fn fit(&self, retrained: &Retrained) -> Result<FittedDatamodel> {
        self.check(retrained.subsets().len())?;
        let masks = Inclusion::of_all(retrained.subsets())?.masks;
        let values = retrained.mean()?;
        let (fit, chosen) = guarded(|| {
            let chosen = self.choose(&masks, &values)?;
            Ok((self.solve(&masks, &values, &chosen.lambda)?, chosen))
        })?;
        FittedDatamodel::new(self, retrained, fit, chosen)
    }

    fn check(&self, subsets: usize) -> Result<()> {
        let valid = |lambda: &f64| lambda.is_finite() && *lambda > 0.0;
        match &self.strength {
            Strength::Fixed(lambda) if !valid(lambda) => Err(Error::option("Datamodel.strength", "λ above 0", lambda)),
            Strength::Fixed(_) => Ok(()),
            Strength::CrossValidated { folds, .. } if !(2..=subsets).contains(folds) => {
                Err(Error::option("Datamodel.strength", format!("2 to {subsets} folds (the subsets)"), folds))
            }
            Strength::CrossValidated { grid, .. } => match grid.iter().find(|lambda| !valid(lambda)) {
                Some(lambda) => Err(Error::option("Datamodel.strength", "every λ of the grid above 0", lambda)),
                None => Ok(()),
            },
        }
    }

    fn choose(&self, masks: &Tensor, values: &Tensor) -> Result<Chosen> {
        let m = values.size()[1];
        let (folds, given) = match &self.strength {
            Strength::Fixed(lambda) => {
                return Ok(Chosen { lambda: Tensor::full([m], *lambda, (Kind::Double, values.device())), validation: None });
            }
            Strength::CrossValidated { folds, grid } => (*folds, grid),
        };
        let grid = if given.is_empty() {
            match self.penalty {
                Penalty::Ridge => Ridge::new(masks, values)?.grid(),
                Penalty::Lasso => Lasso::new(masks, values)?.grid()?,
            }
        } else {
            let mut grid = given.clone();
            grid.sort_unstable_by(|a, b| b.total_cmp(a));
            Tensor::from_slice(&grid).unsqueeze(1).repeat([1, m])
        }; // [grid, n_test], descending
        let order = random::permutation(masks.size()[0] as usize, self.seed, Purpose::Fold, 0);
        let mut errors = grid.zeros_like();
        for fold in 0..folds {
            let part = |held: bool| {
                let chosen = order.iter().enumerate().filter(|(place, _)| (place % folds == fold) == held);
                let rows = Tensor::from_slice(&chosen.map(|(_, &row)| row as i64).collect::<Vec<_>>());
                (masks.index_select(0, &rows), values.index_select(0, &rows))
            };
            let ((masks, values), (held_masks, held_values)) = (part(false), part(true));
            errors += match self.penalty {
                Penalty::Ridge => Ridge::new(&masks, &values)?.errors(&held_masks, &held_values, &grid),
                Penalty::Lasso => Lasso::new(&masks, &values)?.errors(&held_masks, &held_values, &grid)?,
            };
        }
        let lambda = grid.gather(0, &errors.argmin(0, true), false).squeeze_dim(0);
        Ok(Chosen { lambda, validation: Some((grid, errors)) })
    }

    fn solve(&self, masks: &Tensor, values: &Tensor, lambda: &Tensor) -> Result<Fit> {
        match self.penalty {
            Penalty::Ridge => Ok(Ridge::new(masks, values)?.solve(lambda)),
            Penalty::Lasso => Lasso::new(masks, values)?.solve(lambda),
        }
    }
}
