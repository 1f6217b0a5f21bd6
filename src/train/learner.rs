use std::rc::Rc;
use std::sync::Arc;

use tch::{Kind, Tensor, no_grad};

use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::backward;
use crate::model::{Stack, Tape};
use crate::snapshot::{Snapshot, unreached};
use crate::task::Task;

/// What a [`Trainer`](super::Trainer) trains: one network, or several of one architecture side by side, whose parameters are stacked
/// so that each operation serves them all. The operations of a small network cost more time to call than to compute.
pub(crate) struct Learner {
    /// The network whose forward pass is run.
    network: Snapshot,
    stack: Option<Rc<Stack>>,
    parameters: Vec<Tensor>,
    /// All parameters in one row, where they are of one kind; they are views into it, so that a step is a few operations.
    row: Option<Tensor>,
    seeds: Arc<[u64]>,
}

impl Learner {
    /// One network with fresh weights.
    pub(crate) fn alone(task: &Task, seed: u64) -> Result<Learner> {
        let network = Snapshot::fresh(task, seed)?;
        let mut parameters: Vec<Tensor> = network.parameters().iter().map(Tensor::shallow_clone).collect();
        guarded(|| {
            let row = row(&parameters);
            if let Some((_, views)) = &row {
                parameters.iter_mut().zip(views).for_each(|(parameter, view)| parameter.set_data(view));
            }
            Ok(Learner { network, stack: None, parameters, row: row.map(|(row, _)| row), seeds: Arc::new([seed]) })
        })
    }

    /// As many networks as seeds, each with the weights that it would have alone; only where [`stacks`] says so.
    pub(crate) fn stacked(task: &Task, seeds: &[u64]) -> Result<Learner> {
        let network = Snapshot::fresh(task, 0)?;
        let fresh = seeds.iter().map(|&seed| Snapshot::fresh(task, seed)).collect::<Result<Vec<_>>>()?;
        guarded(|| {
            let stacked = |at: usize| {
                let own: Vec<Tensor> = fresh.iter().map(|network| network.parameters()[at].detach()).collect();
                Tensor::stack(&own, 0)
            };
            let parameters: Vec<Tensor> = (0..network.parameters().len()).map(stacked).collect();
            let (row, parameters) = row(&parameters).map_or((None, parameters), |(row, views)| (Some(row), views));
            let parameters: Vec<Tensor> = parameters.into_iter().map(|all| all.set_requires_grad(true)).collect();
            let pairs = network.parameters().iter().zip(&parameters);
            let pairs = pairs.map(|(own, all)| (own.shallow_clone(), all.shallow_clone())).collect();
            let stack = Stack { networks: seeds.len() as i64, parameters: pairs };
            Ok(Learner { network, stack: Some(Rc::new(stack)), parameters, row, seeds: seeds.into() })
        })
    }

    /// An error unless data, network and objective fit together.
    pub(crate) fn check(&self, train: &Dataset) -> Result<()> {
        self.network.check(train, self.network.objective.as_ref())
    }

    pub(crate) fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// What an optimiser moves: all parameters in one row if that is possible.
    pub(super) fn moved(&self) -> &[Tensor] {
        self.row.as_ref().map_or(&self.parameters, std::slice::from_ref)
    }

    /// The network whose forward pass is run; of a stack, its weights are nobody's.
    pub(crate) fn network(&self) -> &Snapshot {
        &self.network
    }

    pub(crate) fn outputs(&self, inputs: &Tensor, step: usize) -> Tensor {
        let mut tape = Tape::training(self.seeds.clone(), step as u64, self.stack.clone());
        self.network.network().forward(inputs, &mut tape)
    }

    /// Minus the mean objective of each network on its part of the batch, summed over networks; examples may be weighed.
    pub(crate) fn loss(&self, outputs: &Tensor, targets: &Tensor, weights: Option<&Tensor>) -> Tensor {
        let objective = self.network.objective.measure(outputs, targets);
        let objective = weights.map_or_else(|| objective.shallow_clone(), |weights| &objective * weights);
        let each = objective.numel() / self.seeds.len().max(1);
        objective.sum(None::<Kind>) * (-1.0 / each as f64)
    }

