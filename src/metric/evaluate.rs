//! Many methods, many metrics, one table.

use std::time::Instant;

use polars::df;
use polars::prelude::{BooleanChunked, DataFrame, IntoColumn, NamedFrom, Series};

use super::correlation::floats;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::method::{Attributor, Method};
use crate::process;
use crate::random::{self, Purpose};
use crate::scores::Scores;
use crate::statistics::Estimate;
use crate::task::Task;

/// A method at work on one task: what a [`Metric`] may look at.
pub struct Trial<'a> {
    /// The method, which a metric may fit to something else.
    pub method: &'a dyn Method,
    /// The method, fitted to the train examples.
    pub fitted: &'a dyn Attributor,
    /// Its scores of the train examples for the test examples.
    pub scores: &'a Scores,
    /// What was trained.
    pub task: &'a Task,
    /// The train examples.
    pub train: &'a Dataset,
    /// The test examples.
    pub test: &'a Dataset,
}

/// A way to judge a method by one number.
///
/// A metric with more to say, such as a number for each test example, has an `evaluate` of its own.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::{Metric, Trial};
/// use ascribe::statistics::Estimate;
/// struct Positive; // the share of positive scores
/// impl Metric for Positive {
///     fn name(&self) -> String {
///         "positive".into()
///     }
///     fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>, Error> {
///         let mean = trial.scores.tensor().gt(0.0).to_kind(ascribe::tch::Kind::Double).mean(None::<ascribe::tch::Kind>).double_value(&[]);
///         Ok(Some(Estimate { mean, low: mean, high: mean, n: trial.scores.n_test() }))
///     }
/// }
/// let (train, test) = dataset::digits()?.split(60, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &train)?;
/// let table = metric::evaluate(&[Box::new(Random::default())], &[Box::new(Positive)], &task, &train, &test)?;
/// assert!(table.column("mean")?.f64()?.get(0).is_some_and(|share| (share - 0.5).abs() < 0.1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Metric {
    /// Name for tables: `LDS`.
    fn name(&self) -> String;

    /// One number with its 95 % interval; `None` where it is not defined, as the correlation of a constant.
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>>;

    /// The same on two random halves of what the mean is over, a function of the seed; `None` where it is not defined on both, or the
    /// metric has no halves. [`grid`](super::grid()) chooses an option on the first and reports it on the second.
    fn halves(&self, trial: &Trial<'_>, seed: u64) -> Result<Option<[Estimate; 2]>> {
        let _ = (trial, seed);
        Ok(None)
    }
}

/// Positions `0..n` in two random halves; the second is the larger of an odd number.
pub(super) fn two_halves(n: usize, seed: u64) -> [Vec<usize>; 2] {
    let order = random::permutation(n, seed, Purpose::Split, 0);
    let (first, second) = order.split_at(n / 2);
    [first.to_vec(), second.to_vec()]
}

/// Several methods on the same work, each fitted and scored once and judged by several metrics: what each costs and what it is worth.
///
/// One row per method and metric. Columns: `method`, `metric`; `mean`, `low`, `high`, `n`: the metric's number, the ends of its 95 %
/// interval and the items in the mean, null where it is not defined; `fit_seconds`, `score_seconds` and their sum `seconds` (wall time
/// of one run), `peak_mb` (the largest resident memory of the process while the method fitted and scored, above that before, in MB of
/// 2^20 bytes; null where Linux does not tell; what an earlier method freed may be reused, so the first rows are the more honest);
/// `error`, null for what works. A method or a metric that fails has its message there and nulls elsewhere; the others still run.
/// [`of`] picks one metric for [`intervals`](crate::plot::intervals()) or [`pareto`](crate::plot::pareto()).
///
/// Errors: [`Error::Data`] for no method or no metric.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::{Lds, Metric};
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let (task, trainer) = (Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), Trainer { epochs: 5, learning_rate: 0.01, ..default() });
/// let halves = Subsets::fraction(&train, 0.5, 30, 0)?;
/// let truth = Retraining { trainer: trainer.clone(), ..default() }.run(&task, &train, &test, &halves)?;
/// let methods: Vec<Box<dyn Method>> = vec![Box::new(Trak { damping: Damping::Absolute(1.0), ..default() }), Box::new(Random::default())];
/// let metrics: Vec<Box<dyn Metric>> = vec![Box::new(Lds::against(&truth))];
/// let table = metric::evaluate(&methods, &metrics, &task.train(&trainer, &train)?, &train, &test)?;
/// let mean = table.column("mean")?.f64()?;
/// assert!(mean.get(0) > Some(0.2) && mean.get(0) > mean.get(1));
/// assert!(plot::pareto(&table, "seconds", "mean", "method")?.svg().contains(">Random</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate(
    methods: &[Box<dyn Method>],
    metrics: &[Box<dyn Metric>],
    task: &Task,
    train: &Dataset,
    test: &Dataset,
) -> Result<DataFrame> {
    for (name, count) in [("methods", methods.len()), ("metrics", metrics.len())] {
        if count == 0 {
            return Err(Error::data(name, "expected at least one to evaluate, got none"));
        }
    }
    let rows: Vec<Row> = methods.iter().flat_map(|method| Row::of(method.as_ref(), metrics, task, train, test)).collect();
    let estimate = |row: &Row| row.found.as_ref().ok().copied().flatten();
    let mut table = df!(
        "method" => rows.iter().map(|row| row.method.as_str()).collect::<Vec<_>>(),
        "metric" => rows.iter().map(|row| row.metric.as_str()).collect::<Vec<_>>(),
    )?;
    table.with_column(floats("mean", rows.iter().map(|row| estimate(row).map(|e| e.mean))))?;
    table.with_column(floats("low", rows.iter().map(|row| estimate(row).map(|e| e.low))))?;
    table.with_column(floats("high", rows.iter().map(|row| estimate(row).map(|e| e.high))))?;
    let items: Vec<Option<u32>> = rows.iter().map(|row| estimate(row).map(|e| e.n as u32)).collect();
    table.with_column(Series::new("n".into(), items).into_column())?;
    table.with_column(floats("fit_seconds", rows.iter().map(|row| row.cost.map(|cost| cost.fit))))?;
    table.with_column(floats("score_seconds", rows.iter().map(|row| row.cost.map(|cost| cost.score))))?;
    table.with_column(floats("seconds", rows.iter().map(|row| row.cost.map(|cost| cost.fit + cost.score))))?;
    table.with_column(floats("peak_mb", rows.iter().map(|row| row.cost.and_then(|cost| cost.peak))))?;
    let errors: Vec<Option<&str>> = rows.iter().map(|row| row.found.as_ref().err().map(String::as_str)).collect();
    table.with_column(Series::new("error".into(), errors).into_column())?;
    Ok(table)
}

