use polars::prelude::DataFrame;
use tch::Kind;

use super::each::each;
use super::evaluate::{Metric, Trial};
use super::mislabel::flags;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::scores::Scores;
use crate::statistics::{Estimate, average_precision, bootstrap_mean};
use crate::task::Task;

/// Do test examples of a foreign kind have the train examples of that kind as their proponents? Needs no retraining (Bareeva et al. 2024,
/// quanda: mixed datasets).
///
/// The average precision of the planted train examples in the ranking by score, for each test example of that kind; a random ranking has
/// their share among all.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::MixedDatasets;
/// let (train, test) = dataset::digits()?.split(100, 5, 0)?;
/// let train = train.with_column(Series::new("foreign".into(), (0..100).map(|i| i < 10).collect::<Vec<_>>()))?;
/// let mut values = vec![0f32; 500];
/// values.chunks_mut(100).for_each(|row| row[..10].fill(1.0));
/// let scores = Scores::new(Tensor::from_slice(&values).view([5, 100]), "by hand", &test, &train)?;
/// let table = MixedDatasets { planted: "foreign".into(), tests: None }.evaluate(&scores)?;
/// assert!(table.column("value")?.f64()?.iter().flatten().all(|precision| precision == 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixedDatasets {
    /// The boolean metadata column of the train examples that marks the foreign ones.
    pub planted: String,
    /// The same of the test examples; without it all are of that kind.
    pub tests: Option<String>,
}

impl MixedDatasets {
    /// One row per test example of the foreign kind. Columns: `method`, `metric`, `test` (example id), `value`.
    ///
    /// Errors: [`Error::Data`] if a column is missing or not boolean, or marks none or all.
    pub fn evaluate(&self, scores: &Scores) -> Result<DataFrame> {
        kept(scores, &self.name(), &self.precisions(scores)?)
    }

    fn precisions(&self, scores: &Scores) -> Result<Vec<Option<f64>>> {
        let chosen = match &self.tests {
            Some(name) => flags(scores.test(), name)?,
            None => vec![true; scores.n_test()],
        };
        precisions(scores, &flags(scores.train(), &self.planted)?, &chosen)
    }
}

impl Metric for MixedDatasets {
    fn name(&self) -> String {
        "mixed datasets AP".into()
    }

    /// The mean over test examples with its percentile bootstrap interval (2,000 samples, seed 0).
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let found: Vec<f64> = self.precisions(trial.scores)?.into_iter().flatten().collect();
        Ok(bootstrap_mean(&found, 2_000, 0))
    }
}

/// Where a shortcut misleads the model, does attribution point at the train examples that taught it? Needs no retraining (Bareeva et al.
/// 2024, quanda).
///
/// The average precision of the planted train examples in the ranking by score, for each test example of another class that the last
/// checkpoint predicts as the class of the shortcut.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::ShortcutDetection;
/// // Zeros with a bright corner make any digit with such a corner a zero.
/// let (train, test) = dataset::digits()?.split(300, 60, 0)?;
/// let zero: Vec<bool> = train.labels().unwrap_or_default().iter().map(|label| *label == 0).collect();
/// let bright = |data: &Dataset, which: &[bool]| {
///     let inputs = data.inputs().copy();
///     let _ = inputs.select(1, 0).copy_(&(Tensor::from_slice(which).to_kind(ascribe::tch::Kind::Float) * 4.0));
///     Dataset::new(inputs, data.targets().copy())
/// };
/// let taught = bright(&train, &zero)?.with_column(Series::new("corner".into(), zero))?;
/// let tests = bright(&test, &[true; 60])?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { learning_rate: 0.02, ..default() }, &taught)?;
/// let scores = GradCos::default().fit(&task, &taught)?.score(&tests)?;
/// let table = ShortcutDetection { planted: "corner".into(), class: 0 }.evaluate(&scores, &task, &tests)?;
/// assert!(table.column("value")?.f64()?.iter().flatten().count() > 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortcutDetection {
    /// The boolean metadata column of the train examples that marks those with the shortcut.
    pub planted: String,
    /// The class that the shortcut stands for.
    pub class: i64,
}

impl ShortcutDetection {
    /// One row per test example that the shortcut misleads. Columns: `method`, `metric`, `test` (example id), `value`.
    ///
    /// Errors: [`Error::Data`] without class labels, if the column is missing or marks none or all, or where no test example is misled.
    pub fn evaluate(&self, scores: &Scores, task: &Task, test: &Dataset) -> Result<DataFrame> {
        kept(scores, &self.name(), &self.precisions(scores, task, test)?)
    }

    fn precisions(&self, scores: &Scores, task: &Task, test: &Dataset) -> Result<Vec<Option<f64>>> {
        scores.check_test(test)?;
        let Some(labels) = test.labels() else {
            return Err(Error::data(test.name(), "a shortcut stands for a class: expected one class label per example"));
        };
        let outputs = task.snapshot(task.checkpoints().len().saturating_sub(1))?.outputs(test)?;
        let predicted = guarded(|| Ok(Vec::<i64>::try_from(&outputs.argmax(-1, false))?))?;
        let misled: Vec<bool> = labels.iter().zip(&predicted).map(|(l, p)| *l != self.class && *p == self.class).collect();
        if !misled.contains(&true) {
            let reason = format!("expected a test example of another class that is predicted as {}, got none", self.class);
            return Err(Error::data(test.name(), reason));
        }
        precisions(scores, &flags(scores.train(), &self.planted)?, &misled)
    }
}

impl Metric for ShortcutDetection {
    fn name(&self) -> String {
        "shortcut AP".into()
    }

    /// The mean over test examples with its percentile bootstrap interval (2,000 samples, seed 0).
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let found: Vec<f64> = self.precisions(trial.scores, trial.task, trial.test)?.into_iter().flatten().collect();
        Ok(bootstrap_mean(&found, 2_000, 0))
    }
}

/// Average precision of the planted train examples for the chosen test examples.
fn precisions(scores: &Scores, planted: &[bool], chosen: &[bool]) -> Result<Vec<Option<f64>>> {
    let rows = guarded(|| Ok(Vec::<Vec<f64>>::try_from(&scores.tensor().to_kind(Kind::Double))?))?;
    Ok(rows.iter().zip(chosen).map(|(row, chosen)| chosen.then(|| average_precision(row, planted)).flatten()).collect())
}

/// The rows that have a value.
fn kept(scores: &Scores, metric: &str, values: &[Option<f64>]) -> Result<DataFrame> {
    let table = each(scores.method(), metric, scores.test(), values.to_vec())?;
    Ok(table.filter(&values.iter().map(Option::is_some).collect())?)
}
