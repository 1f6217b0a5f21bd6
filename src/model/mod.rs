//! Networks that tell a tape which layers they used, one architecture per file.

mod cnn;
mod gelu_cnn;
mod gpt;
pub mod layer;
mod logistic;
mod mlp;
mod mobilenet;
mod normed;
mod resnet18;
mod resnet9;
mod script;
mod stack;
mod tape;
mod thinning;
mod vit;

pub use cnn::Cnn;
pub use gelu_cnn::GeluCnn;
pub use gpt::{Gpt, GptOptions};
pub use logistic::Logistic;
pub use mlp::Mlp;
pub use mobilenet::{MobileNetV2, MobileNetV2Options};
pub use resnet9::ResNet9;
pub use resnet18::{ResNet18, ResNet18Options};
pub use script::{Script, ScriptModel, script};
pub(crate) use stack::Stack;
pub use tape::Tape;
pub(crate) use tape::{Operation, Record};
pub(crate) use thinning::Thinning;
pub use vit::{Lora, Vit, VitOptions};

use tch::Tensor;

/// Outputs for a batch of inputs.
///
/// `inputs` is `[n, ...]` and the result `[n, ...]`: example `i` of the result must depend on example `i` of the inputs only,
/// and layers must see the batch as their first dimension. Layers called through the [`Tape`] (`tape.linear("fc1", &self.fc1,
/// &x)`) give per-example gradients from one backward pass; a model with any trainable parameter the tape did not see is
/// differentiated one example at a time instead: same numbers, more time.
///
/// A closure over `(inputs, tape)` is a model too.
///
/// ```
/// use ascribe::prelude::*;
/// struct Tiny { first: nn::Linear, last: nn::Linear }
/// impl Model for Tiny {
///     fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
///         let hidden = tape.linear("first", &self.first, x).gelu("none");
///         tape.linear("last", &self.last, &hidden)
///     }
/// }
/// let task = Task::new(|p: &nn::Path| Tiny { first: layer::linear(p / "first", 64, 8), last: layer::linear(p / "last", 8, 10) });
/// let task = task.train(&Trainer { epochs: 1, ..default() }, &dataset::digits()?.head(100)?)?;
/// assert_eq!(task.checkpoints().len(), 1);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub trait Model {
    /// Outputs `[n, ...]` of inputs `[n, ...]`.
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor;
}

impl<F: Fn(&Tensor, &mut Tape) -> Tensor> Model for F {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        self(inputs, tape)
    }
}

impl Model for Box<dyn Model> {
    fn forward(&self, inputs: &Tensor, tape: &mut Tape) -> Tensor {
        self.as_ref().forward(inputs, tape)
    }
}
