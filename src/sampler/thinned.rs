//! Networks with dropout left on.

use serde::{Deserialize, Serialize};

use super::Sampler;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::model::Thinning;
use crate::task::Task;

/// Monte Carlo dropout: each checkpoint with several choices of what its dropout drops.
///
/// Answers: what would thinned copies of the network say? Each draw is one network with one mask for all examples, train and test.
/// Formula: `(θ_c, M_cd)`, `d = 1..draws`. Cost: none. Defaults: 10 draws of what the layers say.
/// Misleads: draws of one checkpoint differ less than trainings do, and share all of its weights.
/// Reference: Gal & Ghahramani 2016 (arXiv 1506.02142); for attribution Deng et al. 2024 (arXiv 2405.17293).
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::sampler::{Sampler, Thinned};
/// let train = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10]).with_dropout(0.2)).train(&Trainer { epochs: 2, ..default() }, &train)?;
/// let drawn = Thinned { draws: 3, ..default() }.sample(&task, &train)?;
/// assert_eq!(drawn.checkpoints()[2].name(), "run 0, step 4, draw 2 of dropout");
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thinned {
    /// What share every dropout layer drops; what the layer says, if not given.
    pub p: Option<f64>,
    /// Networks made of each checkpoint.
    pub draws: usize,
    /// Another seed, other networks.
    pub seed: u64,
}

impl Default for Thinned {
    fn default() -> Thinned {
        Thinned { p: None, draws: 10, seed: 0 }
    }
}

impl Sampler for Thinned {
    fn name(&self) -> String {
        "dropout".into()
    }

    fn sample(&self, task: &Task, train: &Dataset) -> Result<Task> {
        if self.draws == 0 || self.draws >= 1 << 24 {
            return Err(Error::option("draws", "at least 1 and below 2^24", self.draws));
        }
        if let Some(p) = self.p.filter(|p| !(0.0..1.0).contains(p)) {
            return Err(Error::option("p", "at least 0 and below 1", p));
        }
        let first = task.snapshot(0)?;
        let shares = guarded(|| Ok(first.dropouts(&train.slice(0, 1).0)))?;
        if shares.is_empty() {
            return Err(Error::Unsupported(
                "the model has no dropout: it never calls tape.dropout, so its members are equal".into(),
            ));
        }
        if self.p.is_none() && shares.iter().all(|&p| p <= 0.0) {
            return Err(Error::Unsupported("all dropout of the model has p = 0, so its members are equal; set p".into()));
        }
        let mut members = Vec::with_capacity(task.checkpoints().len() * self.draws);
        for (position, checkpoint) in task.checkpoints().iter().enumerate() {
            for draw in 0..self.draws {
                let mut member = checkpoint.clone();
                member.thinning = Some(Thinning { seed: self.seed, checkpoint: position, draw, p: self.p });
                members.push(member);
            }
        }
        task.clone().with_checkpoints(members)
    }
}
