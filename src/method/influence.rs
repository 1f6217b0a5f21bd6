//! Answers: how would the measurement of the test example change if this train example weighed a little more?
//! Formula: `score(z', z) = (1/C) Σ_c ∇m(z')ᵀ (H_c + λ)⁻¹ ∇o(z)`; removing z changes m(z') by about −score/n. H is `[p, p]`.
//! Parts: measurement on the test side, objective on the train side, a curvature, mean over the task's checkpoints.
//! Cost: n + m gradients and m solves (self-influence: n solves); see the curvature for the price of one.
//! Defaults: the explicit Hessian with λ = 0.01.
//! Misleads: far from a minimum, or where λ must be large, it answers another question than leave-one-out.
//! Reference: Koh & Liang 2017, equation 2 (arXiv 1703.04730).

use super::{Attributor, InnerProduct, Method, Weighting};
use crate::curvature::{Curvature, Explicit};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::plan::{Part, Probe};
use crate::snapshot::Of;
use crate::task::Task;

/// The influence function, with the inverse Hessian by a route of choice.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 10, ..default() }, &train)?;
/// let exact = Influence::new(Explicit { damping: Damping::Absolute(0.05), ..default() });
/// let iterated = Influence::new(ConjugateGradient { damping: Damping::Absolute(0.05), ..default() });
/// let (a, b) = (exact.fit(&task, &train)?.score(&test)?, iterated.fit(&task, &train)?.score(&test)?);
/// let (a, b) = (a.get(0, 0)?, b.get(0, 0)?);
/// assert!((a - b).abs() < 1e-2 * a.abs().max(1e-2));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Influence {
    /// The route to `(H + λ)⁻¹`.
    pub curvature: Box<dyn Curvature>,
}

impl Influence {
    /// Chooses the route to the inverse curvature.
    pub fn new(curvature: impl Curvature + 'static) -> Influence {
        Influence { curvature: Box::new(curvature) }
    }
}

impl Default for Influence {
    fn default() -> Influence {
        Influence::new(Explicit::default())
    }
}

impl std::fmt::Debug for Influence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Method for Influence {
    fn name(&self) -> String {
        format!("Influence ({})", self.curvature.name())
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        let (curvature, weighting) = (Some(self.curvature.as_ref()), Weighting::Mean);
        InnerProduct { name: self.name(), explain: Of::Measurement, unit_norm: false, curvature, weighting }.fit(task, train)
    }

    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(self.curvature.parts(probe)?.map(|(fit, solve)| vec![fit, solve]))
    }
}
