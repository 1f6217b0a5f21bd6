use std::borrow::Borrow;

use tch::{Device, Kind, Tensor, nn};

use super::linear_with;
use crate::error::{Error, raise};
use crate::model::Tape;

/// Multi-head attention: `softmax(q kᵀ / √d) v` for each head of width `d`, then a projection of the heads side by side.
///
/// Written with plain operations, so that it can be differentiated twice.
#[derive(Debug)]
pub struct Attention {
    /// Makes queries, keys and values, each `[n, t, width]`.
    pub projection: Projection,
    /// `[n, t, width] → [n, t, width]`
    pub out: nn::Linear,
    /// Number of heads, a divisor of the width.
    pub heads: i64,
    /// Whether a position attends to itself and earlier ones only.
    pub causal: bool,
    /// Share of the attention weights that training drops.
    pub dropout: f64,
}

/// How queries, keys and values come about.
#[derive(Debug)]
pub enum Projection {
    /// One layer gives the three side by side, `[n, t, width] → [n, t, 3 · width]`; for self-attention only.
    Fused(nn::Linear),
    /// A layer for each; keys and values may come from a memory of another width.
    #[allow(missing_docs)]
    Separate { query: nn::Linear, key: nn::Linear, value: nn::Linear },
}

/// Settings of an [`Attention`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionOptions {
    /// Number of heads, a divisor of the width.
    pub heads: i64,
    /// Whether a position attends to itself and earlier ones only.
    pub causal: bool,
    /// Whether the linear layers have biases.
    pub bias: bool,
    /// Whether one layer makes queries, keys and values.
    pub fused: bool,
    /// Share of the attention weights that training drops.
    pub dropout: f64,
}

impl Default for AttentionOptions {
    /// One head that sees every position; a fused projection with biases, no dropout.
    fn default() -> AttentionOptions {
        AttentionOptions { heads: 1, causal: false, bias: true, fused: true, dropout: 0.0 }
    }
}

/// Multi-head attention with layers `qkv` (or `query`, `key`, `value`) and `out`: `4 · width · (width + 1)` parameters.
///
/// ```
/// use ascribe::model::layer::AttentionOptions;
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let options = AttentionOptions { heads: 2, causal: true, ..default() };
/// let attention = layer::attention(store.root() / "attention", 8, options);
/// let x = Tensor::from_slice(&[0.5f32; 2 * 3 * 8]).view([2, 3, 8]);
/// assert_eq!(Tape::off().attention("attention", &attention, &x, None).size(), [2, 3, 8]);
/// ```
///
/// Errors, at the border: [`Error::Layer`] if the heads do not divide the width.
pub fn attention<'a>(path: impl Borrow<nn::Path<'a>>, width: i64, options: AttentionOptions) -> Attention {
    let (path, AttentionOptions { heads, causal, bias, fused, dropout }) = (path.borrow(), options);
    if heads < 1 || width % heads != 0 {
        raise(Error::option("AttentionOptions.heads", format!("a divisor of the width {width}"), heads));
    }
    let linear = |name: &str, outputs| linear_with(&(path / name), width, outputs, bias);
    let projection = match fused {
        true => Projection::Fused(linear("qkv", 3 * width)),
        false => Projection::Separate { query: linear("query", width), key: linear("key", width), value: linear("value", width) },
    };
    Attention { projection, out: linear("out", width), heads, causal, dropout }
}

impl Tape {
    /// Self-attention, `[n, t, width] → [n, t, width]`.
    ///
    /// `keys` `[n, t]`, bool: true where a position may be attended to, false for padding. A position that may attend to
    /// nothing gets zeros before the output projection. Its layers are recorded as `name.qkv`, `name.out` and so on.
    ///
    /// Errors, at the border: [`Error::Layer`] for an input or mask of another shape.
    pub fn attention(&mut self, name: &str, layer: &Attention, x: &Tensor, keys: Option<&Tensor>) -> Tensor {
        self.cross_attention(name, layer, x, x, keys)
    }

