use polars::df;
use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};
use tch::{Kind, Tensor};

use super::correlation::floats;
use super::each::each;
use super::evaluate::{Metric, Trial, two_halves};
use crate::error::{Error, Result, guarded};
use crate::retrain::Retrained;
use crate::scores::Scores;
use crate::statistics::{Estimate, mean_spearman, p_of_correlation, spearman};

/// Linear datamodeling score (Park et al. 2023, definition 2.3, arXiv 2303.14186), one row per test example: does the sum of the
/// scores of a subset's examples order the subsets as retraining on them does?
///
/// `lds(z') = Spearman over subsets S ( Σ_{i ∈ S} score(z', z_i),  mean over runs of m(z'; θ_S) )`. Columns: `method`, `test` (example
/// id), `subsets`, `lds`, and `p` (two-sided, of no correlation). Null where one side is constant. Examples are matched by id.
///
/// Errors: [`Error::Data`] for fewer than three subsets, for test or train examples that the scores are not about, or that have
/// other inputs or labels there.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
/// let trainer = Trainer { epochs: 5, learning_rate: 0.01, ..default() };
/// let truth = Retraining { trainer: trainer.clone(), ..default() }.run(&task, &train, &test, &Subsets::fraction(&train, 0.5, 20, 0)?)?;
/// let scores = Influence::new(Explicit { damping: Damping::Absolute(0.1), ..default() }).fit(&task.train(&trainer, &train)?, &train)?.score(&test)?;
/// let table = metric::lds(&scores, &truth)?;
/// assert_eq!(table.height(), 20);
/// let lds: Vec<f64> = table.column("lds")?.f64()?.iter().flatten().collect();
/// assert!(lds.iter().sum::<f64>() / lds.len() as f64 > 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lds(scores: &Scores, retrained: &Retrained) -> Result<DataFrame> {
    let found = Compared::new(scores, retrained)?.correlations();
    let (m, subsets) = (retrained.n_test(), retrained.subsets().len());
    Ok(DataFrame::new(
        m,
        vec![
            Series::new("method".into(), vec![scores.method(); m]).into_column(),
            crate::frame::column(retrained.test(), "example")?.clone().with_name("test".into()),
            Series::new("subsets".into(), vec![subsets as u32; m]).into_column(),
            floats("lds", found.iter().copied()),
            floats("p", found.iter().map(|lds| p_of_correlation((*lds)?, subsets))),
        ],
    )?)
}

/// The mean of [`lds`] over test examples, one row: columns `method`, `n` (test examples in the mean), `constant` (those left out,
/// since one side is constant), `subsets`, `runs`, `lds`, `lds_low`, `lds_high`.
///
/// The ends are a 95 % jackknife interval over subsets ([`mean_spearman`]), as the test examples all share these; it is about what
/// endless subsets would show, so that it need not lie evenly about the mean.
///
/// Errors: those of [`lds`].
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(50, 4, 0)?;
/// let halves = Subsets::fraction(&train, 0.5, 10, 0)?;
/// let scores = Random::default().fit(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?, &train)?.score(&test)?;
/// let sums = halves.masks().to_kind(ascribe::tch::Kind::Float).matmul(&scores.tensor().transpose(0, 1));
/// let mean = metric::mean_lds(&scores, &Retrained::new(sums, &halves, &test)?)?;
/// assert!((mean.column("lds")?.f64()?.get(0).unwrap_or(0.0) - 1.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mean_lds(scores: &Scores, retrained: &Retrained) -> Result<DataFrame> {
    let compared = Compared::new(scores, retrained)?;
    let (estimate, constant) = compared.mean();
    Ok(df!(
        "method" => [scores.method()],
        "n" => [(retrained.n_test() - constant) as u32],
        "constant" => [constant as u32],
        "subsets" => [retrained.subsets().len() as u32],
        "runs" => [retrained.runs() as u32],
        "lds" => [estimate.map(|e| e.mean)],
        "lds_low" => [estimate.map(|e| e.low)],
        "lds_high" => [estimate.map(|e| e.high)],
    )?)
}

