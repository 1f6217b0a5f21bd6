//! Layers with PyTorch's initial values and readable settings, for use with [`Tape`](crate::model::Tape).
//!
//! `tch::nn` keeps the settings of its convolutions and norms private, so these carry their own; a linear layer is `tch::nn`'s.

use std::borrow::Borrow;

use tch::nn::{self, Init};
use tch::{Kind, Tensor};

/// A linear layer `[n, ..., inputs] → [n, ..., outputs]` with PyTorch's initial values, U(−1/√inputs, 1/√inputs).
pub fn linear<'a>(path: impl Borrow<nn::Path<'a>>, inputs: i64, outputs: i64) -> nn::Linear {
    let init = uniform(inputs);
    nn::linear(path, inputs, outputs, nn::LinearConfig { ws_init: init, bs_init: Some(init), bias: true })
}

fn uniform(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}

/// Settings of a [`Conv2d`], as in PyTorch; pairs are (vertical, horizontal).
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
    let path = path.borrow();
    let per_group = inputs / options.groups.max(1);
    let init = uniform(per_group * kernel * kernel);
    Conv2d {
        weight: path.var("weight", &[outputs, per_group, kernel, kernel], init),
        bias: options.bias.then(|| path.var("bias", &[outputs], init)),
        options,
    }
}

impl Conv2d {
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let o = &self.options;
        x.conv2d(&self.weight, self.bias.as_ref(), o.stride, o.padding, o.dilation, o.groups)
    }
}

/// Normalises over the last dimensions, then scales and shifts.
#[derive(Debug)]
pub struct LayerNorm {
    /// `[shape]`
    pub weight: Tensor,
    /// `[shape]`
    pub bias: Option<Tensor>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A layer norm over trailing dimensions of this shape.
pub fn layer_norm<'a>(path: impl Borrow<nn::Path<'a>>, shape: &[i64]) -> LayerNorm {
    let path = path.borrow();
    let bias = path.var("bias", shape, Init::Const(0.0));
    LayerNorm { weight: path.var("weight", shape, Init::Const(1.0)), bias: Some(bias), epsilon: 1e-5 }
}

/// Normalises groups of channels of `[n, channels, ...]`, then scales and shifts each channel.
#[derive(Debug)]
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Tensor,
    /// `[channels]`
    pub bias: Option<Tensor>,
    /// Independent groups of channels.
    pub groups: i64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A group norm.
pub fn group_norm<'a>(path: impl Borrow<nn::Path<'a>>, groups: i64, channels: i64) -> GroupNorm {
    let path = path.borrow();
    let bias = path.var("bias", &[channels], Init::Const(0.0));
    GroupNorm { weight: path.var("weight", &[channels], Init::Const(1.0)), bias: Some(bias), groups, epsilon: 1e-5 }
}

/// Normalises channels of `[n, channels, ...]`: by the batch while training, by running averages otherwise.
#[derive(Debug)]
pub struct BatchNorm {
    /// `[channels]`
    pub weight: Tensor,
    /// `[channels]`
    pub bias: Tensor,
    /// `[channels]`, not trained
    pub running_mean: Tensor,
    /// `[channels]`, not trained
    pub running_var: Tensor,
    /// Share of the batch in the running averages.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// A batch norm.
pub fn batch_norm<'a>(path: impl Borrow<nn::Path<'a>>, channels: i64) -> BatchNorm {
    let path = path.borrow();
    BatchNorm {
        weight: path.var("weight", &[channels], Init::Const(1.0)),
        bias: path.var("bias", &[channels], Init::Const(0.0)),
        running_mean: path.zeros_no_train("running_mean", &[channels]),
        running_var: path.ones_no_train("running_var", &[channels]),
        momentum: 0.1,
        epsilon: 1e-5,
    }
}

impl BatchNorm {
    /// Normalises by the batch and updates the running averages.
    ///
    /// One number per channel has no variance; then nothing is updated, as the variance would become NaN.
    pub(crate) fn train(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        let enough = x.numel() as i64 > x.size()[1];
        x.batch_norm(weight, bias, mean, var, enough, self.momentum, self.epsilon, false)
    }
}

/// Looks up rows of a table: int64 `[n, ...] → [n, ..., width]`.
#[derive(Debug)]
pub struct Embedding {
    /// `[rows, width]`
    pub weight: Tensor,
    /// A row that is never trained, for padding.
    pub padding: Option<i64>,
}

/// An embedding with standard normal initial values.
pub fn embedding<'a>(path: impl Borrow<nn::Path<'a>>, rows: i64, width: i64) -> Embedding {
    Embedding { weight: path.borrow().var("weight", &[rows, width], Init::Randn { mean: 0.0, stdev: 1.0 }), padding: None }
}

impl Embedding {
    pub(crate) fn forward(&self, index: &Tensor) -> Tensor {
        Tensor::embedding(&self.weight, &index.to_kind(Kind::Int64), self.padding.unwrap_or(-1), false, false)
    }
}
