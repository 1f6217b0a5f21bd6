use polars::prelude::DataFrame;
use tch::{Kind, Tensor};

use super::each::each;
use super::evaluate::{Metric, Trial, two_halves};
use crate::error::{Error, Result, guarded};
use crate::retrain::Retrained;
use crate::scores::Scores;
use crate::statistics::{Estimate, bootstrap_mean, pearson, spearman};

/// Bootstrap samples of test examples; their seed is 0.
const RESAMPLES: usize = 2_000;

/// Leave-one-out correlation: over train examples, do scores go along with what leaving each out really does?
///
/// `r(z') = correlation over i ( score(z', z_i),  m(z'; θ) − m(z'; θ without i) )`, Pearson's, or Spearman's by ranks; it is the same
/// whatever the constant `m(z'; θ)`. Examples are matched by id, so the truth may be about some of the train examples, in any order.
/// Misleads: where one example changes less than the randomness of training does, the truth is noise and every method is near zero.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::LooCorrelation;
/// let (train, test) = dataset::digits()?.split(60, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// let scores = GradDot::default().fit(&task, &train)?.score(&test)?;
/// // Retraining that takes away what the scores say.
/// let out = Subsets::leave_one_out(&train, &[3, 1, 4])?;
/// let measured = -scores.tensor().index_select(1, &Tensor::from_slice(&[3i64, 1, 4])).transpose(0, 1);
/// let truth = Retrained::new(measured, &out, &test)?;
/// let table = LooCorrelation::retrained(&truth)?.evaluate(&scores)?;
/// assert!(table.column("value")?.f64()?.iter().flatten().all(|r| r > 0.9999));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LooCorrelation {
    truth: Truth,
    /// Whether to compare ranks (Spearman) rather than numbers (Pearson).
    pub ranks: bool,
}

#[derive(Clone, Debug)]
enum Truth {
    Scores(Scores),
    /// And the position of the example that each subset leaves out.
    Retrained(Retrained, Vec<i64>),
}

impl LooCorrelation {
    /// Against changes of the measurement, such as those of [`LeaveOneOut`](crate::retrain::LeaveOneOut).
    pub fn against(truth: &Scores) -> LooCorrelation {
        LooCorrelation { truth: Truth::Scores(truth.clone()), ranks: false }
    }

    /// Against networks trained without one example each ([`Subsets::leave_one_out`](crate::retrain::Subsets::leave_one_out)).
    ///
    /// Errors: [`Error::Data`] if a subset leaves out none or several.
    pub fn retrained(truth: &Retrained) -> Result<LooCorrelation> {
        let missing = guarded(|| Ok(Vec::<Vec<i64>>::try_from(&truth.subsets().masks().logical_not().to_kind(Kind::Int64))?))?;
        let mut out = Vec::with_capacity(missing.len());
        for (row, number) in missing.iter().zip(truth.subsets().numbers()) {
            let left: Vec<usize> = (0..row.len()).filter(|&at| row[at] != 0).collect();
            match left[..] {
                [one] => out.push(one as i64),
                _ => {
                    let reason = format!("expected each to leave out one example, subset {number} leaves out {}", left.len());
                    return Err(Error::data("subsets", reason));
                }
            }
        }
        Ok(LooCorrelation { truth: Truth::Retrained(truth.clone(), out), ranks: false })
    }

    /// By ranks: Spearman's correlation.
    pub fn by_rank(self) -> LooCorrelation {
        LooCorrelation { ranks: true, ..self }
    }

    /// One row per test example of the truth. Columns: `method`, `metric`, `test` (example id), `value`; null where one side is constant or
    /// fewer than two examples are compared.
    ///
    /// Errors: [`Error::Data`] if an example of the truth is not among the scores, or has other inputs or another label there.
    pub fn evaluate(&self, scores: &Scores) -> Result<DataFrame> {
        let test = match &self.truth {
            Truth::Scores(truth) => truth.test(),
            Truth::Retrained(truth, _) => truth.test(),
        };
        each(scores.method(), &self.name(), test, self.correlations(scores)?)
    }

    fn correlations(&self, scores: &Scores) -> Result<Vec<Option<f64>>> {
        let (matched, real) = match &self.truth {
            Truth::Scores(truth) => (scores.at(truth)?, truth.tensor().shallow_clone()),
            Truth::Retrained(truth, out) => {
                let matched = scores.at_examples(&truth.side(), &truth.subsets().side())?;
                guarded(|| Ok((matched.index_select(1, &Tensor::from_slice(out)), -truth.mean()?.transpose(0, 1))))?
            }
        };
        let rows = |values: &Tensor| guarded(|| Ok(Vec::<Vec<f64>>::try_from(&values.to_kind(Kind::Double).contiguous())?));
        let correlation = if self.ranks { spearman } else { pearson };
        Ok(rows(&matched)?.iter().zip(&rows(&real)?).map(|(a, b)| Some(correlation(a, b)?.value)).collect())
    }
}

impl Metric for LooCorrelation {
    fn name(&self) -> String {
        if self.ranks { "LOO Spearman" } else { "LOO Pearson" }.into()
    }

    /// The mean over test examples with its percentile bootstrap interval (2,000 samples, seed 0).
    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        let found: Vec<f64> = self.correlations(trial.scores)?.into_iter().flatten().collect();
        Ok(bootstrap_mean(&found, RESAMPLES, 0))
    }

    /// Of the test examples.
    fn halves(&self, trial: &Trial<'_>, seed: u64) -> Result<Option<[Estimate; 2]>> {
        let found = self.correlations(trial.scores)?;
        let [first, second] = two_halves(found.len(), seed).map(|half| {
            let some: Vec<f64> = half.into_iter().filter_map(|at| found[at]).collect();
            bootstrap_mean(&some, RESAMPLES, 0)
        });
        Ok(first.zip(second).map(|(first, second)| [first, second]))
    }
}
