//! Answers: as `Kronecker`, at less cost: each side is masked, and the products of what is left go through a sparse JL map.
//! Formula for a layer: `T vec(M_out G M_inᵀ)`; M choose `√(dim · blowup)` coordinates of a side, T `[≤ dim · blowup, dim]` has one
//! entry `±1` in each row.
//! Parts: one a layer. Sides no wider than asked stay whole, and so do products that are no more than `dim`; tables of rows, norms and
//! parameters outside layers as in `Kronecker`, with room for `dim` numbers.
//! Cost: n · dim · blowup · (t + 1) multiplications and additions, whatever the layer's size.
//! Defaults: blowup 4 as in the paper.
//! Misleads: as `RandomMask`, on both sides: layers whose gradients few inputs or outputs dominate are noisy.
//! Reference: Hu et al. 2025, FactGraSS (arXiv:2505.18976).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::per_layer::{Join, Map, PerLayer};
use super::side::Side;
use super::sparse::Table;
use super::{Projection, Projector, check_dim};
use crate::error::{Error, Result};
use crate::gradient::Layout;

/// Masks of both sides of each layer and a sparse Johnson-Lindenstrauss map after them.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::FactoredSparse { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 2 * 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FactoredSparse {
    /// Numbers for each layer.
    pub dim: i64,
    /// Products that are added up for each number.
    pub blowup: i64,
    /// Another seed gives other maps.
    pub seed: u64,
}

impl Default for FactoredSparse {
    fn default() -> FactoredSparse {
        FactoredSparse { dim: 512, blowup: 4, seed: 0 }
    }
}

impl Projection for FactoredSparse {
    fn name(&self) -> String {
        format!("factored sparse, dim {}, blowup {}, seed {}", self.dim, self.blowup, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("FactoredSparse.dim", self.dim, Table::output_bytes(layout.p()))?;
        if self.blowup < 1 {
            return Err(Error::option("FactoredSparse.blowup", "at least 1", self.blowup));
        }
        let side = self.dim.saturating_mul(self.blowup).isqrt();
        PerLayer::fit(layout, Draw::new(self.seed, member), |layer, draw| {
            let Some((outputs, inputs)) = layer.sides() else { return Map::vector(layer.columns.len(), self.dim, draw) };
            let (output, input) = (Side::mask(outputs, side, draw.of(0)), Side::mask(inputs, side, draw.of(1)));
            let products = output.k() * input.k();
            let join = match products <= self.dim {
                true => Join::Products,
                false => Join::Sparse(Table::new(products, self.dim, 1, draw.of(2))),
            };
            Map::Matrix { output, input, join }
        })
    }
}
