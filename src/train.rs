//! Training: seeded, keeps the checkpoints asked for.

mod learner;
mod memory;
mod optimizer;
mod order;
mod schedule;

pub use optimizer::Optimizer;
pub use order::Order;
pub use schedule::Schedule;

pub(crate) use learner::{Learner, stacks};
pub(crate) use optimizer::{Memory, State};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::snapshot::Snapshot;
use crate::task::Task;

/// Which checkpoints of a run to keep; the last is always kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Keep {
    /// Only the last.
    Last,
    /// After each of the last `n` epochs.
    LastEpochs(usize),
    /// After every `n`-th epoch.
    Every(usize),
    /// After these epochs, counted from 1.
    Epochs(Vec<usize>),
}

/// How a network is trained: maximises the mean objective over shuffled batches.
///
/// The seed sets initial weights, batch order and dropout, each from its own stream; the same options give the same weights, and
/// further runs of a task draw their own. Initial weights come from libtorch's process-wide generator, which is seeded for it.
/// Defaults: 20 epochs of Adam at 1e-3, batches of 64, constant rate. The last batch of an epoch may be smaller.
///
/// ```
/// use ascribe::prelude::*;
/// let trainer = Trainer { optimizer: Optimizer::sgd(0.9, 5e-4), learning_rate: 0.1, keep: Keep::LastEpochs(2), epochs: 3, ..default() };
/// let train = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &train)?;
/// assert_eq!(task.checkpoints().iter().map(|c| c.step).collect::<Vec<_>>(), vec![4, 6]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trainer {
    /// Passes over the data.
    pub epochs: usize,
    /// Examples in a step.
    pub batch_size: usize,
    /// Peak learning rate; the schedule multiplies it.
    pub learning_rate: f64,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Which checkpoints to keep.
    pub keep: Keep,
    /// Whether checkpoints remember what the optimiser does, for [`Ats`](crate::method::Ats); they are three times as large with Adam.
    pub keep_optimizer: bool,
    /// In which order an epoch sees the examples.
    #[serde(skip_serializing_if = "Order::is_default")] // notes of before have none
    pub order: Order,
    /// Initial weights, batch order and dropout.
    pub seed: u64,
    /// Seeds of the first runs of a task, where they are not to follow from `seed`: to repeat a published ensemble.
    pub seeds: Vec<u64>,
    /// Batch order, if it is not to follow from the seed of the run; then all runs share it.
    pub order_seed: Option<u64>,
}

/// A step about to be taken, for whoever watches training.
pub(crate) struct Step<'a> {
    /// Counted from 1.
    pub epoch: usize,
    /// Positions of its examples in the data, of one network after the other, `[networks · b]`.
    pub batch: &'a Tensor,
    pub rate: f64,
    /// The network with the weights before the step.
    pub snapshot: &'a Snapshot,
    /// What it gave for the batch, dropout and all.
    pub outputs: &'a Tensor,
}

/// Sees steps; gives weights `[networks · b]` for the examples of one, or leaves them alone.
pub(crate) type Watch<'a> = dyn FnMut(&Step) -> Result<Option<Tensor>> + 'a;

impl Default for Trainer {
    fn default() -> Trainer {
        Trainer {
            epochs: 20,
            batch_size: 64,
            learning_rate: 1e-3,
            optimizer: Optimizer::adam(0.0),
            schedule: Schedule::Constant,
            keep: Keep::Last,
            keep_optimizer: false,
            order: Order::Shuffled,
            seed: 0,
            seeds: Vec::new(),
            order_seed: None,
        }
    }
}

impl Trainer {
    pub(crate) fn check(&self) -> Result<()> {
        if self.epochs == 0 {
            return Err(Error::option("Trainer.epochs", "at least 1", self.epochs));
        }
        if self.batch_size == 0 {
            return Err(Error::option("Trainer.batch_size", "at least 1", self.batch_size));
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(Error::option("Trainer.learning_rate", "a positive number", self.learning_rate));
        }
        if let Keep::Every(0) = self.keep {
            return Err(Error::option("Trainer.keep", "every n-th epoch with n at least 1", 0));
        }
        if let Keep::Epochs(epochs) = &self.keep
            && let Some(outside) = epochs.iter().find(|&&e| e == 0 || e > self.epochs)
        {
            return Err(Error::option("Trainer.keep", format!("epochs 1 to {}", self.epochs), outside));
        }
        self.schedule.check()?;
        self.optimizer.check()
    }

