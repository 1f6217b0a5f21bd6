use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::dual::Dual;
use super::within::Within;
use super::{Curvature, Damping, Matrix, Preconditioner, beyond_doubt, check_finite_rows, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::plan::{Part, Probe};
use crate::snapshot::{Snapshot, all_finite};

/// The whole matrix, formed and factored: `(H + λ)⁻¹` by Cholesky in float64.
///
/// Formula: `H = −∇² (1/n) Σ_i o(z_i)`, `[p, p]`, the Hessian of the mean loss over *all* train examples, or another `matrix`.
/// Cost: closed form for a network that is one linear layer, `n r² / 2` multiplications, where r < p leaves out directions
/// without curvature; for other linear layers a backward pass for each of their outputs, then `n p² / 2`; else p products.
/// Then `r³/3` for the factor, and `2 r²` for each gradient. Memory: 8 r² bytes, 16 p² for a moment without the closed form.
/// The empirical Fisher matrix is factored among the n examples where n < p: inner products of gradients suffice.
/// Defaults: λ = 0.01, absolute. Misleads where H is indefinite away from a minimum: then `fit` fails with a hint.
/// Reference: Koh & Liang 2017, section 2.2 (arXiv 1703.04730).
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let rows = snapshot.gradients(Of::Objective, &data.head(8)?)?.dense()?;
/// let solved = Explicit::default().fit(&snapshot, &data)?.apply(&rows)?;
/// let matrix = curvature::operator(snapshot, &data, Matrix::Hessian)?;
/// let residual = matrix.product(&solved)? + &solved * 0.01 - &rows;
/// assert!(residual.norm().double_value(&[]) < 1e-3 * rows.norm().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Explicit {
    /// H.
    pub matrix: Matrix,
    /// λ.
    pub damping: Damping,
    /// Refuses larger matrices, since memory grows with the square.
    pub largest_p: i64,
}

impl Default for Explicit {
    fn default() -> Explicit {
        Explicit { matrix: Matrix::Hessian, damping: Damping::Absolute(0.01), largest_p: 20_000 }
    }
}

impl Curvature for Explicit {
    fn name(&self) -> String {
        format!("explicit {}", self.matrix.name())
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        let p = snapshot.p();
        let n = train.len() as i64;
        if self.matrix == Matrix::EmpiricalFisher && n < p && n <= self.largest_p {
            return Ok(Box::new(Dual::fit(snapshot, train, self.damping)?));
        }
        if p > self.largest_p {
            let gigabytes = 16.0 * (p as f64).powi(2) / 1e9;
            let hint = format!(
                "an explicit {} of {p} parameters ({gigabytes:.1} GB); use ConjugateGradient, or raise Explicit.largest_p ({})",
                self.matrix.name(),
                self.largest_p
            );
            return Err(Error::Unsupported(hint));
        }
        self.damping.value("Explicit.damping", || Ok(0.0))?;
        let operator = self.matrix.operator(snapshot, train)?;
        let small = match self.damping {
            Damping::Absolute(0.0) | Damping::Relative(0.0) => None,
            _ => operator.compressed()?,
        };
        let (matrix, space) = match small {
            Some(small) => (small.matrix, Some(small.space)),
            None => (operator, None),
        };
        let dense = matrix.dense()?;
        drop(matrix);
        let (factored, damping) = Factored::damped(dense, p, "Explicit.damping", self.damping)?;
        let factored: Box<dyn Preconditioner> = Box::new(factored);
        Ok(match space {
            Some(space) => Box::new(Within::new(factored, space, damping, p)),
            None => factored,
        })
    }

    /// The matrix is formed of few examples and of twice as many, where it is small; else its products are counted.
    fn parts(&self, probe: &Probe) -> Result<Option<(Part, Part)>> {
        let (n, m, p, outputs) = (probe.n, probe.m, probe.p, probe.outputs);
        let dual = self.matrix == Matrix::EmpiricalFisher && n < p;
        let r = if dual { n } else { p };
        let forming = match (dual, p <= MEASURED_P) {
            (true, _) => n * n / 2.0 * probe.pair()?,
            (false, true) => {
                let seconds = |count: f64| {
                    probe.seconds(|snapshot, train| {
                        self.matrix.operator(snapshot, &train.head((count as usize).min(train.len()))?)?.dense()
                    })
                };
                let (few, more) = (seconds(FEW)?, seconds(2.0 * FEW)?);
                few + ((more - few) / FEW).max(0.0) * (n - FEW).max(0.0)
            }
            (false, false) => n * outputs * probe.gradient + 2.0 * n * outputs * p * p * probe.flop64,
        };
        let fit = Part {
            name: "fit",
            gradients: n,
            flops: n * outputs * p * p + r.powi(3) / 3.0,
            seconds: forming + r.powi(3) / 3.0 * probe.flop64,
            memory: 16.0 * r * r + probe.working,
            kept: 8.0 * r * r,
            cheaper: Some("ConjugateGradient, which forms no matrix"),
            ..Part::default()
        };
        Ok(Some((fit, probe.mapped(8.0 * r * r, 2.0 * m * r * r)?)))
    }
}

