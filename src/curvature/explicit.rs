use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Curvature, Damping, Preconditioner, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::hessian::Hessian;
use crate::snapshot::Snapshot;

/// The whole Hessian, formed and factored: `(H + λ)⁻¹` by Cholesky in float64.
///
/// Formula: `H = −∇² (1/n) Σ_i o(z_i; θ)`, `[p, p]`, the Hessian of the mean loss over *all* train examples.
/// Cost: closed form for a network that is one linear layer, `n p² / 2` multiplications; else `p` Hessian-vector products.
/// Then `p³/3` for the factor, and `2 p²` for each gradient. Memory: 16 p² bytes while fitting, 8 p² after.
/// Defaults: λ = 0.01, absolute. Misleads where H is indefinite away from a minimum: then `fit` fails with a hint.
/// Reference: Koh & Liang 2017, section 2.2 (arXiv 1703.04730).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Explicit {
    /// λ.
    pub damping: Damping,
    /// Refuses larger models, since memory grows with p².
    pub largest_p: i64,
}

impl Default for Explicit {
    fn default() -> Explicit {
        Explicit { damping: Damping::Absolute(0.01), largest_p: 20_000 }
    }
}

impl Curvature for Explicit {
    fn name(&self) -> String {
        "explicit Hessian".into()
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        let p = snapshot.p();
        if p > self.largest_p {
            let gigabytes = 16.0 * (p as f64).powi(2) / 1e9;
            let hint = format!(
                "an explicit Hessian of {p} parameters ({gigabytes:.1} GB); use ConjugateGradient, or raise Explicit.largest_p ({})",
                self.largest_p
            );
            return Err(Error::Unsupported(hint));
        }
        self.damping.value("Explicit.damping", || Ok(0.0))?;
        let hessian = Hessian::new(snapshot, train)?.dense()?;
        guarded(move || {
            let mean = || Ok(hessian.diagonal(0, 0, 1).mean(Kind::Double).double_value(&[]));
            let damping = self.damping.value("Explicit.damping", mean)?;
            let _ = hessian.diagonal(0, 0, 1).g_add_scalar_(damping);
            let (factor, info) = hessian.linalg_cholesky_ex(false, false);
            if info.int64_value(&[]) != 0 {
                return Err(Error::numerical("the Cholesky factor", indefinite(&hessian, damping)));
            }
            Ok(Box::new(Factored { factor }) as Box<dyn Preconditioner>)
        })
    }
}

/// What to do about a matrix that is not positive definite.
fn indefinite(damped: &Tensor, damping: f64) -> String {
    let known = match damped.size()[0] {
        p if p <= 2000 => {
            let least = damped.linalg_eigvalsh("L").min().double_value(&[]);
            format!(
                ", its least eigenvalue is {least:.3e}: raise the damping from {damping:.3e} to above {:.3e}",
                damping - least
            )
        }
        _ => format!(": raise the damping from {damping:.3e}"),
    };
    format!("the damped Hessian is not positive definite{known}, or train closer to a minimum")
}

struct Factored {
    factor: Tensor,
}

impl Preconditioner for Factored {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.factor.size()[0])?;
        guarded(|| {
            let columns = rows.to_kind(Kind::Double).transpose(0, 1);
            Ok(columns.cholesky_solve(&self.factor, false).transpose(0, 1).to_kind(Kind::Float).contiguous())
        })
    }

    /// Half the work of `apply`: with `H = L Lᵀ`, `gᵀ H⁻¹ g = ‖L⁻¹ g‖²`.
    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.factor.size()[0])?;
        guarded(|| {
            let columns = rows.to_kind(Kind::Double).transpose(0, 1);
            let halves = self.factor.linalg_solve_triangular(&columns, false, true, false);
            Ok(halves.square().sum_dim_intlist([0i64].as_slice(), false, Kind::Double).to_kind(Kind::Float))
        })
    }
}
