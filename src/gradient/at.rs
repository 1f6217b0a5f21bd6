//! Some numbers of each gradient, without the others.

use tch::{Device, Kind, Tensor};

use super::Gradients;
use super::block::{Block, FLOPS_PER_TOUCH, Form};
use super::layout::Entry;
use crate::error::{Result, guarded};

/// Numbers that are gathered at once.
const AT_ONCE: i64 = 1 << 22;

impl Gradients {
    /// The numbers at these ascending positions of the rows, `[n, k]`.
    ///
    /// Where a layer keeps factors, a number of its weight is `Σ_t δ_to a_ti`: as many multiplications as positions in the sequence, where
    /// the whole gradient would take so many for each of its numbers.
    pub(crate) fn at(&self, positions: &[i64]) -> Result<Tensor> {
        guarded(|| {
            let chosen = Tensor::zeros([self.n(), positions.len() as i64], (Kind::Float, Device::Cpu));
            for block in self.blocks() {
                let place = |entry: &Entry| {
                    let first = positions.partition_point(|&at| at < entry.offset);
                    let last = positions.partition_point(|&at| at < entry.offset + entry.len);
                    let own: Vec<i64> = positions[first..last].iter().map(|at| at - entry.offset).collect();
                    (first as i64, own)
                };
                let (weight, own) = place(&block.columns.weight);
                let (bias, of_bias) = block.columns.bias.as_ref().map_or_else(Default::default, place);
                if own.is_empty() && of_bias.is_empty() {
                    continue;
                }
                let [weights, biases] = block.at(&own, &of_bias)?;
                chosen.narrow(1, weight, own.len() as i64).copy_(&weights);
                chosen.narrow(1, bias, of_bias.len() as i64).copy_(&biases);
            }
            Ok(chosen)
        })
    }
}

impl Block {
    /// Numbers of the weight and of the bias, `[n, k]` each.
    fn at(&self, weight: &[i64], bias: &[i64]) -> Result<[Tensor; 2]> {
        let k = weight.len() as i64;
        // Two numbers are touched for each product, where the whole gradient is multiplied out and written.
        let factored = |t: i64| 2 * FLOPS_PER_TOUCH * t * k < (t + FLOPS_PER_TOUCH) * self.len();
        match &self.form {
            Form::Outer(outer) if factored(outer.t()) => {
                let (n, t, (input, output)) = (self.n(), outer.t(), outer.widths());
                // [n, t, g · width]: a number of group g, output o and input i is at (g · out + o) · in + i.
                let flat = |x: &Tensor, width: i64| x.transpose(1, 2).reshape([n, t, outer.g() * width]);
                let (a, delta) = (flat(&outer.a, input), flat(&outer.delta, output));
                let weights = summed(n, t, weight, |some| {
                    let inputs = a.index_select(2, &each(some, |at| at / (input * output) * input + at % input));
                    delta.index_select(2, &each(some, |at| at / input)) * inputs
                });
                let biases = if bias.is_empty() { none(n) } else { outer.bias().index_select(1, &each(bias, |at| at)) };
                Ok([weights, biases])
            }
            Form::Lookup { index, delta, .. } if factored(index.size()[1]) => {
                let (n, t, width) = (self.n(), index.size()[1], self.columns.weight.shape[1]);
                let weights = summed(n, t, weight, |some| {
                    let read = index.unsqueeze(2).eq_tensor(&each(some, |at| at / width)).to_kind(Kind::Float);
                    read * delta.index_select(2, &each(some, |at| at % width))
                });
                Ok([weights, none(n)])
            }
            _ => {
                let (rows, start) = (self.dense()?, self.columns.weight.len);
                let weights = rows.index_select(1, &each(weight, |at| at));
                Ok([weights, rows.index_select(1, &each(bias, |at| start + at))])
            }
        }
    }
}

/// `[n, k]` from products `[n, t, k]` of some of the positions at a time.
fn summed(n: i64, t: i64, positions: &[i64], products: impl Fn(&[i64]) -> Tensor) -> Tensor {
    let at_once = (AT_ONCE / (n * t).max(1)).max(1) as usize;
    let over_t = |some| products(some).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
    let parts: Vec<Tensor> = positions.chunks(at_once).map(over_t).collect();
    if parts.is_empty() { none(n) } else { Tensor::cat(&parts, 1) }
}

fn each(positions: &[i64], place: impl Fn(i64) -> i64) -> Tensor {
    Tensor::from_slice(&positions.iter().map(|&at| place(at)).collect::<Vec<_>>())
}

fn none(n: i64) -> Tensor {
    Tensor::zeros([n, 0], (Kind::Float, Device::Cpu))
}
