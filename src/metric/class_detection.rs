use polars::prelude::{DataFrame, DataType};

use super::each::each;
use super::evaluate::{Metric, Trial};
use crate::error::{Error, Result};
use crate::frame::column;
use crate::scores::Scores;
use crate::statistics::{Estimate, wilson};

/// Is the strongest proponent of the test example's own class? Needs no retraining (Bareeva et al. 2024, quanda).
///
/// With another metadata column, one that training never saw, it asks for more: that the strongest proponent is of the same subclass.
/// Misleads: nearest neighbours pass, whatever the model does.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::ClassDetection;
/// let (train, test) = dataset::digits()?.split(200, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let table = ClassDetection::default().evaluate(&GradCos::default().fit(&task, &train)?.score(&test)?)?;
/// assert!(table.column("value")?.f64()?.iter().flatten().sum::<f64>() > 14.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassDetection {
    /// The metadata column that must be the same: `label`, or that of a subclass.
    pub column: String,
}

impl Default for ClassDetection {
    fn default() -> ClassDetection {
        ClassDetection { column: "label".into() }
    }
}

impl ClassDetection {
    /// By the subclass in this metadata column of both sides.
    pub fn by(column: impl Into<String>) -> ClassDetection {
        ClassDetection { column: column.into() }
    }

    /// One row per test example. Columns: `method`, `metric`, `test` (example id), `value`: 1 where the strongest proponent is of the same
    /// class, 0 where it is not; of several equally strong ones, the share that is.
    ///
    /// Errors: [`Error::Data`] if train or test examples lack the column, or a value of it.
    pub fn evaluate(&self, scores: &Scores) -> Result<DataFrame> {
        each(scores.method(), &self.name(), scores.test(), self.hits(scores)?.into_iter().map(Some).collect())
    }

    fn hits(&self, scores: &Scores) -> Result<Vec<f64>> {
        let (train, test) = (self.classes("train", scores.train())?, self.classes("test", scores.test())?);
        let rows = crate::error::guarded(|| Ok(Vec::<Vec<f32>>::try_from(scores.tensor())?))?;
        let share = |(row, class): (&Vec<f32>, &String)| {
            let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let tied = || (0..row.len()).filter(|&at| row[at] == best);
            tied().filter(|&at| train[at] == *class).count() as f64 / tied().count() as f64
        };
        Ok(rows.iter().zip(&test).map(share).collect())
    }

    fn classes(&self, side: &str, frame: &DataFrame) -> Result<Vec<String>> {
        let values = column(frame, &self.column)?.cast(&DataType::String)?;
        let values: Vec<Option<&str>> = values.str()?.iter().collect();
        match values.iter().position(Option::is_none) {
            Some(row) => Err(Error::data(&self.column, format!("expected a class for every {side} example, row {row} has none"))),
            None => Ok(values.into_iter().flatten().map(str::to_string).collect()),
        }
    }
}

impl Metric for ClassDetection {
    fn name(&self) -> String {
        match self.column.as_str() {
            "label" => "class detection".into(),
            column => format!("{column} detection"),
        }
    }

    /// The share of test examples with Wilson's interval.
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let hits = self.hits(trial.scores)?;
        let (sum, n) = (hits.iter().sum::<f64>(), hits.len());
        let (low, high) = wilson(sum, n as f64);
        Ok(Some(Estimate { mean: sum / n as f64, low, high, n }))
    }
}
