//! `(H + λ) x = g` for many right-hand sides by conjugate gradients: all in one Krylov space, or each in its own.

use tch::{Device, Kind, Tensor};

use super::{ConjugateGradient, Preconditioner};
use crate::error::{Error, Result};
use crate::gradient::Operator;
use crate::snapshot::{all_finite, finite};

/// Most right-hand sides that share a space: beyond, orthogonalising costs more than it saves.
const BLOCK: i64 = 1024;

/// A relative residual far below what float32 resolves, past which steps would divide nothing by nothing.
const ROUNDING: f64 = 1e-12;

pub(super) struct System<'a> {
    pub operator: &'a dyn Operator,
    pub damping: f64,
    pub preconditioner: Option<&'a dyn Preconditioner>,
    pub options: &'a ConjugateGradient,
}

/// Rows of residuals as `C W` with `W` orthonormal (under the preconditioner `P`, if any) and `Z = P W`.
struct Basis {
    /// `[k, m]`, float64.
    coefficients: Tensor,
    /// `[m, p]`.
    w: Tensor,
    /// `[m, p]`; `W` itself without a preconditioner.
    z: Tensor,
}

impl System<'_> {
    /// Solves for rows of any scale; a row of zeros gives zeros.
    pub fn solve(&self, rows: &Tensor) -> Result<Tensor> {
        if !all_finite(rows) {
            return Err(Error::numerical("conjugate gradients", "a right-hand side is NaN or infinite"));
        }
        let norms = dots(rows, rows).sqrt();
        let positions = norms.gt(0.0).nonzero().squeeze_dim(1);
        let solution = rows.zeros_like();
        for start in (0..positions.size()[0]).step_by(BLOCK as usize) {
            let at = positions.narrow(0, start, BLOCK.min(positions.size()[0] - start));
            let scale = norms.index_select(0, &at).unsqueeze(1);
            let unit = (rows.index_select(0, &at) / &scale).to_kind(Kind::Float);
            let mut solved = if self.options.shared { self.block(unit)? } else { self.apart(unit)? };
            let _ = solved.g_mul_(&scale.to_kind(Kind::Float));
            let _ = solution.shallow_clone().index_copy_(0, &at, &solved);
        }
        finite("conjugate gradients", solution, "a solution overflowed: raise the damping")
    }

    /// Products with the damped matrix.
    fn product(&self, rows: &Tensor) -> Result<Tensor> {
        let mut product = self.operator.product(rows)?;
        let _ = product.addcmul_(rows, &Tensor::from(self.damping as f32));
        Ok(product)
    }

    fn block(&self, rows: Tensor) -> Result<Tensor> {
        let mut x = rows.zeros_like();
        let mut basis = self.orthonormal(rows)?;
        let mut s = basis.z.copy();
        let mut worst = 1.0;
        for iteration in 1..=self.options.iterations {
            let product = self.product(&s)?; // A S, [m, p]
            let inverse = self.inverse_curvature(&s, &product)?;
            let step = basis.coefficients.matmul(&inverse).to_kind(Kind::Float);
            let _ = x.addmm_(&step, &s);
            if self.options.truncate && iteration == self.options.iterations {
                return Ok(x);
            }
            // What is left of W when its part along A S is gone, orthonormal again: V = N W'.
            let _ = basis.w.addmm_(&(-inverse).to_kind(Kind::Float), &product);
            drop(product);
            let next = self.orthonormal(basis.w)?;
            s = next.z.addmm(&next.coefficients.transpose(0, 1).to_kind(Kind::Float), &s);
            let coefficients = basis.coefficients.matmul(&next.coefficients);
            basis = Basis { coefficients, ..next };
            let residuals = self.residuals(&basis);
            worst = residuals.max().double_value(&[]);
            let working = residuals.gt(self.options.tolerance.max(ROUNDING));
            let left = working.sum(Kind::Int64).int64_value(&[]);
            if left == 0 {
                return Ok(x);
            }
            // A system that is done takes no more steps.
            let _ = basis.coefficients.g_mul_(&working.unsqueeze(1).to_kind(Kind::Double));
            if left * 4 <= basis.w.size()[0] * 3 {
                s = narrow(&mut basis, &working, &s);
            }
        }
        self.give(x, worst)
    }

    /// `(S A Sᵀ)⁻¹`, float64, or an error where it is not positive definite.
    fn inverse_curvature(&self, s: &Tensor, product: &Tensor) -> Result<Tensor> {
        let curvature = s.matmul(&product.transpose(0, 1)).to_kind(Kind::Double);
        let curvature = (&curvature + curvature.transpose(0, 1)) * 0.5;
        if !all_finite(&curvature) {
            return Err(Error::numerical("conjugate gradients", "a product with the matrix is NaN or infinite"));
        }
        let (factor, info) = curvature.linalg_cholesky_ex(false, false);
        match info.int64_value(&[]) {
            0 => Ok(factor.cholesky_inverse(false)),
            _ => Err(self.options.indefinite(curvature.linalg_eigvalsh("L").min().double_value(&[]), self.damping)),
        }
    }

    /// Lengths of the residuals, `[k]`.
    fn residuals(&self, basis: &Basis) -> Tensor {
        let c = &basis.coefficients;
        let squares = match self.preconditioner {
            None => c * c,
            Some(_) => c.matmul(&basis.w.matmul(&basis.w.transpose(0, 1)).to_kind(Kind::Double)) * c,
        };
        squares.sum_dim_intlist([1i64].as_slice(), false, Kind::Double).clamp_min(0.0).sqrt()
    }

    /// Factors rows into coefficients and an orthonormal basis. Rows that depend on others are harmless.
    fn orthonormal(&self, rows: Tensor) -> Result<Basis> {
        let Some(preconditioner) = self.preconditioner else {
            let (q, r) = Tensor::linalg_qr(&rows.transpose(0, 1), "reduced");
            let w = q.transpose(0, 1).contiguous();
            return Ok(Basis { coefficients: r.transpose(0, 1).to_kind(Kind::Double), z: w.shallow_clone(), w });
        };
        let mapped = preconditioner.apply(&rows)?;
        let gram = rows.to_kind(Kind::Double).matmul(&mapped.to_kind(Kind::Double).transpose(0, 1));
        if !all_finite(&gram) {
            return Err(Error::numerical("conjugate gradients", "the preconditioner gave NaN or infinity"));
        }
        let (values, vectors) = ((&gram + gram.transpose(0, 1)) * 0.5).linalg_eigh("L");
        let largest = values.max().double_value(&[]);
        if largest < 0.0 || values.min().double_value(&[]) < -1e-3 * largest {
            return Err(not_positive());
        }
        let kept = values.gt((largest * 1e-12).max(f64::MIN_POSITIVE)).nonzero().squeeze_dim(1);
        let (values, vectors) = (values.index_select(0, &kept).sqrt(), vectors.index_select(1, &kept));
        let whiten = (&vectors / &values).transpose(0, 1).to_kind(Kind::Float); // [m, k]
        Ok(Basis { coefficients: vectors * values, w: whiten.matmul(&rows), z: whiten.matmul(&mapped) })
    }

    fn give(&self, x: Tensor, worst: f64) -> Result<Tensor> {
        if self.options.truncate {
            return Ok(x);
        }
        Err(self.options.unsolved(worst, self.damping))
    }

    /// Each row in its own Krylov space; what is done is put aside and costs nothing from then on.
    fn apart(&self, rows: Tensor) -> Result<Tensor> {
        let map = |r: &Tensor| self.preconditioner.map_or_else(|| Ok(r.shallow_clone()), |p| p.apply(r));
        let solution = rows.zeros_like();
        let mut active = Tensor::arange(rows.size()[0], (Kind::Int64, Device::Cpu));
        let mut x = rows.zeros_like();
        let mut residual = rows;
        let mapped = map(&residual)?;
        let mut square = dots(&residual, &mapped);
        preconditioned(&square)?;
        let mut direction = mapped.copy();
        let mut worst = 1.0;
        for _ in 0..self.options.iterations {
            let product = self.product(&direction)?;
            let curvature = dots(&direction, &product);
            let least = curvature.min().double_value(&[]);
            if least.is_nan() || least <= 0.0 {
                return Err(self.options.indefinite(least, self.damping));
            }
            let step = (&square / curvature).to_kind(Kind::Float).unsqueeze(1);
            let _ = x.addcmul_(&direction, &step);
            let _ = residual.addcmul_(&product, &-step);
            let lengths = dots(&residual, &residual).sqrt();
            worst = lengths.max().double_value(&[]);
            let working = lengths.gt(self.options.tolerance.max(ROUNDING));
            if working.all().int64_value(&[]) == 0 {
                let (done, left) = (working.logical_not().nonzero().squeeze_dim(1), working.nonzero().squeeze_dim(1));
                let pick = |x: &Tensor, at: &Tensor| x.index_select(0, at);
                let _ = solution.shallow_clone().index_copy_(0, &pick(&active, &done), &pick(&x, &done));
                if left.numel() == 0 {
                    return Ok(solution);
                }
                (x, residual, direction) = (pick(&x, &left), pick(&residual, &left), pick(&direction, &left));
                (square, active) = (pick(&square, &left), pick(&active, &left));
            }
            let mapped = map(&residual)?;
            let next = dots(&residual, &mapped);
            preconditioned(&next)?;
            let ratio = (&next / &square).to_kind(Kind::Float).unsqueeze(1);
            direction = mapped.addcmul(&direction, &ratio);
            square = next;
        }
        let _ = solution.shallow_clone().index_copy_(0, &active, &x);
        self.give(solution, worst)
    }
}

