//! Answers: what do gradients say through `k` random directions? Formula: `x R / √k`, R `[p, k]` of independent N(0, 1).
//! Cost: n · p · k multiplications, and p · k draws once if the matrix takes at most 256 MB, else with each batch.
//! Misleads: nothing beyond the noise, of relative size `√(1 + cos²) / (cos · √k)` for two gradients at an angle.
//! Reference: Johnson & Lindenstrauss 1984; for attribution Park et al. 2023 (arXiv:2303.14186).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dense::{Dense, OUTPUT_BYTES};
use super::draw::Draw;
use super::{Projection, Projector, check_dim};
use crate::error::Result;
use crate::gradient::Layout;

/// A dense matrix of normal numbers.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::Gaussian { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gaussian {
    /// `k`, length of a projected gradient.
    pub dim: i64,
    /// Another seed gives another matrix.
    pub seed: u64,
}

impl Default for Gaussian {
    fn default() -> Gaussian {
        Gaussian { dim: 512, seed: 0 }
    }
}

impl Projection for Gaussian {
    fn name(&self) -> String {
        format!("gaussian, dim {}, seed {}", self.dim, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("Gaussian.dim", self.dim, OUTPUT_BYTES)?;
        Ok(Box::new(Dense::new(layout.p(), self.dim, Draw::new(self.seed, member), Draw::normals)?))
    }
}
