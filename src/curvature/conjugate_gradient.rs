use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Curvature, Damping, Preconditioner, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::gradient::hessian::Hessian;
use crate::snapshot::Snapshot;

/// `(H + λ)⁻¹ g` by conjugate gradients on Hessian-vector products; no matrix is formed.
///
/// All right-hand sides go together; each freezes when `‖r‖ ≤ tolerance · ‖g‖` and costs nothing from then on.
/// Cost: one Hessian-vector product over the train set for each iteration and gradient. Memory: 4 vectors of p for each gradient.
/// Defaults: λ = 0.01 absolute, relative tolerance 1e-4, at most 1,000 iterations, an error if that does not suffice;
/// `truncate` accepts what the iterations gave, which is how peers run it (10 iterations).
/// Misleads when truncated: early stopping acts as more damping, unevenly over directions.
/// Reference: Martens 2010; Koh & Liang 2017, section 3 (arXiv 1703.04730).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConjugateGradient {
    /// λ.
    pub damping: Damping,
    /// Most iterations for one solve.
    pub iterations: usize,
    /// Residual at which a system counts as solved, relative to its right-hand side.
    pub tolerance: f64,
    /// Accept what the iterations gave instead of failing.
    pub truncate: bool,
}

impl Default for ConjugateGradient {
    fn default() -> ConjugateGradient {
        ConjugateGradient { damping: Damping::Absolute(0.01), iterations: 1000, tolerance: 1e-4, truncate: false }
    }
}

impl Curvature for ConjugateGradient {
    fn name(&self) -> String {
        "conjugate gradients".into()
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        if self.iterations == 0 {
            return Err(Error::option("ConjugateGradient.iterations", "at least 1", 0));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(Error::option("ConjugateGradient.tolerance", "between 0 and 1", self.tolerance));
        }
        self.damping.value("ConjugateGradient.damping", || Ok(0.0))?;
        let hessian = Hessian::new(snapshot, train)?;
        let damping = self.damping.value("ConjugateGradient.damping", || hessian.mean_eigenvalue())?;
        Ok(Box::new(Solver { hessian, damping, p: snapshot.p(), options: *self }))
    }
}

struct Solver {
    hessian: Hessian,
    damping: f64,
    p: i64,
    options: ConjugateGradient,
}

impl Preconditioner for Solver {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.p)?;
        guarded(|| self.solve(rows))
    }
}

impl Solver {
    fn solve(&self, rows: &Tensor) -> Result<Tensor> {
        let solution = rows.zeros_like();
        let start = dots(rows, rows);
        let limits = &start * self.options.tolerance.powi(2);
        // Positions of the systems still at work, and their states.
        let mut active = start.gt(0.0).nonzero().squeeze_dim(1);
        let pick = |x: &Tensor, at: &Tensor| x.index_select(0, at);
        let mut x = pick(&solution, &active);
        let mut residual = pick(rows, &active);
        let mut direction = residual.copy();
        let mut square = pick(&start, &active);
        for _ in 0..self.options.iterations {
            if active.numel() == 0 {
                return Ok(solution);
            }
            let product = self.hessian.product(&direction)? + &direction * self.damping;
            let curvature = dots(&direction, &product);
            let least = curvature.min().double_value(&[]);
            if least.is_nan() || least <= 0.0 {
                let hint = format!(
                    "curvature {least:.3e} along a search direction is not positive: raise the damping ({:.3e}), or train closer to a minimum",
                    self.damping
                );
                return Err(Error::numerical("conjugate gradients", hint));
            }
            let step = (&square / curvature).to_kind(Kind::Float).unsqueeze(1);
            let _ = x.addcmul_(&direction, &step);
            let _ = residual.addcmul_(&product, &-step);
            let next = dots(&residual, &residual);
            let ratio = (&next / &square).to_kind(Kind::Float).unsqueeze(1);
            direction = residual.addcmul(&direction, &ratio);
            square = next;
            let working = square.gt_tensor(&pick(&limits, &active));
            if working.all().int64_value(&[]) == 0 {
                let done = working.logical_not().nonzero().squeeze_dim(1);
                let _ = solution.shallow_clone().index_copy_(0, &pick(&active, &done), &pick(&x, &done));
                let left = working.nonzero().squeeze_dim(1);
                (x, residual, direction) = (pick(&x, &left), pick(&residual, &left), pick(&direction, &left));
                (square, active) = (pick(&square, &left), pick(&active, &left));
            }
        }
        if active.numel() > 0 && !self.options.truncate {
            let worst = (&square / pick(&start, &active)).sqrt().max().double_value(&[]);
            let hint = format!(
                "{} of {} systems did not converge in {} iterations (largest relative residual {worst:.2e}, tolerance {:.0e}); raise the damping ({:.3e}), the iterations or the tolerance, or set truncate",
                active.numel(),
                rows.size()[0],
                self.options.iterations,
                self.options.tolerance,
                self.damping
            );
            return Err(Error::numerical("conjugate gradients", hint));
        }
        let _ = solution.shallow_clone().index_copy_(0, &active, &x);
        Ok(solution)
    }
}

/// Inner products of corresponding rows in float64, `[k]`.
fn dots(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
}