/// [`lds`] as a [`Metric`].
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::Lds;
/// let (train, test) = dataset::digits()?.split(50, 4, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let scores = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let halves = Subsets::fraction(&train, 0.5, 10, 0)?;
/// let sums = halves.masks().to_kind(ascribe::tch::Kind::Float).matmul(&scores.tensor().transpose(0, 1));
/// let table = Lds::against(&Retrained::new(sums, &halves, &test)?).evaluate(&scores)?;
/// assert!(table.column("value")?.f64()?.iter().flatten().all(|lds| lds > 0.99));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lds {
    retrained: Retrained,
}

impl Lds {
    /// Against what networks trained on subsets measured.
    pub fn against(retrained: &Retrained) -> Lds {
        Lds { retrained: retrained.clone() }
    }

    /// One row per test example. Columns: `method`, `metric`, `test` (example id), `value`; null where one side is constant.
    ///
    /// Errors: those of [`lds`].
    pub fn evaluate(&self, scores: &Scores) -> Result<DataFrame> {
        let found = Compared::new(scores, &self.retrained)?.correlations();
        each(scores.method(), &self.name(), self.retrained.test(), found)
    }
}

impl Metric for Lds {
    fn name(&self) -> String {
        "LDS".into()
    }

    /// The mean and interval of [`mean_lds`].
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        Ok(Compared::new(trial.scores, &self.retrained)?.mean().0)
    }

    /// Of the test examples.
    fn halves(&self, trial: &Trial<'_>, seed: u64) -> Result<Option<[Estimate; 2]>> {
        let compared = Compared::new(trial.scores, &self.retrained)?;
        let [first, second] = two_halves(self.retrained.n_test(), seed).map(|half| compared.select(&half).mean().0);
        Ok(first.zip(second).map(|(first, second)| [first, second]))
    }
}

/// What scores predict for each subset and what retraining gave, each `[n_test, subsets]`, row by row.
pub(super) struct Compared {
    predicted: Vec<Vec<f64>>,
    real: Vec<Vec<f64>>,
}

impl Compared {
    pub(super) fn new(scores: &Scores, retrained: &Retrained) -> Result<Compared> {
        let subsets = retrained.subsets().len();
        if subsets < 3 {
            return Err(Error::data("retrained", format!("a rank correlation needs at least 3 subsets, got {subsets}")));
        }
        let matched = scores.at_examples(&retrained.side(), &retrained.subsets().side())?;
        let masks = retrained.subsets().masks();
        let predicted = guarded(|| Ok(matched.to_kind(Kind::Double).matmul(&masks.to_kind(Kind::Double).transpose(0, 1))))?;
        let rows = |values: &Tensor| guarded(|| Ok(Vec::<Vec<f64>>::try_from(values)?));
        Ok(Compared {
            predicted: rows(&predicted)?,
            real: rows(&guarded(|| Ok(retrained.mean()?.transpose(0, 1).contiguous()))?)?,
        })
    }

    /// The test examples at these places only.
    pub(super) fn select(&self, tests: &[usize]) -> Compared {
        let some = |rows: &[Vec<f64>]| tests.iter().map(|&test| rows[test].clone()).collect();
        Compared { predicted: some(&self.predicted), real: some(&self.real) }
    }

    pub(super) fn correlations(&self) -> Vec<Option<f64>> {
        self.predicted.iter().zip(&self.real).map(|(a, b)| Some(spearman(a, b)?.value)).collect()
    }

    /// The mean over test examples with its interval over subsets, and how many are left out of it.
    pub(super) fn mean(&self) -> (Option<Estimate>, usize) {
        let estimate = mean_spearman(&self.predicted, &self.real);
        (estimate, self.real.len() - estimate.map_or(0, |e| e.n))
    }
}
