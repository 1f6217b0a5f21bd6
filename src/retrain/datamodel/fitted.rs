use polars::df;
use polars::prelude::DataFrame;
use tch::{Kind, Tensor};

use super::design::rows;
use super::{Chosen, Datamodel, Fit, Penalty};
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::retrain::{Retrained, Subsets};
use crate::scores::Scores;

/// Weights of the train examples that predict what a network trained on a subset says about each test example.
pub struct FittedDatamodel {
    scores: Scores,
    fit: Fit,
    chosen: Chosen,
    /// Squared deviations of the values from their mean, `[n_test]`.
    spread: Vec<f64>,
    subsets: usize,
    train_digests: Vec<i64>,
}

impl std::fmt::Debug for FittedDatamodel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (m, n) = (self.scores.n_test(), self.scores.n_train());
        write!(f, "FittedDatamodel ({}, {m} × {n}, from {} subsets)", self.scores.method(), self.subsets)
    }
}

impl FittedDatamodel {
    pub(super) fn new(options: &Datamodel, retrained: &Retrained, fit: Fit, chosen: Chosen) -> Result<FittedDatamodel> {
        let name = match options.penalty {
            Penalty::Ridge => "Datamodel (ridge)",
            Penalty::Lasso => "Datamodel (lasso)",
        };
        let train = retrained.subsets().side();
        let scores = Scores::of_sides(guarded(|| Ok(fit.weights.copy()))?, name, &retrained.side(), &train)?;
        let values = retrained.mean()?;
        let spread = guarded(|| rows(&values.var_dim([0i64].as_slice(), false, false)))?;
        let subsets = retrained.subsets().len();
        let spread = spread.into_iter().map(|variance| variance * subsets as f64).collect();
        Ok(FittedDatamodel { scores, fit, chosen, spread, subsets, train_digests: train.digests.to_vec() })
    }

    /// The weights, `[n_test, n_train]`.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// The weights, `[n_test, n_train]`, float64.
    pub fn weights(&self) -> &Tensor {
        &self.fit.weights
    }

    /// What the model predicts for a network trained on nothing, `[n_test]`, float64.
    pub fn intercepts(&self) -> &Tensor {
        &self.fit.intercepts
    }

    /// What networks trained on these subsets would say, `[subsets, n_test]`, float64.
    ///
    /// Errors: [`Error::Data`] for subsets of other train examples.
    pub fn predict(&self, subsets: &Subsets) -> Result<Tensor> {
        let side = subsets.side();
        let mine = column(self.scores.train(), "example")?.u32()?.into_no_null_iter().collect::<Vec<_>>();
        if side.examples()? != mine || side.digests != self.train_digests {
            return Err(Error::data("subsets", "they are of other train examples than the datamodel"));
        }
        guarded(|| Ok(subsets.masks().to_kind(Kind::Double).matmul(&self.fit.weights.transpose(0, 1)) + &self.fit.intercepts))
    }

    /// One row per test example. Columns: `method`, `test` (example id), `subsets`, `lambda`, `intercept`, `weights` (how many are
    /// not zero), and `r2`: the share of the variance over subsets that is predicted where subsets were held out, null for a given λ
    /// or a test example that never changes.
    pub fn frame(&self) -> Result<DataFrame> {
        let m = self.scores.n_test();
        let (intercepts, lambda) = (rows(&self.fit.intercepts)?, rows(&self.chosen.lambda)?);
        let counts = guarded(|| rows(&self.fit.weights.not_equal(0.0).sum_dim_intlist([1i64].as_slice(), false, Kind::Double)))?;
        let least = match &self.chosen.validation {
            Some((_, errors)) => guarded(|| rows(&errors.min_dim(0, false).0))?.into_iter().map(Some).collect(),
            None => vec![None; m],
        };
        let r2 = least.iter().zip(&self.spread).map(|(error, spread)| error.filter(|_| *spread > 0.0).map(|e| 1.0 - e / spread));
        Ok(df!(
            "method" => vec![self.scores.method(); m],
            "test" => tests(&self.scores)?,
            "subsets" => vec![self.subsets as u32; m],
            "lambda" => lambda,
            "intercept" => intercepts,
            "weights" => counts.iter().map(|count| *count as u32).collect::<Vec<_>>(),
            "r2" => r2.collect::<Vec<_>>(),
        )?)
    }

    /// The path that λ was chosen on: one row per test example and λ, in descending order. Columns: `test`, `lambda`, and `error`, the
    /// mean squared error where subsets were held out.
    ///
    /// Errors: [`Error::Unsupported`] for a given λ.
    pub fn validation(&self) -> Result<DataFrame> {
        let Some((grid, errors)) = &self.chosen.validation else {
            return Err(Error::Unsupported("λ was given, not chosen: there is no path; see Strength::CrossValidated".into()));
        };
        let by_test = |values: &Tensor| guarded(|| rows(&values.transpose(0, 1)));
        let count = grid.size()[0] as usize;
        Ok(df!(
            "test" => tests(&self.scores)?.into_iter().flat_map(|test| std::iter::repeat_n(test, count)).collect::<Vec<_>>(),
            "lambda" => by_test(grid)?,
            "error" => by_test(errors)?.into_iter().map(|error| error / self.subsets as f64).collect::<Vec<_>>(),
        )?)
    }
}

fn tests(scores: &Scores) -> Result<Vec<u32>> {
    Ok(column(scores.test(), "example")?.u32()?.into_no_null_iter().collect())
}
