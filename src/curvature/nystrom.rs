use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::krylov::normal;
use super::low_rank::LowRank;
use super::{Curvature, Damping, Matrix, Preconditioner};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::snapshot::{Snapshot, all_finite};

/// The inverse of a randomised low-rank approximation: `(U Λ Uᵀ + λ)⁻¹ = U (Λ + λ)⁻¹ Uᵀ + (1 − U Uᵀ)/λ`.
///
/// `U Λ Uᵀ = (HΩ)(ΩᵀHΩ)⁻¹(HΩ)ᵀ` with a random orthonormal Ω `[p, rank]`: the best positive semi-definite matrix below H on the
/// space that H makes of it.
/// Cost: `rank` products with H at once, then `rank² p`; `2 rank p` for each gradient. Memory: 3 · rank · p doubles while fitting.
/// Defaults: the Gauss-Newton matrix, rank 100, λ = 0.01 absolute. Misleads where the spectrum falls slowly: what is left out counts as zero, so the
/// solution is too large there, by up to `H/λ`. H must be positive semi-definite: a network's Hessian rarely is.
/// Reference: Frangella, Tropp & Udell 2021 (arXiv 2110.02820), algorithm 2.1.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let rows = snapshot.gradients(Of::Objective, &data.head(8)?)?.dense()?;
/// let sketched = Nystrom { rank: 650, ..default() }; // all of them, so that nothing is left out
/// let solved = sketched.fit(&snapshot, &data)?.apply(&rows)?;
/// let matrix = curvature::operator(snapshot, &data, Matrix::GaussNewton)?;
/// let residual = matrix.product(&solved)? + &solved * 0.01 - &rows;
/// assert!(residual.norm().double_value(&[]) < 1e-2 * rows.norm().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nystrom {
    /// H.
    pub matrix: Matrix,
    /// λ, more than 0.
    pub damping: Damping,
    /// Columns of Ω; no more than p are used.
    pub rank: usize,
    /// Of Ω.
    pub seed: u64,
}

impl Default for Nystrom {
    fn default() -> Nystrom {
        Nystrom { matrix: Matrix::GaussNewton, damping: Damping::Absolute(0.01), rank: 100, seed: 0 }
    }
}

impl Nystrom {
    fn check(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::option("Nystrom.rank", "at least 1", 0));
        }
        match self.damping {
            Damping::Absolute(0.0) | Damping::Relative(0.0) => Err(Error::option("Nystrom.damping", "more than 0", 0)),
            damping => damping.value("Nystrom.damping", || Ok(0.0)).map(|_| ()),
        }
    }

    pub(super) fn low_rank(&self, operator: &dyn Operator) -> Result<LowRank> {
        self.check()?;
        let damping = self.damping.of("Nystrom.damping", operator)?;
        guarded(|| {
            let (p, rank) = (operator.p(), (self.rank as i64).min(operator.p()));
            let drawn = normal(&[rank, p], self.seed, u64::MAX);
            let (q, _) = Tensor::linalg_qr(&drawn.transpose(0, 1), "reduced");
            let test = q.transpose(0, 1).contiguous(); // Ωᵀ, [rank, p]
            let seen = operator.product(&test)?;
            if !all_finite(&seen) {
                return Err(Error::numerical("Nystrom", "a product with the matrix is NaN or infinite"));
            }
            let (test, mut seen) = (test.to_kind(Kind::Double), seen.to_kind(Kind::Double));
            // The shift keeps the small matrix definite where rounding of the float32 products would not.
            let shift =
                (p as f64).sqrt() * f64::from(f32::EPSILON) * seen.norm().double_value(&[]).max(f64::from(f32::MIN_POSITIVE));
            let _ = seen.g_add_(&(&test * shift));
            let small = test.matmul(&seen.transpose(0, 1));
            let small = (&small + small.transpose(0, 1)) * 0.5;
            drop(test);
            let (factor, info) = small.linalg_cholesky_ex(false, false);
            if info.int64_value(&[]) != 0 {
                let least = small.linalg_eigvalsh("L").min().double_value(&[]) - shift;
                let hint = format!(
                    "the matrix has negative curvature (at most {least:.3e}): use Matrix::GaussNewton, or train closer to a minimum"
                );
                return Err(Error::numerical("Nystrom", hint));
            }
            let root = factor.linalg_solve_triangular(&seen, false, true, false); // B = C⁻¹ Yᵀ, [rank, p]: H ≈ BᵀB
            let (_, lengths, columns) = root.svd(true, true);
            let values = (lengths.square() - shift).clamp_min(0.0) + damping;
            Ok(LowRank { values, vectors: columns.transpose(0, 1).to_kind(Kind::Float).contiguous(), outside: Some(damping) })
        })
    }
}

impl Curvature for Nystrom {
    fn name(&self) -> String {
        match self.matrix {
            Matrix::GaussNewton => "Nyström".into(),
            other => format!("Nyström, {}", other.name()),
        }
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        self.check()?;
        Ok(Box::new(self.low_rank(self.matrix.operator(snapshot, train)?.as_ref())?))
    }
}
