//! Answers: which train examples point where the test example points, whatever the lengths?
//! Formula: `s(z', z) / √(s(z', z') s(z, z))`, the cosine in the geometry of a method's own scores s, in [−1, 1] where these are
//! inner products. What a method multiplies whole columns by (Q of TRAK, the lengths of D-TRAK) cancels.
//! Parts: a method that scores test examples for themselves (all but `DataValueEmbedding`, `KnnShapley`, `Random`, `RelatIf` and
//! `Representer`) and has no threshold; rows are divided by the number explained, columns by the objective.
//! Cost: the method's self-influence on both sides. Defaults: none to choose.
//! Misleads: says nothing of strength; every example is its own best proponent, so self-influence is 1 throughout, or 0 where an
//! example has no scores at all.
//! Reference: Chang et al. 2024 for preconditioned gradients (arXiv 2410.17413); `GradCos` is the plain case.

use super::wrapped::{Rescaling, Wrapped, reciprocal};
use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::plan::{Part, Probe};
use crate::task::Task;

/// Cosines in the geometry of a method.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let scores = UnitNorm::new(Influence::new(Ekfac::default())).fit(&task, &train)?.score(&test)?;
/// assert!(scores.tensor().abs().max().double_value(&[]) < 1.001);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct UnitNorm {
    /// Whose scores.
    pub method: Box<dyn Method>,
}

impl UnitNorm {
    /// Wraps a method.
    pub fn new(method: impl Method + 'static) -> UnitNorm {
        UnitNorm { method: Box::new(method) }
    }
}

impl Method for UnitNorm {
    fn name(&self) -> String {
        format!("{}, unit norm", self.method.name())
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        if !self.has_own_scores() {
            let name = self.method.name();
            return Err(Error::Unsupported(format!("UnitNorm of {name}: it has no score of a test example for itself")));
        }
        let inner = self.method.fit(task, train)?;
        let factors = reciprocal(&inner.self_lengths()?)?;
        Ok(Box::new(Wrapped { name: self.name(), inner, rescaling: Rescaling::Cosine(factors) }))
    }

    fn has_own_scores(&self) -> bool {
        self.method.has_own_scores()
    }

    /// And a gradient of each train example for its length.
    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        let own = Part { name: "lengths", gradients: probe.n, ..Part::default() };
        Ok(self.method.parts(probe)?.map(|parts| parts.into_iter().chain([own]).collect()))
    }
}
