//! The engine: `score = Σ_c w_c ⟨P_c ∇m(z'; θ_c), ∇o(z; θ_c)⟩`.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Attributor;
use super::scoring::{Point, Scoring};
use crate::curvature::Curvature;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::snapshot::Of;
use crate::task::Task;

/// How checkpoints are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weighting {
    /// `w_c = 1/C`.
    Mean,
    /// `w_c` is the learning rate at the checkpoint; the scores are summed.
    LearningRate,
}

/// The parts a gradient method is made of; a published method chooses them and calls [`InnerProduct::fit`].
pub struct InnerProduct<'a> {
    /// Name for tables.
    pub name: String,
    /// Gradient of what on the test side; the train side is always the objective.
    pub explain: Of,
    /// Divide both sides by their length; a gradient of length zero scores zero.
    pub unit_norm: bool,
    /// What the test side is multiplied by, fitted on the train objective.
    pub curvature: Option<&'a dyn Curvature>,
    /// Weights of the checkpoints.
    pub weighting: Weighting,
}

impl InnerProduct<'_> {
    /// Checks the task, loads each checkpoint and fits the curvature at each.
    pub fn fit(self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        if self.unit_norm && self.curvature.is_some() {
            let expected = "no curvature beside it; UnitNorm makes a cosine of any method's scores";
            return Err(Error::option("InnerProduct.unit_norm", expected, "a curvature"));
        }
        let count = task.checkpoints().len().max(1);
        let mut points = Vec::with_capacity(count);
        for index in 0..count {
            let snapshot = Rc::new(task.snapshot(index)?);
            snapshot.check(train, snapshot.measurement(Of::Objective))?;
            let weight = match self.weighting {
                Weighting::Mean => 1.0 / count as f64,
                Weighting::LearningRate if snapshot.learning_rate > 0.0 => snapshot.learning_rate,
                Weighting::LearningRate => {
                    let reason = format!("expected a positive learning rate to weight it by, got {}", snapshot.learning_rate);
                    return Err(Error::checkpoint(snapshot.name(), reason));
                }
            };
            let preconditioner = self.curvature.map(|c| c.fit(&snapshot, train)).transpose()?;
            points.push(Point { snapshot, weight, preconditioner });
        }
        let fitted = Scoring { name: self.name, train: train.clone(), explain: self.explain, unit_norm: self.unit_norm, points };
        Ok(Box::new(fitted))
    }
}
