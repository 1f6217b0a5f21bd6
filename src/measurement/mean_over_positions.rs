use tch::{Kind, Tensor};

use super::class::{check_sequences, sum_positions};
use super::{IGNORED, Measurement};
use crate::error::Result;

/// The mean of a measurement over the positions that count, instead of the sum: long sequences weigh no more than short ones.
///
/// Put it inside [`NextToken`](super::NextToken) or [`Masked`](super::Masked), which choose the positions. An example without any
/// has 0.
///
/// ```
/// use ascribe::prelude::*;
/// let logits = Tensor::from_slice(&[0.9f32, 0.1, 0.2, 0.8]).log().view([1, 2, 2]);
/// let targets = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
/// let mean = MeanOverPositions::new(LogLikelihood).measure(&logits, &targets).double_value(&[0]);
/// assert!((mean - (0.9f64.ln() + 0.8f64.ln()) / 2.0).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct MeanOverPositions {
    /// What is averaged.
    pub inner: Box<dyn Measurement>,
}

impl MeanOverPositions {
    /// Wraps a measurement of sequences of classes.
    pub fn new(inner: impl Measurement + 'static) -> MeanOverPositions {
        MeanOverPositions { inner: Box::new(inner) }
    }
}

impl Measurement for MeanOverPositions {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let counted = sum_positions(&targets.not_equal(IGNORED).to_kind(Kind::Float)).to_kind(outputs.kind());
        self.inner.measure(outputs, targets) / counted.clamp_min(1.0)
    }

    /// The inner one, already a mean over positions: the objective is a mean too.
    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        self.inner.residual(outputs, targets)
    }

    fn name(&self) -> String {
        format!("mean {}", self.inner.name())
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_sequences(targets, 1)?;
        self.inner.check(outputs, targets)
    }
}
