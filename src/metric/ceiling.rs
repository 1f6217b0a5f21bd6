use polars::df;
use polars::prelude::DataFrame;
use tch::{Kind, Tensor};

use crate::error::{Error, Result, guarded};
use crate::retrain::Retrained;
use crate::statistics::mean_spearman;

/// How far networks that were trained again on the same subsets agree, and with it the linear datamodeling score that can be reached.
///
/// Training on a subset is partly chance, and a method cannot foretell chance. One row; columns: `runs` R; `agreement` r, the mean over pairs of runs
/// and test examples of Spearman's correlation over subsets, with the ends `agreement_low`, `agreement_high` of its 95 % jackknife interval over
/// subsets; `one` and `all`, about the score of a method that knows what training gives on average, against one run and against the mean of all:
/// `√r` and `√(R r / (1 + (R − 1) r))` (Spearman 1910, Brown 1910); 0 where runs do not agree.
///
/// Errors: [`Error::Data`] for fewer than 2 runs or 3 subsets.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(50, 20, 0)?;
/// let halves = Subsets::fraction(&train, 0.5, 200, 0)?;
/// let numbers = Tensor::from_slice(&(0..200 * 20).map(|i| f64::from(i * i % 4001)).collect::<Vec<_>>()).view([200, 1, 20]);
/// let noise = Tensor::from_slice(&(0..200 * 40).map(|i| f64::from(i * i % 4003)).collect::<Vec<_>>()).view([200, 2, 20]);
/// // What both runs share has as much spread as what they do not.
/// let table = metric::ceiling(&Retrained::new(numbers + noise, &halves, &test)?)?;
/// assert!(table.column("one")?.f64()?.get(0).is_some_and(|one| (one - 0.5f64.sqrt()).abs() < 0.1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ceiling(retrained: &Retrained) -> Result<DataFrame> {
    let (runs, subsets) = (retrained.runs(), retrained.subsets().len());
    if runs < 2 || subsets < 3 {
        return Err(Error::data("retrained", format!("expected at least 2 runs of 3 subsets, got {runs} of {subsets}")));
    }
    let rows = |run: usize| -> Result<Vec<Vec<f64>>> {
        let values: Tensor = retrained.tensor().select(1, run as i64).transpose(0, 1).to_kind(Kind::Double).contiguous();
        Ok(Vec::<Vec<f64>>::try_from(&values)?)
    };
    let each = guarded(|| (0..runs).map(rows).collect::<Result<Vec<_>>>())?;
    let pairs = || (0..runs).flat_map(|b| (0..b).map(move |a| (a, b)));
    let side = |of: fn((usize, usize)) -> usize| pairs().flat_map(|pair| each[of(pair)].iter().cloned()).collect::<Vec<_>>();
    let agreement = mean_spearman(&side(|pair| pair.0), &side(|pair| pair.1));
    let reached = |runs: f64| agreement.map(|e| e.mean.max(0.0)).map(|r| (runs * r / (1.0 + (runs - 1.0) * r)).sqrt());
    Ok(df!(
        "runs" => [runs as u32],
        "agreement" => [agreement.map(|e| e.mean)],
        "agreement_low" => [agreement.map(|e| e.low)],
        "agreement_high" => [agreement.map(|e| e.high)],
        "one" => [reached(1.0)],
        "all" => [reached(runs as f64)],
    )?)
}
