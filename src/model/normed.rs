use tch::{Tensor, nn};

use super::Tape;
use super::layer::{self, BatchNorm, Conv2d, ConvOptions};

/// A square convolution without bias and its batch norm, under names of their own.
#[derive(Debug)]
pub(super) struct Normed {
    conv: (String, Conv2d),
    norm: (String, BatchNorm),
}

/// Channels, kernel and so on of a [`Normed`].
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub inputs: i64,
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
    pub groups: i64,
}

impl Normed {
    /// Padding keeps the size of the image where the stride is 1. Names may have dots.
    pub fn new(path: &nn::Path, [conv, norm]: [String; 2], shape: Shape) -> Normed {
        let options = ConvOptions {
            stride: [shape.stride; 2],
            padding: [shape.kernel / 2; 2],
            groups: shape.groups,
            bias: false,
            ..ConvOptions::default()
        };
        let place = |name: &str| name.split('.').fold(path.clone(), |path, part| path / part);
        let convolution = layer::conv2d(place(&conv), shape.inputs, shape.outputs, shape.kernel, options);
        let batch = layer::batch_norm(place(&norm), shape.outputs);
        Normed { conv: (conv, convolution), norm: (norm, batch) }
    }

    pub fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let x = tape.conv2d(&self.conv.0, &self.conv.1, x);
        tape.batch_norm(&self.norm.0, &self.norm.1, &x)
    }
}
