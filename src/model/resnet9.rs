use std::borrow::Borrow;

use tch::{Kind, Tensor, nn};

use super::layer::{self, BatchNorm, Conv2d, ConvOptions};
use super::{Model, Tape};

/// Residual networks of nine layers for 32×32 colour images; two quite different ones go by this name.
///
/// ```
/// use ascribe::prelude::*;
/// let store = nn::VarStore::new(ascribe::tch::Device::Cpu);
/// let model = ResNet9::trak(store.root(), 2);
/// assert_eq!(model.forward(&Tensor::from_slice(&[0.5f32; 3072]).view([1, 3, 32, 32]), &mut Tape::off()).size(), [1, 2]);
/// assert_eq!(store.trainable_variables().iter().map(Tensor::numel).sum::<usize>(), 2_273_856);
/// ```
#[derive(Debug)]
pub struct ResNet9 {
    stages: Vec<Stage>,
    fc: nn::Linear,
    /// Whether the last pool takes the largest number of each channel, else the mean.
    largest: bool,
    /// What the logits are multiplied by.
    scale: f64,
}

/// A convolution without bias and its batch norm, recorded as `unit1.conv` and `unit1.norm`.
#[derive(Debug)]
struct Unit {
    name: String,
    conv: Conv2d,
    norm: BatchNorm,
}

#[derive(Debug)]
enum Stage {
    /// `ReLU(unit(x))`
    Plain(Unit),
    /// `x + ReLU(second(ReLU(first(x))))`
    Residual(Unit, Unit),
    /// `ReLU(shortcut(x) + ReLU(second(ReLU(first(x)))))`
    Block { first: Unit, second: Unit, shortcut: Unit },
    /// The largest of each 2×2 window.
    Pool,
}

impl ResNet9 {
    /// The network of TRAK (Park et al. 2023, arXiv 2303.14186), also used by Singla et al. (2023, arXiv 2311.03386): units
    /// 64, 128 (5×5, stride 2), a residual pair, 256, pool, a residual pair, 128, then a max-pool over the image and `fc`
    /// without bias, times 0.2. Takes `[n, 3, 32, 32]` to `[n, classes]`.
    ///
    /// `2,273,600 + 128 · classes` parameters: 2,274,880 for ten classes, 2,273,856 for two.
    pub fn trak<'a>(path: impl Borrow<nn::Path<'a>>, classes: i64) -> ResNet9 {
        let path = path.borrow();
        let unit = |name: &str, inputs, outputs, kernel, stride, padding| {
            Unit::new(path, format!("unit{name}"), [inputs, outputs, kernel, stride, padding])
        };
        let stages = vec![
            Stage::Plain(unit("1", 3, 64, 3, 1, 1)),
            Stage::Plain(unit("2", 64, 128, 5, 2, 2)),
            Stage::Residual(unit("3a", 128, 128, 3, 1, 1), unit("3b", 128, 128, 3, 1, 1)),
            Stage::Plain(unit("4", 128, 256, 3, 1, 1)),
            Stage::Pool,
            Stage::Residual(unit("5a", 256, 256, 3, 1, 1), unit("5b", 256, 256, 3, 1, 1)),
            Stage::Plain(unit("6", 256, 128, 3, 1, 0)),
        ];
        ResNet9 { stages, fc: layer::linear_with(&(path / "fc"), 128, classes, false), largest: true, scale: 0.2 }
    }

    /// The network of dattri's benchmark (Deng et al. 2024, arXiv 2410.04555): a unit of 64 channels, blocks of 128, 256 and
    /// 512 channels with a 1×1 shortcut, the mean over the image, and `fc`. Takes `[n, 3, 32, 32]` to `[n, classes]`.
    ///
    /// `4,824,128 + 513 · classes` parameters: 4,825,154 for two classes.
    pub fn dattri<'a>(path: impl Borrow<nn::Path<'a>>, classes: i64) -> ResNet9 {
        let path = path.borrow();
        let mut stages = vec![Stage::Plain(Unit::new(path, "unit1".into(), [3, 64, 3, 1, 1]))];
        for (i, (inputs, outputs, stride)) in [(64, 128, 1), (128, 256, 2), (256, 512, 2)].into_iter().enumerate() {
            let name = |part: &str| format!("unit{}{part}", i + 2);
            stages.push(Stage::Block {
                first: Unit::new(path, name("a"), [inputs, outputs, 3, stride, 1]),
                second: Unit::new(path, name("b"), [outputs, outputs, 3, 1, 1]),
                shortcut: Unit::new(path, name("s"), [inputs, outputs, 1, stride, 0]),
            });
        }
        ResNet9 { stages, fc: layer::linear(path / "fc", 512, classes), largest: false, scale: 1.0 }
    }
}

impl Unit {
    fn new(path: &nn::Path, name: String, [inputs, outputs, kernel, stride, padding]: [i64; 5]) -> Unit {
        let options = ConvOptions { stride: [stride; 2], padding: [padding; 2], bias: false, ..ConvOptions::default() };
        let conv = layer::conv2d(path / &name / "conv", inputs, outputs, kernel, options);
        let norm = layer::batch_norm(path / &name / "norm", outputs);
        Unit { name, conv, norm }
    }

    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let x = tape.conv2d(&format!("{}.conv", self.name), &self.conv, x);
        tape.batch_norm(&format!("{}.norm", self.name), &self.norm, &x)
    }
}

impl Stage {
    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        match self {
            Stage::Plain(unit) => unit.forward(x, tape).relu(),
            Stage::Residual(first, second) => {
                let inner = first.forward(x, tape).relu();
                x + second.forward(&inner, tape).relu()
            }
            Stage::Block { first, second, shortcut } => {
                let inner = first.forward(x, tape).relu();
                let inner = second.forward(&inner, tape).relu();
                (shortcut.forward(x, tape) + inner).relu()
            }
            Stage::Pool => tape.max_pool(2, x),
        }
    }
}

impl Model for ResNet9 {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let x = inputs.reshape([-1, 3, 32, 32]);
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(&x, tape));
        let pooled = match self.largest {
            true => x.adaptive_max_pool2d([1, 1]).0.flatten(1, -1),
            false => x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>),
        };
        tape.linear("fc", &self.fc, &pooled) * self.scale
    }
}
