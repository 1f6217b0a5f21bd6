use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::kronecker::{Eigenvalues, KroneckerFactors};
use super::{Curvature, Damping, Matrix, Preconditioner, check_tolerance};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::snapshot::Snapshot;

/// K-FAC: each layer's curvature as one Kronecker product, `F ≈ S ⊗ A`.
///
/// Formula: for a layer `s = W ã`, `A = E[Σ_t ã ãᵀ]` `[in+1, in+1]` and `S = E[δ δᵀ]` `[out, out]`; the map is
/// `Q_S [(Q_Sᵀ V Q_A) / (λ_S λ_Aᵀ + λ)] Q_Aᵀ`, or with `factored` damping `(S + √λ/π)⁻¹ V (A + π√λ)⁻¹`,
/// `π² = (tr A/dim A)/(tr S/dim S)`, which keeps an outer product an outer product.
/// Cost: one pass over the train set, `in³ + out³` for each layer, `in² + out²` for each gradient. Memory: in² + out² a layer.
/// Defaults: the Gauss-Newton matrix, λ = 0.1 of each layer's mean eigenvalue (Grosse et al. 2023), damping not factored.
/// Misleads: exact for one linear layer only where inputs and output gradients are independent; layers do not see each other.
/// Reference: Martens & Grosse 2015 (arXiv 1503.05671); Grosse & Martens 2016 for convolutions (arXiv 1602.01407).
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let scores = Influence::new(Kfac::default()).fit(&task, &train)?.score(&test)?;
/// assert_eq!(scores.tensor().size(), [10, 200]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kfac {
    /// Which matrix is approximated; the Hessian is not a mean of squares and has no such factors.
    pub matrix: Matrix,
    /// λ, relative to the mean eigenvalue of each layer.
    pub damping: Damping,
    /// Damp each factor by itself: one outer product stays one.
    pub factored: bool,
    /// Error of scores that standing in for `1/(λ_S λ_Aᵀ + λ)` by a few outer products may make (root mean square, relative to
    /// theirs); 0 keeps the whole matrix.
    pub tolerance: f64,
}

impl Default for Kfac {
    fn default() -> Kfac {
        Kfac { matrix: Matrix::GaussNewton, damping: Damping::Relative(0.1), factored: false, tolerance: 1e-5 }
    }
}

impl Kfac {
    /// The fitted factors, to look at or to map gradients with.
    pub fn factors(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<KroneckerFactors> {
        check_tolerance("Kfac.tolerance", self.tolerance)?;
        let eigenvalues = if self.factored { Eigenvalues::Factored } else { Eigenvalues::Products };
        KroneckerFactors::fit(snapshot, train, self.matrix, ("Kfac.damping", self.damping), eigenvalues, self.tolerance)
    }
}

impl Curvature for Kfac {
    fn name(&self) -> String {
        "K-FAC".into()
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        Ok(Box::new(self.factors(snapshot, train)?))
    }
}
