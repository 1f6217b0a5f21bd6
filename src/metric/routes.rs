use std::fs;
use std::time::Instant;

use polars::df;
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use super::correlation::floats;
use super::{agreement, mean_agreement};
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::method::Method;
use crate::scores::Scores;
use crate::task::Task;

/// Several methods on the same work against the same truth: what each costs and how well it agrees, one row per method.
///
/// Columns: `method`; `fit_seconds`, `score_seconds` (wall time of one run); `peak_mb` (the largest resident memory of the process
/// while it fitted and scored, above that before, in MB of 2^20 bytes; null where Linux does not tell; what an earlier method freed
/// may be reused, so the first rows are the more honest); then the means of [`mean_agreement`]; and `error`, null for a method
/// that works. A method that fails has its message there and nulls elsewhere; the others still run.
///
/// Errors: only where the table itself cannot be made, e.g. if the truth is about other examples than `train` and `test`.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
/// let newton = Newton { penalty: 0.01, ..default() };
/// let task = newton.train(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), &train)?;
/// let truth = LeaveOneOut { newton }.score(&task, &train, &test, &(0..40).collect::<Vec<_>>())?;
/// let exact = Influence::new(Explicit { damping: Damping::Absolute(0.01), ..default() });
/// let routes: Vec<Box<dyn Method>> = vec![Box::new(exact), Box::new(Random::default())];
/// let table = metric::routes(&routes, &task, &train, &test, &truth)?;
/// let pearson = table.column("pearson")?.f64()?;
/// assert!(pearson.get(0) > Some(0.9) && pearson.get(1) < Some(0.3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn routes(methods: &[Box<dyn Method>], task: &Task, train: &Dataset, test: &Dataset, truth: &Scores) -> Result<DataFrame> {
    // The truth is checked once, against scores that cost nothing, so that its fault is not put down to every method.
    agreement(&crate::method::Random::default().fit(task, train)?.score(test)?, truth)?;
    let runs: Vec<Run> = methods.iter().map(|method| Run::of(method.as_ref(), task, train, test, truth)).collect();
    let mut table = df!("method" => runs.iter().map(|run| run.method.as_str()).collect::<Vec<_>>())?;
    table.with_column(floats("fit_seconds", runs.iter().map(|run| run.seconds.map(|s| s.0))))?;
    table.with_column(floats("score_seconds", runs.iter().map(|run| run.seconds.map(|s| s.1))))?;
    table.with_column(floats("peak_mb", runs.iter().map(|run| run.peak)))?;
    for name in ["pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high"] {
        let values = runs.iter().map(|run| run.means.as_ref().ok()?.column(name).ok()?.f64().ok()?.get(0));
        table.with_column(floats(name, values))?;
    }
    let errors: Vec<Option<String>> = runs.iter().map(|run| run.means.as_ref().err().map(ToString::to_string)).collect();
    table.with_column(Series::new("error".into(), errors).into_column())?;
    Ok(table)
}

struct Run {
    method: String,
    seconds: Option<(f64, f64)>,
    peak: Option<f64>,
    means: Result<DataFrame>,
}

impl Run {
    fn of(method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset, truth: &Scores) -> Run {
        // 5 resets the peak of this process to what is resident now.
        let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        let before = resident("VmRSS:").filter(|_| reset);
        let start = Instant::now();
        let scored = guarded(|| {
            let fitted = method.fit(task, train)?;
            let fit = start.elapsed().as_secs_f64();
            let scores = fitted.score(test)?;
            Ok((scores, (fit, start.elapsed().as_secs_f64() - fit)))
        });
        let peak = before.and_then(|before| Some((resident("VmHWM:")? - before).max(0.0)));
        let seconds = scored.as_ref().ok().map(|(_, seconds)| *seconds);
        let means = scored.and_then(|(scores, _)| mean_agreement(&agreement(&scores, truth)?));
        Run { method: method.name(), peak: peak.filter(|_| seconds.is_some()), seconds, means }
    }
}

/// MB of 2^20 bytes.
fn resident(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
