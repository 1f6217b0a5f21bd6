use tch::{Device, Kind, Tensor};

use super::class::check_sequences;
use super::{IGNORED, LogLikelihood, Measurement, OfClass};
use crate::error::{Error, Result};

/// A measurement at chosen positions of each sequence: the blanks a masked language model fills, or the answer after a prompt.
///
/// The other targets are replaced by −100 ([`IGNORED`]), which every measurement of classes leaves out. Where blanks differ
/// between examples, put −100 into the targets instead; both add up. With [`NextToken`](super::NextToken) inside, positions are
/// those of the tokens told.
///
/// ```
/// use ascribe::prelude::*;
/// let logits = Tensor::from_slice(&[0.9f32, 0.1, 0.2, 0.8, 0.5, 0.5]).log().view([1, 3, 2]);
/// let targets = Tensor::from_slice(&[1i64, 0, 1]).view([1, 3]);
/// let blank = Masked::new(LogLikelihood, &[1]);
/// assert!((blank.measure(&logits, &targets).double_value(&[0]) - 0.2f64.ln()).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Masked {
    /// What is measured at each position.
    pub inner: Box<dyn Measurement>,
    /// Which positions of a sequence count, from 0.
    pub positions: Vec<usize>,
}

impl Masked {
    /// Wraps a measurement of sequences of classes.
    pub fn new(inner: impl Measurement + 'static, positions: &[usize]) -> Masked {
        Masked { inner: Box::new(inner), positions: positions.to_vec() }
    }

    /// The log-likelihood of one position.
    pub fn at(position: usize) -> Masked {
        Masked::new(LogLikelihood, &[position])
    }

    /// The log-likelihood of a chosen token at one position, whatever the target there is.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let logits = Tensor::from_slice(&[0.9f32, 0.1, 0.2, 0.8]).log().view([1, 2, 2]);
    /// let targets = Tensor::from_slice(&[0i64, 1]).view([1, 2]);
    /// let value = Masked::token(1, 0).measure(&logits, &targets).double_value(&[0]);
    /// assert!((value - 0.2f64.ln()).abs() < 1e-6);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn token(position: usize, token: i64) -> Masked {
        Masked::new(OfClass::new(LogLikelihood, token), &[position])
    }

    fn chosen(&self, targets: &Tensor) -> Tensor {
        let positions: Vec<i64> = self.positions.iter().map(|&position| position as i64).collect();
        let others = Tensor::ones([targets.size()[1]], (Kind::Bool, Device::Cpu));
        let others = others.index_fill(0, &Tensor::from_slice(&positions), 0);
        targets.masked_fill(&others, IGNORED)
    }
}

impl Measurement for Masked {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        self.inner.measure(outputs, &self.chosen(targets))
    }

    fn sample(&self, outputs: &Tensor, targets: &Tensor, uniform: &Tensor) -> Option<Tensor> {
        self.inner.sample(outputs, &self.chosen(targets), uniform)
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        self.inner.residual(outputs, &self.chosen(targets))
    }

    fn name(&self) -> String {
        let positions: Vec<String> = self.positions.iter().map(usize::to_string).collect();
        format!("{} at positions {}", self.inner.name(), positions.join(", "))
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_sequences(targets, 1)?;
        let size = targets.size();
        if self.positions.is_empty() {
            return Err(Error::option("Masked.positions", "at least one position", "none"));
        }
        if let Some(outside) = self.positions.iter().find(|&&position| position as i64 >= size[1]) {
            return Err(Error::option(
                "Masked.positions",
                format!("0 to {} (the targets have {})", size[1] - 1, size[1]),
                outside,
            ));
        }
        self.inner.check(outputs, &self.chosen(targets))
    }
}
