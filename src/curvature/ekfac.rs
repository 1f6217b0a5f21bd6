use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::kronecker::{Eigenvalues, KroneckerFactors};
use super::{Curvature, Damping, Matrix, Preconditioner, check_tolerance};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::snapshot::Snapshot;

/// EK-FAC: the eigenbasis of K-FAC with the eigenvalues that the gradients really have in it.
///
/// Formula: `Q_S [(Q_Sᵀ V Q_A) / (Λ + λ)] Q_Aᵀ` for each layer, with `A = Q_A λ_A Q_Aᵀ`, `S = Q_S λ_S Q_Sᵀ` as in
/// [`Kfac`](super::Kfac) and `Λ = E[(Q_Sᵀ G Q_A)²]` `[out, in+1]` over per-example gradients G, weight and bias together.
/// Cost: two passes over the train set, `in³ + out³` for each layer, and `in · out` multiplications for each pair of a score. With a
/// `tolerance`, `1/(Λ+λ)` becomes a sum of r outer products, at `r (in + out)` multiplications: for an MLP on MNIST 3 or 4
/// terms leave an error of 0.1 of a score's size and take a sixth of the time, 40 to 60 leave 0.01 and gain little.
/// Defaults: the Gauss-Newton matrix, λ = 0.1 of each layer's mean eigenvalue, tolerance 0, which is exact.
/// Misleads: between layers, and between eigendirections within one, curvature is taken to vanish.
/// Reference: George et al. 2018 (arXiv 1806.03884); Grosse et al. 2023, section 3.1 (arXiv 2308.03296).
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let scores = |tolerance: f64| Influence::new(Ekfac { tolerance, ..default() }).fit(&task, &train)?.score(&test);
/// let (exact, short) = (scores(0.0)?, scores(1e-2)?);
/// let apart = (exact.tensor() - short.tensor()).abs().max().double_value(&[]);
/// assert!(apart < 5e-2 * exact.tensor().abs().max().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ekfac {
    /// Which matrix is approximated; the Hessian is not a mean of squares and has no such factors.
    pub matrix: Matrix,
    /// λ, relative to the mean eigenvalue of each layer.
    pub damping: Damping,
    /// Error of scores that standing in for `1/(Λ+λ)` by a few outer products may make (root mean square, relative to theirs);
    /// 0 keeps the whole matrix.
    pub tolerance: f64,
}

impl Default for Ekfac {
    fn default() -> Ekfac {
        Ekfac { matrix: Matrix::GaussNewton, damping: Damping::Relative(0.1), tolerance: 0.0 }
    }
}

impl Ekfac {
    /// The fitted factors, to look at or to map gradients with.
    pub fn factors(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<KroneckerFactors> {
        check_tolerance("Ekfac.tolerance", self.tolerance)?;
        let damping = ("Ekfac.damping", self.damping);
        KroneckerFactors::fit(snapshot, train, self.matrix, damping, Eigenvalues::Corrected, self.tolerance)
    }
}

impl Curvature for Ekfac {
    fn name(&self) -> String {
        "EK-FAC".into()
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        Ok(Box::new(self.factors(snapshot, train)?))
    }
}
