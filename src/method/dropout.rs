//! Answers: what would an ensemble say, without training one?
//! Formula: the inner method's, over the checkpoints `(θ_c, M_cd)`, `d = 1..draws`, each with its own choice M of what dropout
//! drops.
//! Parts: any method; it averages over the members as over checkpoints. Each carries its share of the checkpoint's learning rate,
//! so that TracIn's sum over checkpoints is of means over draws. A member is one thinned network: the same mask for every
//! example, train and test, so that both gradients are of one function and batches do not matter. dattri draws a mask for every
//! gradient instead.
//! Cost: the inner method's, times draws; no training. Defaults: 10 draws of what the layers say.
//! Misleads: members differ less than trainings do; and they share a mask on both sides, so inner products of a layer that reads
//! dropped features grow by 1/(1 − p).
//! Reference: Deng et al. 2024, dropout ensembles (arXiv 2405.17293).

use super::wrapped::{Rescaling, Wrapped};
use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::plan::{Part, Probe};
use crate::sampler::{Sampler, Thinned};
use crate::task::Task;

/// An ensemble of thinned networks, for any method.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10]).with_dropout(0.1)).train(&Trainer::default(), &train)?;
/// let ensemble = Dropout { draws: 3, ..Dropout::new(GradDot::default()) };
/// let scores = ensemble.fit(&task, &train)?.score(&test)?;
/// assert_eq!((scores.method(), scores.tensor().size()), ("GradDot, dropout", vec![10, 100]));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Dropout {
    /// Whose scores.
    pub method: Box<dyn Method>,
    /// What share every dropout layer drops; what the layer says, if not given.
    pub p: Option<f64>,
    /// Members made of each checkpoint.
    pub draws: usize,
    /// Another seed, other members.
    pub seed: u64,
}

impl Dropout {
    /// Wraps a method, with 10 draws.
    pub fn new(method: impl Method + 'static) -> Dropout {
        Dropout { method: Box::new(method), p: None, draws: 10, seed: 0 }
    }

    fn check(&self) -> Result<()> {
        if self.draws == 0 || self.draws >= 1 << 24 {
            return Err(Error::option("Dropout.draws", "at least 1 and below 2^24", self.draws));
        }
        match self.p {
            Some(p) if !(0.0..1.0).contains(&p) => Err(Error::option("Dropout.p", "at least 0 and below 1", p)),
            _ => Ok(()),
        }
    }

    /// The task whose checkpoints are the members.
    fn members(&self, task: &Task, train: &Dataset) -> Result<Task> {
        let drawn = Thinned { p: self.p, draws: self.draws, seed: self.seed }.sample(task, train)?;
        let members = drawn.checkpoints().iter().cloned().map(|mut member| {
            member.learning_rate /= self.draws as f64;
            member
        });
        task.clone().with_checkpoints(members.collect())
    }
}

impl Method for Dropout {
    fn name(&self) -> String {
        format!("{}, dropout", self.method.name())
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.check()?;
        let inner = self.method.fit(&self.members(task, train)?, train)?;
        Ok(Box::new(Wrapped { name: self.name(), inner, rescaling: Rescaling::Nothing }))
    }

    fn has_own_scores(&self) -> bool {
        self.method.has_own_scores()
    }

    fn parts(&self, _: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor, nn};

    use crate::prelude::*;
    use crate::random::{Purpose, uniform};
    use crate::snapshot::Snapshot;

    fn task() -> (Task, Dataset) {
        let train = crate::dataset::digits().unwrap().head(40).unwrap();
        let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 12, 10]).with_dropout(0.4));
        (task.train(&Trainer { epochs: 2, ..default() }, &train).unwrap(), train)
    }

    /// Dropping hidden units is a network with other weights behind them.
    #[test]
    fn a_member_is_the_network_with_thinned_weights() {
        let (task, train) = task();
        let members = Dropout { draws: 3, seed: 5, ..Dropout::new(GradDot::default()) }.members(&task, &train).unwrap();
        for (d, member) in members.checkpoints().iter().enumerate() {
            let drawn = uniform(12, 5, Purpose::Dropout, (1 << 63) | (d as u64) << 16);
            let mask = Tensor::from_slice(&drawn).ge(0.4).to_kind(Kind::Float) / 0.6;
            let thin = |(name, tensor): &(String, Tensor)| match name.as_str() {
                "fc2.weight" => (name.clone(), tensor * &mask),
                _ => (name.clone(), tensor.shallow_clone()),
            };
            let tensors = member.tensors().iter().map(thin).collect();
            let plain = task.clone().with_checkpoints(vec![Checkpoint::new(0, 0, 0.1, tensors)]).unwrap();
            let (a, b) =
                (members.snapshot(d).unwrap().outputs(&train).unwrap(), plain.snapshot(0).unwrap().outputs(&train).unwrap());
            assert!((a - b).abs().max().double_value(&[]) < 1e-5, "draw {d}");
            assert!(mask.eq(0.0).any().int64_value(&[]) == 1, "something is dropped");
        }
    }

    #[test]
    fn the_tape_agrees_with_one_example_at_a_time() {
        let (task, train) = task();
        let members = Dropout { draws: 2, ..Dropout::new(GradDot::default()) }.members(&task, &train).unwrap();
        for checkpoint in members.checkpoints() {
            let snapshot = Snapshot::new(&members, checkpoint).unwrap();
            assert!(snapshot.taped(train.inputs()).unwrap());
            let taped = snapshot.gradients(Of::Objective, &train).unwrap().dense().unwrap();
            for i in 0..train.len() as i64 {
                let (x, y) = train.slice(i, i + 1);
                let value = snapshot.measured(Of::Objective, &snapshot.forward(&x), &y).unwrap().sum(None::<Kind>);
                let alone = snapshot.layout().flatten(&snapshot.parameter_gradients(&value, false).unwrap());
                assert!((taped.get(i) - alone).abs().max().double_value(&[]) < 1e-5, "example {i}");
            }
        }
    }
}
