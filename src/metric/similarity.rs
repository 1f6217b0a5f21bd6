use std::collections::HashSet;

use polars::df;
use polars::prelude::DataFrame;
use tch::Kind;

use super::correlation::floats;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::scores::{Scores, Side};
use crate::statistics::{bootstrap_mean, kendall, spearman};

/// How alike the answers of several methods are, one row per pair of methods, metric and test example.
///
/// Columns: `method`, `other`, `metric`, `test` (example id), `value`. Metrics: `Spearman` and `Kendall` (τ-b) over train examples, and
/// `Jaccard`: of the `k` strongest proponents of both, the share that both name. Each pair of methods stands once; train and test examples
/// are matched by id. Null where one side is constant. Agreement is no truth: two methods can be wrong alike.
///
/// Errors: [`Error::Data`] for fewer than two methods, for methods of one name or scores of other examples, or for `k` out of range.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let scores = [GradDot::default().fit(&task, &train)?.score(&test)?, GradCos::default().fit(&task, &train)?.score(&test)?];
/// let mean = metric::mean_similarity(&metric::similarity(&scores, 10)?)?;
/// assert_eq!(mean.height(), 3);
/// assert!(mean.column("value")?.f64()?.iter().flatten().all(|value| value > 0.2));
/// assert!(plot::similarity(&mean, "Spearman")?.svg().contains("GradCos"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn similarity(scores: &[Scores], k: usize) -> Result<DataFrame> {
    if scores.len() < 2 {
        return Err(Error::data("methods", format!("expected at least two to compare, got {}", scores.len())));
    }
    let mut names = HashSet::new();
    if let Some(twice) = scores.iter().find(|scores| !names.insert(scores.method())) {
        return Err(Error::data("methods", format!("expected different names, {} comes twice", twice.method())));
    }
    let first = &scores[0];
    if k == 0 || k > first.n_train() {
        return Err(Error::data("k", format!("expected 1 to {} (the train examples), got {k}", first.n_train())));
    }
    let mut rows = Vec::with_capacity(scores.len());
    for other in scores {
        if other.n_train() != first.n_train() || other.n_test() != first.n_test() {
            let (there, here) = ((other.n_test(), other.n_train()), (first.n_test(), first.n_train()));
            let reason =
                format!("expected the {} × {} examples of {}, got {} × {}", here.0, here.1, first.method(), there.0, there.1);
            return Err(Error::data(other.method(), reason));
        }
        let matched = other.at(first)?;
        rows.push(guarded(|| Ok(Vec::<Vec<f64>>::try_from(&matched.to_kind(Kind::Double).contiguous())?))?);
    }
    let tests: Vec<u32> = Side { frame: first.test(), digests: &[] }.examples()?;
    let (mut method, mut other, mut metric, mut test, mut value) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for a in 0..scores.len() {
        for b in a + 1..scores.len() {
            for (at, id) in tests.iter().enumerate() {
                let (x, y) = (&rows[a][at], &rows[b][at]);
                let found = [
                    ("Spearman", spearman(x, y).map(|c| c.value)),
                    ("Kendall", kendall(x, y)),
                    ("Jaccard", Some(jaccard(x, y, k))),
                ];
                for (name, number) in found {
                    method.push(scores[a].method());
                    other.push(scores[b].method());
                    metric.push(name);
                    test.push(*id);
                    value.push(number);
                }
            }
        }
    }
    let mut table = df!("method" => method, "other" => other, "metric" => metric, "test" => test)?;
    table.with_column(floats("value", value.into_iter()))?;
    Ok(table)
}

/// The mean of [`similarity`] over test examples, one row per pair of methods and metric.
///
/// Columns: `method`, `other`, `metric`, `value`, `low`, `high` (a 95 % percentile bootstrap interval over test examples, 2,000 samples,
/// seed 0), `n` (test examples in the mean). [`plot::similarity`](crate::plot::similarity()) draws one metric as a matrix.
///
/// Errors: [`Error::Data`] if a column is missing, or without rows.
///
/// ```
/// use ascribe::{metric, polars::df};
/// let table = df!("method" => ["a", "a"], "other" => ["b", "b"], "metric" => ["Kendall", "Kendall"], "value" => [0.25, 0.75])?;
/// assert_eq!(metric::mean_similarity(&table)?.column("value")?.f64()?.get(0), Some(0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mean_similarity(similarity: &DataFrame) -> Result<DataFrame> {
    let texts = |name: &str| -> Result<Vec<&str>> {
        Ok(column(similarity, name)?.str()?.iter().map(Option::unwrap_or_default).collect())
    };
    let (methods, others, metrics) = (texts("method")?, texts("other")?, texts("metric")?);
    let mut groups: Vec<([&str; 3], Vec<f64>)> = Vec::new();
    for (row, value) in column(similarity, "value")?.f64()?.iter().enumerate() {
        let key = [methods[row], others[row], metrics[row]];
        let at = groups.iter().position(|group| group.0 == key).unwrap_or_else(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.extend(value);
    }
    if groups.is_empty() {
        return Err(Error::data("similarity", "expected at least one row, got none"));
    }
    let found: Vec<_> = groups.iter().map(|group| bootstrap_mean(&group.1, 2_000, 0)).collect();
    let mut table = df!(
        "method" => groups.iter().map(|group| group.0[0]).collect::<Vec<_>>(),
        "other" => groups.iter().map(|group| group.0[1]).collect::<Vec<_>>(),
        "metric" => groups.iter().map(|group| group.0[2]).collect::<Vec<_>>(),
    )?;
    table.with_column(floats("value", found.iter().map(|e| e.map(|e| e.mean))))?;
    table.with_column(floats("low", found.iter().map(|e| e.map(|e| e.low))))?;
    table.with_column(floats("high", found.iter().map(|e| e.map(|e| e.high))))?;
    let counts = polars::prelude::Column::new("n".into(), groups.iter().map(|group| group.1.len() as u32).collect::<Vec<_>>());
    table.with_column(counts)?;
    Ok(table)
}

/// Of the `k` largest of both, ties by position, the share in both.
fn jaccard(x: &[f64], y: &[f64], k: usize) -> f64 {
    let top = |values: &[f64]| -> HashSet<usize> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        order.into_iter().take(k).collect()
    };
    let (a, b) = (top(x), top(y));
    let both = a.intersection(&b).count();
    both as f64 / (2 * k - both) as f64
}
