//! Answers: what would one more optimiser step, on this example alone, change? (ATS: adding a training sample.)
//! Formula: `score(z', z) = m(z'; θ + Δ(z)) − m(z'; θ + Δ(∅))` with `Δ(z)` the optimiser's step on `−∇o(z; θ)`; mean over checkpoints.
//! Parts: a fresh optimiser, as the paper's code has it, takes `Δ(∅) = 0`; one that goes on from training (`Start::Trained`) moves without
//! any example too, by its momentum, and that step `Δ(∅)` is nobody's merit.
//! Cost: n gradients and (n + 1) forward passes over the test examples, for each checkpoint. Nothing is linearised.
//! Defaults: Adam at the checkpoint's last learning rate, fresh.
//! Misleads: Adam's first step is `rate · sign(∇)` in every coordinate, so the score hardly depends on how large the gradient is: an example
//! that is learnt moves the network as far as one that is not.
//! Reference: Nguyen, Seo & Oh 2023, section 2 (arXiv 2305.19765).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::plan::{Part, Probe};
use crate::progress::Progress;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;
use crate::train::{Optimizer, State};

/// Where the optimiser of [`Ats`] stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// It remembers nothing: its first step.
    #[default]
    Fresh,
    /// Where training left it; the checkpoints must have been kept with `Trainer.keep_optimizer`.
    Trained,
}

/// Adding a training sample: one optimiser step on each example.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
/// let trainer = Trainer { keep_optimizer: true, ..default() };
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &train)?;
/// // Steps of plain descent are so small that the score is the rate times the inner product of gradients.
/// let plain = Ats { optimizer: Optimizer::sgd(0.0, 0.0), learning_rate: Some(1e-2), ..default() };
/// let (step, dot) = (plain.fit(&task, &train)?.score(&test)?, GradDot::default().fit(&task, &train)?.score(&test)?);
/// let apart = (step.tensor() / 1e-2 - dot.tensor()).abs().max() / dot.tensor().abs().max();
/// assert!(apart.double_value(&[]) < 0.1);
/// // Adam, going on from where training left it.
/// let adam = Ats { start: Start::Trained, ..default() };
/// assert_eq!(adam.fit(&task, &train)?.score(&test)?.tensor().size(), [5, 60]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ats {
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// Learning rate of the step; that of the last step of training, if not given.
    pub learning_rate: Option<f64>,
    /// Where the optimiser stands.
    pub start: Start,
}

impl Default for Ats {
    fn default() -> Ats {
        Ats { optimizer: Optimizer::adam(0.0), learning_rate: None, start: Start::Fresh }
    }
}

impl Method for Ats {
    fn name(&self) -> String {
        match self.start {
            Start::Fresh => "ATS".into(),
            Start::Trained => "ATS, trained optimiser".into(),
        }
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.optimizer.check()?;
        if let Some(rate) = self.learning_rate.filter(|rate| !(*rate > 0.0 && rate.is_finite())) {
            return Err(Error::option("Ats.learning_rate", "a positive number", rate));
        }
        let task = task.clone().without_stores();
        task.snapshot(0)?.check(train, task.objective.as_ref())?;
        for checkpoint in task.checkpoints() {
            let name = checkpoint.name();
            let known = checkpoint.learning_rate > 0.0 && checkpoint.learning_rate.is_finite();
            if self.learning_rate.is_none() && !known {
                return Err(Error::checkpoint(name, "it does not say its learning rate; set Ats.learning_rate"));
            }
            let network = Snapshot::new(&task, checkpoint)?;
            match (self.start, &checkpoint.memory) {
                (Start::Fresh, _) => {}
                (Start::Trained, None) => {
                    return Err(Error::checkpoint(name, "what the optimiser remembers was not kept; set Trainer.keep_optimizer"));
                }
                (Start::Trained, Some(memory)) => {
                    if State::resumed(&self.optimizer, network.layout().entries(), network.parameters(), memory).is_none() {
                        return Err(Error::checkpoint(name, "it was trained by another optimiser than Ats.optimizer"));
                    }
                }
            }
        }
        Ok(Box::new(Fitted { options: self.clone(), task, train: train.clone() }))
    }

