use std::borrow::Borrow;

use tch::{Kind, Tensor, nn};

use super::layer;
use super::normed::{Normed, Shape};
use super::{Model, Tape};
use crate::error::{Error, raise};

/// The residual network of 18 layers of He et al. (2016, arXiv 1512.03385), as torchvision has it and under torchvision's names:
/// `conv1`, `bn1`, `layer1.0.conv1`, ..., `layer4.1.bn2`, `fc`. Weights of `torchvision.models.resnet18` load as they are.
///
/// ```
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let model = ResNet18::new(store.root(), ResNet18Options { width: 4, classes: 10 });
/// assert_eq!(model.forward(&Tensor::from_slice(&[0.5f32; 3072]).view([1, 3, 32, 32]), &mut Tape::off()).size(), [1, 10]);
/// assert!(store.variables().contains_key("layer2.0.downsample.0.weight"));
/// ```
#[derive(Debug)]
pub struct ResNet18 {
    stem: Normed,
    blocks: Vec<Block>,
    fc: nn::Linear,
}

/// The size of a [`ResNet18`]: `11,176,512 + 513 · classes` parameters at width 64, of which 11,689,512 for ImageNet.
#[derive(Clone, Copy, Debug)]
pub struct ResNet18Options {
    /// Number of outputs.
    pub classes: i64,
    /// Channels of the first stage; each of the other three has twice as many as the one before.
    pub width: i64,
}

impl Default for ResNet18Options {
    /// ImageNet's.
    fn default() -> ResNet18Options {
        ResNet18Options { classes: 1000, width: 64 }
    }
}

/// `ReLU(shortcut(x) + second(ReLU(first(x))))`
#[derive(Debug)]
struct Block {
    first: Normed,
    second: Normed,
    shortcut: Option<Normed>,
}

impl ResNet18 {
    /// Takes `[n, 3, h, w]`, normalised as in training, to `[n, classes]`.
    ///
    /// Errors, at the border: [`Error::Option`] for a width below 1, [`Error::Shape`] for inputs that are no colour images.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, options: ResNet18Options) -> ResNet18 {
        let (path, ResNet18Options { classes, width }) = (path.borrow(), options);
        if width < 1 || classes < 1 {
            raise(Error::option("ResNet18Options", "width and classes at least 1", format!("{width} and {classes}")));
        }
        let shape = |inputs, outputs, kernel, stride| Shape { inputs, outputs, kernel, stride, groups: 1 };
        let stem = Normed::new(path, ["conv1".into(), "bn1".into()], shape(3, width, 7, 2));
        let mut blocks = Vec::new();
        let mut inputs = width;
        for stage in 1..=4 {
            let outputs = width << (stage - 1);
            for block in 0..2 {
                let name = |part: &str| format!("layer{stage}.{block}.{part}");
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                let shortcut = (stride > 1 || inputs != outputs)
                    .then(|| Normed::new(path, [name("downsample.0"), name("downsample.1")], shape(inputs, outputs, 1, stride)));
                let first = Normed::new(path, [name("conv1"), name("bn1")], shape(inputs, outputs, 3, stride));
                let second = Normed::new(path, [name("conv2"), name("bn2")], shape(outputs, outputs, 3, 1));
                blocks.push(Block { first, second, shortcut });
                inputs = outputs;
            }
        }
        ResNet18 { stem, blocks, fc: layer::linear(path / "fc", 8 * width, classes) }
    }
}

impl Block {
    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let inner = self.first.forward(x, tape).relu();
        let inner = self.second.forward(&inner, tape);
        match &self.shortcut {
            Some(shortcut) => (inner + shortcut.forward(x, tape)).relu(),
            None => (inner + x).relu(),
        }
    }
}

impl Model for ResNet18 {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        if inputs.dim() != 4 || inputs.size()[1] != 3 {
            raise(Error::shape("inputs of ResNet18", "[n, 3, h, w]", format!("{:?}", inputs.size())));
        }
        let x = self.stem.forward(inputs, tape).relu().max_pool2d(3, 2, 1, 1, false);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, tape));
        tape.linear("fc", &self.fc, &x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>))
    }
}
