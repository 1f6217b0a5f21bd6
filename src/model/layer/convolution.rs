use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::uniform;
use crate::model::{Operation, Tape};

/// Settings of a convolution, as in PyTorch; pairs are (vertical, horizontal), and a [`Conv1d`] uses the second of each.
#[derive(Clone, Copy, Debug)]
pub struct ConvOptions {
    /// Step of the window.
    pub stride: [i64; 2],
    /// Zeros added on each side.
    pub padding: [i64; 2],
    /// Distance between kernel points.
    pub dilation: [i64; 2],
    /// Independent groups of channels.
    pub groups: i64,
    /// Whether there is a bias.
    pub bias: bool,
}

impl Default for ConvOptions {
    fn default() -> ConvOptions {
        ConvOptions { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, bias: true }
    }
}

/// A convolution `[n, in, h, w] → [n, out, h', w']` with zero padding.
#[derive(Debug)]
pub struct Conv2d {
    /// `[out, in / groups, kernel, kernel]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// Stride, padding, dilation and groups.
    pub options: ConvOptions,
}

/// A square convolution.
pub fn conv2d<'a>(path: impl Borrow<nn::Path<'a>>, inputs: i64, outputs: i64, kernel: i64, options: ConvOptions) -> Conv2d {
    let (weight, bias) = parameters(path.borrow(), inputs, outputs, &[kernel, kernel], &options);
    Conv2d { weight, bias, options }
}

/// A convolution along a sequence, `[n, in, t] → [n, out, t']`, with zero padding.
#[derive(Debug)]
pub struct Conv1d {
    /// `[out, in / groups, kernel]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// Stride, padding, dilation (the second number of each pair) and groups.
    pub options: ConvOptions,
}

/// A convolution along a sequence.
///
/// ```
/// use ascribe::model::layer::ConvOptions;
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let conv = layer::conv1d(store.root() / "conv", 2, 4, 3, ConvOptions { stride: [1, 2], ..default() });
/// let out = Tape::off().conv1d("conv", &conv, &Tensor::from_slice(&[1f32; 36]).view([2, 2, 9]));
/// assert_eq!(out.size(), [2, 4, 4]);
/// ```
pub fn conv1d<'a>(path: impl Borrow<nn::Path<'a>>, inputs: i64, outputs: i64, kernel: i64, options: ConvOptions) -> Conv1d {
    let (weight, bias) = parameters(path.borrow(), inputs, outputs, &[kernel], &options);
    Conv1d { weight, bias, options }
}

fn parameters(path: &nn::Path, inputs: i64, outputs: i64, kernel: &[i64], options: &ConvOptions) -> (Tensor, Option<Tensor>) {
    let per_group = inputs / options.groups.max(1);
    let init = uniform(per_group * kernel.iter().product::<i64>());
    let weight = path.var("weight", &[&[outputs, per_group], kernel].concat(), init);
    (weight, options.bias.then(|| path.var("bias", &[outputs], init)))
}

impl Tape {
    /// A convolution, `[n, in, h, w] → [n, out, h', w']`.
    pub fn conv2d(&mut self, name: &str, layer: &Conv2d, x: &Tensor) -> Tensor {
        let o = layer.options;
        let bias = layer.bias.as_ref();
        let stacked = self.stack().and_then(|stack| stack.convolution(&layer.weight, bias, o, x));
        let s = stacked.unwrap_or_else(|| x.conv2d(&layer.weight, bias, o.stride, o.padding, o.dilation, o.groups));
        if self.records() {
            self.keep(name, Operation::Convolution(o), &layer.weight, bias, x, &s);
        }
        s
    }

    /// A convolution along a sequence, `[n, in, t] → [n, out, t']`.
    pub fn conv1d(&mut self, name: &str, layer: &Conv1d, x: &Tensor) -> Tensor {
        let ([_, stride], [_, padding], [_, dilation]) = (layer.options.stride, layer.options.padding, layer.options.dilation);
        let bias = layer.bias.as_ref();
        // The same as a convolution over an image of height 1.
        let flat = ConvOptions { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], ..layer.options };
        let stacked = self.stack().and_then(|stack| stack.convolution(&layer.weight, bias, flat, &x.unsqueeze(2)));
        let s = match stacked {
            Some(s) => s.squeeze_dim(2),
            None => x.conv1d(&layer.weight, bias, stride, padding, dilation, layer.options.groups),
        };
        if self.records() {
            self.keep(name, Operation::Convolution(flat), &layer.weight, bias, &x.unsqueeze(2), &s);
        }
        s
    }
}
