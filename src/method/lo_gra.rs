//! Answers: what would influence functions say of a large model, layer by layer and through few numbers of each?
//! Formula: that of `BlockProjected`, where a layer's gradient `G` `[out, in]` becomes `P_out G P_inᵀ` `[output, input]`, k = output · input.
//! Parts: measurement and objective; `projection::Kronecker`, whose factors meet the factors of gradients; Fisher matrix by layer.
//! Cost: n + m gradients that are never formed; `n k min(n, k)` a layer; memory 4 n k bytes a layer.
//! Defaults: 64 a side, as in the paper; layers narrower than that keep all their numbers. λ as `BlockProjected`.
//! Misleads: as `BlockProjected`; with fewer than k train examples F is singular and λ decides.
//! Reference: Choe et al. 2024, section 3 (arXiv 2405.13954).

use serde::{Deserialize, Serialize};

use super::{Attributor, BlockProjected, FisherKind, Method};
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::plan::{Part, Probe};
use crate::projection::Kronecker;
use crate::task::Task;

/// Influence in a small space for each layer.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let few = LoGra { input: 8, output: 8, ..default() }.fit(&task, &train)?.matrix(&test)?;
/// assert_eq!(few.size(), [10, 100]);
/// // As many numbers as the layers have: nothing is lost, and the seed has no say.
/// let whole = |seed| LoGra { input: 65, output: 32, seed, ..default() }.fit(&task, &train)?.matrix(&test);
/// assert!(whole(0)?.equal(&whole(1)?));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoGra {
    /// Numbers that each layer's inputs become.
    pub input: i64,
    /// Numbers that each layer's outputs become.
    pub output: i64,
    /// What the small gradients are preconditioned by.
    pub fisher: FisherKind,
    /// λ of each layer; relative to the mean eigenvalue of its Fisher matrix.
    pub damping: Damping,
    /// Keeps features in float16.
    pub half: bool,
    /// Of the projections.
    pub seed: u64,
}

impl Default for LoGra {
    fn default() -> LoGra {
        LoGra { input: 64, output: 64, fisher: FisherKind::Empirical, damping: Damping::Relative(0.1), half: false, seed: 0 }
    }
}

impl LoGra {
    fn projected(&self) -> BlockProjected {
        let projection = Kronecker { input: self.input, output: self.output, seed: self.seed, ..Kronecker::default() };
        let (fisher, damping, half) = (self.fisher, self.damping, self.half);
        BlockProjected { fisher, damping, half, ..BlockProjected::new(projection) }
    }
}

impl Method for LoGra {
    fn name(&self) -> String {
        "LoGra".into()
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.projected().kernel_as("LoGra", self.name()).fit(task, train)
    }

    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        self.projected().kernel_as("LoGra", self.name()).parts(probe).map(Some)
    }
}
