//! A Gaussian about the last layer, by the curvature of the objective there.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use super::Sampler;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::backward;
use crate::model::{Operation, Record};
use crate::random::{Purpose, normal};
use crate::snapshot::{Of, Snapshot, same};
use crate::task::Task;

/// Examples that pass through the network at once.
const AT_ONCE: i64 = 1024;
/// Weights of the last layer at most: the precision is a matrix of their number squared, in float64.
const MOST: i64 = 12_000;

/// Laplace's approximation on the last linear layer: weights from `N(θ*, (Σ_i B_i ⊗ a_i a_iᵀ + prior · I)⁻¹)`.
///
/// Answers: what other last layers does the data allow as well? All below stays.
/// Formula: `a_i` `[d]` is the layer's input with a 1 for the bias, `B_i = −∂²o_i/∂s_i²` `[c, c]` the curvature of the objective in its
/// output; summed over all train examples, exact, not diagonal.
/// Cost: c backward passes to the outputs, `n · c² · d²` and `(c · d)³ / 3` operations for each checkpoint. Defaults: prior precision 1, 10
/// draws of each checkpoint. With weight decay `w` in the mean loss, the prior precision is `n · w`.
/// Misleads: a network that fits its data perfectly has almost no curvature left, so that the prior alone sets the spread; and initial
/// weights, which make the trainings differ, are not in it.
/// Reference: Kristiadi, Hein & Hennig 2020 (arXiv 2002.10118); Daxberger et al. 2021 (arXiv 2106.14806).
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::sampler::{Laplace, Sampler};
/// let train = dataset::digits()?.head(200)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer::default(), &train)?;
/// let drawn = Laplace { draws: 2, ..default() }.sample(&task, &train)?;
/// let moved = |name: &str| !drawn.checkpoints()[0].tensor(name).unwrap().equal(task.checkpoints()[0].tensor(name).unwrap());
/// assert!(moved("fc2.weight") && moved("fc2.bias") && !moved("fc1.weight"));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Laplace {
    /// Added to the diagonal of the summed curvature.
    pub prior_precision: f64,
    /// Networks made of each checkpoint.
    pub draws: usize,
    /// Another seed, other networks.
    pub seed: u64,
}

impl Default for Laplace {
    fn default() -> Laplace {
        Laplace { prior_precision: 1.0, draws: 10, seed: 0 }
    }
}

impl Sampler for Laplace {
    fn name(&self) -> String {
        "Laplace, last layer".into()
    }

    fn sample(&self, task: &Task, train: &Dataset) -> Result<Task> {
        if self.draws == 0 {
            return Err(Error::option("Laplace.draws", "at least 1", 0));
        }
        if !(self.prior_precision > 0.0 && self.prior_precision.is_finite()) {
            return Err(Error::option("Laplace.prior_precision", "a positive number", self.prior_precision));
        }
        let task = task.clone().without_stores();
        task.snapshot(0)?.check(train, task.objective.as_ref())?;
        let mut drawn = Vec::new();
        for (position, checkpoint) in task.checkpoints().iter().enumerate() {
            let network = Snapshot::new(&task, checkpoint)?;
            let head = Head::of(&network, train)?;
            let factor = guarded(|| {
                let precision = head.precision(&network, train)?;
                let prior = Tensor::eye(precision.size()[0], (Kind::Double, Device::Cpu)) * self.prior_precision;
                let (factor, info) = (precision + prior).linalg_cholesky_ex(false, false);
                match info.int64_value(&[]) {
                    0 => Ok(factor),
                    _ => {
                        Err(Error::numerical("Laplace", "the curvature is not positive definite; raise Laplace.prior_precision"))
                    }
                }
            })?;
            for draw in 0..self.draws {
                let index = (position as u64) << 24 | draw as u64;
                let noise = Tensor::from_slice(&normal(factor.size()[0] as usize, self.seed, Purpose::Laplace, index));
                // With L Lᵀ the precision, L⁻ᵀ z has its inverse as covariance.
                let step = guarded(|| Ok(factor.tr().linalg_solve_triangular(&noise.unsqueeze(1), true, true, false)))?;
                let tensors = head.moved(checkpoint, &step)?;
                drawn.push(Checkpoint::new(checkpoint.run, checkpoint.step + draw + 1, checkpoint.learning_rate, tensors));
            }
        }
        task.with_checkpoints(drawn)
    }
}

