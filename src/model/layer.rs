//! Layers with PyTorch's initial values and readable settings, for use with [`Tape`](crate::model::Tape).
//!
//! `tch::nn` keeps the settings of its convolutions and norms private, so these carry their own; a linear layer is `tch::nn`'s.
//! Beside each layer stands the method of the tape that runs it.

mod attention;
mod convolution;
mod embedding;
mod norm;
mod pool;
mod transformer;

pub use attention::{Attention, AttentionOptions, Projection, attention};
pub use convolution::{Conv1d, Conv2d, ConvOptions, conv1d, conv2d};
pub use embedding::{Embedding, embedding};
pub(super) use norm::layer_norm_with;
pub use norm::{
    BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RmsNorm, batch_norm, group_norm, instance_norm, layer_norm, rms_norm,
};
pub use transformer::{TransformerBlock, transformer_block};

use std::borrow::Borrow;

use tch::nn::{self, Init};

/// A linear layer `[n, ..., inputs] → [n, ..., outputs]` with PyTorch's initial values, U(−1/√inputs, 1/√inputs).
pub fn linear<'a>(path: impl Borrow<nn::Path<'a>>, inputs: i64, outputs: i64) -> nn::Linear {
    linear_with(path.borrow(), inputs, outputs, true)
}

/// The same with or without a bias.
pub(super) fn linear_with(path: &nn::Path, inputs: i64, outputs: i64, bias: bool) -> nn::Linear {
    let init = uniform(inputs);
    nn::linear(path, inputs, outputs, nn::LinearConfig { ws_init: init, bs_init: Some(init), bias })
}

fn uniform(fan_in: i64) -> Init {
    let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
    Init::Uniform { lo: -bound, up: bound }
}
