//! What is learnt of the loss surface on train gradients, then applied to gradients: `Curvature → Preconditioner`.

mod arnoldi;
mod conjugate_gradient;
mod data_inf;
mod diagonal;
mod dual;
mod ekfac;
mod explicit;
mod fisher;
mod kfac;
mod kronecker;
mod krylov;
mod lissa;
mod low_rank;
mod matrix;
mod moments;
mod nystrom;
mod separable;
mod solve;
mod system;
mod train_side;
mod within;

pub use arnoldi::{Arnoldi, Spectrum};
pub use conjugate_gradient::{ConjugateGradient, Precondition};
pub use data_inf::DataInf;
pub use diagonal::Diagonal;
pub use ekfac::Ekfac;
pub use explicit::Explicit;
pub use fisher::{ifvp_datainf, ifvp_ekfac, ifvp_explicit};
pub use kfac::Kfac;
pub use kronecker::KroneckerFactors;
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
use crate::gradient::Gradients;
use crate::snapshot::Snapshot;

/// A curvature to invert, before it has seen data.
pub trait Curvature {
    /// Name for tables: `explicit Hessian`.
    fn name(&self) -> String;

    /// Learns the curvature of minus the mean objective at this snapshot.
    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>>;
}

/// A fitted curvature: maps gradients `g` to `(H + λ)⁻¹ g`. Only `apply` is required; the rest keeps gradients factored where the
/// geometry allows it.
pub trait Preconditioner {
    /// `[k, p] → [k, p]`, row by row.
    fn apply(&self, rows: &Tensor) -> Result<Tensor>;

    /// `gᵀ P g` for each row: `[k, p] → [k]`. Worth overriding where it is cheaper than applying.
    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        let mapped = self.apply(rows)?;
        guarded(|| Ok((rows * mapped).sum_dim_intlist([1i64].as_slice(), false, Kind::Double).to_kind(Kind::Float)))
    }

    /// The same map on gradients in any form.
    fn map(&self, gradients: Gradients) -> Result<Gradients> {
        let rows = self.apply(&gradients.dense()?)?;
        Ok(Gradients::of_rows(rows, &gradients.layout_handle()))
    }

    /// `gᵀ P g` for each of the gradients, `[n]`.
    fn quadratic_of(&self, gradients: &Gradients) -> Result<Tensor> {
        self.quadratic(&gradients.dense()?)
    }

    /// Whether `m` test gradients are scored at less cost by [`scores`](Preconditioner::scores) than by mapping them.
    fn scores_directly(&self, m: i64) -> bool {
        let _ = m;
        false
    }

    /// `⟨P q, g⟩` for test gradients q and all train gradients g of the objective that it was fitted on, `[m, n_train]`, without
    /// mapping either.
    fn scores(&self, test: &Gradients) -> Result<Tensor> {
        let _ = test;
        Err(Error::Unsupported("this curvature has no scores of its own; map the gradients".into()))
    }

    /// `gᵀ P g` and `‖P g‖` of the train gradients of the objective that it was fitted on, each `[n_train]`, where it knows better
    /// than to map them.
    fn of_train(&self) -> Result<Option<(Tensor, Tensor)>> {
        Ok(None)
    }

    /// Whether `map` and `quadratic_of` take factored gradients, batch by batch; else rows of all gradients come at once.
    fn keeps_factors(&self) -> bool {
        false
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
    /// An error unless the number given is positive.
    pub(crate) fn positive(&self, option: &str) -> Result<()> {
        match self {
            Damping::Absolute(value) | Damping::Relative(value) if !(*value > 0.0 && value.is_finite()) => {
                Err(Error::option(option, "a number above 0", value))
            }
            _ => Ok(()),
        }
    }

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

pub(crate) fn check_tolerance(option: &str, tolerance: f64) -> Result<()> {
    match (0.0..1.0).contains(&tolerance) {
        true => Ok(()),
        false => Err(Error::option(option, "at least 0 and below 1", tolerance)),
    }
}
