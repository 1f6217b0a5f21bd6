//! The dense Hessian of a network of linear layers, from second derivatives in its layers' outputs instead of its parameters.
//!
//! With `δ = ∂L/∂s` and `γ = ∂L/∂a` of each layer `s = W a`, and for two layers `l` before `m`
//! `D = ∂δ_l/∂s_m` `[n, out_l, out_m]` and `K = ∂δ_l/∂γ_m` `[n, out_l, in_m]`, the block of their weights is
//! `Σ_i a_l ⊗ (D ⊗ a_m + K ⊗ δ_m)`. That takes a backward pass for every output number of a layer, not for every parameter.

use tch::{Device, Kind, Tensor};

use super::stream::batch_size;
use super::{Entry, backward};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::model::{Operation, Record};
use crate::snapshot::{Of, Snapshot, same};

/// Numbers that the widest product of a batch may take, and bytes for all second derivatives of a batch.
const WIDEST: i64 = 1 << 21;
const BYTES: i64 = 64 << 20;

/// `[p, p]` in float64; `None` unless every trained layer is linear on vectors and seen by the tape.
pub(crate) fn dense(snapshot: &Snapshot, train: &Dataset) -> Result<Option<Tensor>> {
    let n = train.len() as i64;
    if !snapshot.taped(&train.slice(0, n.min(2)).0)? {
        return Ok(None);
    }
    let (_, records) = snapshot.record(&train.slice(0, 1).0);
    let layers: Vec<Layer> = records.into_iter().filter_map(|record| Layer::new(snapshot, record)).collect();
    if !layers.iter().all(|l| matches!(l.record.operation, Operation::Linear) && l.record.input.dim() == 2) {
        return Ok(None);
    }
    let outputs: i64 = layers.iter().map(Layer::outputs).sum();
    let inputs: i64 = layers.iter().map(Layer::inputs).sum();
    let widest = layers.iter().map(|l| l.outputs() * (l.inputs() + 1)).max().unwrap_or(1);
    let size = (WIDEST / widest).min(BYTES / (4 * outputs * (outputs + inputs))).min(batch_size(snapshot, train, false)?.at_once);
    let size = size.max(1);
    if (n / size + 1) * outputs > snapshot.p() {
        return Ok(None);
    }
    let p = snapshot.p();
    let half = Tensor::zeros([p, p], (Kind::Double, Device::Cpu));
    for start in (0..n).step_by(size as usize) {
        let (inputs, targets) = train.slice(start, (start + size).min(n));
        add_half(snapshot, &inputs, &targets, n, &half)?;
    }
    let whole = &half + half.transpose(0, 1);
    Ok(Some(whole))
}

/// One use of a linear layer with a trained weight.
struct Layer<'a> {
    record: Record,
    weight: &'a Entry,
    bias: Option<&'a Entry>,
}