/// Up to so many parameters the matrix is formed for a plan, of this many examples.
const MEASURED_P: f64 = 3000.0;
const FEW: f64 = 32.0;

/// The largest matrix whose eigenvalues are worth their time in an error.
const EXAMINED_P: i64 = 2000;

/// What to do about a matrix that is not positive definite.
fn indefinite(damped: &Tensor, damping: f64) -> String {
    let known = match damped.size()[0] {
        p if p <= EXAMINED_P => {
            let least = damped.linalg_eigvalsh("L").min().double_value(&[]);
            format!(
                ", its least eigenvalue is {least:.3e}: raise the damping from {damping:.3e} to above {:.3e}",
                damping - least
            )
        }
        _ => format!(": raise the damping from {damping:.3e}"),
    };
    format!("the damped matrix is not positive definite{known}, train closer to a minimum, or use Matrix::GaussNewton")
}

fn check_finite(matrix: &Tensor) -> Result<()> {
    match all_finite(matrix) {
        true => Ok(()),
        false => Err(Error::numerical("the explicit matrix", "an entry is NaN or infinite")),
    }
}

pub(super) struct Factored {
    factor: Tensor,
}

impl Factored {
    /// Factors `H + λ` and gives λ, relative to the trace of H over `p`: H may be the part of a matrix that is not zero.
    pub(super) fn damped(matrix: Tensor, p: i64, option: &str, damping: Damping) -> Result<(Factored, f64)> {
        guarded(|| {
            check_finite(&matrix)?;
            let mean = || beyond_doubt(matrix.diagonal(0, 0, 1).sum(Kind::Double).double_value(&[]) / p as f64, 0.0);
            let damping = damping.value(option, mean)?;
            Ok((Factored::new(matrix, damping)?, damping))
        })
    }

    /// Factors `H + λ`, `[p, p]` in float64, in its own memory.
    pub(super) fn new(matrix: Tensor, damping: f64) -> Result<Factored> {
        check_finite(&matrix)?;
        let _ = matrix.diagonal(0, 0, 1).g_add_scalar_(damping);
        // The factor overwrites the matrix; a small one is kept to say what is wrong with it.
        let kept = if matrix.size()[0] <= EXAMINED_P { matrix.copy() } else { matrix.shallow_clone() };
        let factor = matrix.transpose(0, 1); // symmetric; libtorch factors column by column
        let info = Tensor::zeros([], (Kind::Int, Device::Cpu));
        let _ = factor.linalg_cholesky_ex_l(&factor, &info, false, false);
        match info.int64_value(&[]) {
            0 => Ok(Factored { factor }),
            _ => Err(Error::numerical("the Cholesky factor", indefinite(&kept, damping))),
        }
    }
}

impl Factored {
    /// `gᵀ H⁻¹ g` of rows, float64.
    pub(super) fn squares(&self, rows: &Tensor) -> Tensor {
        let columns = rows.to_kind(Kind::Double).transpose(0, 1);
        let halves = self.factor.linalg_solve_triangular(&columns, false, true, false);
        halves.square().sum_dim_intlist([0i64].as_slice(), false, Kind::Double)
    }

    /// Diagonals of the inverse and of its square, float64.
    pub(super) fn inverse_diagonals(&self) -> (Tensor, Tensor) {
        let inverse = self.factor.cholesky_inverse(false);
        let squares = inverse.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        (inverse.diagonal(0, 0, 1).copy(), squares)
    }
}

impl Preconditioner for Factored {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_finite_rows(rows, self.factor.size()[0])?;
        guarded(|| {
            let columns = rows.to_kind(Kind::Double).transpose(0, 1);
            let halves = self.factor.linalg_solve_triangular(&columns, false, true, false);
            drop(columns);
            let solved = self.factor.transpose(0, 1).linalg_solve_triangular(&halves, true, true, false);
            Ok(solved.transpose(0, 1).to_kind(Kind::Float).contiguous())
        })
    }

    /// Half the work of `apply`: with `H = L Lᵀ`, `gᵀ H⁻¹ g = ‖L⁻¹ g‖²`.
    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.factor.size()[0])?;
        guarded(|| Ok(self.squares(rows).to_kind(Kind::Float)))
    }
}
