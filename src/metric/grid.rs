use std::time::Instant;

use polars::df;
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use super::correlation::floats;
use super::evaluate::{Metric, Trial};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::method::Method;
use crate::statistics::Estimate;
use crate::task::Task;

/// Of the halves; as of [`choose`](super::choose) with 0.
const SEED: u64 = 0;

/// One method with several options, by several metrics: how good the best option is, and how good one that could have been chosen.
///
/// An option that is chosen and reported on the same examples looks better than it is. One row per metric. Columns: `method`, `metric`;
/// `option`, the label of the best, its number `oracle` and the ends `low` and `high` of its 95 % interval: what papers report;
/// `honest_option`, the best on one half of the metric's items ([`Metric::halves`]), and `honest`, `honest_low`, `honest_high`, its number
/// on the other half, null where a metric has no halves; `options` (how many gave a number) and `seconds` (wall time of fitting and scoring them
/// all); `error`, that of the first option without a number, or null. With a single option nothing is chosen, and `honest` is `oracle`.
///
/// Errors: [`Error::Data`] for no option or no metric; an option or metric that fails leaves its message in `error`.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::Metric;
/// let (train, test) = dataset::digits()?.split(100, 20, 0)?;
/// let (task, trainer) = (Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), Trainer { epochs: 5, learning_rate: 0.01, ..default() });
/// let halves = Subsets::fraction(&train, 0.5, 30, 0)?;
/// let truth = Retraining { trainer: trainer.clone(), ..default() }.run(&task, &train, &test, &halves)?;
/// let trak = |damping| Box::new(Trak { damping: Damping::Relative(damping), ..default() }) as Box<dyn Method>;
/// let options = [1e-6, 1.0].map(|damping| (format!("λ {damping}"), trak(damping)));
/// let metrics: Vec<Box<dyn Metric>> = vec![Box::new(Lds::against(&truth))];
/// let table = metric::grid("TRAK", &options, &metrics, &task.train(&trainer, &train)?, &train, &test)?;
/// assert_eq!(table.column("option")?.str()?.get(0), Some("λ 1"));
/// assert!(table.column("honest")?.f64()?.get(0) > Some(0.2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn grid(
    method: &str,
    options: &[(String, Box<dyn Method>)],
    metrics: &[Box<dyn Metric>],
    task: &Task,
    train: &Dataset,
    test: &Dataset,
) -> Result<DataFrame> {
    for (name, count) in [("options", options.len()), ("metrics", metrics.len())] {
        if count == 0 {
            return Err(Error::data(name, "expected at least one, got none"));
        }
    }
    let start = Instant::now();
    let tried: Vec<Vec<Tried>> = options.iter().map(|(_, option)| judged(option.as_ref(), metrics, task, train, test)).collect();
    let seconds = start.elapsed().as_secs_f64();
    let rows: Vec<Row> = (0..metrics.len()).map(|at| Row::of(options, &tried, at)).collect();
    let mut table = df!(
        "method" => vec![method; rows.len()],
        "metric" => metrics.iter().map(|metric| metric.name()).collect::<Vec<_>>(),
        "option" => rows.iter().map(|row| row.oracle.map(|(label, _)| label)).collect::<Vec<_>>(),
    )?;
    let ends = |table: &mut DataFrame, names: [&str; 3], of: &dyn Fn(&Row) -> Option<Estimate>| -> Result<()> {
        table.with_column(floats(names[0], rows.iter().map(|row| of(row).map(|e| e.mean))))?;
        table.with_column(floats(names[1], rows.iter().map(|row| of(row).map(|e| e.low))))?;
        table.with_column(floats(names[2], rows.iter().map(|row| of(row).map(|e| e.high))))?;
        Ok(())
    };
    ends(&mut table, ["oracle", "low", "high"], &|row| row.oracle.map(|(_, estimate)| estimate))?;
    let labels: Vec<Option<&str>> = rows.iter().map(|row| row.honest.map(|(label, _)| label)).collect();
    table.with_column(Series::new("honest_option".into(), labels).into_column())?;
    ends(&mut table, ["honest", "honest_low", "honest_high"], &|row| row.honest.map(|(_, estimate)| estimate))?;
    table.with_column(Series::new("options".into(), rows.iter().map(|row| row.found).collect::<Vec<u32>>()).into_column())?;
    table.with_column(Series::new("seconds".into(), vec![seconds; rows.len()]).into_column())?;
    let errors: Vec<Option<&str>> = rows.iter().map(|row| row.error).collect();
    table.with_column(Series::new("error".into(), errors).into_column())?;
    Ok(table)
}

/// One option by one metric: the number, and the numbers on both halves.
type Tried = std::result::Result<(Option<Estimate>, Option<[Estimate; 2]>), String>;

fn judged(method: &dyn Method, metrics: &[Box<dyn Metric>], task: &Task, train: &Dataset, test: &Dataset) -> Vec<Tried> {
    let scored = guarded(|| {
        let fitted = method.fit(task, train)?;
        let scores = fitted.score(test)?;
        Ok((fitted, scores))
    });
    let (fitted, scores) = match scored {
        Ok((fitted, scores)) => (fitted, scores),
        Err(error) => return metrics.iter().map(|_| Err(error.to_string())).collect(),
    };
    let trial = Trial { method, fitted: fitted.as_ref(), scores: &scores, task, train, test };
    let finite = |e: &Estimate| [e.mean, e.low, e.high].iter().all(|end| end.is_finite());
    let judge = |metric: &dyn Metric| {
        guarded(|| {
            let whole = metric.estimate(&trial)?.filter(finite);
            Ok((whole, metric.halves(&trial, SEED)?.filter(|halves| halves.iter().all(finite))))
        })
    };
    metrics.iter().map(|metric| judge(metric.as_ref()).map_err(|error| error.to_string())).collect()
}

/// All options by one metric.
struct Row<'a> {
    oracle: Option<(&'a str, Estimate)>,
    honest: Option<(&'a str, Estimate)>,
    found: u32,
    error: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(options: &'a [(String, Box<dyn Method>)], tried: &'a [Vec<Tried>], metric: usize) -> Row<'a> {
        let labelled = || options.iter().map(|(label, _)| label.as_str()).zip(tried.iter().map(move |tried| &tried[metric]));
        let whole: Vec<(&str, Estimate, f64)> =
            labelled().filter_map(|(label, tried)| tried.as_ref().ok()?.0.map(|e| (label, e, e.mean))).collect();
        let halved: Vec<(&str, Estimate, f64)> = labelled()
            .filter_map(|(label, tried)| tried.as_ref().ok()?.1.map(|[chooses, reports]| (label, reports, chooses.mean)))
            .collect();
        let oracle = best(&whole);
        Row {
            oracle,
            honest: if options.len() == 1 { oracle } else { best(&halved) },
            found: whole.len() as u32,
            error: labelled().find_map(|(_, tried)| tried.as_ref().err().map(String::as_str)),
        }
    }
}

/// The first with the largest number.
fn best<'a>(options: &[(&'a str, Estimate, f64)]) -> Option<(&'a str, Estimate)> {
    let largest = options.iter().map(|option| option.2).fold(f64::NEG_INFINITY, f64::max);
    options.iter().find(|option| option.2 == largest).map(|&(label, estimate, _)| (label, estimate))
}
