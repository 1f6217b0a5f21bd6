use polars::df;
use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, Series};
use tch::{Kind, Tensor};

use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::scores::Scores;
use crate::statistics::{Correlation, bootstrap_mean, pearson, spearman};

/// Bootstrap samples of test examples; their seed is 0.
const RESAMPLES: usize = 2_000;

/// How well scores agree with a truth, such as [`LeaveOneOut`](crate::retrain::LeaveOneOut): one row per test example of the truth.
///
/// Columns: `method`, `test` (example id), `n` (train examples compared: those of the truth), `pearson`, `spearman`, each followed
/// by the ends `_low` and `_high` of its 95 % interval (Fisher; Bonett and Wright) over train examples. Examples are matched
/// by id, so the truth may be about some of the train examples only, in any order. A correlation is null where one side is
/// constant or fewer than two examples are compared, its interval for fewer than four.
///
/// Errors: [`Error::Data`] if an example of the truth is not among the scores, or has other inputs or another label there.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(150, 10, 0)?;
/// let newton = Newton { penalty: 0.01, ..default() };
/// let task = newton.train(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), &train)?;
/// let truth = LeaveOneOut { newton }.score(&task, &train, &test, &(0..50).collect::<Vec<_>>())?;
/// let exact = Influence::new(Explicit { damping: Damping::Absolute(0.01), ..default() });
/// let table = metric::agreement(&exact.fit(&task, &train)?.score(&test)?, &truth)?;
/// assert_eq!(table.height(), 10);
/// assert!(table.column("pearson")?.f64()?.iter().flatten().all(|r| r > 0.9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn agreement(scores: &Scores, truth: &Scores) -> Result<DataFrame> {
    let matched = scores.at(truth)?;
    let (m, k) = (truth.n_test(), truth.n_train());
    let (predicted, real) = (numbers(&matched)?, numbers(truth.tensor())?);
    let rows = || predicted.chunks(k).zip(real.chunks(k));
    let (linear, ranked): (Vec<_>, Vec<_>) = rows().map(|(a, b)| (pearson(a, b), spearman(a, b))).unzip();
    let mut columns = vec![
        Series::new("method".into(), vec![scores.method(); m]).into_column(),
        truth.test().column("example")?.clone().with_name("test".into()),
        Series::new("n".into(), vec![k as u32; m]).into_column(),
    ];
    columns.extend(three("pearson", &linear));
    columns.extend(three("spearman", &ranked));
    Ok(DataFrame::new(m, columns)?)
}

/// The mean of [`agreement`] over test examples, one row per method in the order of the table, which may hold several methods one
/// below the other.
///
/// Columns: `method`, `n` (test examples in the means), `constant` (those left out because a correlation is not defined), `pearson`,
/// `spearman` and their ends `_low` and `_high`: 95 % percentile bootstrap intervals over test examples (2,000 samples, seed 0).
///
/// Errors: [`Error::Data`] if a column is missing, or without rows.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(40, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let scores = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let mean = metric::mean_agreement(&metric::agreement(&scores, &scores)?)?;
/// assert!((mean.column("pearson")?.f64()?.get(0).unwrap_or(0.0) - 1.0).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mean_agreement(agreement: &DataFrame) -> Result<DataFrame> {
    let methods = column(agreement, "method")?.str()?;
    let (linear, ranked) = (column(agreement, "pearson")?.f64()?, column(agreement, "spearman")?.f64()?);
    let mut groups: Vec<(&str, [Vec<f64>; 2], u32)> = Vec::new();
    for ((method, linear), ranked) in methods.iter().zip(linear.iter()).zip(ranked.iter()) {
        let method = method.unwrap_or_default();
        let at = groups.iter().position(|group| group.0 == method).unwrap_or_else(|| {
            groups.push((method, [Vec::new(), Vec::new()], 0));
            groups.len() - 1
        });
        match (linear, ranked) {
            (Some(linear), Some(ranked)) => {
                groups[at].1[0].push(linear);
                groups[at].1[1].push(ranked);
            }
            _ => groups[at].2 += 1,
        }
    }
    if groups.is_empty() {
        return Err(Error::data("agreement", "expected at least one row, got none"));
    }
    let mut table = df!(
        "method" => groups.iter().map(|g| g.0).collect::<Vec<_>>(),
        "n" => groups.iter().map(|g| g.1[0].len() as u32).collect::<Vec<_>>(),
        "constant" => groups.iter().map(|g| g.2).collect::<Vec<_>>(),
    )?;
    for (at, name) in ["pearson", "spearman"].into_iter().enumerate() {
        let found: Vec<_> = groups.iter().map(|g| bootstrap_mean(&g.1[at], RESAMPLES, 0)).collect();
        table.with_column(floats(name, found.iter().map(|e| e.map(|e| e.mean))))?;
        table.with_column(floats(&format!("{name}_low"), found.iter().map(|e| e.map(|e| e.low))))?;
        table.with_column(floats(&format!("{name}_high"), found.iter().map(|e| e.map(|e| e.high))))?;
    }
    Ok(table)
}

/// Every pair of the truth beside its score, test by test: what a scatter plot of one against the other needs.
///
/// Columns: `test`, `train` (example ids), `truth`, `score`, `method`. Examples are matched by id, as in [`agreement`].
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(40, 3, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let whole = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let part = GradDot::default().fit(&task, &train.select(&[7, 5])?)?.score(&test)?;
/// let pairs = metric::pairs(&whole, &part)?;
/// assert_eq!((pairs.height(), pairs.column("truth")?.f32()?.get(1)), (6, Some(whole.get(0, 5)?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pairs(scores: &Scores, truth: &Scores) -> Result<DataFrame> {
    let matched = scores.at(truth)?;
    let ids = |frame: &DataFrame| -> Result<Vec<u32>> { Ok(frame.column("example")?.u32()?.into_no_null_iter().collect()) };
    let (tests, trains) = (ids(truth.test())?, ids(truth.train())?);
    let flat = |values: &Tensor| guarded(|| Ok(Vec::<f32>::try_from(&values.contiguous().view([-1]))?));
    Ok(df!(
        "test" => tests.iter().flat_map(|&id| std::iter::repeat_n(id, trains.len())).collect::<Vec<_>>(),
        "train" => tests.iter().flat_map(|_| trains.iter().copied()).collect::<Vec<_>>(),
        "truth" => flat(truth.tensor())?,
        "score" => flat(&matched)?,
        "method" => vec![scores.method(); tests.len() * trains.len()],
    )?)
}

fn numbers(values: &Tensor) -> Result<Vec<f64>> {
    guarded(|| Ok(Vec::<f64>::try_from(&values.to_kind(Kind::Double).contiguous().view([-1]))?))
}

/// A correlation and the ends of its interval as columns.
fn three(name: &str, found: &[Option<Correlation>]) -> [Column; 3] {
    let end = |f: &Option<Correlation>| f.and_then(|f| f.interval);
    [
        floats(name, found.iter().map(|f| f.map(|f| f.value))),
        floats(&format!("{name}_low"), found.iter().map(|f| end(f).map(|i| i.0))),
        floats(&format!("{name}_high"), found.iter().map(|f| end(f).map(|i| i.1))),
    ]
}

/// Float64 even where all is null.
pub(super) fn floats(name: &str, values: impl Iterator<Item = Option<f64>>) -> Column {
    let series = Series::new(name.into(), values.collect::<Vec<_>>());
    debug_assert_eq!(series.dtype(), &DataType::Float64);
    series.into_column()
}
