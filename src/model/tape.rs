use tch::{Tensor, nn};

use super::layer::{BatchNorm, Conv2d, ConvOptions, Embedding, GroupNorm, LayerNorm};
use crate::random::{self, Purpose};

/// Runs layers and, when recording, keeps what per-example gradients are made of.
///
/// For a layer with input `a` and output `s`, the gradient of example `i` is `Σ_t δ_it ⊗ a_it`, where `δ = ∂/∂s` comes from one
/// backward pass of the summed measurement. Off, each call is just the layer. A layer may be used more than once.
pub struct Tape {
    mode: Mode,
    records: Vec<Record>,
}

enum Mode {
    Off,
    Record,
    Train { seed: u64, step: u64, draws: u64 },
}

/// One use of one layer.
pub(crate) struct Record {
    pub name: String,
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub operation: Operation,
    /// What the layer saw, detached: its input, or for norms the normalised input.
    pub input: Tensor,
    /// The same with its graph, for second derivatives.
    pub attached: Tensor,
    /// What it gave, part of the autograd graph.
    pub output: Tensor,
    /// Version of the output when recorded: a later in-place operation on it would falsify the gradient, and raises it.
    pub version: i64,
}

/// How a layer's gradient follows from its input and output.
pub(crate) enum Operation {
    /// `s = a Wᵀ + b` over the last dimension.
    Linear,
    /// The same after unfolding patches.
    Convolution(ConvOptions),
    /// `s = a ∘ w + b` over the last dimensions.
    ScaleLast,
    /// `s = a ∘ w + b` over dimension 1.
    ScaleChannel,
    /// Rows of a table.
    Lookup { padding: Option<i64> },
}

impl Tape {
    /// A tape that records nothing: for plain predictions.
    pub fn off() -> Tape {
        Tape { mode: Mode::Off, records: Vec::new() }
    }

    pub(crate) fn recording() -> Tape {
        Tape { mode: Mode::Record, records: Vec::new() }
    }

    pub(crate) fn training(seed: u64, step: u64) -> Tape {
        Tape { mode: Mode::Train { seed, step, draws: 0 }, records: Vec::new() }
    }

    /// Whether the model is being trained (dropout active, batch norm by the batch).
    pub fn is_training(&self) -> bool {
        matches!(self.mode, Mode::Train { .. })
    }

    pub(crate) fn into_records(self) -> Vec<Record> {
        self.records
    }

    fn keep(
        &mut self,
        name: &str,
        operation: Operation,
        weight: &Tensor,
        bias: Option<&Tensor>,
        input: &Tensor,
        output: &Tensor,
    ) {
        self.records.push(Record {
            name: name.to_string(),
            weight: weight.shallow_clone(),
            bias: bias.map(Tensor::shallow_clone),
            operation,
            input: input.detach(),
            attached: input.shallow_clone(),
            output: output.shallow_clone(),
            version: output.internal_version(),
        });
    }

    fn records(&self) -> bool {
        matches!(self.mode, Mode::Record)
    }

    /// A linear layer, `[n, ..., in] → [n, ..., out]`.
    pub fn linear(&mut self, name: &str, layer: &nn::Linear, x: &Tensor) -> Tensor {
        let s = x.linear(&layer.ws, layer.bs.as_ref());
        if self.records() {
            self.keep(name, Operation::Linear, &layer.ws, layer.bs.as_ref(), x, &s);
        }
        s
    }

    /// A convolution, `[n, in, h, w] → [n, out, h', w']`.
    pub fn conv2d(&mut self, name: &str, layer: &Conv2d, x: &Tensor) -> Tensor {
        let s = layer.forward(x);
        if self.records() {
            self.keep(name, Operation::Convolution(layer.options), &layer.weight, layer.bias.as_ref(), x, &s);
        }
        s
    }

    /// A layer norm over the trailing dimensions of the layer's weight.
    pub fn layer_norm(&mut self, name: &str, layer: &LayerNorm, x: &Tensor) -> Tensor {
        let shape = layer.weight.size();
        if !self.records() {
            return x.layer_norm(&shape, Some(&layer.weight), layer.bias.as_ref(), layer.epsilon, false);
        }
        let normalised = x.layer_norm(&shape, None::<Tensor>, None::<Tensor>, layer.epsilon, false);
        let scaled = &normalised * &layer.weight;
        let s = layer.bias.as_ref().map_or_else(|| scaled.shallow_clone(), |bias| &scaled + bias);
        self.keep(name, Operation::ScaleLast, &layer.weight, layer.bias.as_ref(), &normalised, &s);
        s
    }

    /// A group norm of `[n, channels, ...]`.
    pub fn group_norm(&mut self, name: &str, layer: &GroupNorm, x: &Tensor) -> Tensor {
        if !self.records() {
            return x.group_norm(layer.groups, Some(&layer.weight), layer.bias.as_ref(), layer.epsilon, false);
        }
        let normalised = x.group_norm(layer.groups, None::<Tensor>, None::<Tensor>, layer.epsilon, false);
        self.scale_channels(name, &layer.weight, layer.bias.as_ref(), &normalised)
    }

    /// A batch norm of `[n, channels, ...]`: by the batch while training, by running averages otherwise.
    pub fn batch_norm(&mut self, name: &str, layer: &BatchNorm, x: &Tensor) -> Tensor {
        if self.is_training() {
            return layer.train(x);
        }
        let deviation = (&layer.running_var + layer.epsilon).sqrt();
        let normalised = (x - along_channels(&layer.running_mean, x)) / along_channels(&deviation, x);
        if !self.records() {
            return normalised * along_channels(&layer.weight, x) + along_channels(&layer.bias, x);
        }
        self.scale_channels(name, &layer.weight, Some(&layer.bias), &normalised)
    }

    fn scale_channels(&mut self, name: &str, weight: &Tensor, bias: Option<&Tensor>, normalised: &Tensor) -> Tensor {
        let scaled = normalised * along_channels(weight, normalised);
        let s = bias.map_or_else(|| scaled.shallow_clone(), |bias| &scaled + along_channels(bias, normalised));
        self.keep(name, Operation::ScaleChannel, weight, bias, normalised, &s);
        s
    }

    /// An embedding, int64 `[n, ...] → [n, ..., width]`.
    pub fn embedding(&mut self, name: &str, layer: &Embedding, index: &Tensor) -> Tensor {
        let s = layer.forward(index);
        if self.records() {
            self.keep(name, Operation::Lookup { padding: layer.padding }, &layer.weight, None, index, &s);
        }
        s
    }

    /// Dropout: while training, each number is zeroed with probability `p` and the rest scaled by 1/(1−p); else nothing.
    ///
    /// Masks are a function of the trainer's seed, the step and the order of calls, not of libtorch's global generator.
    pub fn dropout(&mut self, p: f64, x: &Tensor) -> Tensor {
        let Mode::Train { seed, step, draws } = &mut self.mode else { return x.shallow_clone() };
        if p <= 0.0 {
            return x.shallow_clone();
        }
        let draw = random::uniform(x.numel(), *seed, Purpose::Dropout, (*step << 16) | *draws);
        *draws += 1;
        let mask = Tensor::from_slice(&draw).view(x.size().as_slice()).ge(p).to_kind(x.kind());
        x * mask / (1.0 - p).max(f64::MIN_POSITIVE)
    }
}

/// Views a vector of channels so that it broadcasts over `[n, channels, ...]`.
fn along_channels(vector: &Tensor, like: &Tensor) -> Tensor {
    let mut shape = vec![1; like.dim()];
    shape[1] = -1;
    vector.view(shape.as_slice())
}
