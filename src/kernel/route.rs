//! On which side of the train features the inverse is taken.

use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::gradient::Gradients;
use crate::snapshot::{Of, Snapshot};

/// `Φ_t (ΦᵀΦ + λ)⁻¹ Φᵀ = Φ_t Φᵀ (ΦΦᵀ + λ)⁻¹`: among k features, or among n examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Primal,
    Dual,
}

impl Route {
    /// Both cost `n k min(n, k)` multiplications for the matrix and a third of a cube for its factor.
    pub fn of(n: i64, k: i64) -> Route {
        if k <= n { Route::Primal } else { Route::Dual }
    }

    /// The same where gradients stay factored, so that an inner product of two costs less than p. Without damping only the smaller
    /// matrix has an inverse.
    pub fn of_exact(snapshot: &Snapshot, train: &Dataset, damping: Damping) -> Result<Route> {
        let (n, p) = (train.len() as i64, snapshot.p());
        if p > n || matches!(damping, Damping::Absolute(0.0) | Damping::Relative(0.0)) {
            return Ok(Route::of(n, p));
        }
        let (inputs, targets) = train.slice(0, 1);
        let one = guarded(|| Gradients::compute(snapshot, Of::Objective, &inputs, &targets))?;
        let pair: i64 = one.blocks().iter().map(|block| block.cost_of_pair()).sum();
        // Float64 costs twice as much as float32.
        let (n, p, pair) = (n as f64, p as f64, pair as f64);
        let (dual, primal) = (n * n * pair / 2.0 + n.powi(3) / 3.0, 2.0 * n * p * p + p.powi(3) / 3.0);
        Ok(if primal <= dual { Route::Primal } else { Route::Dual })
    }

    /// Rows of the matrix to invert.
    pub fn size(self, n: i64, k: i64) -> i64 {
        match self {
            Route::Primal => k,
            Route::Dual => n,
        }
    }
}
