//! Answers: which train examples push the weights in the direction that helps this test example?
//! Formula: `score(z', z) = (1/C) Σ_c ⟨∇o(z'; θ_c), ∇o(z; θ_c)⟩`, both gradients `[p]`.
//! Parts: objective on both sides, no projection, no preconditioner, mean over the task's checkpoints.
//! Cost: n + m gradients; inner products from layer factors, no gradient of a linear layer is formed; memory O(m · widths).
//! Defaults: none to choose. Misleads: examples with large gradients dominate every list (see `GradCos`).
//! Reference: Charpiat et al. 2019, section 2; TracIn with one checkpoint (arXiv 2002.08484).

use serde::{Deserialize, Serialize};

use super::{Attributor, InnerProduct, Method, Weighting};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::snapshot::Of;
use crate::task::Task;

/// Exact inner products of gradients.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 2, ..default() }, &train)?;
/// let fitted = GradDot::default().fit(&task, &train)?;
/// // The score of an example for itself is the squared length of its gradient.
/// let itself = fitted.score(&train)?.get(7, 7)?;
/// let length = fitted.self_scores()?.double_value(&[7]) as f32;
/// assert!((itself - length).abs() < 1e-4 * length);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GradDot {}

impl Method for GradDot {
    fn name(&self) -> String {
        "GradDot".into()
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        let weighting = Weighting::Mean;
        InnerProduct { name: self.name(), explain: Of::Objective, unit_norm: false, curvature: None, weighting }.fit(task, train)
    }
}
