use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::krylov::ritz;
use super::low_rank::LowRank;
use super::{Curvature, Damping, Matrix, Preconditioner};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::snapshot::Snapshot;

/// The inverse on the dominant eigenvectors of H: `g ↦ Σ_j u_j ⟨u_j, g⟩ / (|λ_j| + λ)` over the `rank` largest |λ_j|.
///
/// The pairs come from Arnoldi's iteration (Lanczos, as H is symmetric; every direction is orthogonalised against all before,
/// twice). Outside their space the inverse is zero, or `1/λ` with `complement`.
/// Cost: `iterations` products with one vector, once, and `2 rank p` multiplications for each gradient. Memory: `iterations · p`
/// floats while fitting, `rank · p` afterwards.
/// Defaults: 100 pairs out of 200 iterations, no complement, as published; λ = 0.01 absolute.
/// Misleads: directions of small curvature weigh most in the exact inverse, and are what is left out. Negative eigenvalues count
/// by magnitude unless dropped; [`eigenpairs`](super::eigenpairs) shows them.
/// Reference: Schioppa et al. 2022 (arXiv 2112.03052).
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let low_rank = Arnoldi { rank: 5, iterations: 40, ..default() };
/// let hessian = curvature::operator(snapshot.clone(), &data, Matrix::Hessian)?;
/// let (values, vectors) = curvature::eigenpairs(hessian.as_ref(), &low_rank)?;
/// let (value, vector) = (values.double_value(&[0]), vectors.narrow(0, 0, 1));
/// // Along an eigenvector the matrix is its eigenvalue, and so is the inverse.
/// let mapped = low_rank.fit(&snapshot, &data)?.apply(&vector)?;
/// assert!((mapped * (value + 0.01) - &vector).norm().double_value(&[]) < 1e-3);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arnoldi {
    /// H.
    pub matrix: Matrix,
    /// λ.
    pub damping: Damping,
    /// Eigenpairs kept.
    pub rank: usize,
    /// Products with H, at least `rank`.
    pub iterations: usize,
    /// What to do with negative eigenvalues.
    pub keep: Spectrum,
    /// Divide by λ outside the space of the kept pairs instead of dropping it.
    pub complement: bool,
    /// Of the start vector.
    pub seed: u64,
}

/// Which eigenvalues of an indefinite matrix are kept.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].sin().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[1.5f32, -0.5])])?;
/// let (values, _) = curvature::eigenpairs(&f, &Arnoldi { keep: Spectrum::Positive, ..default() })?;
/// assert!(values.numel() == 1 && (values.double_value(&[0]) - 0.5f64.sin()).abs() < 1e-6); // −sin 1.5 is left out
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spectrum {
    /// All, by magnitude: a direction of negative curvature counts as if it were positive.
    #[default]
    Absolute,
    /// Positive ones only.
    Positive,
}

impl Default for Arnoldi {
    fn default() -> Arnoldi {
        Arnoldi {
            matrix: Matrix::Hessian,
            damping: Damping::Absolute(0.01),
            rank: 100,
            iterations: 200,
            keep: Spectrum::Absolute,
            complement: false,
            seed: 0,
        }
    }
}

impl Arnoldi {
    fn check(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::option("Arnoldi.rank", "at least 1", 0));
        }
        if self.iterations < self.rank {
            return Err(Error::option("Arnoldi.iterations", format!("at least the rank, {}", self.rank), self.iterations));
        }
        self.damping.value("Arnoldi.damping", || Ok(0.0)).map(|_| ())
    }

    /// The kept eigenvalues, float64 `[r]` by falling magnitude, with their signs, and orthonormal rows `[r, p]`.
    pub(super) fn pairs(&self, operator: &dyn Operator) -> Result<(Tensor, Tensor)> {
        self.check()?;
        guarded(|| {
            let all = if self.keep == Spectrum::Positive { self.iterations } else { self.rank };
            let found = ritz(operator, self.iterations as i64, all as i64, self.seed)?;
            if self.keep == Spectrum::Absolute {
                return Ok((found.values, found.vectors));
            }
            let positive = found.values.gt(0.0).nonzero().squeeze_dim(1);
            let positive = positive.narrow(0, 0, positive.size()[0].min(self.rank as i64));
            Ok((found.values.index_select(0, &positive), found.vectors.index_select(0, &positive)))
        })
    }

    pub(super) fn low_rank(&self, operator: &dyn Operator) -> Result<LowRank> {
        self.check()?;
        let damping = self.damping.of("Arnoldi.damping", operator)?;
        let (values, vectors) = self.pairs(operator)?;
        guarded(|| {
            if values.numel() == 0 {
                let hint = "no eigenvalue is positive: train closer to a minimum, or keep Spectrum::Absolute";
                return Err(Error::numerical("Arnoldi", hint));
            }
            if damping == 0.0 && self.complement {
                return Err(Error::option("Arnoldi.damping", "more than 0 to divide the complement by", damping));
            }
            let damped = values.abs() + damping;
            let (least, most) = (damped.min().double_value(&[]), damped.max().double_value(&[]));
            if least.is_nan() || least <= 1e-7 * most {
                let hint = format!(
                    "an eigenvalue of magnitude {least:.1e} beside the largest, {most:.1e}, cannot be inverted: lower the rank ({}) or raise the damping ({damping:.1e})",
                    values.numel()
                );
                return Err(Error::numerical("Arnoldi", hint));
            }
            Ok(LowRank { values: damped, vectors, outside: self.complement.then_some(damping) })
        })
    }
}

impl Curvature for Arnoldi {
    fn name(&self) -> String {
        match self.matrix {
            Matrix::Hessian => "Arnoldi".into(),
            other => format!("Arnoldi, {}", other.name()),
        }
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        self.check()?;
        Ok(Box::new(self.low_rank(self.matrix.operator(snapshot, train)?.as_ref())?))
    }
}
