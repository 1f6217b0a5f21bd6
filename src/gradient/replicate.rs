//! Many Hessian-vector products from one pass: the batch stands once for each vector.
//!
//! Copy `c` of the batch is differentiated along its own vector `V_c`. With `δ = ∂L/∂s` and `γ = ∂L/∂a` of each layer
//! `s = a Wᵀ + b`, the derivative of `L` along all `V_c` is `φ = Σ ⟨δ, a V_cᵀ + v_c⟩`. A second backward pass, of φ, gives
//! `Rδ = ∂φ/∂s` and, since γ is linear in δ, `Ra = ∂φ/∂γ`: how δ and `a` move along `V_c`. The product is `Σ Rδ ⊗ a + δ ⊗ Ra`,
//! summed within each copy, so that no gradient of a single example is formed.

use tch::{Kind, Tensor};

use super::stream::batch_size;
use super::{Entry, backward};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::model::{Operation, Record};
use crate::snapshot::{Of, Snapshot, same};

/// Most rows of replicated batches in one pass: enough to hide the price of a call, few enough to stay near the cache.
pub(crate) const ROWS: i64 = 8192;

/// Bytes of what one pass records.
const BYTES: i64 = 64 << 20;

/// How many vectors to treat in one pass; 1 where the tape does not see the whole network, or where passes are large anyway.
pub(crate) fn copies(snapshot: &Snapshot, train: &Dataset, vectors: i64) -> Result<i64> {
    if !snapshot.taped(&train.slice(0, (train.len() as i64).min(2)).0)? {
        return Ok(1);
    }
    let room = batch_size(snapshot, train, false)?;
    let rows = (BYTES / room.held).clamp(1, ROWS);
    Ok((rows / (train.len() as i64).min(room.at_once)).clamp(1, vectors.max(1)))
}

/// Adds `∇² L · V` for every row `V` of `vectors` `[k, p]` to `total`, with `L` minus the summed objective over `n`.
pub(crate) fn add_products(
    snapshot: &Snapshot,
    inputs: &Tensor,
    targets: &Tensor,
    vectors: &Tensor,
    n: i64,
    total: &Tensor,
) -> Result<()> {
    let k = vectors.size()[0];
    let (outputs, records) = snapshot.record(&tiled(inputs, k));
    let loss = snapshot.measured(Of::Objective, &outputs, &tiled(targets, k))?.sum(None::<Kind>) * (-1.0 / n as f64);
    if !loss.requires_grad() {
        return Ok(());
    }
    let layers: Vec<Layer> = records.into_iter().filter_map(|record| Layer::new(snapshot, record, k)).collect();
    // First pass: δ of every layer, then γ of those whose input depends on parameters.
    let deep: Vec<bool> = layers.iter().map(|layer| layer.record.attached.requires_grad()).collect();
    let first: Vec<&Tensor> = layers.iter().map(|layer| &layer.record.output).collect();
    let below = layers.iter().zip(&deep).filter(|(_, deep)| **deep).map(|(layer, _)| &layer.record.attached);
    let first = backward(&loss, &first.into_iter().chain(below).collect::<Vec<_>>(), true, true)?;
    let (deltas, gammas) = first.split_at(layers.len());
    // φ, and its backward pass.
    let mut phi: Option<Tensor> = None;
    for (layer, delta) in layers.iter().zip(deltas).filter(|(_, delta)| delta.defined()) {
        let term = (layer.factor(delta, false) * layer.along(vectors)).sum(None::<Kind>);
        phi = Some(phi.map_or_else(|| term.shallow_clone(), |sum| sum + &term));
    }
    let Some(phi) = phi.filter(Tensor::requires_grad) else { return Ok(()) };
    let reached: Vec<&Tensor> = gammas.iter().filter(|gamma| gamma.defined() && gamma.requires_grad()).collect();
    let wanted: Vec<&Tensor> = layers.iter().map(|layer| &layer.record.output).chain(reached).collect();
    let second = backward(&phi, &wanted, false, false)?;
    drop(phi);
    let (along_deltas, mut along_inputs) = (&second[..layers.len()], second[layers.len()..].iter());
    let mut gammas = gammas.iter();
    for (i, layer) in layers.iter().enumerate() {
        let gamma = if deep[i] { gammas.next() } else { None };
        let along_input = gamma.filter(|gamma| gamma.defined() && gamma.requires_grad()).and_then(|_| along_inputs.next());
        if along_deltas[i].defined() {
            layer.add(&layer.record.input, &along_deltas[i], true, total);
        }
        if let Some(along_input) = along_input.filter(|x| x.defined())
            && deltas[i].defined()
        {
            layer.add(along_input, &deltas[i].detach(), false, total);
        }
    }
    Ok(())
}

/// `x` once for each of `k` vectors, one copy after the other.
fn tiled(x: &Tensor, k: i64) -> Tensor {
    let mut times = vec![1; x.dim()];
    times[0] = k;
    x.repeat(times)
}

/// One use of a layer with a trained weight.
struct Layer<'a> {
    record: Record,
    weight: &'a Entry,
    bias: Option<&'a Entry>,
    k: i64,
}

