use polars::prelude::DataFrame;
use tch::Tensor;

use super::contrast::Contrast;
use super::retrained::Retrained;
use super::valuation::{Valuation, table};
use crate::error::{Result, guarded};
use crate::scores::{Scores, Side, check_position};

/// Scores that come from samples, and how far off they may be.
pub struct Estimated {
    scores: Scores,
    /// `[n_test, n_train]`, float64.
    standard_errors: Tensor,
    overall: Valuation,
}

impl Clone for Estimated {
    fn clone(&self) -> Estimated {
        let standard_errors = self.standard_errors.shallow_clone();
        Estimated { scores: self.scores.clone(), standard_errors, overall: self.overall.clone() }
    }
}

impl std::fmt::Debug for Estimated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Estimated ({}, {} × {})", self.scores.method(), self.scores.n_test(), self.scores.n_train())
    }
}

impl Estimated {
    /// From rows for the test examples and a last one for their mean.
    pub(super) fn new(rows: Contrast, method: &str, test: &Side<'_>, train: &Side<'_>) -> Result<Estimated> {
        let (values, errors) = (&rows.difference, &rows.standard_error);
        let m = test.frame.height() as i64;
        let part = |tensor: &Tensor| guarded(|| Ok((tensor.narrow(0, 0, m), tensor.get(m))));
        let ((values, mean), (errors, mean_error)) = (part(values)?, part(errors)?);
        let overall = Valuation::new(mean, mean_error, train.frame, method);
        Ok(Estimated { scores: Scores::of_sides(values, method, test, train)?, standard_errors: errors, overall })
    }

    pub(super) fn of(retrained: &Retrained, rows: Contrast, method: &str) -> Result<Estimated> {
        Estimated::new(rows, method, &retrained.side(), &retrained.subsets().side())
    }

    /// The estimates, `[n_test, n_train]`.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// Their standard errors over the draw of subsets, `[n_test, n_train]`, float64; NaN where a single draw tells nothing.
    pub fn standard_errors(&self) -> &Tensor {
        &self.standard_errors
    }

    /// What each train example does to the mean measurement of all test examples: one number each, whose standard error accounts for
    /// the subsets that the test examples share.
    pub fn overall(&self) -> &Valuation {
        &self.overall
    }

    /// One row per train example for the test example at this position, the strongest proponent first. Columns: `train` (example
    /// id), `score`, `standard_error`, `z` (null where there is no standard error), `method`, then the metadata.
    pub fn frame(&self, test: usize) -> Result<DataFrame> {
        check_position("test", test, self.scores.n_test())?;
        let row = |tensor: &Tensor| guarded(|| Ok(tensor.get(test as i64)));
        let (values, errors) = (row(self.scores.tensor())?, row(&self.standard_errors)?);
        table(&values, &errors, self.scores.train(), "score", self.scores.method())
    }
}
