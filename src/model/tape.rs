use std::rc::Rc;
use std::sync::Arc;

use tch::{Kind, Tensor, nn};

use super::layer::ConvOptions;
use super::{Stack, Thinning};
use crate::error::{Error, raise};
use crate::random::{self, Purpose};

/// Runs layers and, when recording, keeps what per-example gradients are made of.
///
/// For a layer with input `a` and output `s`, the gradient of example `i` is `Σ_t δ_it ⊗ a_it`, where `δ = ∂/∂s` comes from one
/// backward pass of the summed measurement. Off, each call is just the layer. A layer may be used more than once.
pub struct Tape {
    mode: Mode,
    thinning: Option<Thinning>,
    /// What share each call of dropout so far was asked to drop.
    dropouts: Vec<f64>,
    records: Vec<Record>,
    mask: Option<Mask>,
    stack: Option<Rc<Stack>>,
}

/// Positions that count, for the layers from here on.
struct Mask {
    /// `[n, t]`, bool.
    positions: Tensor,
    /// The first layer after it, if that did not have its positions, and the positions it had.
    other: Option<(String, i64, i64)>,
    /// Whether any layer had its positions.
    carried: bool,
}

enum Mode {
    Off,
    Record,
    /// One seed per network, each with an equal part of the batch.
    Train {
        seeds: Arc<[u64]>,
        step: u64,
        draws: u64,
    },
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
    /// Which positions count, `[n, t]`, bool; the others are padding, to be left out of statistics. Gradients do not need it.
    pub mask: Option<Tensor>,
}