/// The last linear layer.
struct Head {
    name: String,
    weight: String,
    bias: Option<String>,
    outputs: i64,
    inputs: i64,
}

impl Head {
    fn of(network: &Snapshot, train: &Dataset) -> Result<Head> {
        guarded(|| {
            let (_, records) = network.record(&train.slice(0, 1).0);
            let refused = |name: &str, reason: String| Err(Error::layer(name, format!("Laplace's last layer {reason}")));
            let Some(record) = records.last() else {
                return refused("model", "cannot be found: the tape saw no layer; call layers through the tape".into());
            };
            if !matches!(record.operation, Operation::Linear) || record.input.dim() != 2 {
                return refused(&record.name, format!("must be linear on [n, d], its input is {:?}", record.input.size()));
            }
            let find =
                |t: &Tensor| network.parameters().iter().position(|p| same(p, t)).map(|at| &network.layout().entries()[at]);
            let Some(weight) = find(&record.weight) else {
                return refused(&record.name, "must be trained; its weight is frozen".into());
            };
            let bias = record.bias.as_ref().and_then(find).map(|entry| entry.name.clone());
            let (outputs, inputs) = (weight.shape[0], weight.shape[1]);
            let count = outputs * (inputs + i64::from(bias.is_some()));
            if count > MOST {
                return refused(&record.name, format!("may have {MOST} weights, it has {count}"));
            }
            Ok(Head { name: record.name.clone(), weight: weight.name.clone(), bias, outputs, inputs })
        })
    }

    /// `Σ_i B_i ⊗ a_i a_iᵀ`, `[c · d, c · d]`, float64.
    fn precision(&self, network: &Snapshot, train: &Dataset) -> Result<Tensor> {
        let (c, d) = (self.outputs, self.inputs + i64::from(self.bias.is_some()));
        let total = Tensor::zeros([c, d, c, d], (Kind::Double, Device::Cpu));
        let n = train.len() as i64;
        for start in (0..n).step_by(AT_ONCE as usize) {
            let (inputs, targets) = train.slice(start, (start + AT_ONCE).min(n));
            let (outputs, records) = network.record(&inputs);
            let record = self.record(&records)?;
            let loss = -network.measured(Of::Objective, &outputs, &targets)?.sum(None::<Kind>);
            let first = backward(&loss, &[&record.output], true, true)?.remove(0);
            let a = record.input.to_kind(Kind::Double);
            let a = match self.bias {
                Some(_) => Tensor::cat(&[&a, &Tensor::ones([a.size()[0], 1], (Kind::Double, Device::Cpu))], 1),
                None => a,
            };
            for e in (0..c).take_while(|_| first.defined() && first.requires_grad()) {
                let row = backward(&first.select(1, e).sum(None::<Kind>), &[&record.output], true, false)?.remove(0);
                if !row.defined() {
                    continue;
                }
                let row = row.detach().to_kind(Kind::Double); // [n, c]
                for f in 0..=e {
                    let block = (&a * row.select(1, f).unsqueeze(1)).tr().matmul(&a);
                    let _ = total.select(2, f).select(0, e).g_add_(&block);
                    if f != e {
                        let _ = total.select(2, e).select(0, f).g_add_(&block.tr());
                    }
                }
            }
        }
        Ok(total.view([c * d, c * d]))
    }

    fn record<'a>(&self, records: &'a [Record]) -> Result<&'a Record> {
        let uses = records.iter().filter(|record| record.name == self.name).count();
        match records.last() {
            Some(last) if last.name == self.name && uses == 1 => Ok(last),
            _ => Err(Error::layer(&self.name, "Laplace's last layer must be used once, after all others")),
        }
    }

    /// The tensors of a checkpoint with the last layer moved by `step` `[c · d, 1]`.
    fn moved(&self, checkpoint: &Checkpoint, step: &Tensor) -> Result<Vec<(String, Tensor)>> {
        guarded(|| {
            let step = step.view([self.outputs, -1]);
            let moved = |(name, tensor): &(String, Tensor)| {
                let by = match name {
                    name if *name == self.weight => step.narrow(1, 0, self.inputs),
                    name if Some(name) == self.bias.as_ref() => step.select(1, self.inputs),
                    _ => return (name.clone(), tensor.shallow_clone()),
                };
                (name.clone(), no_grad(|| (tensor.to_kind(Kind::Double) + by).to_kind(tensor.kind())))
            };
            Ok(checkpoint.tensors().iter().map(moved).collect())
        })
    }
}
