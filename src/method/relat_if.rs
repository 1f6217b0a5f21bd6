//! Answers: which train examples matter to this test example in particular, rather than to every one?
//! Formula: `score / √(∇o(z)ᵀ P ∇o(z))` by loss, `score / ‖P ∇o(z)‖` by parameters; columns are divided by what each train example
//! does to the whole model.
//! Parts: any method whose scores they are; the denominators are the method's own, summed over its checkpoints.
//! Cost: the method's self-influence, or n preconditioned gradients. Defaults: none; choose the constraint.
//! Misleads: an example without influence has a denominator of zero; its scores are zero, and so they are here.
//! Reference: Barshan et al. 2020, equations 6 and 7 (arXiv 2003.11630).

use serde::{Deserialize, Serialize};

use super::wrapped::{Rescaling, Wrapped, reciprocal, root};
use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::plan::{Part, Probe};
use crate::task::Task;

/// What the change that an example makes is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relative {
    /// The change of the losses: `ℓ-RelatIF`, a square root of self-influence.
    Loss,
    /// The change of the parameters: `θ-RelatIF`.
    Parameters,
}

/// Scores relative to how much a train example matters to the whole model.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 3, ..default() }, &train)?;
/// let plain = GradDot::default().fit(&task, &train)?;
/// let relative = RelatIf::new(GradDot::default(), Relative::Loss).fit(&task, &train)?;
/// let length = plain.self_scores()?.double_value(&[3]).sqrt() as f32;
/// let (a, b) = (plain.score(&test)?.get(0, 3)?, relative.score(&test)?.get(0, 3)?);
/// assert!((a / length - b).abs() < 1e-4 * b.abs());
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct RelatIf {
    /// Whose scores.
    pub method: Box<dyn Method>,
    /// Divided by what.
    pub by: Relative,
}

impl RelatIf {
    /// Wraps a method.
    pub fn new(method: impl Method + 'static, by: Relative) -> RelatIf {
        RelatIf { method: Box::new(method), by }
    }
}

impl Method for RelatIf {
    fn name(&self) -> String {
        match self.by {
            Relative::Loss => format!("{}, relative to the loss", self.method.name()),
            Relative::Parameters => format!("{}, relative to the parameters", self.method.name()),
        }
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        let inner = self.method.fit(task, train)?;
        let lengths = match self.by {
            Relative::Loss => root(&inner.self_scores()?)?,
            Relative::Parameters => inner.train_lengths()?,
        };
        Ok(Box::new(Wrapped { name: self.name(), inner, rescaling: Rescaling::Columns(reciprocal(&lengths)?) }))
    }

    fn has_own_scores(&self) -> bool {
        false
    }

    /// And a gradient of each train example for its length.
    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        let own = Part { name: "lengths", gradients: probe.n, ..Part::default() };
        Ok(self.method.parts(probe)?.map(|parts| parts.into_iter().chain([own]).collect()))
    }
}
