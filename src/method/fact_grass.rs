//! Answers: as `LoGra`, at less cost for the same number of features.
//! Formula: that of `BlockProjected`, where a layer's gradient `[out, in]` is masked on both sides to `dim · blowup` products of few
//! inputs and few outputs, which a sparse sign matrix adds up to k = dim numbers.
//! Parts: measurement and objective; `projection::FactoredSparse`; Fisher matrix by layer.
//! Cost: n + m gradients that are never formed; `n k min(n, k)` a layer; memory 4 n k bytes a layer.
//! Defaults: 4096 numbers a layer and 4 products for each, as in the paper; layers with fewer keep all. λ as `BlockProjected`.
//! Misleads: as `LoGra`, and a mask is noisy where few inputs or outputs carry the gradient.
//! Reference: Hu et al. 2025, section 4 (arXiv 2505.18976).

use serde::{Deserialize, Serialize};

use super::{Attributor, BlockProjected, FisherKind, Method};
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::plan::{Part, Probe};
use crate::projection::FactoredSparse;
use crate::task::Task;

/// Influence in a small, sparsely mapped space for each layer.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let fitted = FactGrass { dim: 64, ..default() }.fit(&task, &train)?;
/// // Of all train examples, the one that is scored itself is on average the strongest.
/// let (scores, own) = (fitted.matrix(&train)?, fitted.self_scores()?);
/// assert!(own.mean(None).double_value(&[]) > 5.0 * scores.abs().mean(None).double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FactGrass {
    /// Numbers for each layer.
    pub dim: i64,
    /// Products that are added up for each number.
    pub blowup: i64,
    /// What the small gradients are preconditioned by.
    pub fisher: FisherKind,
    /// λ of each layer; relative to the mean eigenvalue of its Fisher matrix.
    pub damping: Damping,
    /// Keeps features in float16.
    pub half: bool,
    /// Of the projections.
    pub seed: u64,
}

impl Default for FactGrass {
    fn default() -> FactGrass {
        FactGrass { dim: 4096, blowup: 4, fisher: FisherKind::Empirical, damping: Damping::Relative(0.1), half: false, seed: 0 }
    }
}

impl FactGrass {
    fn projected(&self) -> BlockProjected {
        let projection = FactoredSparse { dim: self.dim, blowup: self.blowup, seed: self.seed };
        let (fisher, damping, half) = (self.fisher, self.damping, self.half);
        BlockProjected { fisher, damping, half, ..BlockProjected::new(projection) }
    }
}

impl Method for FactGrass {
    fn name(&self) -> String {
        "FactGraSS".into()
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.projected().kernel_as("FactGrass", self.name()).fit(task, train)
    }

    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        self.projected().kernel_as("FactGrass", self.name()).parts(probe).map(Some)
    }
}
