//! Scores that exist already, as a method among methods: computed elsewhere, read from a file, or one of many that share their work.

use tch::Tensor;

use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::scores::Scores;
use crate::task::Task;

/// These scores, whatever the task: for the examples they are about, in their order, and no others; without self-influence.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(40, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let scores = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let given = scores.fit(&task, &train)?;
/// assert!(given.matrix(&test)?.equal(scores.tensor()) && given.matrix(&train).is_err());
/// # Ok::<(), ascribe::Error>(())
/// ```
impl Method for Scores {
    fn name(&self) -> String {
        self.method().into()
    }

    fn fit(&self, _: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.check_train(train)?;
        Ok(Box::new(Given { scores: self.clone(), train: train.clone() }))
    }

    fn has_own_scores(&self) -> bool {
        false
    }
}

struct Given {
    scores: Scores,
    train: Dataset,
}

impl Attributor for Given {
    fn name(&self) -> String {
        self.scores.method().into()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        self.scores.check_test(test)?;
        Ok(self.scores.tensor().shallow_clone())
    }

    fn self_scores(&self) -> Result<Tensor> {
        let reason = format!("{} was given as scores of test examples: it has none of a train example for itself", self.name());
        Err(Error::Unsupported(reason))
    }
}