    fn keeps(&self, epoch: usize) -> bool {
        let chosen = match &self.keep {
            Keep::Last => false,
            Keep::LastEpochs(n) => epoch + n > self.epochs,
            Keep::Every(n) => epoch.is_multiple_of(*n),
            Keep::Epochs(epochs) => epochs.contains(&epoch),
        };
        chosen || epoch == self.epochs
    }

    /// Trains from fresh weights and returns the checkpoints to keep. `watch` sees every step before it is taken, and may weigh its
    /// examples in the loss, which stays divided by their number.
    pub(crate) fn run(&self, task: &Task, train: &Dataset, run: usize, watch: &mut Watch) -> Result<Vec<Checkpoint>> {
        self.check()?;
        let learner = Learner::alone(task, self.seed_of(run))?;
        learner.check(train)?;
        let mut progress = Progress::new("training", self.steps(train.len()) as u64);
        let everything = [(0..train.len() as i64).collect::<Vec<_>>()];
        let mut watch = |step: &Step| {
            progress.add(1);
            watch(step)
        };
        let kept = self.fit(&learner, train, &everything, &mut watch)?.remove(0);
        progress.finish();
        Ok(kept.into_iter().map(|checkpoint| checkpoint.of_run(run)).collect())
    }

    /// Each run of a task draws its own weights and order; the first one draws what `seed` alone says.
    pub(crate) fn seed_of(&self, run: usize) -> u64 {
        self.seeds.get(run).copied().unwrap_or(self.seed ^ (run as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Optimiser steps on so many examples.
    pub(crate) fn steps(&self, n: usize) -> usize {
        self.epochs * n.div_ceil(self.batch_size)
    }

    /// Trains each network of the learner on its positions of `train`, of which all have equally many; returns what each keeps.
    pub(crate) fn fit(
        &self,
        learner: &Learner,
        train: &Dataset,
        positions: &[Vec<i64>],
        watch: &mut Watch,
    ) -> Result<Vec<Vec<Checkpoint>>> {
        memory::keep();
        let n = positions.first().map_or(0, Vec::len);
        let total = self.steps(n);
        let networks = learner.seeds().len() as i64;
        let mut state = optimizer::State::new(&self.optimizer, learner.moved());
        let mut kept: Vec<Vec<Checkpoint>> = positions.iter().map(|_| Vec::new()).collect();
        let ids = train.examples();
        let mut step = 0;
        for epoch in 1..=self.epochs {
            let own = learner.seeds().iter().zip(positions);
            let order: Vec<i64> = own
                .flat_map(|(&seed, positions)| self.order.of(positions, &ids, self.order_seed.unwrap_or(seed), epoch))
                .collect();
            let order = Tensor::from_slice(&order).view([networks, n as i64]);
            let mut rate = 0.0;
            let mut losses = Vec::new();
            for batch in order.split(self.batch_size as i64, 1) {
                rate = self.learning_rate * self.schedule.factor(step, total);
                let batch = batch.reshape([-1]);
                let (inputs, targets) = (train.inputs().index_select(0, &batch), train.targets().index_select(0, &batch));
                let outputs = learner.outputs(&inputs, step);
                let weights = watch(&Step { epoch, batch: &batch, rate, snapshot: learner.network(), outputs: &outputs })?;
                let loss = learner.loss(&outputs, &targets, weights.as_ref());
                let gradients = learner.gradients(&loss)?;
                state.step(learner.moved(), &gradients, rate);
                losses.push(loss.detach());
                step += 1;
            }
            let sum = Tensor::stack(&losses, 0).sum(Kind::Double).double_value(&[]);
            if !sum.is_finite() {
                let hint = format!("the loss became {sum} in epoch {epoch}; lower the learning rate ({})", self.learning_rate);
                return Err(Error::numerical("training", hint));
            }
            if self.keeps(epoch) {
                for (network, kept) in kept.iter_mut().enumerate() {
                    let checkpoint = Checkpoint::new(0, step, rate, learner.named_tensors(network));
                    let memory = self.keep_optimizer.then(|| state.memory(|moved| learner.named(moved, network)));
                    kept.push(checkpoint.with_memory(memory));
                }
            }
        }
        Ok(kept)
    }
}
