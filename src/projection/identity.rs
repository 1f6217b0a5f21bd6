//! Answers: what would a method say without a projection? Formula: `P = 1`, k = p. Cost: n · p numbers are kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Part, Projection, Projector, check_width};
use crate::error::Result;
use crate::gradient::Layout;

/// No projection: every parameter is a feature.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let gradients = task.snapshot(0)?.gradients(Of::Objective, &data)?;
/// let projector = projection::Identity::default().fit(task.snapshot(0)?.layout(), 0)?;
/// assert!(projector.project(&gradients)?.equal(&gradients.dense()?));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {}

struct Fitted {
    parts: Vec<Part>,
}

impl Projection for Identity {
    fn name(&self) -> String {
        "identity".into()
    }

    fn fit(&self, layout: &Arc<Layout>, _: u64) -> Result<Box<dyn Projector>> {
        Ok(Box::new(Fitted { parts: Part::all(layout.p()) }))
    }
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.k())?;
        Ok(rows.shallow_clone())
    }
}
