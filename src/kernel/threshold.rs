//! Answers: what is left of the scores when the small ones count as noise?
//! Formula: `S_δ(τ) = sign(τ) max(|τ| − δ, 0)` with one δ for each test example.
//! Cost: nothing beside the scores. Defaults: off. Misleads: a δ that is chosen on the examples it is reported on.
//! Reference: Park et al. 2023, section 3.2, step 5 (arXiv 2303.14186).

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::{Error, Result};

/// How far each score is moved towards zero.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 4, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let sparse = Trak { threshold: Threshold::Quantile(0.75), ..default() }.fit(&task, &train)?.score(&test)?;
/// let left = sparse.tensor().not_equal(0.0).to_kind(ascribe::tch::Kind::Float).mean(None);
/// assert_eq!(left.double_value(&[]), 0.25); // of every test example's scores
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Threshold {
    /// δ = 0.
    #[default]
    None,
    /// δ itself, the same for all test examples.
    Absolute(f64),
    /// δ is this quantile of a test example's |τ|, so that the same share of its scores becomes zero whatever their scale.
    Quantile(f64),
}

impl Threshold {
    pub(super) fn check(self, option: &str) -> Result<()> {
        match self {
            Threshold::Absolute(delta) if !(delta >= 0.0 && delta.is_finite()) => {
                Err(Error::option(option, "a number of at least 0", delta))
            }
            Threshold::Quantile(share) if !(0.0..1.0).contains(&share) => {
                Err(Error::option(option, "a quantile of at least 0 and below 1", share))
            }
            _ => Ok(()),
        }
    }

    /// `[m, n]`, row by row.
    pub(super) fn apply(self, scores: Tensor) -> Tensor {
        let delta = match self {
            Threshold::None => return scores,
            Threshold::Absolute(delta) => Tensor::from(delta).to_kind(scores.kind()),
            Threshold::Quantile(share) => {
                let n = scores.size()[1];
                match (share * n as f64).round() as i64 {
                    0 => return scores,
                    rank => scores.abs().kthvalue(rank.min(n), 1, true).0, // [m, 1]
                }
            }
        };
        let size = (scores.abs() - delta).clamp_min(0.0);
        scores.sign() * size
    }
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::Threshold;

    #[test]
    fn a_quantile_is_each_row_s_own() {
        let scores = Tensor::from_slice(&[1.0f32, -2.0, 3.0, -4.0, 10.0, 40.0, -30.0, 20.0]).view([2, 4]);
        let of = |threshold: Threshold| Vec::<f32>::try_from(threshold.apply(scores.copy()).view([-1])).unwrap();
        assert_eq!(of(Threshold::Quantile(0.5)), [0.0, 0.0, 1.0, -2.0, 0.0, 20.0, -10.0, 0.0]);
        assert_eq!(of(Threshold::Absolute(2.5)), [0.0, 0.0, 0.5, -1.5, 7.5, 37.5, -27.5, 17.5]);
        assert_eq!(of(Threshold::Quantile(0.0)), of(Threshold::None));
    }
}
