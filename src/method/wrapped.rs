//! A fitted method under another name, its scores as they are or rescaled: what [`Dropout`](super::Dropout), [`RelatIf`](super::RelatIf) and
//! [`UnitNorm`](super::UnitNorm) make of the method that they wrap.

use tch::Tensor;

use super::Attributor;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};

/// What is done to the scores; factors are one for each train example.
pub(super) enum Rescaling {
    /// Nothing.
    Nothing,
    /// Columns are multiplied.
    Columns(Tensor),
    /// Columns are multiplied, and rows divided by the root of each test example's score for itself.
    Cosine(Tensor),
}

pub(super) struct Wrapped {
    pub name: String,
    pub inner: Box<dyn Attributor>,
    pub rescaling: Rescaling,
}

impl Wrapped {
    /// The factors of the rows.
    fn rows(&self, data: &Dataset) -> Result<Tensor> {
        reciprocal(&root(&self.inner.own_scores(data)?)?)
    }
}

impl Attributor for Wrapped {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn train(&self) -> &Dataset {
        self.inner.train()
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let matrix = self.inner.matrix(test)?;
        match &self.rescaling {
            Rescaling::Nothing => Ok(matrix),
            Rescaling::Columns(factors) => guarded(|| Ok(matrix * factors)),
            Rescaling::Cosine(factors) => {
                let rows = self.rows(test)?;
                guarded(|| Ok(matrix * factors * rows.unsqueeze(1)))
            }
        }
    }

    fn self_scores(&self) -> Result<Tensor> {
        let scores = self.inner.self_scores()?;
        match &self.rescaling {
            Rescaling::Nothing => Ok(scores),
            Rescaling::Columns(factors) => guarded(|| Ok(scores * factors)),
            Rescaling::Cosine(factors) => guarded(|| Ok(scores.sign() * factors.sign())),
        }
    }

    fn own_scores(&self, data: &Dataset) -> Result<Tensor> {
        match &self.rescaling {
            Rescaling::Nothing => self.inner.own_scores(data),
            Rescaling::Columns(_) => Err(Error::Unsupported(format!("{} has no score of a test example for itself", self.name))),
            Rescaling::Cosine(_) => {
                let (scores, rows) = (self.inner.own_scores(data)?, self.rows(data)?);
                guarded(|| Ok(scores * rows.square()))
            }
        }
    }

    fn self_lengths(&self) -> Result<Tensor> {
        match &self.rescaling {
            Rescaling::Nothing => self.inner.self_lengths(),
            _ => root(&self.self_scores()?),
        }
    }

    fn train_lengths(&self) -> Result<Tensor> {
        match &self.rescaling {
            Rescaling::Nothing => self.inner.train_lengths(),
            _ => Err(Error::Unsupported(format!("{} does not move parameters", self.name))),
        }
    }

    fn together(&self, test: &Dataset) -> Result<Tensor> {
        match &self.rescaling {
            Rescaling::Nothing => self.inner.together(test),
            Rescaling::Columns(factors) => {
                let sums = self.inner.together(test)?;
                guarded(|| Ok(sums * factors))
            }
            Rescaling::Cosine(_) => {
                let matrix = self.matrix(test)?;
                guarded(|| Ok(matrix.sum_dim_intlist([0i64].as_slice(), false, None::<tch::Kind>)))
            }
        }
    }
}

/// Square roots; what rounding has made negative counts as zero.
pub(super) fn root(squares: &Tensor) -> Result<Tensor> {
    guarded(|| Ok(squares.clamp_min(0.0).sqrt()))
}

/// `1/x`, and 0 where x is 0 or its inverse overflows: what has no length has no scores either.
pub(super) fn reciprocal(lengths: &Tensor) -> Result<Tensor> {
    guarded(|| Ok(lengths.reciprocal().where_scalarother(&lengths.ge(f64::from(f32::MIN_POSITIVE)), 0.0)))
}
