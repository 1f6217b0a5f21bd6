use std::borrow::Borrow;

use tch::nn::{self, Init};
use tch::{Device, Kind, Tensor};

use super::layer::{self, AttentionOptions, Embedding, LayerNorm, Projection, TransformerBlock};
use super::{Model, Tape};
use crate::error::{Error, raise};

/// A small GPT in the shape of nanoGPT, github.com/karpathy/nanoGPT: embeddings of token and place, dropout, pre-norm blocks
/// with causal attention, a last norm, and logits by the table of tokens again (tied weights).
///
/// Initial weights as there: N(0, 0.02), the projections into the residual stream divided by √(2 · layers), biases 0.
///
/// ```
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let gpt = Gpt::new(store.root(), GptOptions { vocab: 11, context: 8, ..default() });
/// let tokens = Tensor::from_slice(&[3i64, 1, 4, 1, 5, 9, 2, 6, 5, 3]).view([2, 5]);
/// assert_eq!(gpt.forward(&tokens, &mut Tape::off()).size(), [2, 5, 11]);
/// ```
#[derive(Debug)]
pub struct Gpt {
    token: Embedding,
    place: Embedding,
    blocks: Vec<(String, TransformerBlock)>,
    norm: LayerNorm,
    head: nn::Linear,
    dropout: f64,
}

/// The shape of a [`Gpt`].
///
/// `vocab · width + context · width + layers · (12 · width² + 2 · width) + width` parameters without biases; with them
/// `11 · width` more in each layer and `width` more in the last norm.
#[derive(Clone, Copy, Debug)]
pub struct GptOptions {
    /// Number of tokens.
    pub vocab: i64,
    /// Largest number of positions.
    pub context: i64,
    /// Numbers that describe a position.
    pub width: i64,
    /// Heads of each attention, a divisor of the width.
    pub heads: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Share that training drops: of the embeddings, attention weights and each part's output.
    pub dropout: f64,
    /// Whether linear layers and norms have biases.
    pub bias: bool,
}

impl Default for GptOptions {
    /// Two layers of width 64 over 65 characters: 106,880 parameters.
    fn default() -> GptOptions {
        GptOptions { vocab: 65, context: 64, width: 64, heads: 4, layers: 2, dropout: 0.0, bias: false }
    }
}

impl GptOptions {
    /// The character model of nanoGPT and of dattri's benchmark: six layers of width 384 over 256 places, dropout 0.2;
    /// 10,745,088 parameters for 65 characters (10.65 million without the places).
    pub fn nano(vocab: i64) -> GptOptions {
        GptOptions { vocab, context: 256, width: 384, heads: 6, layers: 6, dropout: 0.2, bias: false }
    }

    fn check(&self) {
        for (name, size) in [("vocab", self.vocab), ("context", self.context), ("width", self.width)] {
            if size < 1 {
                raise(Error::option(format!("GptOptions.{name}"), "at least 1", size));
            }
        }
        if self.heads < 1 || self.width % self.heads != 0 {
            raise(Error::option("GptOptions.heads", format!("a divisor of the width {}", self.width), self.heads));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            raise(Error::option("GptOptions.dropout", "at least 0 and below 1", self.dropout));
        }
    }
}

impl Gpt {
    /// Takes tokens `[n, t]`, int64 or whole floats, `t` at most the context, to logits `[n, t, vocab]`.
    ///
    /// Errors, at the border: [`Error::Option`] for a shape that cannot be, [`Error::Shape`] for too long a sequence.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, options: GptOptions) -> Gpt {
        options.check();
        let (path, GptOptions { vocab, context, width, heads, layers, dropout, bias }) = (path.borrow(), options);
        let token = layer::embedding(path / "token", vocab, width);
        let place = layer::embedding(path / "place", context, width);
        let attention = AttentionOptions { heads, causal: true, bias, fused: true, dropout };
        let blocks = (1..=layers).map(|i| {
            let name = format!("block{i}");
            let block = layer::transformer_block(path / &name, width, attention);
            initialise(&block, layers);
            (name, block)
        });
        let blocks = blocks.collect();
        for table in [&token, &place] {
            normal(&table.weight, 0.02);
        }
        let head = nn::Linear { ws: token.weight.shallow_clone(), bs: None };
        Gpt { token, place, blocks, norm: layer::layer_norm_with(&(path / "norm"), &[width], bias), head, dropout }
    }
}

/// nanoGPT's initial values.
fn initialise(block: &TransformerBlock, layers: usize) {
    let residual = 0.02 / (2.0 * layers as f64).sqrt();
    let qkv = match &block.attention.projection {
        Projection::Fused(all) => vec![all],
        Projection::Separate { query, key, value } => vec![query, key, value],
    };
    let usual = qkv.into_iter().chain([&block.expand]).map(|linear| (linear, 0.02));
    for (linear, deviation) in usual.chain([(&block.attention.out, residual), (&block.shrink, residual)]) {
        normal(&linear.ws, deviation);
        if let Some(bias) = &linear.bs {
            tch::no_grad(|| Init::Const(0.0).set(&mut bias.shallow_clone()));
        }
    }
}

fn normal(weight: &Tensor, deviation: f64) {
    tch::no_grad(|| Init::Randn { mean: 0.0, stdev: deviation }.set(&mut weight.shallow_clone()));
}

impl Model for Gpt {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let (size, context) = (inputs.size(), self.place.weight.size()[0]);
        if size.len() != 2 || size[1] > context {
            raise(Error::shape("tokens", format!("[n, t] with t at most {context}"), format!("{size:?}")));
        }
        let places = Tensor::arange(size[1], (Kind::Int64, Device::Cpu)).expand([size[0], size[1]], false);
        let x = tape.embedding("token", &self.token, inputs) + tape.embedding("place", &self.place, &places);
        let x = tape.dropout(self.dropout, &x);
        let x = self.blocks.iter().fold(x, |x, (name, block)| tape.transformer_block(name, block, &x, None));
        let x = tape.layer_norm("norm", &self.norm, &x);
        tape.linear("head", &self.head, &x)
    }
}