impl<'a> Layer<'a> {
    fn new(snapshot: &'a Snapshot, record: Record) -> Option<Layer<'a>> {
        let entries = snapshot.layout().entries();
        let find = |t: &Tensor| snapshot.parameters().iter().position(|p| same(p, t)).map(|i| &entries[i]);
        let (weight, bias) = (find(&record.weight)?, record.bias.as_ref().and_then(find));
        Some(Layer { record, weight, bias })
    }

    fn outputs(&self) -> i64 {
        self.weight.shape[0]
    }

    fn inputs(&self) -> i64 {
        self.weight.shape.get(1).copied().unwrap_or(1)
    }

    /// With a column for the bias, if it has one: `[n, in]` and the given value.
    fn with_bias(&self, x: &Tensor, value: f64) -> Tensor {
        match self.bias {
            Some(_) => Tensor::cat(&[x, &x.narrow(-1, 0, 1).full_like(value)], -1),
            None => x.shallow_clone(),
        }
    }
}

/// Adds the blocks of layers `l` before `m`, and half of those of each layer with itself.
fn add_half(snapshot: &Snapshot, inputs: &Tensor, targets: &Tensor, n: i64, half: &Tensor) -> Result<()> {
    let (outputs, records) = snapshot.record(inputs);
    let loss = snapshot.measured(Of::Objective, &outputs, targets)?.sum(None::<Kind>) * (-1.0 / n as f64);
    if !loss.requires_grad() {
        return Ok(());
    }
    let layers: Vec<Layer> = records.into_iter().filter_map(|record| Layer::new(snapshot, record)).collect();
    let deep: Vec<bool> = layers.iter().map(|layer| layer.record.attached.requires_grad()).collect();
    let below = layers.iter().zip(&deep).filter(|(_, deep)| **deep).map(|(layer, _)| &layer.record.attached);
    let wanted: Vec<&Tensor> = layers.iter().map(|layer| &layer.record.output).chain(below).collect();
    let first = backward(&loss, &wanted, true, true)?;
    let (deltas, mut gammas) = (&first[..layers.len()], first[layers.len()..].iter());
    let live = |t: &&Tensor| t.defined() && t.requires_grad();
    let gammas: Vec<Option<&Tensor>> = deep.iter().map(|deep| if *deep { gammas.next().filter(live) } else { None }).collect();
    let states: Vec<&Tensor> = layers.iter().map(|l| &l.record.output).chain(gammas.iter().flatten().copied()).collect();
    let inputs: Vec<Tensor> = layers.iter().map(|layer| layer.with_bias(&layer.record.input, 1.0)).collect();
    for (l, layer) in layers.iter().enumerate() {
        if !live(&&deltas[l]) {
            continue;
        }
        for o in 0..layer.outputs() {
            let second = backward(&deltas[l].select(1, o).sum(None::<Kind>), &states, true, false)?;
            let (along_outputs, mut along_gammas) = (&second[..layers.len()], second[layers.len()..].iter());
            for (m, other) in layers.iter().enumerate() {
                let along_gamma = gammas[m].and_then(|_| along_gammas.next()).filter(|k| k.defined());
                if m < l {
                    continue;
                }
                let mut right: Option<Tensor> = None; // [n, out_m, in_m + 1]
                if along_outputs[m].defined() {
                    right = Some(along_outputs[m].detach().unsqueeze(2) * inputs[m].unsqueeze(1));
                }
                if let Some(k) = along_gamma.filter(|_| deltas[m].defined()) {
                    let k = other.with_bias(&k.detach(), 0.0);
                    let delta = deltas[m].detach();
                    right = Some(match right {
                        Some(right) => right.addcmul(&delta.unsqueeze(2), &k.unsqueeze(1)),
                        None => delta.unsqueeze(2) * k.unsqueeze(1),
                    });
                }
                if let Some(right) = right {
                    let block = inputs[l].transpose(0, 1).matmul(&right.flatten(1, -1));
                    let share = if l == m { 0.5 } else { 1.0 };
                    write(layer, o, other, &(block * share), half);
                }
            }
        }
    }
    Ok(())
}

/// Adds `[in_l + 1, out_m · (in_m + 1)]`, for output `o` of the first layer, to its place.
fn write(layer: &Layer, o: i64, other: &Layer, block: &Tensor, half: &Tensor) {
    let (rows, width) = (layer.inputs(), other.inputs());
    let block = block.view([block.size()[0], other.outputs(), -1]);
    let put = |rows: Tensor, part: Tensor| {
        let weights = part.narrow(2, 0, width).reshape([part.size()[0], -1]);
        let _ = rows.narrow(1, other.weight.offset, other.weight.len).g_add_(&weights);
        if let Some(bias) = other.bias {
            let _ = rows.narrow(1, bias.offset, bias.len).g_add_(&part.select(2, width));
        }
    };
    put(half.narrow(0, layer.weight.offset + o * rows, rows), block.narrow(0, 0, rows));
    if let Some(bias) = layer.bias {
        put(half.narrow(0, bias.offset + o, 1), block.narrow(0, rows, 1));
    }
}
