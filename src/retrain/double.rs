//! A network, its objective and its measurement in float64, at many parameter vectors at once.

use tch::{Device, Kind, Tensor, no_grad};

use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::backward;
use crate::model::Operation;
use crate::snapshot::{Of, Snapshot, same};
use crate::task::Task;

pub(super) const F64: (Kind, Device) = (Kind::Double, Device::Cpu);
/// Examples in a pass through a network that is not one linear layer.
const BATCH: i64 = 1024;

/// The network with float64 weights, which are overwritten for every evaluation.
pub(super) struct Double {
    snapshot: Snapshot,
    linear: Option<Linear>,
}

/// Where weight and bias of a network of one linear layer lie in a flat vector.
pub(super) struct Linear {
    weight: i64,
    bias: Option<i64>,
    inputs: i64,
    pub(super) outputs: i64,
}

/// A dataset in float64; `a` is what the linear layer sees, with a 1 appended where it has a bias, `[n, d]`.
pub(super) struct Examples {
    inputs: Tensor,
    pub(super) targets: Tensor,
    pub(super) a: Option<Tensor>,
}

impl Examples {
    pub(super) fn len(&self) -> i64 {
        self.inputs.size()[0]
    }
}

impl Double {
    /// The network in float64, and its weights `[1, p]`: those of the task's last checkpoint, or fresh ones if there is none.
    pub(super) fn new(task: &Task, train: &Dataset, fresh: bool) -> Result<(Double, Tensor)> {
        let snapshot = match task.checkpoints() {
            [] => Snapshot::fresh(task, 0)?,
            _ if fresh => Snapshot::fresh(task, 0)?,
            checkpoints => task.snapshot(checkpoints.len() - 1)?,
        };
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        guarded(|| {
            let linear = Linear::detect(&snapshot, train)?;
            for (_, mut tensor) in snapshot.named_tensors() {
                if tensor.is_floating_point() {
                    let double = no_grad(|| tensor.to_kind(Kind::Double));
                    tensor.set_data(&double);
                }
            }
            let theta = no_grad(|| snapshot.layout().flatten(snapshot.parameters()).unsqueeze(0));
            Ok((Double { snapshot, linear }, theta))
        })
    }

    pub(super) fn p(&self) -> i64 {
        self.snapshot.p()
    }

    /// An error unless the measurement fits the data.
    pub(super) fn check(&self, data: &Dataset) -> Result<()> {
        guarded(|| {
            let two = self.examples(&data.head(data.len().min(2))?)?;
            let outputs = no_grad(|| self.snapshot.forward(&two.inputs));
            self.snapshot.measurement(Of::Measurement).check(&outputs, data.targets())
        })
    }

    /// How many minimisations fit into so many bytes: outputs with their derivatives, and the steps remembered.
    pub(super) fn side_by_side(&self, data: &Examples, bytes: i64) -> usize {
        let outputs = self.linear.as_ref().map_or(0, |linear| 6 * data.len() * linear.outputs);
        (bytes / (8 * (outputs + 30 * self.p()))).max(1) as usize
    }

    pub(super) fn linear(&self) -> Option<&Linear> {
        self.linear.as_ref()
    }

    pub(super) fn examples(&self, data: &Dataset) -> Result<Examples> {
        guarded(|| {
            let double = |t: &Tensor| if t.is_floating_point() { t.to_kind(Kind::Double) } else { t.shallow_clone() };
            let (inputs, targets) = (double(data.inputs()), double(data.targets()));
            let a = self.linear.as_ref().map(|linear| {
                let seen = self.snapshot.record(&inputs).1.remove(0).input;
                match linear.bias {
                    Some(_) => Tensor::cat(&[&seen, &seen.narrow(1, 0, 1).ones_like()], 1),
                    None => seen,
                }
            });
            Ok(Examples { inputs, targets, a })
        })
    }

    /// `−(1/n) Σ_{i ≠ without_j} o(z_i; θ_j) + λ/2 ‖θ_j‖²` for each row of `theta` `[k, p]`: values `[k]` and gradients `[k, p]`.
    pub(super) fn loss(
        &self,
        data: &Examples,
        penalty: f64,
        theta: &Tensor,
        without: &[Option<i64>],
    ) -> Result<(Tensor, Tensor)> {
        guarded(|| {
            let (values, gradients) = match (&self.linear, &data.a) {
                (Some(linear), Some(a)) => self.linear_loss(linear, a, data, theta, without)?,
                _ => self.looped_loss(data, theta, without)?,
            };
            let squares = theta.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            Ok((values + squares * (penalty / 2.0), gradients + theta * penalty))
        })
    }