    /// Gradients in what an optimiser moves. Errors: [`Error::Layer`] naming a parameter that the loss does not depend on.
    pub(crate) fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>> {
        let gradients = backward(loss, &self.parameters, false, false)?;
        match gradients.iter().position(|gradient| !gradient.defined()) {
            Some(at) => Err(unreached(&self.network.layout().entries()[at].name)),
            None if self.row.is_none() => Ok(gradients),
            None => Ok(vec![Tensor::cat(&gradients.iter().map(|gradient| gradient.reshape([-1])).collect::<Vec<_>>(), 0)]),
        }
    }

    /// What is shaped as what an optimiser moves, of one network and by the names of its parameters; nothing of nothing.
    pub(super) fn named(&self, moved: &[Tensor], network: usize) -> Vec<(String, Tensor)> {
        let mut start = 0;
        let all =
            self.parameters.iter().enumerate().take(if moved.is_empty() { 0 } else { usize::MAX }).map(|(at, parameter)| {
                let all = match &self.row {
                    Some(_) => moved[0].narrow(0, start, parameter.numel() as i64).view(parameter.size().as_slice()),
                    None => moved[at].shallow_clone(),
                };
                start += parameter.numel() as i64;
                if self.stack.is_some() { all.get(network as i64) } else { all }
            });
        self.network.layout().entries().iter().map(|entry| entry.name.clone()).zip(all).collect()
    }

    /// Parameters and buffers of one network, by name.
    pub(crate) fn named_tensors(&self, network: usize) -> Vec<(String, Tensor)> {
        if self.stack.is_none() {
            return self.network.named_tensors();
        }
        let entries = self.network.layout().entries().iter().zip(&self.parameters);
        entries.map(|(entry, all)| (entry.name.clone(), all.get(network as i64))).collect()
    }
}

/// These tensors behind each other in new memory, and views of it in their place; `None` if they are of several kinds.
fn row(tensors: &[Tensor]) -> Option<(Tensor, Vec<Tensor>)> {
    let alike = |t: &Tensor| t.kind() == tensors[0].kind() && t.device() == tensors[0].device();
    if !tensors.iter().all(alike) {
        return None;
    }
    let row = Tensor::cat(&tensors.iter().map(|t| t.detach().reshape([-1])).collect::<Vec<_>>(), 0);
    let mut start = 0;
    let views = tensors.iter().map(|t| {
        let view = row.narrow(0, start, t.numel() as i64).view(t.size().as_slice());
        start += t.numel() as i64;
        view
    });
    let views = views.collect();
    Some((row, views))
}

/// Whether networks of this architecture can be trained as a stack: tried with two of them, whose outputs must be those that each
/// gives alone. They are not where a parameter is used outside the tape, or by a layer other than a linear one or a
/// convolution.
pub(crate) fn stacks(task: &Task, train: &Dataset) -> Result<bool> {
    const SEEDS: [u64; 2] = [1, 2];
    let stack = Learner::stacked(task, &SEEDS)?;
    if stack.network.named_tensors().len() > stack.parameters.len() {
        return Ok(false); // buffers, such as running means
    }
    let n = train.len().min(3) as i64;
    let tried = guarded(|| {
        // Moved, since fresh weights may be equal constants.
        no_grad(|| stack.parameters.iter().for_each(|all| drop(all.shallow_clone().g_add_(&((all * 0.01).sin() + 0.02)))));
        let inputs = train.inputs().narrow(0, 0, n);
        let together = no_grad(|| stack.outputs(&Tensor::cat(&[&inputs, &inputs], 0), 0));
        for (network, seed) in SEEDS.into_iter().enumerate() {
            let checkpoint = Checkpoint::new(0, 0, 0.0, stack.named_tensors(network));
            let snapshot = Snapshot::new(task, &checkpoint)?;
            let alone = no_grad(|| snapshot.network().forward(&inputs, &mut Tape::training([seed].into(), 0, None)));
            let own = together.narrow(0, network as i64 * n, n);
            let room = 1e-4 * (1e-3 + alone.abs().max().double_value(&[]));
            if own.size() != alone.size() || (own - alone).abs().max().double_value(&[]) > room {
                return Ok(false);
            }
        }
        Ok(true)
    });
    match tried {
        Err(Error::Torch(_) | Error::Unsupported(_) | Error::Layer { .. }) => Ok(false),
        other => other,
    }
}