    /// Attention from `x` `[n, t, width]` to `memory` `[n, u, its width]`, giving `[n, t, width]`; `keys` is `[n, u]`.
    ///
    /// Errors, at the border: [`Error::Layer`] for shapes that do not fit, and for a fused projection of two different inputs.
    pub fn cross_attention(
        &mut self,
        name: &str,
        layer: &Attention,
        x: &Tensor,
        memory: &Tensor,
        keys: Option<&Tensor>,
    ) -> Tensor {
        let (query, key) = match &layer.projection {
            Projection::Fused(all) => (all, all),
            Projection::Separate { query, key, .. } => (query, key),
        };
        let (n, t) = sequence(name, "input", x, query, None);
        let (_, u) = sequence(name, "memory", memory, key, Some(n));
        let blocked = blocked(name, layer.causal, (n, t, u), keys);
        let (q, k, v) = match &layer.projection {
            Projection::Fused(all) if x.data_ptr() == memory.data_ptr() && t == u => {
                let parts = self.linear(&format!("{name}.qkv"), all, x).chunk(3, -1);
                (parts[0].shallow_clone(), parts[1].shallow_clone(), parts[2].shallow_clone())
            }
            Projection::Fused(_) => {
                raise(Error::layer(name, "attention to a memory needs separate projections, got a fused one"))
            }
            Projection::Separate { query, key, value } => (
                self.linear(&format!("{name}.query"), query, x),
                self.linear(&format!("{name}.key"), key, memory),
                self.linear(&format!("{name}.value"), value, memory),
            ),
        };
        let split = |x: &Tensor, length: i64| x.reshape([n, length, layer.heads, -1]).transpose(1, 2); // [n, heads, length, d]
        let (q, k, v) = (split(&q, t), split(&k, u), split(&v, u));
        let scale = 1.0 / (q.size()[3] as f64).sqrt();
        let mut weights = (q * scale).matmul(&k.transpose(2, 3)); // [n, heads, t, u]
        // Adding is several times faster than filling by a mask, and its derivative costs nothing.
        if let Some(blocked) = &blocked {
            weights += blocked.to_kind(weights.kind()) * -1e30;
        }
        weights = weights.softmax(-1, None::<Kind>);
        if let (Some(blocked), Some(_)) = (&blocked, keys) {
            weights = weights.masked_fill(blocked, 0.0); // a position that may attend to nothing
        }
        let mixed = self.dropout(layer.dropout, &weights).matmul(&v).transpose(1, 2).reshape([n, t, -1]);
        self.linear(&format!("{name}.out"), &layer.out, &mixed)
    }
}

/// The first two sizes of `[n, t, width]`, as the projection expects it.
fn sequence(name: &str, what: &str, x: &Tensor, projection: &nn::Linear, n: Option<i64>) -> (i64, i64) {
    let (size, width) = (x.size(), projection.ws.size()[1]);
    if size.len() != 3 || size[2] != width || n.is_some_and(|n| n != size[0]) {
        let n = n.map_or_else(|| "n".to_string(), |n| n.to_string());
        raise(Error::layer(name, format!("{what} expected [n, t, width] = [{n}, t, {width}], got {size:?}")));
    }
    (size[0], size[1])
}

/// Pairs of positions that must not attend, `[n or 1, 1, t or 1, u]`; `None` where all may.
fn blocked(name: &str, causal: bool, (n, t, u): (i64, i64, i64), keys: Option<&Tensor>) -> Option<Tensor> {
    if causal && t != u {
        raise(Error::layer(name, format!("causal attention expected as many keys as the {t} queries, got {u}")));
    }
    let later = causal.then(|| Tensor::ones([1, 1, t, u], (Kind::Bool, Device::Cpu)).triu(1));
    let padded = keys.map(|keys| {
        if keys.size() != [n, u] {
            raise(Error::layer(name, format!("mask expected [n, t] = [{n}, {u}], got {:?}", keys.size())));
        }
        if keys.kind() != Kind::Bool {
            raise(Error::layer(name, format!("mask expected bool (true may be attended to), got {:?}", keys.kind())));
        }
        keys.logical_not().view([n, 1, 1, u])
    });
    match (later, padded) {
        (Some(later), Some(padded)) => Some(later.logical_or(&padded)),
        (later, padded) => later.or(padded),
    }
}