/// Leaves only the directions that the systems still at work need; gives the search directions among them.
fn narrow(basis: &mut Basis, working: &Tensor, s: &Tensor) -> Tensor {
    let at = working.nonzero().squeeze_dim(1);
    let (q, r) = Tensor::linalg_qr(&basis.coefficients.index_select(0, &at).transpose(0, 1), "reduced"); // [m, l], [l, l]
    let rotate = q.transpose(0, 1).to_kind(Kind::Float);
    let shape = [basis.coefficients.size()[0], r.size()[0]];
    let mut coefficients = Tensor::zeros(shape, (Kind::Double, Device::Cpu));
    let _ = coefficients.index_copy_(0, &at, &r.transpose(0, 1));
    basis.coefficients = coefficients;
    basis.w = rotate.matmul(&basis.w);
    basis.z = rotate.matmul(&basis.z);
    rotate.matmul(s)
}

/// An error unless every `rᵀ P r` is positive.
fn preconditioned(squares: &Tensor) -> Result<()> {
    match squares.gt(0.0).all().int64_value(&[]) {
        0 => Err(not_positive()),
        _ => Ok(()),
    }
}

fn not_positive() -> Error {
    Error::numerical("conjugate gradients", "the preconditioner is not positive definite: raise its damping")
}

/// Inner products of corresponding rows in float64, `[k]`.
fn dots(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
}
