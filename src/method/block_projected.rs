//! Answers: what would influence functions say, at the memory of projected gradients?
//! Formula: `mean_c Σ_l g'_lᵀ (F_l + λ_l)⁻¹ g_l`, `F_l = (1/n) Σ_i g_l(z_i) g_l(z_i)ᵀ` `[k_l, k_l]`; `g_l` `[k_l]` is part l of a projected
//! gradient: of the measurement for the test example z', of the objective for train examples.
//! Parts: one for each layer where the projection works layer by layer, else one; empirical Fisher or none; mean over checkpoints.
//! Cost: n + m gradients, `n k_l min(n, k_l)` multiplications a part; memory 4 n k bytes for the features.
//! Defaults: at most 32 inputs and 32 outputs of each layer; λ_l is 0.1 of the mean eigenvalue of F_l, as Grosse et al. 2023 (arXiv 2308.03296).
//! Misleads: layers are taken as independent, and projected curvature blurs: eigenvalues of F below λ are not resolved.
//! Reference: Choe et al. 2024, section 3 (arXiv 2405.13954).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Attributor, Method};
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::kernel::{Columns, Inverse, Kernel, Threshold};
use crate::plan::{Part, Probe};
use crate::projection::{Kronecker, Projection};
use crate::task::Task;

/// What projected gradients are preconditioned by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FisherKind {
    /// `(F + λ)⁻¹` with F from the train gradients.
    #[default]
    Empirical,
    /// Nothing: [`GradDot`](super::GradDot) after projection, with the measurement on the test side.
    Identity,
}

/// Influence through the empirical Fisher matrix of projected gradients, block by block.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let whole = BlockProjected::new(projection::Identity::default());
/// let block = BlockProjected { damping: Damping::Absolute(0.01), ..whole }.fit(&task, &train)?.matrix(&test)?;
/// // The identity is one block, and that is the explicit empirical Fisher matrix.
/// let explicit = Influence::new(Explicit { matrix: Matrix::EmpiricalFisher, ..default() });
/// let difference = (&block - explicit.fit(&task, &train)?.matrix(&test)?).abs().max().double_value(&[]);
/// assert!(difference < 1e-3 * block.abs().max().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct BlockProjected {
    /// Its parts are the blocks.
    pub projection: Arc<dyn Projection>,
    /// F.
    pub fisher: FisherKind,
    /// λ of each block; relative to the mean eigenvalue of its F, `tr F / k`.
    pub damping: Damping,
    /// Keeps features in float16.
    pub half: bool,
}

impl Default for BlockProjected {
    fn default() -> BlockProjected {
        let projection = Arc::new(Kronecker::default());
        BlockProjected { projection, fisher: FisherKind::Empirical, damping: Damping::Relative(0.1), half: false }
    }
}

impl BlockProjected {
    /// With a projection, drawn anew for each checkpoint.
    pub fn new(projection: impl Projection + 'static) -> BlockProjected {
        BlockProjected { projection: Arc::new(projection), ..BlockProjected::default() }
    }

    /// The same for a method of another name, whose options are checked under it.
    pub(super) fn kernel_as(&self, options: &'static str, name: String) -> Kernel<'_> {
        let inverse = match self.fisher {
            FisherKind::Empirical => Inverse::Mean(self.damping),
            FisherKind::Identity => Inverse::None,
        };
        let (columns, threshold) = (Columns::Plain, Threshold::None);
        let projection = Some(&self.projection);
        Kernel { options, name, projection, inverse, columns, threshold, half: self.half }
    }
}

impl Method for BlockProjected {
    fn name(&self) -> String {
        let fisher = if self.fisher == FisherKind::Identity { ", no Fisher matrix" } else { "" };
        format!("Block-projected influence ({}{fisher})", self.projection.name())
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.kernel_as("BlockProjected", self.name()).fit(task, train)
    }

    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        self.kernel_as("BlockProjected", self.name()).parts(probe).map(Some)
    }
}
