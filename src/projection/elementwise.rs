//! Answers: as `Gaussian` layer by layer, with directions that are outer products. Formula for a layer, with rows of P of independent
//! N(0, 1): `r_c = (1/√dim) Σ_t (P_in a_t)_c (P_out δ_t)_c`, which is `p_outᵀ G p_in / √dim`.
//! Unbiased: `E[(p_outᵀ G p_in)(p_outᵀ G' p_in)] = ⟨G, G'⟩` for each c.
//! Parts: one a layer. Layers of no more than `dim` parameters stay whole; tables of rows, norms and parameters outside layers as in
//! `Kronecker`, with room for `dim` numbers.
//! Cost: n · t · dim · (in + out) multiplications; 4 · dim · (in + out) bytes are kept.
//! Misleads: a squared length is twice as noisy as with `Gaussian` where G has rank 1, and hardly more where its rank is large.
//! Reference: Sun et al. 2021, Tensor random projection (arXiv:2105.00105).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::per_layer::{Join, Layer, Map, PerLayer};
use super::side::Side;
use super::{Projection, Projector, check_dim};
use crate::error::Result;
use crate::gradient::Layout;

/// Random outer products as directions, for each layer.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::Elementwise { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 2 * 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elementwise {
    /// Numbers for each layer.
    pub dim: i64,
    /// Another seed gives other maps.
    pub seed: u64,
}

impl Default for Elementwise {
    fn default() -> Elementwise {
        Elementwise { dim: 512, seed: 0 }
    }
}

impl Projection for Elementwise {
    fn name(&self) -> String {
        format!("elementwise, dim {}, seed {}", self.dim, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("Elementwise.dim", self.dim, 4 * Layer::widest(layout))?;
        PerLayer::fit(layout, Draw::new(self.seed, member), |layer, draw| match layer.sides() {
            Some((outputs, inputs)) if outputs * inputs > self.dim => Map::Matrix {
                output: Side::normals(outputs, self.dim, draw.of(0)),
                input: Side::normals(inputs, self.dim, draw.of(1)),
                join: Join::Places,
            },
            Some((outputs, inputs)) => {
                Map::Matrix { output: Side::Whole(outputs), input: Side::Whole(inputs), join: Join::Products }
            }
            None => Map::vector(layer.columns.len(), self.dim, draw),
        })
    }
}