/// The rows of [`evaluate`]'s table that are about one metric.
///
/// Errors: [`Error::Data`] if there is none; it names those there are.
///
/// ```
/// use ascribe::{metric, polars::df};
/// let table = df!("method" => ["a", "a"], "metric" => ["LDS", "AUC"], "mean" => [0.1, 0.9])?;
/// assert_eq!(metric::of(&table, "AUC")?.column("mean")?.f64()?.get(0), Some(0.9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn of(table: &DataFrame, metric: &str) -> Result<DataFrame> {
    let names = column(table, "metric")?.str()?;
    let mask: BooleanChunked = names.iter().map(|name| name == Some(metric)).collect();
    if mask.any() {
        return Ok(table.filter(&mask)?);
    }
    let mut known: Vec<&str> = names.iter().flatten().collect();
    known.sort_unstable();
    known.dedup();
    Err(Error::data(format!("metric {metric}"), format!("expected one of {}", known.join(", "))))
}

#[derive(Clone, Copy)]
struct Cost {
    fit: f64,
    score: f64,
    /// In MB of 2^20 bytes.
    peak: Option<f64>,
}

struct Row {
    method: String,
    metric: String,
    cost: Option<Cost>,
    found: std::result::Result<Option<Estimate>, String>,
}

impl Row {
    /// One method by every metric.
    fn of(method: &dyn Method, metrics: &[Box<dyn Metric>], task: &Task, train: &Dataset, test: &Dataset) -> Vec<Row> {
        let before = if process::reset_peak() { process::resident() } else { None };
        let start = Instant::now();
        let scored = guarded(|| {
            let fitted = method.fit(task, train)?;
            let fit = start.elapsed().as_secs_f64();
            let scores = fitted.score(test)?;
            Ok((fitted, scores, fit))
        });
        let elapsed = start.elapsed().as_secs_f64();
        let peak = before.and_then(|before| Some((process::peak()? - before).max(0.0) / f64::from(1 << 20)));
        let row = |metric: &dyn Metric, cost, found: Result<Option<Estimate>>| {
            let finite = |e: &Estimate| [e.mean, e.low, e.high].iter().all(|end| end.is_finite());
            let found = found.map(|found| found.filter(finite)).map_err(|error| error.to_string());
            Row { method: method.name(), metric: metric.name(), cost, found }
        };
        match scored {
            Ok((fitted, scores, fit)) => {
                let cost = Some(Cost { fit, score: elapsed - fit, peak });
                let trial = Trial { method, fitted: fitted.as_ref(), scores: &scores, task, train, test };
                metrics.iter().map(|metric| row(metric.as_ref(), cost, guarded(|| metric.estimate(&trial)))).collect()
            }
            Err(error) => {
                let failed = |metric: &dyn Metric| Row {
                    method: method.name(),
                    metric: metric.name(),
                    cost: None,
                    found: Err(error.to_string()),
                };
                metrics.iter().map(|metric| failed(metric.as_ref())).collect()
            }
        }
    }
}
