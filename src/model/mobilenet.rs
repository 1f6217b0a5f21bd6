use std::borrow::Borrow;

use tch::{Kind, Tensor, nn};

use super::layer;
use super::normed::{Normed, Shape};
use super::{Model, Tape};
use crate::error::{Error, raise};

/// MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) in its form for 32×32 colour images, to which Singla et al. (2023, arXiv
/// 2311.03386) transfer their attributions: the first two strides are 1, ReLU has no upper limit, and a block of stride 1 whose
/// number of channels changes has a 1×1 convolution as its shortcut. No ReLU follows the sum.
///
/// Names: `conv1`, `bn1`, `layers.0.conv1` to `layers.16.bn3`, `layers.0.shortcut.0` (convolution) and `.1` (norm), `conv2`, `bn2`, `linear`.
///
/// ```
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let model = MobileNetV2::new(store.root(), MobileNetV2Options::default());
/// assert_eq!(model.forward(&Tensor::from_slice(&[0.5f32; 3072]).view([1, 3, 32, 32]), &mut Tape::off()).size(), [1, 10]);
/// assert_eq!(store.trainable_variables().iter().map(Tensor::numel).sum::<usize>(), 2_296_922);
/// ```
#[derive(Debug)]
pub struct MobileNetV2 {
    first: Normed,
    blocks: Vec<Block>,
    last: Normed,
    linear: nn::Linear,
}

/// The size of a [`MobileNetV2`]: `2,284,112 + 1,281 · classes` parameters, if nothing else is changed.
#[derive(Clone, Debug)]
pub struct MobileNetV2Options {
    /// Number of outputs.
    pub classes: i64,
    /// Channels before the blocks.
    pub first: i64,
    /// Blocks: expansion of the channels inside, channels, how many, and the stride of the first.
    pub stages: Vec<[i64; 4]>,
    /// Channels after the blocks.
    pub last: i64,
}

impl Default for MobileNetV2Options {
    fn default() -> MobileNetV2Options {
        let stages = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]];
        MobileNetV2Options { classes: 10, first: 32, stages: stages.into(), last: 1280 }
    }
}

/// `shrink(ReLU(depthwise(ReLU(expand(x)))))`, and for stride 1 the shortcut.
#[derive(Debug)]
struct Block {
    expand: Normed,
    depthwise: Normed,
    shrink: Normed,
    shortcut: Shortcut,
}

#[derive(Debug)]
enum Shortcut {
    None,
    Same,
    Convolution(Normed),
}

impl MobileNetV2 {
    /// Takes `[n, 3, h, w]` to `[n, classes]`; the mean over the last map is the published 4×4 average for 32×32 images.
    ///
    /// Errors, at the border: [`Error::Option`] for a number below 1, [`Error::Shape`] for inputs that are no colour images.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, options: MobileNetV2Options) -> MobileNetV2 {
        let (path, MobileNetV2Options { classes, first, stages, last }) = (path.borrow(), options);
        if let Some(least) = stages.iter().flatten().chain([&classes, &first, &last]).find(|&&number| number < 1) {
            raise(Error::option("MobileNetV2Options", "numbers of at least 1", least));
        }
        let names = |i: &str| [format!("conv{i}"), format!("bn{i}")];
        let plain = |inputs, outputs, kernel| Shape { inputs, outputs, kernel, stride: 1, groups: 1 };
        let mut blocks = Vec::new();
        let mut inputs = first;
        for [expansion, outputs, repeats, stride] in stages {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { stride } else { 1 };
                blocks.push(Block::new(path, blocks.len(), [inputs, expansion * inputs, outputs, stride]));
                inputs = outputs;
            }
        }
        MobileNetV2 {
            first: Normed::new(path, names("1"), plain(3, first, 3)),
            blocks,
            last: Normed::new(path, names("2"), plain(inputs, last, 1)),
            linear: layer::linear(path / "linear", last, classes),
        }
    }
}

impl Block {
    fn new(path: &nn::Path, i: usize, [inputs, inner, outputs, stride]: [i64; 4]) -> Block {
        let name = |part: &str| format!("layers.{i}.{part}");
        let unit = |conv: &str, norm: &str, shape| Normed::new(path, [name(conv), name(norm)], shape);
        let pointwise = |inputs, outputs| Shape { inputs, outputs, kernel: 1, stride: 1, groups: 1 };
        Block {
            expand: unit("conv1", "bn1", pointwise(inputs, inner)),
            depthwise: unit("conv2", "bn2", Shape { inputs: inner, outputs: inner, kernel: 3, stride, groups: inner }),
            shrink: unit("conv3", "bn3", pointwise(inner, outputs)),
            shortcut: match (stride, inputs == outputs) {
                (1, true) => Shortcut::Same,
                (1, false) => Shortcut::Convolution(unit("shortcut.0", "shortcut.1", pointwise(inputs, outputs))),
                _ => Shortcut::None,
            },
        }
    }

    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let inner = self.expand.forward(x, tape).relu();
        let inner = self.depthwise.forward(&inner, tape).relu();
        let inner = self.shrink.forward(&inner, tape);
        match &self.shortcut {
            Shortcut::None => inner,
            Shortcut::Same => inner + x,
            Shortcut::Convolution(shortcut) => inner + shortcut.forward(x, tape),
        }
    }
}

impl Model for MobileNetV2 {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        if inputs.dim() != 4 || inputs.size()[1] != 3 {
            raise(Error::shape("inputs of MobileNetV2", "[n, 3, h, w]", format!("{:?}", inputs.size())));
        }
        let x = self.first.forward(inputs, tape).relu();
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, tape));
        let x = self.last.forward(&x, tape).relu();
        tape.linear("linear", &self.linear, &x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>))
    }
}
