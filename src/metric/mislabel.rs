use polars::df;
use polars::prelude::{DataFrame, DataType};

use super::evaluate::{Metric, Trial};
use crate::error::{Error, Result};
use crate::frame::column;
use crate::statistics::{self, Estimate, average_precision};

/// Do planted wrong labels get the largest self-influence?
///
/// The area under the receiver operating characteristic of a ranking of the train examples, by self-influence or any other number.
/// Misleads: a planted fault is an easy one, an honest mistake lies between classes.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::MislabelDetection;
/// let noisy = dataset::flip_labels(&dataset::digits()?.head(200)?, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &noisy)?;
/// let ranking = GradDot::default().fit(&task, &noisy)?.self_influence()?;
/// let table = MislabelDetection::of("flipped").evaluate("GradDot", &ranking, "self_influence")?;
/// let value = table.column("value")?.f64()?;
/// assert!(value.get(0) > Some(0.7) && value.get(1) > Some(0.2)); // AUC; average precision, by chance 0.1
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MislabelDetection {
    /// The boolean metadata column of the train examples that marks the planted ones.
    pub planted: String,
}

impl MislabelDetection {
    /// For examples marked by this column.
    pub fn of(planted: impl Into<String>) -> MislabelDetection {
        MislabelDetection { planted: planted.into() }
    }

    /// Two rows, area under the curve and average precision, of a table with the planted column and a column of scores, larger = more
    /// suspicious. Columns: `method`, `metric`, `value`, `low`, `high` (DeLong; null for average precision), `n`, `planted` (how many).
    ///
    /// Errors: [`Error::Data`] for a missing column, NaN, or where none or all are planted.
    pub fn evaluate(&self, method: &str, ranking: &DataFrame, score: &str) -> Result<DataFrame> {
        let (scores, planted) = marked(ranking, score, &self.planted)?;
        let Some((area, precision)) = statistics::auc(&scores, &planted).zip(average_precision(&scores, &planted)) else {
            return Err(Error::data(score, "the ranking is not defined"));
        };
        Ok(df!(
            "method" => [method; 2],
            "metric" => [self.name(), "mislabel AP".into()],
            "value" => [area.mean, precision],
            "low" => [Some(area.low), None],
            "high" => [Some(area.high), None],
            "n" => [area.n as u32; 2],
            "planted" => [planted.iter().filter(|&&p| p).count() as u32; 2],
        )?)
    }
}

impl Metric for MislabelDetection {
    fn name(&self) -> String {
        "mislabel AUC".into()
    }

    /// By self-influence, with DeLong's interval.
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let (scores, planted) = marked(&trial.fitted.self_influence()?, "self_influence", &self.planted)?;
        Ok(statistics::auc(&scores, &planted))
    }
}

/// The receiver operating characteristic of a table with a column of scores and a boolean column: a point for each distinct score.
///
/// Columns: `method`, `threshold` (infinite in the first row, where nothing is called positive), `false_positives`, `true_positives`
/// (shares). [`plot::roc`](crate::plot::roc()) draws it.
///
/// Errors: [`Error::Data`] for a missing column, NaN, or where none or all are planted.
///
/// ```
/// use ascribe::{metric, plot, polars::df};
/// let table = df!("score" => [0.9, 0.1, 0.8, 0.2], "flipped" => [true, false, false, true])?;
/// let curve = metric::roc("by hand", &table, "score", "flipped")?;
/// let found: Vec<f64> = curve.column("true_positives")?.f64()?.into_no_null_iter().collect();
/// assert_eq!(found, [0.0, 0.5, 0.5, 1.0, 1.0]);
/// assert!(plot::roc(&curve)?.svg().contains(">by hand</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn roc(method: &str, table: &DataFrame, score: &str, truth: &str) -> Result<DataFrame> {
    let (scores, planted) = marked(table, score, truth)?;
    let points = statistics::roc(&scores, &planted).unwrap_or_default();
    Ok(df!(
        "method" => vec![method; points.len()],
        "threshold" => points.iter().map(|p| p.threshold).collect::<Vec<_>>(),
        "false_positives" => points.iter().map(|p| p.false_positives).collect::<Vec<_>>(),
        "true_positives" => points.iter().map(|p| p.true_positives).collect::<Vec<_>>(),
    )?)
}

/// Scores and which examples are marked, at least one and not all.
pub(super) fn marked(table: &DataFrame, score: &str, truth: &str) -> Result<(Vec<f64>, Vec<bool>)> {
    let scores = column(table, score)?.cast(&DataType::Float64)?;
    let scores: Vec<f64> = scores.f64()?.iter().map(|s| s.unwrap_or(f64::NAN)).collect();
    if let Some(row) = scores.iter().position(|s| s.is_nan()) {
        return Err(Error::data(score, format!("expected numbers, row {row} is NaN or null")));
    }
    Ok((scores, flags(table, truth)?))
}

/// A boolean column with some true and some false.
pub(super) fn flags(table: &DataFrame, name: &str) -> Result<Vec<bool>> {
    let column = column(table, name)?;
    if column.dtype() != &DataType::Boolean {
        return Err(Error::data(name, format!("expected true or false for each example, got {}", column.dtype())));
    }
    let flags: Vec<bool> = column.bool()?.iter().map(|flag| flag.unwrap_or(false)).collect();
    let count = flags.iter().filter(|&&flag| flag).count();
    match count == 0 || count == flags.len() {
        true => Err(Error::data(name, format!("expected some of {} examples to be marked, got {count}", flags.len()))),
        false => Ok(flags),
    }
}
