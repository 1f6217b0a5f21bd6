use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::attention::{Attention, AttentionOptions, attention};
use super::linear_with;
use super::norm::{LayerNorm, layer_norm_with};
use crate::model::Tape;

/// A block of a transformer with the norms before its parts, as in GPT-2: `x + attention(norm1(x))`, then
/// `x + shrink(GELU(expand(norm2(x))))`.
#[derive(Debug)]
pub struct TransformerBlock {
    /// Before the attention.
    pub norm1: LayerNorm,
    /// Attention of the sequence to itself.
    pub attention: Attention,
    /// Before the multi-layer perceptron.
    pub norm2: LayerNorm,
    /// `[n, t, width] → [n, t, 4 · width]`
    pub expand: nn::Linear,
    /// `[n, t, 4 · width] → [n, t, width]`
    pub shrink: nn::Linear,
    /// Share of either part's output that training drops.
    pub dropout: f64,
}

/// A block with layers `norm1`, `attention`, `norm2`, `expand` and `shrink`; `bias` and `dropout` hold for all of them.
///
/// `12 · width² + 13 · width` parameters with biases, `12 · width² + 2 · width` without.
///
/// ```
/// use ascribe::model::layer::AttentionOptions;
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let block = layer::transformer_block(store.root(), 8, AttentionOptions { heads: 2, ..default() });
/// let x = Tensor::from_slice(&[0.5f32; 2 * 3 * 8]).view([2, 3, 8]);
/// assert_eq!(Tape::off().transformer_block("block", &block, &x, None).size(), [2, 3, 8]);
/// assert_eq!(store.trainable_variables().iter().map(Tensor::numel).sum::<usize>(), 12 * 64 + 13 * 8);
/// ```
pub fn transformer_block<'a>(path: impl Borrow<nn::Path<'a>>, width: i64, options: AttentionOptions) -> TransformerBlock {
    let (path, bias) = (path.borrow(), options.bias);
    TransformerBlock {
        norm1: layer_norm_with(&(path / "norm1"), &[width], bias),
        attention: attention(path / "attention", width, options),
        norm2: layer_norm_with(&(path / "norm2"), &[width], bias),
        expand: linear_with(&(path / "expand"), width, 4 * width, bias),
        shrink: linear_with(&(path / "shrink"), 4 * width, width, bias),
        dropout: options.dropout,
    }
}

impl Tape {
    /// A transformer block, `[n, t, width] → [n, t, width]`; `keys` as for [`Tape::attention`].
    pub fn transformer_block(&mut self, name: &str, block: &TransformerBlock, x: &Tensor, keys: Option<&Tensor>) -> Tensor {
        let normed = self.layer_norm(&format!("{name}.norm1"), &block.norm1, x);
        let attended = self.attention(&format!("{name}.attention"), &block.attention, &normed, keys);
        let x = x + self.dropout(block.dropout, &attended);
        let normed = self.layer_norm(&format!("{name}.norm2"), &block.norm2, &x);
        let hidden = self.linear(&format!("{name}.expand"), &block.expand, &normed).gelu("none");
        let shrunk = self.linear(&format!("{name}.shrink"), &block.shrink, &hidden);
        &x + self.dropout(block.dropout, &shrunk)
    }
}
