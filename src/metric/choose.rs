use polars::df;
use polars::prelude::DataFrame;

use super::evaluate::two_halves;
use super::lds::Compared;
use crate::error::{Error, Result};
use crate::retrain::Retrained;
use crate::scores::Scores;

/// Which option has the highest linear datamodeling score, chosen on one half of the test examples and reported on the other.
///
/// An option that is chosen and reported on the same examples looks better than it is: `oracle` marks the one that papers report.
/// One row per option: `option`, `choosing` (mean LDS on the half that chooses), `reported`, `reported_low`, `reported_high` (on the
/// other half, intervals as in [`mean_lds`](super::mean_lds)), `honest` (whether it is best on the first half) and `oracle` (whether
/// it is best on the second). The halves are a function of the seed. [`grid`](super::grid()) does the same for any metric, and keeps one row.
///
/// Errors: those of [`lds`](super::lds); [`Error::Data`] for no option or fewer than two test examples.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(50, 10, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let halves = Subsets::fraction(&train, 0.5, 10, 0)?;
/// let right = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let truth = halves.masks().to_kind(ascribe::tch::Kind::Float).matmul(&right.tensor().transpose(0, 1));
/// let wrong = Random::default().fit(&task, &train)?.score(&test)?;
/// let table = metric::choose(&[("right", right), ("wrong", wrong)], &Retrained::new(truth, &halves, &test)?, 0)?;
/// assert_eq!(table.column("honest")?.bool()?.get(0), Some(true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn choose(options: &[(&str, Scores)], retrained: &Retrained, seed: u64) -> Result<DataFrame> {
    let m = retrained.n_test();
    if options.is_empty() {
        return Err(Error::data("options", "expected at least one to choose from, got none"));
    }
    if m < 2 {
        return Err(Error::data(
            "test",
            format!("expected at least 2 test examples, a half to choose on and one to report, got {m}"),
        ));
    }
    let [first, second] = two_halves(m, seed);
    let (mut choosing, mut reported) = (Vec::new(), Vec::new());
    for (_, scores) in options {
        let compared = Compared::new(scores, retrained)?;
        let found: Vec<f64> = compared.select(&first).correlations().into_iter().flatten().collect();
        choosing.push((!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64));
        reported.push(compared.select(&second).mean().0);
    }
    let means: Vec<Option<f64>> = reported.iter().map(|e| e.map(|e| e.mean)).collect();
    Ok(df!(
        "option" => options.iter().map(|(label, _)| *label).collect::<Vec<_>>(),
        "choosing" => choosing.clone(),
        "reported" => means.clone(),
        "reported_low" => reported.iter().map(|e| e.map(|e| e.low)).collect::<Vec<_>>(),
        "reported_high" => reported.iter().map(|e| e.map(|e| e.high)).collect::<Vec<_>>(),
        "honest" => best(&choosing),
        "oracle" => best(&means),
    )?)
}

/// Marks the first largest number.
fn best(values: &[Option<f64>]) -> Vec<bool> {
    let largest = values.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let first = values.iter().position(|value| *value == Some(largest));
    (0..values.len()).map(|at| Some(at) == first).collect()
}
