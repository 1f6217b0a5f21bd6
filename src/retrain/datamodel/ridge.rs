//! Ridge for all test examples and every λ from one eigendecomposition.

use tch::{Kind, Tensor};

use super::Fit;
use crate::error::Result;

/// Values of λ, and the decades they span.
const GRID: i64 = 13;
const DECADES: f64 = 3.0;

/// Weights are `basis · (projected / (eigenvalues + λ))`.
pub(super) struct Ridge {
    /// `[n, r]`: eigenvectors of the primal, or the rows of the dual ones seen through the masks.
    basis: Tensor,
    /// `[r, n_test]`.
    projected: Tensor,
    /// `[r, 1]`.
    eigenvalues: Tensor,
    /// `[1, n]` and `[1, n_test]`.
    mean_mask: Tensor,
    mean_value: Tensor,
}

impl Ridge {
    pub(super) fn new(masks: &Tensor, values: &Tensor) -> Result<Ridge> {
        let (mean_mask, mean_value) = (mean(masks), mean(values));
        let (x, y) = (masks - &mean_mask, values - &mean_value);
        let dual = x.size()[0] <= x.size()[1];
        let gram = if dual { x.matmul(&x.transpose(0, 1)) } else { x.transpose(0, 1).matmul(&x) };
        let (eigenvalues, vectors) = gram.f_linalg_eigh("L")?;
        let (basis, projected) = match dual {
            true => (x.transpose(0, 1).matmul(&vectors), vectors.transpose(0, 1).matmul(&y)),
            false => (vectors.shallow_clone(), vectors.transpose(0, 1).matmul(&x.transpose(0, 1).matmul(&y))),
        };
        Ok(Ridge { basis, projected, eigenvalues: eigenvalues.clamp_min(0.0).unsqueeze(1), mean_mask, mean_value })
    }

    /// `[grid, n_test]`, descending: powers of ten around the mean eigenvalue.
    pub(super) fn grid(&self) -> Tensor {
        let middle = self.eigenvalues.mean(None::<Kind>).double_value(&[]);
        let powers = Tensor::linspace(DECADES, -DECADES, GRID, (Kind::Double, self.basis.device()));
        (Tensor::pow_scalar(10.0, &powers) * middle).unsqueeze(1).repeat([1, self.projected.size()[1]])
    }

    /// Sums of squared errors on other subsets, `[grid, n_test]`.
    pub(super) fn errors(&self, masks: &Tensor, values: &Tensor, grid: &Tensor) -> Tensor {
        let seen = (masks - &self.mean_mask).matmul(&self.basis); // [held, r]
        let wanted = values - &self.mean_value;
        let rows = (0..grid.size()[0]).map(|row| {
            let predicted = seen.matmul(&self.shrunk(&grid.get(row)));
            (&wanted - predicted).square().sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)
        });
        Tensor::stack(&rows.collect::<Vec<_>>(), 0)
    }

    /// With a λ for each test example.
    pub(super) fn solve(&self, lambda: &Tensor) -> Fit {
        let weights = self.basis.matmul(&self.shrunk(lambda)).transpose(0, 1).contiguous(); // [n_test, n]
        let intercepts = self.mean_value.squeeze_dim(0) - weights.matmul(&self.mean_mask.squeeze_dim(0));
        Fit { weights, intercepts }
    }

    fn shrunk(&self, lambda: &Tensor) -> Tensor {
        &self.projected / (&self.eigenvalues + lambda.unsqueeze(0))
    }
}

pub(super) fn mean(rows: &Tensor) -> Tensor {
    rows.mean_dim([0i64].as_slice(), true, None::<Kind>)
}
