//! Answers: what do gradients say layer by layer, through few inputs and few outputs of each? Formula for the gradient G `[out, in]` of
//! a weight (with its bias as one more input): `P_out G P_inᵀ = Σ_t (P_out δ_t) ⊗ (P_in a_t)`, `output · input` numbers a layer.
//! Parts: one a layer, so that a curvature of the small space can be block-diagonal. Sides no wider than asked stay whole; a table of
//! rows (embedding) is a matrix with its rows as outputs; norms and parameters outside layers stay as they are up to `output · input`
//! numbers and go through a sparse JL map beyond.
//! Cost: n · t · (in · input + out · output) multiplications; no gradient is formed where that is cheaper.
//! Defaults: 32 a side; LoGra's paper takes 64.
//! Misleads: noise is that of both sides, `(1 + 2/input)(1 + 2/output) − 1` in the squared length of a G of rank 1.
//! Reference: Choe et al. 2024, LoGra (arXiv:2405.13954).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::per_layer::{Join, Layer, Map, PerLayer};
use super::side::Side;
use super::{Projection, Projector, check_dim};
use crate::error::Result;
use crate::gradient::Layout;

/// How a side of a weight is made shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Factor {
    /// By a dense matrix of normal numbers.
    #[default]
    Gaussian,
    /// By a choice of coordinates.
    Mask,
}

/// A map for each side of each layer.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::Kronecker { input: 16, output: 8, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 2 * 16 * 8]);
/// assert_eq!(projector.parts().len(), 2);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kronecker {
    /// Numbers that each layer's inputs become.
    pub input: i64,
    /// Numbers that each layer's outputs become.
    pub output: i64,
    /// The kind of both maps.
    pub factor: Factor,
    /// Another seed gives other maps.
    pub seed: u64,
}

impl Default for Kronecker {
    fn default() -> Kronecker {
        Kronecker { input: 32, output: 32, factor: Factor::Gaussian, seed: 0 }
    }
}

impl Projection for Kronecker {
    fn name(&self) -> String {
        let factor = match self.factor {
            Factor::Gaussian => "gaussian",
            Factor::Mask => "mask",
        };
        format!("kronecker, {factor}, input {}, output {}, seed {}", self.input, self.output, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        let widest = Layer::widest(layout);
        let bytes = |k: i64| if k < widest { 4 * widest } else { 1 }; // a side that has no more stays whole
        check_dim("Kronecker.input", self.input, bytes(self.input))?;
        check_dim("Kronecker.output", self.output, bytes(self.output))?;
        check_dim("Kronecker.input · Kronecker.output", self.input.saturating_mul(self.output), 1)?;
        let side = match self.factor {
            Factor::Gaussian => Side::gaussian,
            Factor::Mask => Side::mask,
        };
        PerLayer::fit(layout, Draw::new(self.seed, member), |layer, draw| match layer.sides() {
            Some((outputs, inputs)) => Map::Matrix {
                output: side(outputs, self.output, draw.of(0)),
                input: side(inputs, self.input, draw.of(1)),
                join: Join::Products,
            },
            None => Map::vector(layer.columns.len(), self.input * self.output, draw),
        })
    }
}
