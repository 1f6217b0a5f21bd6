//! What is learnt of the loss surface on train gradients, then applied to gradients: `Curvature → Preconditioner`.

mod arnoldi;
mod conjugate_gradient;
mod explicit;
mod krylov;
mod lissa;
mod low_rank;
mod matrix;
mod nystrom;
mod solve;
mod system;
mod within;

pub use arnoldi::{Arnoldi, Spectrum};
pub use conjugate_gradient::{ConjugateGradient, Precondition};
pub use explicit::Explicit;
pub use lissa::Lissa;
pub use matrix::Matrix;
pub use nystrom::Nystrom;
pub use solve::{eigenpairs, ihvp_arnoldi, ihvp_cg, ihvp_cg_preconditioned, ihvp_explicit, ihvp_lissa, ihvp_nystrom, operator};

pub use crate::gradient::{Compressed, Function, Operator, Subspace, ggn_vp, hvp};

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::snapshot::Snapshot;

/// A curvature to invert, before it has seen data.
pub trait Curvature {
    /// Name for tables: `explicit Hessian`.
    fn name(&self) -> String;

    /// Learns the curvature of minus the mean objective at this snapshot.
    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>>;
}

/// A fitted curvature: maps gradients `g` to `(H + λ)⁻¹ g`.
pub trait Preconditioner {
    /// `[k, p] → [k, p]`, row by row; rows do not influence each other.
    fn apply(&self, rows: &Tensor) -> Result<Tensor>;

    /// `gᵀ P g` for each row: `[k, p] → [k]`. Worth overriding where it is cheaper than applying.
    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        let mapped = self.apply(rows)?;
        guarded(|| Ok((rows * mapped).sum_dim_intlist([1i64].as_slice(), false, Kind::Double).to_kind(Kind::Float)))
    }
}

/// What is added to the diagonal of a curvature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Damping {
    /// λ itself.
    Absolute(f64),
    /// λ as a multiple of the mean eigenvalue, `tr H / p`.
    Relative(f64),
}

impl Damping {
    /// λ; `mean_eigenvalue` is asked for only when needed.
    pub(crate) fn value(&self, option: &str, mean_eigenvalue: impl FnOnce() -> Result<f64>) -> Result<f64> {
        let given = match self {
            Damping::Absolute(value) | Damping::Relative(value) => *value,
        };
        if !(given >= 0.0 && given.is_finite()) {
            return Err(Error::option(option, "a number of at least 0", given));
        }
        match self {
            Damping::Absolute(_) => Ok(given),
            Damping::Relative(_) => Ok(given * mean_eigenvalue()?.max(0.0)),
        }
    }
}

pub(crate) fn check_rows(rows: &Tensor, p: i64) -> Result<()> {
    match rows.dim() == 2 && rows.size()[1] == p {
        true => Ok(()),
        false => Err(Error::shape("gradients", format!("[k, {p}]"), format!("{:?}", rows.size()))),
    }
}
