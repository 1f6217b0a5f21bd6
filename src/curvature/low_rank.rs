//! The inverse of a matrix known on a few directions.

use tch::{Kind, Tensor};

use super::{Preconditioner, check_rows};
use crate::error::{Result, guarded};

/// `U diag(1/values) Uᵀ`, and outside the space of `U` either nothing or `1/λ`.
pub(super) struct LowRank {
    /// What to divide by along each direction, positive, float64 `[r]`.
    pub values: Tensor,
    /// Orthonormal rows `[r, p]`.
    pub vectors: Tensor,
    /// λ, if the space outside is to be divided by it.
    pub outside: Option<f64>,
}

impl Preconditioner for LowRank {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.vectors.size()[1])?;
        guarded(|| {
            let along = rows.matmul(&self.vectors.transpose(0, 1));
            let inverse = match self.outside {
                Some(damping) => self.values.reciprocal() - 1.0 / damping,
                None => self.values.reciprocal(),
            };
            let inside = (along * inverse.to_kind(Kind::Float)).matmul(&self.vectors);
            Ok(match self.outside {
                Some(damping) => inside + rows / damping,
                None => inside,
            })
        })
    }

    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.vectors.size()[1])?;
        guarded(|| {
            let sum = |x: Tensor| x.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            let squares = rows.matmul(&self.vectors.transpose(0, 1)).to_kind(Kind::Double).square();
            let inside = squares.matmul(&self.values.reciprocal());
            Ok(match self.outside {
                Some(damping) => inside + (sum(rows.square()) - sum(squares)).clamp_min(0.0) / damping,
                None => inside,
            }
            .to_kind(Kind::Float))
        })
    }
}
