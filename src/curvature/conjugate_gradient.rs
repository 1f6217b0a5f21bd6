use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::system::System;
use super::within::compressed;
use super::{Curvature, Damping, Matrix, Preconditioner, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::snapshot::Snapshot;

/// `(H + λ)⁻¹ g` by conjugate gradients on products of H with vectors; no matrix is formed.
///
/// All right-hand sides of one call search a shared Krylov space (block conjugate gradients): after t products with each of k
/// gradients every system is solved as well as t·k directions allow. A system is done when `‖r‖ ≤ tolerance · ‖g‖`.
/// Cost: one product over the train set for each iteration and gradient, and about `10 k² p` multiplications an iteration.
/// Memory: 5 vectors of p for each gradient.
/// Defaults: λ = 0.01 absolute, relative tolerance 1e-4, at most 1,000 iterations, an error if that does not suffice;
/// `truncate` accepts what the iterations gave, which is how peers run it (10 iterations).
/// Misleads when truncated: early stopping acts as more damping, unevenly over directions; and in a shared space a score then
/// depends, within the residual, on the company its gradient was solved in (`shared: false` gives each its own).
/// Reference: O'Leary 1980; Dubrulle 2001 (the variant with an orthonormal residual); Martens 2010; Koh & Liang 2017, section 3.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let hessian = curvature::operator(task.snapshot(0)?, &data, Matrix::Hessian)?;
/// let rows = task.snapshot(0)?.gradients(Of::Objective, &data.head(8)?)?.dense()?;
/// let solved = curvature::ihvp_cg(hessian.as_ref(), &rows, &ConjugateGradient::default())?;
/// let residual = hessian.product(&solved)? + &solved * 0.01 - &rows;
/// assert!(residual.norm().double_value(&[]) < 1e-3 * rows.norm().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConjugateGradient {
    /// H.
    pub matrix: Matrix,
    /// λ.
    pub damping: Damping,
    /// Most iterations for one solve.
    pub iterations: usize,
    /// Residual at which a system counts as solved, relative to its right-hand side.
    pub tolerance: f64,
    /// Accept what the iterations gave instead of failing.
    pub truncate: bool,
    /// Whether the right-hand sides of one call share a Krylov space.
    pub shared: bool,
    /// An approximate inverse that makes the systems easier.
    pub precondition: Precondition,
}

/// An approximate inverse of `H + λ`, by which conjugate gradients may converge in fewer iterations to the same solution.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[0.0f32, 3.0, 6.0])])?;
/// let rows = Tensor::from_slice(&[1.0f32, 1.0, 1.0]).view([1, 3]);
/// let once = ConjugateGradient { damping: Damping::Absolute(0.0), iterations: 1, ..default() };
/// assert!(curvature::ihvp_cg(&f, &rows, &once).is_err());
/// let solved = curvature::ihvp_cg(&f, &rows, &ConjugateGradient { precondition: Precondition::Diagonal, ..once })?;
/// assert!((solved.double_value(&[0, 1]) - (-3f64).exp()).abs() < 1e-6); // the matrix is its diagonal
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// None.
    #[default]
    None,
    /// One over the diagonal (Jacobi): helps where parameters differ in scale.
    Diagonal,
}

impl Default for ConjugateGradient {
    fn default() -> ConjugateGradient {
        ConjugateGradient {
            matrix: Matrix::Hessian,
            damping: Damping::Absolute(0.01),
            iterations: 1000,
            tolerance: 1e-4,
            truncate: false,
            shared: true,
            precondition: Precondition::None,
        }
    }
}

impl ConjugateGradient {
    pub(crate) fn check(&self) -> Result<()> {
        if self.iterations == 0 {
            return Err(Error::option("ConjugateGradient.iterations", "at least 1", 0));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(Error::option("ConjugateGradient.tolerance", "between 0 and 1", self.tolerance));
        }
        self.damping.value("ConjugateGradient.damping", || Ok(0.0)).map(|_| ())
    }

    /// What to say where the matrix is not positive definite.
    pub(crate) fn indefinite(&self, least: f64, damping: f64) -> Error {
        let hint = format!(
            "curvature {least:.3e} along a search direction is not positive: raise the damping ({damping:.3e}), train closer to a minimum, or use Matrix::GaussNewton"
        );
        Error::numerical("conjugate gradients", hint)
    }

    /// What to say of the largest relative residual that is left.
    pub(crate) fn unsolved(&self, worst: f64, damping: f64) -> Error {
        let hint = format!(
            "a system did not converge in {} iterations (largest relative residual {worst:.2e}, tolerance {:.0e}); raise the damping ({damping:.3e}), the iterations or the tolerance, or set truncate",
            self.iterations, self.tolerance
        );
        Error::numerical("conjugate gradients", hint)
    }

    /// λ for a matrix.
    pub(super) fn damping(&self, operator: &dyn Operator) -> Result<f64> {
        self.damping.of("ConjugateGradient.damping", operator)
    }

    /// The approximate inverse asked for.
    pub(super) fn preconditioner(&self, operator: &dyn Operator, damping: f64) -> Result<Option<Box<dyn Preconditioner>>> {
        match self.precondition {
            Precondition::None => Ok(None),
            Precondition::Diagonal => {
                let diagonal = operator.diagonal()?;
                guarded(|| {
                    let damped = diagonal.abs() + damping;
                    let least = damped.max().double_value(&[]) * 1e-6;
                    let inverse = damped.clamp_min(least.max(f64::MIN_POSITIVE)).reciprocal().to_kind(tch::Kind::Float);
                    Ok(Some(Box::new(Scaling(inverse)) as Box<dyn Preconditioner>))
                })
            }
        }
    }
}

impl Curvature for ConjugateGradient {
    fn name(&self) -> String {
        match self.matrix {
            Matrix::Hessian => "conjugate gradients".into(),
            other => format!("conjugate gradients, {}", other.name()),
        }
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        self.check()?;
        let operator = self.matrix.operator(snapshot, train)?;
        let damping = self.damping(operator.as_ref())?;
        compressed(operator, damping, |operator| {
            let preconditioner = self.preconditioner(operator.as_ref(), damping)?;
            Ok(Box::new(Solver { operator, damping, preconditioner, options: *self }))
        })
    }
}

struct Solver {
    operator: Box<dyn Operator>,
    damping: f64,
    preconditioner: Option<Box<dyn Preconditioner>>,
    options: ConjugateGradient,
}

impl Preconditioner for Solver {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.operator.p())?;
        let (operator, preconditioner) = (self.operator.as_ref(), self.preconditioner.as_deref());
        let system = System { operator, damping: self.damping, preconditioner, options: &self.options };
        guarded(|| system.solve(rows))
    }
}

/// Multiplies by a fixed vector.
struct Scaling(Tensor);

impl Preconditioner for Scaling {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.0.numel() as i64)?;
        guarded(|| Ok(rows * &self.0))
    }
}
