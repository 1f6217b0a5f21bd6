use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::layer::{self, Conv2d, ConvOptions};
use super::{Model, Tape};

/// The convolutional networks of Nguyen, Seo and Oh (2023, arXiv 2305.19765): convolutions `conv1`, `conv2` (and `conv3`), each
/// followed by GELU and a 2×2 max-pool, then `fc1`, GELU and `fc2` to 10 classes.
///
/// | constructor | convolutions | hidden | parameters |
/// |---|---|---|---|
/// | `cnn2_mnist` | 1→32 3×3, 32→64 3×3 | 128 | 225,034 |
/// | `cnn2_cifar` | 3→32 5×5, 32→64 5×5 | 128 | 259,914 |
/// | `cnn3_mnist` | 1→32 3×3, 32→64 3×3 padded by 2, 64→128 3×3 padded by 2 | 256 | 619,786 |
/// | `cnn3_cifar` | 3→32 3×3, 32→64 3×3, 64→128 3×3 padded by 2 | 256 | 620,362 |
///
/// ```
/// use ascribe::prelude::*;
/// let images = Tensor::from_slice(&[0.5f32; 2 * 28 * 28]).view([2, 784]);
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// assert_eq!(GeluCnn::cnn2_mnist(store.root()).forward(&images, &mut Tape::off()).size(), [2, 10]);
/// assert_eq!(store.trainable_variables().iter().map(Tensor::numel).sum::<usize>(), 225_034);
/// ```
#[derive(Debug)]
pub struct GeluCnn {
    convolutions: Vec<(String, Conv2d)>,
    fc1: nn::Linear,
    fc2: nn::Linear,
    /// Channels and side of the images.
    image: (i64, i64),
}

impl GeluCnn {
    /// CNN2-L on 28×28 grey images: takes `[n, 784]` or `[n, 1, 28, 28]` to `[n, 10]`.
    pub fn cnn2_mnist<'a>(path: impl Borrow<nn::Path<'a>>) -> GeluCnn {
        GeluCnn::new(path.borrow(), (1, 28), &[(32, 3, 0), (64, 3, 0)], 128)
    }

    /// CNN2-L on 32×32 colour images: takes `[n, 3, 32, 32]` to `[n, 10]`.
    pub fn cnn2_cifar<'a>(path: impl Borrow<nn::Path<'a>>) -> GeluCnn {
        GeluCnn::new(path.borrow(), (3, 32), &[(32, 5, 0), (64, 5, 0)], 128)
    }

    /// CNN3-L on 28×28 grey images: takes `[n, 784]` or `[n, 1, 28, 28]` to `[n, 10]`.
    pub fn cnn3_mnist<'a>(path: impl Borrow<nn::Path<'a>>) -> GeluCnn {
        GeluCnn::new(path.borrow(), (1, 28), &[(32, 3, 0), (64, 3, 2), (128, 3, 2)], 256)
    }

    /// CNN3-L on 32×32 colour images: takes `[n, 3, 32, 32]` to `[n, 10]`.
    pub fn cnn3_cifar<'a>(path: impl Borrow<nn::Path<'a>>) -> GeluCnn {
        GeluCnn::new(path.borrow(), (3, 32), &[(32, 3, 0), (64, 3, 0), (128, 3, 2)], 256)
    }

    /// Convolutions by (channels, kernel, padding).
    fn new(path: &nn::Path, image: (i64, i64), shapes: &[(i64, i64, i64)], hidden: i64) -> GeluCnn {
        let (mut channels, mut side) = image;
        let mut convolutions = Vec::new();
        for (i, &(outputs, kernel, padding)) in shapes.iter().enumerate() {
            let name = format!("conv{}", i + 1);
            let options = ConvOptions { padding: [padding, padding], ..ConvOptions::default() };
            let conv = layer::conv2d(path / &name, channels, outputs, kernel, options);
            convolutions.push((name, conv));
            side = (side + 2 * padding - kernel + 1) / 2;
            channels = outputs;
        }
        let fc1 = layer::linear(path / "fc1", channels * side * side, hidden);
        GeluCnn { convolutions, fc1, fc2: layer::linear(path / "fc2", hidden, 10), image }
    }
}

impl Model for GeluCnn {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let (channels, side) = self.image;
        let mut x = inputs.reshape([-1, channels, side, side]);
        for (name, conv) in &self.convolutions {
            x = tape.conv2d(name, conv, &x).gelu("none");
            x = tape.max_pool(2, &x);
        }
        let hidden = tape.linear("fc1", &self.fc1, &x.flatten(1, -1)).gelu("none");
        tape.linear("fc2", &self.fc2, &hidden)
    }
}