    fn has_own_scores(&self) -> bool {
        false
    }

    fn parts(&self, _: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(None)
    }
}

struct Fitted {
    options: Ats,
    task: Task,
    train: Dataset,
}

impl Fitted {
    /// For every checkpoint and train example: the number of `of` for `test` after its step less that after the step on nothing.
    /// Calls `each(position, difference)`; `own` measures each train example alone.
    fn steps(&self, of: Of, test: Option<&Dataset>, mut each: impl FnMut(usize, Tensor)) -> Result<()> {
        let n = self.train.len();
        let mut progress = Progress::new("ATS", (n * self.task.checkpoints().len()) as u64);
        for checkpoint in self.task.checkpoints() {
            let network = Snapshot::new(&self.task, checkpoint)?;
            let before: Vec<Tensor> = network.parameters().iter().map(|p| p.detach().copy()).collect();
            let rate = self.options.learning_rate.unwrap_or(checkpoint.learning_rate);
            let (entries, parameters) = (network.layout().entries(), network.parameters());
            let resumed = |memory| State::resumed(&self.options.optimizer, entries, parameters, memory);
            let step = |gradients: &[Tensor]| {
                let mut state = match (self.options.start, &checkpoint.memory) {
                    (Start::Trained, Some(memory)) => resumed(memory),
                    _ => None,
                };
                let fresh = || State::new(&self.options.optimizer, parameters);
                state.get_or_insert_with(fresh).step(parameters, gradients, rate);
            };
            let back = || {
                no_grad(|| network.parameters().iter().zip(&before).for_each(|(p, old)| p.shallow_clone().copy_(old)));
            };
            if self.options.start == Start::Trained {
                step(&before.iter().map(Tensor::zeros_like).collect::<Vec<_>>());
            }
            let reference = network.measure(of, test.unwrap_or(&self.train))?.to_kind(Kind::Double);
            back();
            for position in 0..n {
                let (x, y) = self.train.slice(position as i64, position as i64 + 1);
                let loss = -network.measured(Of::Objective, &network.forward(&x), &y)?.sum(None::<Kind>);
                step(&network.parameter_gradients(&loss, false)?);
                let (after, reference) = match test {
                    Some(test) => (network.measure(of, test)?, reference.shallow_clone()),
                    None => (network.measure(of, &self.train.select(&[position])?)?, reference.narrow(0, position as i64, 1)),
                };
                each(position, after.to_kind(Kind::Double) - reference);
                back();
                progress.add(1);
            }
        }
        progress.finish();
        Ok(())
    }
}

impl Attributor for Fitted {
    fn name(&self) -> String {
        self.options.name()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        self.task.snapshot(0)?.check(test, self.task.measurement.as_ref())?;
        let share = 1.0 / self.task.checkpoints().len() as f64;
        guarded(|| {
            let total = Tensor::zeros([self.train.len() as i64, test.len() as i64], (Kind::Double, test.inputs().device()));
            self.steps(Of::Measurement, Some(test), |position, difference| {
                let _ = total.get(position as i64).g_add_(&(difference * share));
            })?;
            Ok(total.tr().to_kind(Kind::Float).contiguous())
        })
    }

    fn self_scores(&self) -> Result<Tensor> {
        let share = 1.0 / self.task.checkpoints().len() as f64;
        guarded(|| {
            let total = Tensor::zeros([self.train.len() as i64], (Kind::Double, self.train.inputs().device()));
            self.steps(Of::Objective, None, |position, difference| {
                let _ = total.narrow(0, position as i64, 1).g_add_(&(difference * share));
            })?;
            Ok(total.to_kind(Kind::Float))
        })
    }
}
