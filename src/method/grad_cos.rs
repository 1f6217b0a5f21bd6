//! Answers: which train examples push the weights in the same direction, whatever the size of the push?
//! Formula: `score(z', z) = (1/C) Σ_c cos(∇o(z'; θ_c), ∇o(z; θ_c))`, in [−1, 1]; 0 where a gradient is zero.
//! Parts: objective on both sides, unit norm, mean over the task's checkpoints.
//! Cost: as `GradDot`. Defaults: none to choose.
//! Misleads: self-influence is 1 for every example, so it cannot find mislabelled ones.
//! Reference: Charpiat et al. 2019, section 2.

use serde::{Deserialize, Serialize};

use super::{Attributor, InnerProduct, Method, Weighting};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::snapshot::Of;
use crate::task::Task;

/// Exact cosines between gradients.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 2, ..default() }, &train)?;
/// let scores = GradCos::default().fit(&task, &train)?.score(&test)?;
/// assert!(scores.tensor().abs().max().double_value(&[]) <= 1.0 + 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GradCos {}

impl Method for GradCos {
    fn name(&self) -> String {
        "GradCos".into()
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        let weighting = Weighting::Mean;
        InnerProduct { name: self.name(), explain: Of::Objective, unit_norm: true, curvature: None, weighting }.fit(task, train)
    }
}
