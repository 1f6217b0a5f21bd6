use std::borrow::Borrow;

use tch::{Tensor, nn};

use super::{Model, Tape, layer};

/// Multinomial logistic regression: one linear layer named `linear` on the flattened input.
///
/// `inputs · classes + classes` parameters: 650 for the digits, 7,850 for MNIST.
#[derive(Debug)]
pub struct Logistic {
    linear: nn::Linear,
}

impl Logistic {
    /// Takes `[n, ...]` with `inputs` numbers per example to `[n, classes]`.
    pub fn new<'a>(path: impl Borrow<nn::Path<'a>>, inputs: i64, classes: i64) -> Logistic {
        Logistic { linear: layer::linear(path.borrow() / "linear", inputs, classes) }
    }
}

impl Model for Logistic {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        tape.linear("linear", &self.linear, &inputs.flatten(1, -1))
    }
}
