use std::ops::Range;

use tch::Tensor;

use super::Measurement;
use super::class::shape;
use crate::error::{Error, Result};

/// A measurement of part of a picture that the model gives: who taught it what it draws in this corner?
///
/// Targets are `[n, ..., height, width]`; outputs have the same dimensions (pixels), or one more at the end (logits of each pixel's class).
/// Only the region of both reaches the measurement inside.
///
/// ```
/// use ascribe::prelude::*;
/// let (outputs, targets) = (Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([1, 1, 2, 2]), Tensor::from_slice(&[0.0f32; 4]).view([1, 1, 2, 2]));
/// let corner = Region::new(NegativeSquaredError, 1..2, 0..1); // below, left
/// assert_eq!(corner.measure(&outputs, &targets).double_value(&[0]), -9.0);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Region {
    /// What is measured of the region, such as [`NegativeSquaredError`](super::NegativeSquaredError).
    pub inner: Box<dyn Measurement>,
    /// Rows, from 0 at the top.
    pub rows: Range<usize>,
    /// Columns, from 0 at the left.
    pub columns: Range<usize>,
}

impl Region {
    /// Wraps a measurement of pictures.
    pub fn new(inner: impl Measurement + 'static, rows: Range<usize>, columns: Range<usize>) -> Region {
        Region { inner: Box::new(inner), rows, columns }
    }

    /// The region of outputs and targets.
    fn cut(&self, outputs: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
        let last = targets.dim() as i64 - 1;
        let part = |x: &Tensor, dimension: i64, range: &Range<usize>| x.narrow(dimension, range.start as i64, range.len() as i64);
        let both = |x: &Tensor| part(&part(x, last - 1, &self.rows), last, &self.columns);
        (both(outputs), both(targets))
    }
}

impl Measurement for Region {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let (outputs, targets) = self.cut(outputs, targets);
        self.inner.measure(&outputs, &targets)
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        let (outputs, targets) = self.cut(outputs, targets);
        self.inner.residual(&outputs, &targets)
    }

    fn name(&self) -> String {
        format!("{} of rows {:?}, columns {:?}", self.inner.name(), self.rows, self.columns)
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        let (given, wanted) = (outputs.size(), targets.size());
        if wanted.len() < 3
            || given.len() < wanted.len()
            || given.len() > wanted.len() + 1
            || given[1..wanted.len()] != wanted[1..]
        {
            let expected = "[n, ..., height, width], with outputs alike or one dimension more";
            return Err(Error::shape("targets", expected, format!("{} and outputs {}", shape(targets), shape(outputs))));
        }
        let sides = [("rows", &self.rows, wanted[wanted.len() - 2]), ("columns", &self.columns, wanted[wanted.len() - 1])];
        for (name, range, size) in sides {
            if range.is_empty() || range.end as i64 > size {
                return Err(Error::option(format!("Region.{name}"), format!("a range within 0..{size}"), format!("{range:?}")));
            }
        }
        let (outputs, targets) = self.cut(outputs, targets);
        self.inner.check(&outputs, &targets)
    }
}
