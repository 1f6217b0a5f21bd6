use polars::df;
use polars::prelude::{DataFrame, DataType};
use tch::Kind;

use super::evaluate::{Metric, Trial, two_halves};
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::random::{self, Purpose};
use crate::statistics::{self, Estimate, average_precision};

/// Do planted wrong labels get the largest self-influence?
///
/// The area under the receiver operating characteristic of a ranking of the train examples, by self-influence or any other number.
/// Where self-influence is dear, a sample of the train examples will do: see `each`.
/// Misleads: a planted fault is an easy one, an honest mistake lies between classes.
///
/// ```
/// use ascribe::{metric::MislabelDetection, polars::df};
/// let ranking = df!("self_influence" => [0.9, 0.1, 0.8, 0.2], "flipped" => [true, false, false, true])?;
/// let table = MislabelDetection::of("flipped").evaluate("by hand", &ranking, "self_influence")?;
/// assert_eq!(table.column("value")?.f64()?.get(0), Some(0.75)); // three of four pairs are in order
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MislabelDetection {
    /// The boolean metadata column of the train examples that marks the planted ones.
    pub planted: String,
    /// Judge a method by so many random planted examples and as many others, by [`own_scores`](crate::method::Attributor::own_scores): for a
    /// task that measures its objective, their self-influence. All train examples if not given.
    pub each: Option<usize>,
}

impl MislabelDetection {
    /// For examples marked by this column.
    pub fn of(planted: impl Into<String>) -> MislabelDetection {
        MislabelDetection { planted: planted.into(), each: None }
    }

    /// The numbers to rank by, and which are planted.
    fn judged(&self, trial: &Trial<'_>) -> Result<(Vec<f64>, Vec<bool>)> {
        let Some(each) = self.each else {
            return marked(&trial.fitted.self_influence()?, "self_influence", &self.planted);
        };
        if each == 0 {
            return Err(Error::option("MislabelDetection.each", "at least 1", each));
        }
        let planted = flags(trial.train.frame(), &self.planted)?;
        let order = random::permutation(planted.len(), 0, Purpose::Subset, u64::MAX);
        let kind = |wanted: bool| order.iter().copied().filter(|&at| planted[at] == wanted).take(each).collect::<Vec<_>>();
        let chosen = [kind(true), kind(false)].concat();
        let scores = trial.fitted.own_scores(&trial.train.select(&chosen)?)?;
        let scores = guarded(|| Ok(Vec::<f64>::try_from(&scores.to_kind(Kind::Double))?))?;
        Ok((scores, chosen.iter().map(|&at| planted[at]).collect()))
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
        let (scores, planted) = self.judged(trial)?;
        Ok(statistics::auc(&scores, &planted))
    }

    /// Of the train examples that are judged.
    fn halves(&self, trial: &Trial<'_>, seed: u64) -> Result<Option<[Estimate; 2]>> {
        let (scores, planted) = self.judged(trial)?;
        let [first, second] = two_halves(scores.len(), seed).map(|half| {
            let (scores, planted): (Vec<f64>, Vec<bool>) = half.into_iter().map(|at| (scores[at], planted[at])).unzip();
            statistics::auc(&scores, &planted)
        });
        Ok(first.zip(second).map(|(first, second)| [first, second]))
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