impl<'a> Layer<'a> {
    /// `None` for a frozen layer: the product does not have its entries.
    fn new(snapshot: &'a Snapshot, record: Record, k: i64) -> Option<Layer<'a>> {
        let entries = snapshot.layout().entries();
        let find = |t: &Tensor| snapshot.parameters().iter().position(|p| same(p, t)).map(|i| &entries[i]);
        let (weight, bias) = (find(&record.weight)?, record.bias.as_ref().and_then(find));
        Some(Layer { record, weight, bias, k })
    }

    /// Input or output gradient with the copies as first dimension and all positions of a copy as last but one:
    /// `[k, groups, positions, width]`; for a scaled channel `[k, n, channels, rest]`.
    fn factor(&self, x: &Tensor, input: bool) -> Tensor {
        let k = self.k;
        match &self.record.operation {
            Operation::Linear => x.reshape([k, 1, -1, x.size().last().copied().unwrap_or(1)]),
            Operation::Convolution(options) => {
                let kernel = &self.record.weight.size()[2..];
                let patches = match input {
                    true => x.im2col(kernel, options.dilation, options.padding, options.stride),
                    false => x.flatten(2, -1),
                };
                let (n, t) = (patches.size()[0] / k, patches.size()[2]);
                let split = patches.view([k, n, options.groups, -1, t]).permute([0, 2, 1, 4, 3]);
                split.reshape([k, options.groups, n * t, -1])
            }
            Operation::ScaleLast => x.reshape([k, 1, -1, self.weight.len]),
            Operation::ScaleChannel => x.reshape([k, x.size()[0] / k, self.weight.len, -1]),
            Operation::Lookup { padding } if !input => {
                let rows = x.reshape([k, 1, -1, self.weight.shape[1]]);
                match padding {
                    Some(row) => rows * self.record.input.not_equal(*row).reshape([k, 1, -1, 1]),
                    None => rows,
                }
            }
            Operation::Lookup { .. } => x.reshape([k, -1]),
        }
    }

    /// The output of the layer with the entries of each vector as its parameters, shaped as `factor`.
    fn along(&self, vectors: &Tensor) -> Tensor {
        let k = self.k;
        let a = self.factor(&self.record.attached, true);
        let weight = vectors.narrow(1, self.weight.offset, self.weight.len);
        let bias = self.bias.map(|entry| vectors.narrow(1, entry.offset, entry.len));
        let product = match &self.record.operation {
            Operation::Linear | Operation::Convolution(_) => {
                let (groups, width) = (a.size()[1], a.size()[3]);
                a.matmul(&weight.reshape([k, groups, -1, width]).transpose(2, 3))
            }
            Operation::ScaleLast => a * weight.reshape([k, 1, 1, -1]),
            Operation::ScaleChannel => a * weight.reshape([k, 1, -1, 1]),
            Operation::Lookup { .. } => {
                let table = weight.reshape([-1, self.weight.shape[1]]);
                table.index_select(0, &self.positions(&a).reshape([-1])).view([k, 1, -1, self.weight.shape[1]])
            }
        };
        match (bias, &self.record.operation) {
            (None, _) => product,
            (Some(bias), Operation::ScaleChannel) => product + bias.reshape([k, 1, -1, 1]),
            (Some(bias), _) => &product + bias.reshape([k, product.size()[1], 1, -1]),
        }
    }

    /// Rows of all copies' tables below each other.
    fn positions(&self, index: &Tensor) -> Tensor {
        let rows = self.weight.shape[0];
        index.to_kind(Kind::Int64) + Tensor::arange_start_step(0, self.k * rows, rows, (Kind::Int64, index.device())).unsqueeze(1)
    }

    /// Adds the gradient `Σ δ ⊗ a` of each copy to its row of `[k, p]`; the bias's `Σ δ` if asked for.
    fn add(&self, input: &Tensor, delta: &Tensor, with_bias: bool, total: &Tensor) {
        let k = self.k;
        let (a, delta) = (self.factor(input, true), self.factor(delta, false));
        let sum = |x: &Tensor, over: &[i64]| x.sum_dim_intlist(over, false, None::<Kind>);
        let (weight, over): (Tensor, &[i64]) = match &self.record.operation {
            Operation::Linear | Operation::Convolution(_) => (delta.transpose(2, 3).matmul(&a), &[2]),
            Operation::ScaleLast => (sum(&(&a * &delta), &[1, 2]), &[1, 2]),
            Operation::ScaleChannel => (sum(&(&a * &delta), &[1, 3]), &[1, 3]),
            Operation::Lookup { .. } => {
                let width = self.weight.shape[1];
                let mut table = Tensor::zeros([k * self.weight.shape[0], width], (delta.kind(), delta.device()));
                let _ = table.index_add_(0, &self.positions(&a).reshape([-1]), &delta.reshape([-1, width]));
                (table, &[2])
            }
        };
        let add = |entry: &Entry, values: &Tensor| {
            let _ = total.narrow(1, entry.offset, entry.len).g_add_(&values.reshape([k, entry.len]));
        };
        add(self.weight, &weight);
        if let Some(bias) = self.bias.filter(|_| with_bias) {
            add(bias, &sum(&delta, over));
        }
    }
}
