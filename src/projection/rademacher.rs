//! Answers: what do gradients say through `k` random sums and differences? Formula: `x R / √k`, R `[p, k]` of independent ±1.
//! Cost: as `Gaussian`, but a draw costs a bit: a matrix too large to keep costs a fraction of the product.
//! Misleads: as `Gaussian`; a little less noise for gradients that live on few coordinates.
//! Reference: Achlioptas 2003, Database-friendly random projections.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dense::{Dense, OUTPUT_BYTES};
use super::draw::Draw;
use super::{Projection, Projector, check_dim};
use crate::error::Result;
use crate::gradient::Layout;

/// A dense matrix of signs.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::Rademacher { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rademacher {
    /// `k`, length of a projected gradient.
    pub dim: i64,
    /// Another seed gives another matrix.
    pub seed: u64,
}

impl Default for Rademacher {
    fn default() -> Rademacher {
        Rademacher { dim: 512, seed: 0 }
    }
}

impl Projection for Rademacher {
    fn name(&self) -> String {
        format!("rademacher, dim {}, seed {}", self.dim, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("Rademacher.dim", self.dim, OUTPUT_BYTES)?;
        Ok(Box::new(Dense::new(layout.p(), self.dim, Draw::new(self.seed, member), Draw::signs)?))
    }
}
