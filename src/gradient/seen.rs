//! What a layer saw, in the shape its per-example gradient needs.

use tch::{Kind, Tensor};

use super::{Form, Outer};
use crate::error::Result;
use crate::model::{Operation, Record};

/// What one use of a layer saw, in the shape its gradient needs.
pub(super) enum Seen {
    /// `[n, 1, t, in]`, and which positions count, `[n, t]`.
    Outer(Tensor, Option<Tensor>),
    /// Patches, `[n, g, t, in]`, and which positions count, `[n, t]`.
    Unfolded(Tensor, Option<Tensor>),
    /// `[n, positions, width]`, or `[n, channels, positions]`; the dimension of the positions.
    Scale(Tensor, i64),
    /// `[n, t]`, the row that is never trained, and which positions count.
    Lookup(Tensor, Option<i64>, Option<Tensor>),
}

impl Seen {
    pub fn new(record: &Record, n: i64) -> Result<Seen> {
        let input = &record.input;
        let counts = |t: i64| record.mask.as_ref().filter(|mask| mask.size() == [n, t]).map(Tensor::shallow_clone);
        Ok(match &record.operation {
            Operation::Linear => {
                let a = input.reshape([n, 1, -1, input.size().last().copied().unwrap_or(1)]);
                let mask = counts(a.size()[2]);
                Seen::Outer(a, mask)
            }
            Operation::Convolution(options) => {
                let kernel = record.kernel();
                let patches = input.im2col(kernel, options.dilation, options.padding, options.stride);
                let (g, t) = (options.groups, patches.size()[2]);
                Seen::Unfolded(patches.view([n, g, -1, t]).transpose(2, 3), counts(t))
            }
            Operation::ScaleLast => Seen::Scale(input.reshape([n, -1, record.weight.numel() as i64]), 1),
            Operation::ScaleChannel => Seen::Scale(input.reshape([n, record.weight.size()[0], -1]), 2),
            Operation::Lookup { padding } => {
                let index = input.reshape([n, -1]).to_kind(Kind::Int64);
                let mask = match (padding, counts(index.size()[1])) {
                    (Some(row), Some(mask)) => Some(mask.logical_and(&index.not_equal(*row))),
                    (Some(row), None) => Some(index.not_equal(*row)),
                    (None, mask) => mask,
                };
                Seen::Lookup(index, *padding, mask)
            }
        })
    }

    /// The gradient, where `δ` is the derivative in the layer's output.
    pub fn form(&self, delta: &Tensor, n: i64, bias: bool) -> Form {
        match self {
            Seen::Outer(a, mask) => {
                let delta = delta.reshape([n, 1, a.size()[2], -1]);
                let mask = mask.as_ref().map(Tensor::shallow_clone);
                Form::Outer(Outer { a: a.shallow_clone(), delta, unit: None, mask })
            }
            Seen::Unfolded(a, mask) => {
                // Convolutions give the positions last.
                let delta = delta.reshape([n, a.size()[1], -1, a.size()[2]]).transpose(2, 3);
                let mask = mask.as_ref().map(Tensor::shallow_clone);
                Form::Outer(Outer { a: a.shallow_clone(), delta, unit: None, mask })
            }
            Seen::Scale(a, over) => scale(a, &delta.reshape(a.size().as_slice()), *over, bias),
            Seen::Lookup(index, padding, mask) => {
                let mut delta = delta.reshape([n, index.size()[1], -1]);
                if let Some(row) = padding {
                    // Out of place: autograd may hand the same tensor to another layer.
                    delta = &delta * index.not_equal(*row).unsqueeze(-1);
                }
                Form::Lookup { index: index.shallow_clone(), delta, mask: mask.as_ref().map(Tensor::shallow_clone) }
            }
        }
    }
}

/// `s = a ∘ w + b`: the gradients are `Σ δ ∘ a` and `Σ δ` over dimension `over`.
fn scale(a: &Tensor, delta: &Tensor, over: i64, bias: bool) -> Form {
    let sum = |x: Tensor| x.sum_dim_intlist([over].as_slice(), false, None::<Kind>);
    let weight = sum(a * delta);
    Form::Dense(match bias {
        true => Tensor::cat(&[weight, sum(delta.shallow_clone())], 1),
        false => weight,
    })
}