    fn linear_loss(
        &self,
        linear: &Linear,
        a: &Tensor,
        data: &Examples,
        theta: &Tensor,
        without: &[Option<i64>],
    ) -> Result<(Tensor, Tensor)> {
        let (n, k) = (data.len(), without.len() as i64);
        let outputs = linear.outputs(a, theta).set_requires_grad(true); // [n * k, c]
        let objective = self.snapshot.measured(Of::Objective, &outputs, &data.targets.repeat_interleave_self_int(k, 0, n * k))?;
        let weights = Tensor::full([n, k], -1.0 / n as f64, F64);
        for (column, example) in without.iter().enumerate() {
            if let Some(example) = example {
                let _ = weights.get(*example).get(column as i64).fill_(0.0);
            }
        }
        let values = (objective.view([n, k]) * weights).sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
        let slopes = backward(&values.sum(None::<Kind>), &[&outputs], false, false)?.remove(0);
        let slopes = slopes.view([n, k * linear.outputs]).transpose(0, 1).matmul(a); // [k * c, d]
        Ok((values.detach(), linear.flatten(&slopes.view([k, linear.outputs, -1]), self.p())))
    }

    fn looped_loss(&self, data: &Examples, theta: &Tensor, without: &[Option<i64>]) -> Result<(Tensor, Tensor)> {
        let n = data.len();
        let (mut values, mut gradients) = (Vec::new(), Vec::new());
        for (row, example) in without.iter().enumerate() {
            self.place(&theta.get(row as i64));
            let (mut value, gradient) = (0.0, Tensor::zeros([self.p()], F64));
            for start in (0..n).step_by(BATCH as usize) {
                let rows = BATCH.min(n - start);
                let outputs = self.snapshot.forward(&data.inputs.narrow(0, start, rows));
                let objective = self.snapshot.measured(Of::Objective, &outputs, &data.targets.narrow(0, start, rows))?;
                let weights = Tensor::full([rows], -1.0 / n as f64, F64);
                if let Some(example) = example.filter(|e| (start..start + rows).contains(e)) {
                    let _ = weights.get(example - start).fill_(0.0);
                }
                let part = (objective * weights).sum(None::<Kind>);
                let parts = self.snapshot.parameter_gradients(&part, false)?;
                value += part.double_value(&[]);
                let _ = gradient.shallow_clone().g_add_(&self.snapshot.layout().flatten(&parts));
            }
            values.push(value);
            gradients.push(gradient);
        }
        Ok((Tensor::from_slice(&values), Tensor::stack(&gradients, 0)))
    }

    /// The measurement of each example at each row of `theta`: `[n, k]`.
    pub(super) fn measure(&self, data: &Examples, theta: &Tensor) -> Result<Tensor> {
        guarded(|| {
            let (n, k) = (data.len(), theta.size()[0]);
            if let (Some(linear), Some(a)) = (&self.linear, &data.a) {
                let targets = data.targets.repeat_interleave_self_int(k, 0, n * k);
                return Ok(self.snapshot.measured(Of::Measurement, &linear.outputs(a, theta), &targets)?.view([n, k]));
            }
            let columns = (0..k).map(|row| {
                self.place(&theta.get(row));
                let outputs = data.inputs.split(BATCH, 0).into_iter();
                let outputs = no_grad(|| outputs.map(|x| self.snapshot.forward(&x)).collect::<Vec<_>>());
                self.snapshot.measured(Of::Measurement, &Tensor::cat(&outputs, 0), &data.targets)
            });
            Ok(Tensor::stack(&columns.collect::<Result<Vec<_>>>()?, 1))
        })
    }

