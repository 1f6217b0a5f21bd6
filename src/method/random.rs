//! Answers: what does a method that knows nothing look like? The control in every comparison.
//! Formula: `score(z', z)` uniform in [−1, 1), a function of (seed, id of z', id of z) alone.
//! Cost: none. Defaults: seed 0. Misleads: never, that is its use.

use rand::Rng;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::plan::{Part, Probe};
use crate::random::{self, Purpose};
use crate::task::Task;

/// Random scores, the control.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(500, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
/// let scores = Random { seed: 1 }.fit(&task, &train)?.score(&test)?;
/// assert!(scores.tensor().mean(None::<tch::Kind>).double_value(&[]).abs() < 0.05);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Random {
    /// Another seed, other scores.
    pub seed: u64,
}

impl Method for Random {
    fn name(&self) -> String {
        "Random".into()
    }

    fn fit(&self, _: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        Ok(Box::new(Fitted { seed: self.seed, train: train.clone() }))
    }

    fn has_own_scores(&self) -> bool {
        false
    }

    fn parts(&self, _: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(Some(Vec::new()))
    }
}

struct Fitted {
    seed: u64,
    train: Dataset,
}

impl Fitted {
    /// One row: a stream per test id, read at the train ids.
    fn row(&self, id: u32, columns: &[u32]) -> Vec<f32> {
        let mut stream = random::generator(self.seed, Purpose::Control, u64::from(id));
        let score = |&column: &u32| {
            stream.set_word_pos(u128::from(column));
            2.0 * stream.r#gen::<f32>() - 1.0
        };
        columns.iter().map(score).collect()
    }
}

impl Attributor for Fitted {
    fn name(&self) -> String {
        "Random".into()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let columns = self.train.examples();
        let values: Vec<f32> = test.examples().iter().flat_map(|&id| self.row(id, &columns)).collect();
        Ok(Tensor::from_slice(&values).view([test.len() as i64, columns.len() as i64]))
    }

    fn self_scores(&self) -> Result<Tensor> {
        let values: Vec<f32> = self.train.examples().iter().map(|&id| self.row(id, &[id])[0]).collect();
        Ok(Tensor::from_slice(&values).to_kind(Kind::Float))
    }
}
