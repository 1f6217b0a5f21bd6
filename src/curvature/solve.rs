//! The solvers as functions over any [`Operator`], for work on new methods.

use std::rc::Rc;

use tch::Tensor;

use super::explicit::Factored;
use super::system::System;
use super::{Arnoldi, ConjugateGradient, Damping, Lissa, Matrix, Nystrom, Preconditioner, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::snapshot::{Snapshot, all_finite, finite};

/// The curvature matrix of a network at a snapshot over a dataset, by its products with vectors.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let hessian = curvature::operator(task.snapshot(0)?, &data, Matrix::Hessian)?;
/// let vector = Tensor::ones([1, hessian.p()], (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu));
/// let rows = hessian.dense()?.sum_dim_intlist([1i64].as_slice(), false, None::<ascribe::tch::Kind>);
/// assert!((hessian.product(&vector)?.squeeze_dim(0) - rows).abs().max().double_value(&[]) < 1e-4);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn operator(snapshot: impl Into<Rc<Snapshot>>, train: &Dataset, matrix: Matrix) -> Result<Box<dyn Operator>> {
    matrix.operator(&snapshot.into(), train)
}

/// Rows in, rows out, both finite; no rows give no rows.
fn solve(name: &str, operator: &dyn Operator, v: &Tensor, work: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    check_rows(v, operator.p())?;
    guarded(|| {
        if v.size()[0] == 0 {
            return Ok(v.zeros_like());
        }
        if !all_finite(v) {
            return Err(Error::numerical(name, "a right-hand side is NaN or infinite"));
        }
        finite(name, work()?, "a solution is NaN or infinite: raise the damping")
    })
}

/// `(H + λ)⁻¹ v` for rows `v` `[k, p]` by forming and factoring H.
///
/// Errors: [`Error::Numerical`](crate::Error::Numerical) where `H + λ` is not positive definite.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[0.0f32, 1.0])])?;
/// let rows = Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]);
/// let solved = curvature::ihvp_explicit(&f, &rows, Damping::Absolute(0.0))?;
/// assert!((solved.double_value(&[0, 1]) - (-1f64).exp()).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ihvp_explicit(operator: &dyn Operator, v: &Tensor, damping: Damping) -> Result<Tensor> {
    solve("the explicit inverse", operator, v, || {
        let (factored, _) = Factored::damped(operator.dense()?, operator.p(), "damping", damping)?;
        factored.apply(v)
    })
}

/// `(H + λ)⁻¹ v` for rows `v` `[k, p]` by conjugate gradients; `options.matrix` plays no part.
///
/// Errors: [`Error::Numerical`](crate::Error::Numerical) where the curvature is not positive or the iterations do not suffice.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[0.0f32, 1.0])])?;
/// let rows = Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]);
/// let solved = curvature::ihvp_cg(&f, &rows, &ConjugateGradient { damping: Damping::Absolute(0.0), ..default() })?;
/// assert!((solved.double_value(&[0, 1]) - (-1f64).exp()).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ihvp_cg(operator: &dyn Operator, v: &Tensor, options: &ConjugateGradient) -> Result<Tensor> {
    options.check()?;
    solve("conjugate gradients", operator, v, || {
        let damping = options.damping(operator)?;
        let preconditioner = options.preconditioner(operator, damping)?;
        System { operator, damping, preconditioner: preconditioner.as_deref(), options }.solve(v)
    })
}

/// [`ihvp_cg`] with an approximate inverse of `H + λ` of your own, which must be symmetric and positive definite.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::tch::Kind;
/// struct Known(Tensor); // the inverse itself: one iteration
/// impl Preconditioner for Known {
///     fn apply(&self, rows: &Tensor) -> ascribe::Result<Tensor> { Ok(rows / &self.0) }
/// }
/// let x = Tensor::from_slice(&[0.0f32, 3.0, 6.0]);
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<Kind>), &[x.shallow_clone()])?;
/// let options = ConjugateGradient { damping: Damping::Absolute(0.0), iterations: 1, ..default() };
/// let solved = curvature::ihvp_cg_preconditioned(&f, &Tensor::ones([1, 3], (Kind::Float, x.device())), &options, &Known(x.exp()))?;
/// assert!((solved.squeeze_dim(0) * x.exp() - 1.0).abs().max().double_value(&[]) < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ihvp_cg_preconditioned(
    operator: &dyn Operator,
    v: &Tensor,
    options: &ConjugateGradient,
    preconditioner: &dyn Preconditioner,
) -> Result<Tensor> {
    options.check()?;
    solve("conjugate gradients", operator, v, || {
        let damping = options.damping(operator)?;
        System { operator, damping, preconditioner: Some(preconditioner), options }.solve(v)
    })
}

/// `(H + λ)⁻¹ v` for rows `v` `[k, p]` by [`Lissa`]'s recursion; `options.matrix` plays no part.
///
/// Errors: [`Error::Numerical`](crate::Error::Numerical) where the recursion diverges.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[0.0f32, 1.0])])?;
/// let rows = Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]);
/// let solved = curvature::ihvp_lissa(&f, &rows, &Lissa { damping: Damping::Absolute(0.0), depth: 100, ..default() })?;
/// assert!((solved.double_value(&[0, 1]) - (-1f64).exp()).abs() < 1e-4);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ihvp_lissa(operator: &dyn Operator, v: &Tensor, options: &Lissa) -> Result<Tensor> {
    solve("LiSSA", operator, v, || {
        let (damping, scale) = options.constants(operator)?;
        options.recursion(operator, damping, scale, v)
    })
}

/// `(H + λ)⁻¹ v` for rows `v` `[k, p]` on the eigenpairs that [`Arnoldi`] finds; `options.matrix` plays no part.
///
/// Errors: [`Error::Numerical`](crate::Error::Numerical) where an eigenvalue is too small to invert.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[0.0f32, 1.0])])?;
/// let rows = Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]);
/// let solved = curvature::ihvp_arnoldi(&f, &rows, &Arnoldi { damping: Damping::Absolute(0.0), ..default() })?;
/// assert!((solved.double_value(&[0, 1]) - (-1f64).exp()).abs() < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ihvp_arnoldi(operator: &dyn Operator, v: &Tensor, options: &Arnoldi) -> Result<Tensor> {
    solve("Arnoldi", operator, v, || options.low_rank(operator)?.apply(v))
}

/// `(H + λ)⁻¹ v` for rows `v` `[k, p]` with H replaced by its [`Nystrom`] approximation; `options.matrix` plays no part.
///
/// Errors: [`Error::Numerical`](crate::Error::Numerical) where H is not positive semi-definite.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[0.0f32, 1.0])])?;
/// let rows = Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]);
/// let solved = curvature::ihvp_nystrom(&f, &rows, &Nystrom { damping: Damping::Absolute(1.0), ..default() })?;
/// assert!((solved.double_value(&[0, 0]) - 0.5).abs() < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ihvp_nystrom(operator: &dyn Operator, v: &Tensor, options: &Nystrom) -> Result<Tensor> {
    solve("Nyström", operator, v, || options.low_rank(operator)?.apply(v))
}

/// The dominant eigenvalues, float64 `[r]` by falling magnitude and with their signs, and orthonormal rows `[r, p]`.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].sin().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[1.5f32, -0.5])])?;
/// let (values, _) = curvature::eigenpairs(&f, &Arnoldi::default())?;
/// assert!((values.double_value(&[0]) + 1.5f64.sin()).abs() < 1e-5); // negative: not a minimum
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn eigenpairs(operator: &dyn Operator, options: &Arnoldi) -> Result<(Tensor, Tensor)> {
    options.pairs(operator)
}
