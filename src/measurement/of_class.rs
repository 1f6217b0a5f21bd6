use tch::Tensor;

use super::{IGNORED, Measurement};
use crate::error::{Error, Result};

/// A measurement of a chosen class instead of the target: why does the model lean to a cat here, whatever is in the picture?
///
/// Targets are replaced by the class, but those that are ignored (−100): inside [`Masked`](super::Masked) it is a chosen token at a
/// chosen position, inside [`NextToken`](super::NextToken) after a prompt.
///
/// ```
/// use ascribe::prelude::*;
/// let outputs = Tensor::from_slice(&[2.0f32, 0.5, -1.0, 0.0, 3.0, 1.0]).view([2, 3]);
/// let second = OfClass::new(Logit, 1);
/// assert_eq!(Vec::<f32>::try_from(second.measure(&outputs, &Tensor::from_slice(&[0i64, 2])))?, [0.5, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OfClass {
    /// What is measured: [`Logit`](super::Logit), [`Margin`](super::Margin), [`LogLikelihood`](super::LogLikelihood).
    pub inner: Box<dyn Measurement>,
    /// The class, or token.
    pub class: i64,
}

impl OfClass {
    /// Wraps a measurement of classes.
    pub fn new(inner: impl Measurement + 'static, class: i64) -> OfClass {
        OfClass { inner: Box::new(inner), class }
    }

    fn chosen(&self, targets: &Tensor) -> Tensor {
        targets.masked_fill(&targets.not_equal(IGNORED), self.class)
    }
}

impl Measurement for OfClass {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        self.inner.measure(outputs, &self.chosen(targets))
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        self.inner.residual(outputs, &self.chosen(targets))
    }

    fn name(&self) -> String {
        format!("{} of class {}", self.inner.name(), self.class)
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        self.inner.check(outputs, targets)?;
        let classes = outputs.size().last().copied().unwrap_or(0);
        match (0..classes).contains(&self.class) {
            true => Ok(()),
            false => {
                Err(Error::option("OfClass.class", format!("0 to {} (the model has {classes} outputs)", classes - 1), self.class))
            }
        }
    }
}
