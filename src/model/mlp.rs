use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::{Model, Tape, layer};
use crate::error::{Error, raise};

/// Linear layers `fc1`, `fc2`, … with ReLU between them, on the flattened input.
///
/// `Mlp::new(p, &[784, 128, 64, 10])` is the MNIST network of the benchmarks: 109,386 parameters.
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<(String, nn::Linear)>,
    dropout: f64,
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
        Mlp { layers: layers.collect(), dropout: 0.0 }
    }

    /// The same network with dropout after each hidden ReLU; the MNIST network of dattri's benchmark has 0.1.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10]).with_dropout(0.1));
    /// let train = dataset::digits()?.head(100)?;
    /// assert!(task.train(&Trainer { epochs: 30, learning_rate: 0.01, ..default() }, &train)?.accuracy(&train)? > 0.9);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    ///
    /// Errors, at the border: [`Error::Option`] unless the share is at least 0 and below 1.
    pub fn with_dropout(self, p: f64) -> Mlp {
        if !(0.0..1.0).contains(&p) {
            raise(Error::option("Mlp.dropout", "at least 0 and below 1", p));
        }
        Mlp { dropout: p, ..self }
    }
}

impl Model for Mlp {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        let mut x = inputs.flatten(1, -1);
        for (i, (name, linear)) in self.layers.iter().enumerate() {
            x = tape.linear(name, linear, &x);
            if i + 1 < self.layers.len() {
                x = x.relu();
                if self.dropout > 0.0 {
                    x = tape.dropout(self.dropout, &x);
                }
            }
        }
        x
    }
}
