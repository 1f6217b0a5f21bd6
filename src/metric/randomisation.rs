use polars::prelude::DataFrame;
use rand::RngCore;
use tch::Kind;

use super::each::each;
use super::evaluate::{Metric, Trial};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::method::Method;
use crate::random::{self, Purpose};
use crate::scores::Scores;
use crate::snapshot::Snapshot;
use crate::statistics::{Estimate, bootstrap_mean, spearman};
use crate::task::Task;

/// Does the method look at what was learned? Spearman's correlation of its scores with those for fresh random weights; smaller is better.
/// Needs no retraining (Bareeva et al. 2024, quanda; after Adebayo et al. 2018).
///
/// Every checkpoint is replaced by weights drawn as before training. Misleads: a method that ignores the model altogether but draws new
/// numbers each time passes.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::ModelRandomisation;
/// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer::default(), &train)?;
/// let value = |method: &dyn Method| ModelRandomisation::default().evaluate(method, &task, &train, &test);
/// let same = value(&Random::default())?; // it never looks at the model
/// assert!(same.column("value")?.f64()?.iter().flatten().all(|rho| rho > 0.9999));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelRandomisation {
    /// Other random weights.
    pub seed: u64,
}

impl ModelRandomisation {
    /// One row per test example. Columns: `method`, `metric`, `test` (example id), `value`; null where one side is constant.
    pub fn evaluate(&self, method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset) -> Result<DataFrame> {
        let scores = method.fit(task, train)?.score(test)?;
        each(&method.name(), &self.name(), test.frame(), self.correlations(&scores, method, task, train, test)?)
    }

    fn correlations(
        &self,
        scores: &Scores,
        method: &dyn Method,
        task: &Task,
        train: &Dataset,
        test: &Dataset,
    ) -> Result<Vec<Option<f64>>> {
        let random = method.fit(&self.untrained(task)?, train)?.score(test)?;
        let rows = |scores: &Scores| guarded(|| Ok(Vec::<Vec<f64>>::try_from(&scores.tensor().to_kind(Kind::Double))?));
        Ok(rows(scores)?.iter().zip(&rows(&random)?).map(|(a, b)| Some(spearman(a, b)?.value)).collect())
    }

    fn untrained(&self, task: &Task) -> Result<Task> {
        if task.checkpoints().is_empty() {
            return Err(Error::checkpoint("task", "it has no checkpoints yet: train it or add some"));
        }
        let fresh = |(index, old): (usize, &Checkpoint)| {
            let seed = random::generator(self.seed, Purpose::Start, index as u64).next_u64();
            let weights = Snapshot::fresh(task, seed)?.named_tensors();
            guarded(|| Ok(Checkpoint::new(old.run, old.step, old.learning_rate, weights)))
        };
        let checkpoints = task.checkpoints().iter().enumerate().map(fresh).collect::<Result<_>>()?;
        task.clone().without_stores().with_checkpoints(checkpoints)
    }
}

impl Metric for ModelRandomisation {
    fn name(&self) -> String {
        "model randomisation".into()
    }

    /// The mean over test examples with its percentile bootstrap interval (2,000 samples, seed 0).
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let found = self.correlations(trial.scores, trial.method, trial.task, trial.train, trial.test)?;
        Ok(bootstrap_mean(&found.into_iter().flatten().collect::<Vec<_>>(), 2_000, 0))
    }
}