impl Record {
    /// Vertical and horizontal size of a convolution's kernel.
    pub fn kernel(&self) -> [i64; 2] {
        match self.weight.size()[2..] {
            [along] => [1, along],
            [high, wide] => [high, wide],
            _ => [1, 1],
        }
    }
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
        Tape::new(Mode::Off)
    }

    pub(crate) fn recording() -> Tape {
        Tape::new(Mode::Record)
    }

    /// For the networks of these seeds, with one `stack` for more than one.
    pub(crate) fn training(seeds: Arc<[u64]>, step: u64, stack: Option<Rc<Stack>>) -> Tape {
        Tape { stack, ..Tape::new(Mode::Train { seeds, step, draws: 0 }) }
    }

    fn new(mode: Mode) -> Tape {
        Tape { mode, thinning: None, dropouts: Vec::new(), records: Vec::new(), mask: None, stack: None }
    }

    /// The same tape, with dropout that drops what was chosen once and for all.
    pub(crate) fn thinned(self, thinning: Option<Thinning>) -> Tape {
        Tape { thinning, ..self }
    }

    /// What share each call of dropout was asked to drop.
    pub(crate) fn dropouts(&self) -> &[f64] {
        &self.dropouts
    }

    /// Whether the model is being trained (dropout active, batch norm by the batch).
    pub fn is_training(&self) -> bool {
        matches!(self.mode, Mode::Train { .. })
    }

    pub(crate) fn into_records(mut self) -> Vec<Record> {
        self.unmask();
        self.records
    }

    /// Says which positions of the sequences count from here on: `[n, t]`, bool, false for padding.
    ///
    /// Layers used afterwards on `t` positions carry it to curvatures that keep statistics of positions, such as Kronecker
    /// factors; layers with other numbers of positions do not. It changes no output and no gradient: attention has its own
    /// mask, and targets of padded positions are to be −100.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let model = |x: &Tensor, tape: &mut Tape, fc: &nn::Linear| {
    ///     tape.mask(&x.select(2, 0).not_equal(0.0));
    ///     let steps = tape.linear("fc", fc, x); // [n, t, 5]
    ///     tape.unmask();
    ///     steps
    /// };
    /// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
    /// let fc = layer::linear(store.root() / "fc", 4, 5);
    /// assert_eq!(model(&Tensor::from_slice(&[1f32; 24]).view([2, 3, 4]), &mut Tape::off(), &fc).size(), [2, 3, 5]);
    /// ```
    ///
    /// Errors, at the border: [`Error::Layer`] for another shape or kind, or if no layer after it has its positions.
    pub fn mask(&mut self, positions: &Tensor) {
        self.unmask();
        if positions.dim() != 2 || positions.kind() != Kind::Bool {
            let got = format!("{:?} of {:?}", positions.size(), positions.kind());
            raise(Error::layer("tape", format!("mask expected [n, t] of Bool, got {got}")));
        }
        self.mask = Some(Mask { positions: positions.shallow_clone(), other: None, carried: false });
    }

    /// From here on every position counts.
    pub fn unmask(&mut self) {
        let Some(Mask { positions, other: Some((name, n, t)), carried: false }) = self.mask.take() else { return };
        raise(Error::layer(name, format!("mask expected [n, t] = [{n}, {t}], got {:?}", positions.size())));
    }

    /// The mask, for a layer used on `t` positions of each of `n` examples.
    fn mask_for(&mut self, name: &str, n: i64, t: i64) -> Option<Tensor> {
        let mask = self.mask.as_mut()?;
        if mask.positions.size() == [n, t] {
            mask.carried = true;
            return Some(mask.positions.shallow_clone());
        }
        let _ = mask.other.get_or_insert_with(|| (name.to_string(), n, t));
        None
    }

    /// Keeps one use of a layer.
    pub(super) fn keep(
        &mut self,
        name: &str,
        operation: Operation,
        weight: &Tensor,
        bias: Option<&Tensor>,
        input: &Tensor,
        output: &Tensor,
    ) {
        let (n, t) = positions(&operation, weight, input, output);
        let mask = self.mask_for(name, n, t);
        self.records.push(Record {
            mask,
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

    /// The networks that are trained side by side, if they are.
    pub(super) fn stack(&self) -> Option<&Stack> {
        self.stack.as_deref()
    }

    /// Whether layers are to be kept.
    pub(super) fn records(&self) -> bool {
        matches!(self.mode, Mode::Record)
    }

    /// A linear layer, `[n, ..., in] → [n, ..., out]`.
    pub fn linear(&mut self, name: &str, layer: &nn::Linear, x: &Tensor) -> Tensor {
        let stacked = self.stack().and_then(|stack| stack.linear(layer, x));
        let s = stacked.unwrap_or_else(|| x.linear(&layer.ws, layer.bs.as_ref()));
        if self.records() {
            self.keep(name, Operation::Linear, &layer.ws, layer.bs.as_ref(), x, &s);
        }
        s
    }

    /// Dropout: while training, each number is zeroed with probability `p` and the rest scaled by 1/(1−p); else nothing.
    ///
    /// Masks are a function of the trainer's seed, the step and the order of calls, not of libtorch's global generator. The
    /// method [`Dropout`](crate::method::Dropout) also drops while gradients are taken.
    pub fn dropout(&mut self, p: f64, x: &Tensor) -> Tensor {
        self.dropouts.push(p);
        if let Some(thinning) = self.thinning {
            let p = thinning.p.unwrap_or(p);
            return if p > 0.0 { x * thinning.mask(self.dropouts.len() - 1, p, x) } else { x.shallow_clone() };
        }
        let Mode::Train { seeds, step, draws } = &mut self.mode else { return x.shallow_clone() };
        if p <= 0.0 {
            return x.shallow_clone();
        }
        let (each, index) = (x.numel() / seeds.len().max(1), (*step << 16) | *draws);
        let (kept, mut mask) = ((1.0 - p).max(f64::MIN_POSITIVE).recip() as f32, Vec::with_capacity(x.numel()));
        seeds.iter().for_each(|&seed| random::dropped(each, p, kept, seed, Purpose::Dropout, index, &mut mask));
        *draws += 1;
        x * Tensor::from_slice(&mask).view(x.size().as_slice()).to_kind(x.kind())
    }
}

/// Examples, and positions of each, that a layer was used on.
fn positions(operation: &Operation, weight: &Tensor, input: &Tensor, output: &Tensor) -> (i64, i64) {
    let n = input.size().first().copied().unwrap_or(1);
    let each = |numel: usize, width: i64| numel as i64 / (n * width).max(1);
    let t = match operation {
        Operation::Linear => each(output.numel(), weight.size()[0]),
        Operation::Convolution(_) => output.size()[2..].iter().product(),
        Operation::ScaleLast => each(input.numel(), weight.numel() as i64),
        Operation::ScaleChannel => input.size()[2..].iter().product(),
        Operation::Lookup { .. } => each(input.numel(), 1),
    };
    (n, t)
}

#[cfg(test)]
#[path = "tape_tests.rs"]
mod tests;
