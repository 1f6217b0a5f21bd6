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
    seeds: Arc<[u64]>,
}

impl Learner {
    /// One network with fresh weights.
    pub(crate) fn alone(task: &Task, seed: u64) -> Result<Learner> {
        let network = Snapshot::fresh(task, seed)?;
        let parameters = network.parameters().iter().map(Tensor::shallow_clone).collect();
        Ok(Learner { network, stack: None, parameters, seeds: Arc::new([seed]) })
    }

    /// As many networks as seeds, each with the weights that it would have alone; only where [`stacks`] says so.
    pub(crate) fn stacked(task: &Task, seeds: &[u64]) -> Result<Learner> {
        let network = Snapshot::fresh(task, 0)?;
        let fresh = seeds.iter().map(|&seed| Snapshot::fresh(task, seed)).collect::<Result<Vec<_>>>()?;
        guarded(|| {
            let stacked = |at: usize| {
                let own: Vec<Tensor> = fresh.iter().map(|network| network.parameters()[at].detach()).collect();
                Tensor::stack(&own, 0).set_requires_grad(true)
            };
            let parameters: Vec<Tensor> = (0..network.parameters().len()).map(stacked).collect();
            let pairs = network.parameters().iter().zip(&parameters);
            let pairs = pairs.map(|(own, all)| (own.shallow_clone(), all.shallow_clone())).collect();
            let stack = Stack { networks: seeds.len() as i64, parameters: pairs };
            Ok(Learner { network, stack: Some(Rc::new(stack)), parameters, seeds: seeds.into() })
        })
    }

    /// An error unless data, network and objective fit together.
    pub(crate) fn check(&self, train: &Dataset) -> Result<()> {
        self.network.check(train, self.network.objective.as_ref())
    }

    pub(crate) fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    pub(crate) fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// The network whose forward pass is run; of a stack, its weights are nobody's.
    pub(crate) fn network(&self) -> &Snapshot {
        &self.network
    }

    pub(crate) fn outputs(&self, inputs: &Tensor, step: usize) -> Tensor {
        let mut tape = Tape::training(self.seeds.clone(), step as u64, self.stack.clone());
        self.network.network().forward(inputs, &mut tape)
    }

    /// Minus the mean objective of each network on its part of the batch, `[networks]`; examples may be weighed.
    pub(crate) fn losses(&self, outputs: &Tensor, targets: &Tensor, weights: Option<&Tensor>) -> Tensor {
        let objective = self.network.objective.measure(outputs, targets);
        let objective = weights.map_or_else(|| objective.shallow_clone(), |weights| &objective * weights);
        -objective.view([self.seeds.len() as i64, -1]).mean_dim([1i64].as_slice(), false, None::<Kind>)
    }

    /// Gradients in the parameters. Errors: [`Error::Layer`] naming a parameter that the loss does not depend on.
    pub(crate) fn gradients(&self, loss: &Tensor) -> Result<Vec<Tensor>> {
        let gradients = backward(loss, &self.parameters, false, false)?;
        match gradients.iter().position(|gradient| !gradient.defined()) {
            Some(at) => Err(unreached(&self.network.layout().entries()[at].name)),
            None => Ok(gradients),
        }
    }

    /// Of one network: its part of a tensor that is shaped as all parameters of a kind.
    pub(crate) fn of_network(&self, network: usize) -> impl Fn(&Tensor) -> Tensor {
        let stacked = self.stack.is_some();
        move |all| if stacked { all.get(network as i64) } else { all.shallow_clone() }
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
