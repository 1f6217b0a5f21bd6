use std::borrow::Borrow;

use tch::nn::{self, Init};
use tch::{Kind, Tensor};

use crate::model::{Operation, Tape};

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
    layer_norm_with(path.borrow(), shape, true)
}

/// The same with or without a bias.
pub(in crate::model) fn layer_norm_with(path: &nn::Path, shape: &[i64], bias: bool) -> LayerNorm {
    let bias = bias.then(|| path.var("bias", shape, Init::Const(0.0)));
    LayerNorm { weight: path.var("weight", shape, Init::Const(1.0)), bias, epsilon: 1e-5 }
}

/// Divides by the root of the mean square over the last dimensions, then scales (Zhang and Sennrich 2019, arXiv 1910.07467).
#[derive(Debug)]
pub struct RmsNorm {
    /// `[shape]`
    pub weight: Tensor,
    /// Added to the mean square.
    pub epsilon: f64,
}

/// A root-mean-square norm over trailing dimensions of this shape.
pub fn rms_norm<'a>(path: impl Borrow<nn::Path<'a>>, shape: &[i64]) -> RmsNorm {
    RmsNorm { weight: path.borrow().var("weight", shape, Init::Const(1.0)), epsilon: 1e-6 }
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
    let (weight, bias) = channelwise(path.borrow(), channels);
    GroupNorm { weight, bias: Some(bias), groups, epsilon: 1e-5 }
}

/// Normalises each channel of each example of `[n, channels, ...]`, then scales and shifts it; keeps no running averages.
#[derive(Debug)]
pub struct InstanceNorm {
    /// `[channels]`
    pub weight: Tensor,
    /// `[channels]`
    pub bias: Option<Tensor>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// An instance norm with weight and bias (PyTorch's has them with `affine=True`).
pub fn instance_norm<'a>(path: impl Borrow<nn::Path<'a>>, channels: i64) -> InstanceNorm {
    let (weight, bias) = channelwise(path.borrow(), channels);
    InstanceNorm { weight, bias: Some(bias), epsilon: 1e-5 }
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
    fn train(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, var) = (Some(&self.running_mean), Some(&self.running_var));
        let enough = x.numel() as i64 > x.size()[1];
        x.batch_norm(weight, bias, mean, var, enough, self.momentum, self.epsilon, false)
    }
}

fn channelwise(path: &nn::Path, channels: i64) -> (Tensor, Tensor) {
    let bias = path.var("bias", &[channels], Init::Const(0.0));
    (path.var("weight", &[channels], Init::Const(1.0)), bias)
}

impl Tape {
    /// A layer norm over the trailing dimensions of the layer's weight.
    pub fn layer_norm(&mut self, name: &str, layer: &LayerNorm, x: &Tensor) -> Tensor {
        let shape = layer.weight.size();
        if !self.records() {
            return x.layer_norm(&shape, Some(&layer.weight), layer.bias.as_ref(), layer.epsilon, false);
        }
        let normalised = x.layer_norm(&shape, None::<Tensor>, None::<Tensor>, layer.epsilon, false);
        self.scale_last(name, &layer.weight, layer.bias.as_ref(), &normalised)
    }

    /// A root-mean-square norm over the trailing dimensions of the layer's weight.
    pub fn rms_norm(&mut self, name: &str, layer: &RmsNorm, x: &Tensor) -> Tensor {
        let over: Vec<i64> = (1..=layer.weight.dim() as i64).map(|d| -d).collect();
        let square = x.square().mean_dim(over.as_slice(), true, None::<Kind>);
        self.scale_last(name, &layer.weight, None, &(x * (square + layer.epsilon).rsqrt()))
    }

    /// A group norm of `[n, channels, ...]`.
    pub fn group_norm(&mut self, name: &str, layer: &GroupNorm, x: &Tensor) -> Tensor {
        if !self.records() {
            return x.group_norm(layer.groups, Some(&layer.weight), layer.bias.as_ref(), layer.epsilon, false);
        }
        let normalised = x.group_norm(layer.groups, None::<Tensor>, None::<Tensor>, layer.epsilon, false);
        self.scale_channels(name, &layer.weight, layer.bias.as_ref(), &normalised)
    }

    /// An instance norm of `[n, channels, ...]`.
    pub fn instance_norm(&mut self, name: &str, layer: &InstanceNorm, x: &Tensor) -> Tensor {
        let none = None::<&Tensor>;
        let normalised = x.instance_norm(none, none, none, none, true, 0.0, layer.epsilon, false);
        self.scale_channels(name, &layer.weight, layer.bias.as_ref(), &normalised)
    }

    /// A batch norm of `[n, channels, ...]`: by the batch while training, by running averages otherwise.
    pub fn batch_norm(&mut self, name: &str, layer: &BatchNorm, x: &Tensor) -> Tensor {
        if self.is_training() {
            return layer.train(x);
        }
        let deviation = (&layer.running_var + layer.epsilon).sqrt();
        let normalised = (x - along_channels(&layer.running_mean, x)) / along_channels(&deviation, x);
        self.scale_channels(name, &layer.weight, Some(&layer.bias), &normalised)
    }

    fn scale_last(&mut self, name: &str, weight: &Tensor, bias: Option<&Tensor>, normalised: &Tensor) -> Tensor {
        let scaled = normalised * weight;
        let s = bias.map_or_else(|| scaled.shallow_clone(), |bias| &scaled + bias);
        if self.records() {
            self.keep(name, Operation::ScaleLast, weight, bias, normalised, &s);
        }
        s
    }

    fn scale_channels(&mut self, name: &str, weight: &Tensor, bias: Option<&Tensor>, normalised: &Tensor) -> Tensor {
        let scaled = normalised * along_channels(weight, normalised);
        let s = bias.map_or_else(|| scaled.shallow_clone(), |bias| &scaled + along_channels(bias, normalised));
        if self.records() {
            self.keep(name, Operation::ScaleChannel, weight, bias, normalised, &s);
        }
        s
    }
}

/// Views a vector of channels so that it broadcasts over `[n, channels, ...]`.
fn along_channels(vector: &Tensor, like: &Tensor) -> Tensor {
    let mut shape = vec![1; like.dim()];
    shape[1] = -1;
    vector.view(shape.as_slice())
}
