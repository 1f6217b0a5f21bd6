use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::{Model, Tape, layer};

/// Linear layers `fc1`, `fc2`, … with ReLU between them, on the flattened input.
///
/// `Mlp::new(p, &[784, 128, 64, 10])` is the MNIST network of the benchmarks: 109,386 parameters.
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<(String, nn::Linear)>,
}

impl Mlp {
    /// Takes `[n, ...]` with `widths[0]` numbers per example to `[n, widths.last()]`.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, widths: &[i64]) -> Mlp {
        let path = path.borrow();
        let layers = widths.windows(2).enumerate().map(|(i, pair)| {
            let name = format!("fc{}", i + 1);
            let linear = layer::linear(path / &name, pair[0], pair[1]);
            (name, linear)
        });
        Mlp { layers: layers.collect() }
    }
}

impl Model for Mlp {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let mut x = inputs.flatten(1, -1);
        for (i, (name, linear)) in self.layers.iter().enumerate() {
            x = tape.linear(name, linear, &x);
            if i + 1 < self.layers.len() {
                x = x.relu();
            }
        }
        x
    }
}
