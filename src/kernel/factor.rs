//! `(M + λ)⁻¹` in float64: by Cholesky for one λ, by eigenvalues for any.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::snapshot::all_finite;

/// What rounding has done to a matrix of inner products, and the option that is to blame where nothing else is left.
#[derive(Clone, Copy)]
pub(crate) struct Noise<'a> {
    pub option: &'a str,
    /// Error of an inner product relative to the two lengths.
    pub rounding: f64,
}

impl Noise<'_> {
    fn singular(&self, size: i64, lambda: f64) -> Error {
        let reason = format!(
            "the {size} × {size} matrix of inner products is singular up to rounding with λ = {lambda:.3e}; raise {}",
            self.option
        );
        Error::numerical(self.option, reason)
    }
}

fn check_finite(matrix: &Tensor) -> Result<()> {
    match all_finite(matrix) {
        true => Ok(()),
        false => Err(Error::numerical("the matrix of inner products", "an entry is NaN or infinite; a gradient overflowed")),
    }
}

/// A Cholesky factor.
pub(crate) struct Factor {
    /// `M + λ = L Lᵀ`.
    lower: Tensor,
    pub lambda: f64,
}

impl Factor {
    /// Factors a float64 matrix in its own memory.
    ///
    /// A pivot is what one row has that the rows before it have not; below the rounding of the row's own length it is noise.
    pub fn new(matrix: Tensor, lambda: f64, noise: Noise) -> Result<Factor> {
        check_finite(&matrix)?;
        let _ = matrix.diagonal(0, 0, 1).g_add_scalar_(lambda);
        let diagonal = matrix.diagonal(0, 0, 1).copy();
        let lower = matrix.transpose(0, 1); // symmetric; libtorch factors column by column
        let info = Tensor::zeros([], (Kind::Int, Device::Cpu));
        let _ = lower.linalg_cholesky_ex_l(&lower, &info, false, false);
        let sound = || (lower.diagonal(0, 0, 1).square() / &diagonal).min().double_value(&[]) > noise.rounding;
        match info.int64_value(&[]) == 0 && sound() {
            true => Ok(Factor { lower, lambda }),
            false => Err(noise.singular(diagonal.size()[0], lambda)),
        }
    }

    /// `[m, r] → [m, r]`, float64, row by row.
    pub fn apply(&self, rows: &Tensor) -> Tensor {
        let halves = self.halves(rows);
        self.lower.transpose(0, 1).linalg_solve_triangular(&halves, true, true, false).transpose(0, 1)
    }

    /// `gᵀ (M + λ)⁻¹ g` of rows.
    pub fn squares(&self, rows: &Tensor) -> Tensor {
        self.halves(rows).square().sum_dim_intlist([0i64].as_slice(), false, Kind::Double)
    }

    fn halves(&self, rows: &Tensor) -> Tensor {
        self.lower.linalg_solve_triangular(&rows.transpose(0, 1), false, true, false)
    }

    /// Diagonals of the inverse and of its square.
    pub fn inverse_diagonals(&self) -> (Tensor, Tensor) {
        let inverse = self.lower.cholesky_inverse(false);
        let squares = inverse.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        (inverse.diagonal(0, 0, 1).copy(), squares)
    }
}

/// Eigenvalues and eigenvectors, which serve every λ.
pub(crate) struct Spectrum {
    /// Ascending, `[r]`.
    values: Tensor,
    /// In columns, `[r, r]`.
    vectors: Tensor,
}

impl Spectrum {
    pub fn new(matrix: &Tensor) -> Result<Spectrum> {
        check_finite(matrix)?;
        let (values, vectors) = matrix.f_linalg_eigh("L")?;
        Ok(Spectrum { values, vectors })
    }

    pub fn trace(&self) -> f64 {
        self.values.sum(Kind::Double).double_value(&[])
    }

    /// Rows `[m, r]` in the coordinates of the eigenvectors.
    pub fn turn(&self, rows: &Tensor) -> Tensor {
        rows.matmul(&self.vectors)
    }

    /// `(M + λ)⁻¹` of turned rows, turned back.
    pub fn apply(&self, turned: &Tensor, lambda: f64, noise: Noise) -> Result<Tensor> {
        let damped = &self.values + lambda;
        let (least, mean) = (damped.min().double_value(&[]), damped.mean(Kind::Double).double_value(&[]));
        match least > noise.rounding * mean {
            true => Ok((turned / damped).matmul(&self.vectors.transpose(0, 1))),
            false => Err(noise.singular(self.values.size()[0], lambda)),
        }
    }
}
