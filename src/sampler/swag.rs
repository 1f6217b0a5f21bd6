//! A Gaussian through the checkpoints of a run.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::Sampler;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::random::{Purpose, normal};
use crate::task::Task;

/// SWAG: weights from a Gaussian with the mean and the covariance of a run's checkpoints.
///
/// Answers: what would other points of the valley say that the end of training moved in?
/// Formula: `θ = θ̄ + √scale · (½ D + 1/(2(K−1)) A Aᵀ)^½ z`, per run: `θ̄` `[p]` the mean of its K checkpoints, D their diagonal variance,
/// A `[p, K]` the last `rank` deviations from the mean; drawn as `√(D/2) z₁ + A z₂ / √(2 (K − 1))`.
/// Cost: no training beyond the checkpoints; memory of `rank + 2` of them. Defaults: rank 20, scale 1, 10 draws of each run.
/// Misleads: with few checkpoints the covariance has their rank, and the diagonal is all noise; a learning rate that fell to zero leaves no
/// spread. Running averages of batch norm are those of the last checkpoint.
/// Reference: Maddox et al. 2019, algorithm 1 (arXiv 1902.02476); there the deviations are from the running mean.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::sampler::{Sampler, Swag};
/// let train = dataset::digits()?.head(200)?;
/// let trainer = Trainer { epochs: 8, keep: Keep::LastEpochs(5), learning_rate: 0.05, optimizer: Optimizer::sgd(0.9, 0.0), ..default() };
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &train)?;
/// let drawn = Swag { draws: 4, ..default() }.sample(&task, &train)?;
/// assert_eq!((drawn.checkpoints().len(), drawn.runs()), (4, vec![0]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swag {
    /// Deviations in the low-rank part, at most; 0 for the diagonal alone, which then is not halved.
    pub rank: usize,
    /// Of the covariance.
    pub scale: f64,
    /// Networks from each run.
    pub draws: usize,
    /// Another seed, other networks.
    pub seed: u64,
}

impl Default for Swag {
    fn default() -> Swag {
        Swag { rank: 20, scale: 1.0, draws: 10, seed: 0 }
    }
}

impl Sampler for Swag {
    fn name(&self) -> String {
        "SWAG".into()
    }

    fn sample(&self, task: &Task, _: &Dataset) -> Result<Task> {
        if self.draws == 0 {
            return Err(Error::option("Swag.draws", "at least 1", 0));
        }
        if !(self.scale >= 0.0 && self.scale.is_finite()) {
            return Err(Error::option("Swag.scale", "at least 0", self.scale));
        }
        let trained: Vec<String> = task.snapshot(0)?.layout().entries().iter().map(|entry| entry.name.clone()).collect();
        let mut drawn = Vec::new();
        for run in task.runs() {
            let own: Vec<&Checkpoint> = task.checkpoints().iter().filter(|checkpoint| checkpoint.run == run).collect();
            let Some((last, [_, ..])) = own.split_last() else {
                let reason = "SWAG needs at least two checkpoints of each run; keep more, as by Keep::LastEpochs(5)";
                return Err(Error::checkpoint(format!("run {run}"), reason));
            };
            for draw in 0..self.draws {
                // Tensor by tensor, so that no more than one is held for all checkpoints at once.
                let tensors = last.tensors().iter().map(|(name, latest)| {
                    let value = match trained.iter().position(|own| own == name) {
                        Some(place) => self.drawn(&own, name, (run, draw, place))?.to_kind(latest.kind()),
                        None => latest.shallow_clone(),
                    };
                    Ok((name.clone(), value))
                });
                let tensors = tensors.collect::<Result<Vec<_>>>()?;
                drawn.push(Checkpoint::new(run, last.step + draw + 1, last.learning_rate, tensors));
            }
        }
        task.clone().without_stores().with_checkpoints(drawn)
    }
}

impl Swag {
    /// One tensor of one draw.
    fn drawn(&self, own: &[&Checkpoint], name: &str, (run, draw, place): (usize, usize, usize)) -> Result<Tensor> {
        let kept = own.iter().map(|checkpoint| {
            let missing = || Error::checkpoint(checkpoint.name(), format!("it has no {name}, as the last of its run has"));
            Ok(checkpoint.tensor(name).ok_or_else(missing)?.to_kind(Kind::Double))
        });
        let kept = kept.collect::<Result<Vec<_>>>()?;
        guarded(|| {
            let all = Tensor::stack(&kept, 0);
            let (k, size) = (all.size()[0], kept[0].size());
            let mean = all.mean_dim([0i64].as_slice(), false, None::<Kind>);
            let apart = &all - &mean; // [k, ...]
            let index = |part: u64| (run as u64) << 44 | (draw as u64) << 24 | (place as u64) << 2 | part;
            let noise = |count: i64, part| Tensor::from_slice(&normal(count as usize, self.seed, Purpose::Swag, index(part)));
            let variance = apart.square().mean_dim([0i64].as_slice(), false, None::<Kind>);
            let diagonal = variance.sqrt() * noise(variance.numel() as i64, 0).view(size.as_slice());
            let rank = (self.rank as i64).min(k);
            if rank == 0 {
                return Ok(mean + diagonal * self.scale.sqrt());
            }
            // The same weights of the deviations for every tensor of a draw: the covariance goes across tensors.
            let weights = normal(rank as usize, self.seed, Purpose::Swag, (run as u64) << 44 | (draw as u64) << 24 | 3);
            let last = apart.narrow(0, k - rank, rank).reshape([rank, -1]);
            let along = Tensor::from_slice(&weights).unsqueeze(0).matmul(&last).view(size.as_slice());
            // With one deviation alone its own square stands for the covariance.
            let along = along / (2.0 * (rank.max(2) - 1) as f64).sqrt();
            Ok(mean + (diagonal * 0.5f64.sqrt() + along) * self.scale.sqrt())
        })
    }
}
