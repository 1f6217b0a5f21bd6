use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How much what an example adds counts, by how many others there are already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Semivalue {
    /// Every size alike: the only one whose values add up to what all examples are worth.
    #[default]
    Shapley,
    /// Beta Shapley (Kwon and Zou 2022, arXiv 2110.14049): small sets count more for `alpha` above `beta`, large ones for `alpha`
    /// below; both 1 is Shapley. The paper favours 16 and 1 or 4 and 1.
    Beta {
        /// Above 0.
        alpha: f64,
        /// Above 0.
        beta: f64,
    },
    /// Every set alike, so that sizes near half count most. [`Banzhaf`](super::Banzhaf) needs fewer trainings for it.
    Banzhaf,
}

impl Semivalue {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Semivalue::Beta { alpha, beta } if !(*alpha > 0.0 && *beta > 0.0 && alpha.is_finite() && beta.is_finite()) => {
                Err(Error::option("Semivalue::Beta", "alpha and beta above 0", format!("{alpha} and {beta}")))
            }
            _ => Ok(()),
        }
    }

    /// Weights of what is added to 0, 1, … `n − 1` others along a uniformly random order; their mean is 1.
    pub(super) fn weights(&self, n: usize) -> Vec<f64> {
        let ratio = |others: f64, left: f64| match self {
            Semivalue::Shapley => 1.0,
            // n · C(n−1, s) · B(s + β, n − 1 − s + α), from s to s + 1.
            Semivalue::Beta { alpha, beta } => left / (others + 1.0) * (others + beta) / (left - 1.0 + alpha),
            Semivalue::Banzhaf => left / (others + 1.0),
        };
        let mut logs = vec![0.0f64];
        for others in 0..n.saturating_sub(1) {
            logs.push(logs[others] + ratio(others as f64, (n - 1 - others) as f64).ln());
        }
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs.iter().map(|log| (log - top).exp()).collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        weights.into_iter().map(|weight| weight / mean).collect()
    }
}