    /// First and minus the second derivatives of the objective in the outputs, `[n, c]` and `[n, c, c]`, of a linear network.
    pub(super) fn in_outputs(&self, outputs: &Tensor, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        guarded(|| {
            let outputs = outputs.detach().set_requires_grad(true);
            let objective = self.snapshot.measured(Of::Objective, &outputs, targets)?.sum(None::<Kind>);
            let first = backward(&objective, &[&outputs], true, true)?.remove(0);
            let rows = (0..outputs.size()[1]).map(|c| {
                if !first.requires_grad() {
                    return Ok(outputs.detach().zeros_like());
                }
                let row = backward(&first.select(1, c).sum(None::<Kind>), &[&outputs], true, false)?.remove(0);
                Ok(if row.defined() { -row.detach() } else { outputs.detach().zeros_like() })
            });
            let second = Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 1);
            Ok((first.detach(), second))
        })
    }

    /// The weights `theta` `[p]` as a checkpoint in float32.
    pub(super) fn checkpoint(&self, theta: &Tensor, run: usize, step: usize) -> Checkpoint {
        let layout = self.snapshot.layout();
        let single = |t: Tensor| if t.is_floating_point() { t.to_kind(Kind::Float) } else { t };
        let parameter = |e: &crate::gradient::Entry| theta.narrow(0, e.offset, e.len).view(e.shape.as_slice());
        let trained = layout.entries().iter().map(|e| (e.name.clone(), single(parameter(e))));
        let buffers = self.snapshot.named_tensors().into_iter().skip(layout.entries().len());
        Checkpoint::new(run, step, 1.0, trained.chain(buffers.map(|(name, t)| (name, single(t)))).collect())
    }

    /// Overwrites the network's weights.
    fn place(&self, theta: &Tensor) {
        for (entry, parameter) in self.snapshot.layout().entries().iter().zip(self.snapshot.parameters()) {
            let values = theta.narrow(0, entry.offset, entry.len).view(entry.shape.as_slice());
            no_grad(|| parameter.shallow_clone().copy_(&values));
        }
    }
}

impl Linear {
    /// The layer, if the network is one linear layer on a flat input and nothing else.
    fn detect(snapshot: &Snapshot, train: &Dataset) -> Result<Option<Linear>> {
        if !snapshot.taped(&train.slice(0, (train.len() as i64).min(2)).0)? {
            return Ok(None);
        }
        let (outputs, records) = snapshot.record(&train.slice(0, 1).0);
        let [record] = records.as_slice() else { return Ok(None) };
        let direct = same(&outputs, &record.output) && record.version == record.output.internal_version();
        if !(matches!(record.operation, Operation::Linear) && record.input.dim() == 2 && direct) {
            return Ok(None);
        }
        let entries = snapshot.layout().entries();
        let entry = |t: &Tensor| snapshot.parameters().iter().position(|p| same(p, t)).map(|at| &entries[at]);
        let bias = record.bias.as_ref().and_then(&entry).map(|e| e.offset);
        let Some(weight) = entry(&record.weight) else { return Ok(None) };
        if entries.len() != 1 + usize::from(bias.is_some()) {
            return Ok(None);
        }
        let size = record.weight.size();
        Ok(Some(Linear { weight: weight.offset, bias, inputs: size[1], outputs: size[0] }))
    }

    /// `[k, p] → [k, c, d]`: weights with the bias as last column.
    pub(super) fn matrices(&self, theta: &Tensor) -> Tensor {
        let k = theta.size()[0];
        let weights = theta.narrow(1, self.weight, self.outputs * self.inputs).reshape([k, self.outputs, self.inputs]);
        match self.bias {
            Some(bias) => Tensor::cat(&[weights, theta.narrow(1, bias, self.outputs).unsqueeze(2)], 2),
            None => weights,
        }
    }

    /// `[k, c, d] → [k, p]`.
    pub(super) fn flatten(&self, matrices: &Tensor, p: i64) -> Tensor {
        let k = matrices.size()[0];
        let theta = Tensor::zeros([k, p], F64);
        let weights = matrices.narrow(2, 0, self.inputs).reshape([k, -1]);
        theta.narrow(1, self.weight, self.outputs * self.inputs).copy_(&weights);
        if let Some(bias) = self.bias {
            theta.narrow(1, bias, self.outputs).copy_(&matrices.select(2, self.inputs));
        }
        theta
    }

    /// Outputs of every example at every parameter vector, example by example: `[n * k, c]`.
    pub(super) fn outputs(&self, a: &Tensor, theta: &Tensor) -> Tensor {
        let matrices = self.matrices(theta);
        let rows = matrices.size()[0] * self.outputs;
        a.matmul(&matrices.reshape([rows, -1]).transpose(0, 1)).view([-1, self.outputs])
    }
}

/// An error that names what these retrainings ask for.
pub(super) fn only_linear(what: &str) -> Error {
    Error::Unsupported(format!(
        "{what} is for a network of one linear layer (logistic, softmax or ridge regression) on flat inputs"
    ))
}
