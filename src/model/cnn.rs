use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::layer::{self, Conv2d, ConvOptions};
use super::{Model, Tape};

/// A small convolutional network for square grey images: `conv1` (3×3, 8 channels), ReLU, 2×2 max-pool, `conv2` (3×3, 16),
/// ReLU, 2×2 max-pool, then a linear layer `fc`.
///
/// `80 + 1,168 + classes · (16 · (side / 4)² + 1)` parameters: 1,898 for the digits (side 8).
#[derive(Debug)]
pub struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    fc: nn::Linear,
    side: i64,
}

impl Cnn {
    /// Takes `[n, side²]` or `[n, 1, side, side]` to `[n, classes]`.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, side: i64, classes: i64) -> Cnn {
        let path = path.borrow();
        let same = ConvOptions { padding: [1, 1], ..ConvOptions::default() };
        Cnn {
            conv1: layer::conv2d(path / "conv1", 1, 8, 3, same),
            conv2: layer::conv2d(path / "conv2", 8, 16, 3, same),
            fc: layer::linear(path / "fc", 16 * (side / 4) * (side / 4), classes),
            side,
        }
    }
}

impl Model for Cnn {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let x = inputs.reshape([-1, 1, self.side, self.side]);
        let x = tape.conv2d("conv1", &self.conv1, &x).relu();
        let x = tape.max_pool(2, &x);
        let x = tape.conv2d("conv2", &self.conv2, &x).relu();
        let x = tape.max_pool(2, &x);
        tape.linear("fc", &self.fc, &x.flatten(1, -1))
    }
}
