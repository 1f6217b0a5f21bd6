//! Answers: by how much did training on this example change the objective of the test example, summed along the run?
//! Formula: `score(z', z) = Σ_c η_c ⟨∇o(z'; θ_c), ∇o(z; θ_c)⟩`, η_c the learning rate at checkpoint c.
//! Parts: objective on both sides, no preconditioner, learning rates as weights, summed over the task's checkpoints.
//! Cost: C times that of `GradDot`. Defaults: none to choose; keep several checkpoints while training (`Keep`).
//! Misleads: assumes plain SGD steps; under Adam or momentum the steps were others.
//! Reference: Pruthi et al. 2020, equation 1, TracInCP (arXiv 2002.08484).

use serde::{Deserialize, Serialize};

use super::{Attributor, InnerProduct, Method, Weighting};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::snapshot::Of;
use crate::task::Task;

/// Gradient inner products summed over checkpoints, each weighted by its learning rate.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 20, 0)?;
/// let trainer = Trainer { epochs: 3, keep: Keep::Every(1), learning_rate: 0.01, ..default() };
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &train)?;
/// let traced = TracIn::default().fit(&task, &train)?.score(&test)?;
/// let mean = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let (sum, mean) = (traced.get(0, 0)?, 3.0 * 0.01 * mean.get(0, 0)?);
/// assert!((sum - mean).abs() <= 1e-5 * mean.abs().max(1.0)); // constant rate: the same up to a factor
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TracIn {}

impl Method for TracIn {
    fn name(&self) -> String {
        "TracIn".into()
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        let weighting = Weighting::LearningRate;
        InnerProduct { name: self.name(), explain: Of::Objective, unit_norm: false, curvature: None, weighting }.fit(task, train)
    }
}
