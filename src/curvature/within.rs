//! The inverse of a matrix that is zero outside a smaller space, from its inverse inside.

use tch::{Kind, Tensor};

use super::{Preconditioner, check_rows};
use crate::error::{Result, guarded};
use crate::gradient::{Operator, Subspace};

/// `(Q M Qᵀ + λ)⁻¹ = Q (M + λ)⁻¹ Qᵀ + (1 − Q Qᵀ)/λ`.
pub(super) struct Within {
    inside: Box<dyn Preconditioner>,
    space: Box<dyn Subspace>,
    damping: f64,
    p: i64,
}

impl Within {
    pub fn new(inside: Box<dyn Preconditioner>, space: Box<dyn Subspace>, damping: f64, p: i64) -> Within {
        Within { inside, space, damping, p }
    }
}

/// Inverts inside the operator's smaller space if it has one and λ is positive, else where it is.
pub(super) fn compressed(
    operator: Box<dyn Operator>,
    damping: f64,
    invert: impl FnOnce(Box<dyn Operator>) -> Result<Box<dyn Preconditioner>>,
) -> Result<Box<dyn Preconditioner>> {
    if damping > 0.0
        && let Some(small) = operator.compressed()?
    {
        let p = operator.p();
        drop(operator);
        return Ok(Box::new(Within::new(invert(small.matrix)?, small.space, damping, p)));
    }
    invert(operator)
}

impl Preconditioner for Within {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.p)?;
        let coordinates = self.space.coordinates(rows)?;
        let outside = guarded(|| Ok((rows - self.space.vectors(&coordinates)?) / self.damping))?;
        let inside = self.inside.apply(&coordinates)?;
        guarded(|| Ok(outside + self.space.vectors(&inside)?))
    }

    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.p)?;
        let coordinates = self.space.coordinates(rows)?;
        let inside = self.inside.quadratic(&coordinates)?;
        guarded(|| {
            let outside = rows - self.space.vectors(&coordinates)?;
            let squares = outside.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double) / self.damping;
            Ok(inside + squares.to_kind(Kind::Float))
        })
    }
}
