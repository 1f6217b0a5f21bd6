use polars::df;
use polars::prelude::DataFrame;
use tch::{Kind, Tensor};

use super::correlation::floats;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::retrain::{Retraining, Subsets};
use crate::scores::{Scores, Side};
use crate::statistics::t_quantile;
use crate::task::Task;

/// What a score is in units of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Dropping an example lowers the measurement by `score / n`: `Influence` and `LeaveOneOut`, which speak of the mean objective over `n`
    /// train examples.
    Mean,
    /// Dropping it lowers the measurement by `score`: `Trak`, which predicts sums over subsets.
    Sum,
}

/// To first order, the change of each test example's measurement when some train examples are dropped: `−Σ score / n` or `−Σ score`.
///
/// `drop` holds train positions, `n` is the number of train examples of the scores. Columns: `method`, `metric`, `test` (example id),
/// `value` (the change; negative: the measurement falls), `dropped` (how many). Dropping helpful examples lowers the measurement.
/// Misleads: scores that only rank, such as `GradDot`, are in no unit; for many dropped examples first order is far off.
///
/// Errors: [`Error::Data`] for no position, one twice, one outside, or all of them.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::Scale;
/// let (train, test) = dataset::digits()?.split(150, 5, 0)?;
/// let newton = Newton { penalty: 0.01, ..default() };
/// let task = newton.train(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), &train)?;
/// let scores = Influence::new(Explicit { damping: Damping::Absolute(0.01), ..default() }).fit(&task, &train)?.score(&test)?;
/// let table = metric::counterfactual(&scores, &[3, 7], Scale::Mean)?;
/// let by_hand = f64::from(-(scores.get(0, 3)? + scores.get(0, 7)?)) / 150.0;
/// assert!(table.column("value")?.f64()?.get(0).is_some_and(|change| (change - by_hand).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn counterfactual(scores: &Scores, drop: &[usize], scale: Scale) -> Result<DataFrame> {
    let changes = predicted(scores, drop, scale)?;
    let m = scores.n_test();
    let mut table = df!("method" => vec![scores.method(); m], "metric" => vec!["predicted change"; m])?;
    table.with_column(column(scores.test(), "example")?.clone().with_name("test".into()))?;
    table.with_column(floats("value", changes.into_iter().map(Some)))?;
    table.with_column(polars::prelude::Column::new("dropped".into(), vec![drop.len() as u32; m]))?;
    Ok(table)
}

/// [`counterfactual`] beside what retraining without the examples does.
///
/// Every run of `retraining` trains two networks, with and without the examples, that start from the same weights. Columns: `method`,
/// `test` (example id), `predicted`, `retrained` (the mean change over runs), `retrained_low`, `retrained_high` (its 95 % interval by
/// Student's t; null for one run), `spread` (the standard deviation of the change from run to run; null for one run), `runs`, `dropped`.
///
/// Errors: those of [`counterfactual`]; [`Error::Data`] for scores of other examples, [`Error::Option`] for a cache, whose numbers the two
/// would share; what training says.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::Scale;
/// let (train, test) = dataset::digits()?.split(100, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
/// let trainer = Trainer { epochs: 5, learning_rate: 0.01, ..default() };
/// let trak = Trak { damping: Damping::Absolute(1.0), ..default() };
/// let scores = trak.fit(&task.clone().train(&trainer, &train)?, &train)?.score(&test)?;
/// let retraining = Retraining { trainer, runs: 3, ..default() };
/// let table = metric::verify(&scores, &scores.top(0, 20)?, Scale::Sum, &retraining, &task, &train, &test)?;
/// let change = |name: &str| Ok::<_, Error>(table.column(name)?.f64()?.get(0));
/// assert!(change("predicted")? < Some(0.0) && change("retrained")? < Some(0.0)); // its own proponents are gone
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(
    scores: &Scores,
    drop: &[usize],
    scale: Scale,
    retraining: &Retraining,
    task: &Task,
    train: &Dataset,
    test: &Dataset,
) -> Result<DataFrame> {
    let changes = predicted(scores, drop, scale)?;
    scores.check(test, train)?;
    if retraining.cache.is_some() {
        return Err(Error::option("Retraining.cache", "none: the networks share their numbers", "a folder"));
    }
    let n = train.len();
    let mut inside = vec![1u8; 2 * n];
    drop.iter().for_each(|&at| inside[n + at] = 0);
    let masks = guarded(|| Ok(Tensor::from_slice(&inside).view([2, n as i64])))?;
    let retrained = retraining.run(task, train, test, &Subsets::from_masks(train, &masks)?.numbered(vec![0; 2]))?;
    let (m, runs) = (test.len(), retrained.runs());
    let apart = guarded(|| {
        let values = retrained.tensor().to_kind(Kind::Double);
        Ok(Vec::<Vec<f64>>::try_from(&(values.get(1) - values.get(0)).transpose(0, 1).contiguous())?) // [n_test, runs]
    })?;
    let means: Vec<f64> = apart.iter().map(|row| row.iter().sum::<f64>() / runs as f64).collect();
    let spread = |(row, mean): (&Vec<f64>, &f64)| {
        let squares: f64 = row.iter().map(|change| (change - mean) * (change - mean)).sum();
        (runs > 1).then(|| (squares / (runs - 1) as f64).sqrt())
    };
    let spreads: Vec<Option<f64>> = apart.iter().zip(&means).map(spread).collect();
    let reach: Vec<Option<f64>> = spreads.iter().map(|s| s.map(|s| t_quantile(runs - 1) * s / (runs as f64).sqrt())).collect();
    let end = |sign: f64| means.iter().zip(&reach).map(|(mean, reach)| reach.map(|r| mean + sign * r)).collect::<Vec<_>>();
    let mut table = df!("method" => vec![scores.method(); m])?;
    let ids = Side { frame: scores.test(), digests: &[] }.examples()?;
    table.with_column(polars::prelude::Column::new("test".into(), ids))?;
    table.with_column(floats("predicted", changes.into_iter().map(Some)))?;
    table.with_column(floats("retrained", means.iter().copied().map(Some)))?;
    table.with_column(floats("retrained_low", end(-1.0).into_iter()))?;
    table.with_column(floats("retrained_high", end(1.0).into_iter()))?;
    table.with_column(floats("spread", spreads.into_iter()))?;
    table.with_column(polars::prelude::Column::new("runs".into(), vec![runs as u32; m]))?;
    table.with_column(polars::prelude::Column::new("dropped".into(), vec![drop.len() as u32; m]))?;
    Ok(table)
}

fn predicted(scores: &Scores, drop: &[usize], scale: Scale) -> Result<Vec<f64>> {
    let n = scores.n_train();
    let mut sorted = drop.to_vec();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::data("drop", format!("expected each train position once, got {} twice", twice[0])));
    }
    if let Some(outside) = sorted.last().filter(|&&last| last >= n) {
        return Err(Error::data("drop", format!("expected train positions 0 to {}, got {outside}", n - 1)));
    }
    if drop.is_empty() || drop.len() == n {
        return Err(Error::data("drop", format!("expected 1 to {} train positions, got {}", n - 1, drop.len())));
    }
    let factor = match scale {
        Scale::Mean => -1.0 / n as f64,
        Scale::Sum => -1.0,
    };
    guarded(|| {
        let index = Tensor::from_slice(&drop.iter().map(|&at| at as i64).collect::<Vec<_>>());
        let sums =
            scores.tensor().index_select(1, &index).to_kind(Kind::Double).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        Ok(Vec::<f64>::try_from(&(sums * factor))?)
    })
}
