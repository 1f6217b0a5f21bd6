use polars::prelude::{DataFrame, IntoColumn};

use super::evaluate::{Metric, evaluate, of};
use super::{LooCorrelation, agreement};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::frame::column;
use crate::method::Method;
use crate::scores::Scores;
use crate::task::Task;

/// [`evaluate`] by [`LooCorrelation`] alone, linear and by ranks side by side: one row per method.
///
/// Columns: `method`, `fit_seconds`, `score_seconds`, `peak_mb` as there; the means over test examples `pearson` and `spearman`, each
/// followed by the ends `_low` and `_high` of its interval; and `error`, null for a method that works. A method that fails has its
/// message there and nulls elsewhere; the others still run.
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
    let (linear, ranked) = (LooCorrelation::against(truth), LooCorrelation::against(truth).by_rank());
    let names = [("pearson", linear.name()), ("spearman", ranked.name())];
    let table = evaluate(methods, &[Box::new(linear), Box::new(ranked)], task, train, test)?;
    let parts = [of(&table, &names[0].1)?, of(&table, &names[1].1)?];
    let mut wide: Vec<_> = Vec::new();
    for name in ["method", "fit_seconds", "score_seconds", "peak_mb"] {
        wide.push(column(&parts[0], name)?.clone());
    }
    for ((name, _), part) in names.iter().zip(&parts) {
        for (from, end) in [("mean", ""), ("low", "_low"), ("high", "_high")] {
            wide.push(column(part, from)?.clone().with_name(format!("{name}{end}").into()));
        }
    }
    wide.push(column(&parts[0], "error")?.clone().into_column());
    Ok(DataFrame::new(methods.len(), wide)?)
}
