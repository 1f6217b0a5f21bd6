//! One number per example, larger is better: what training raised, or what is to be explained.

mod class;
mod contrastive;
mod log_likelihood;
mod logit;
mod margin;
mod masked;
mod mean_over_positions;
mod mean_squared_output;
mod negative_squared_error;
mod next_token;
mod of_class;
mod prediction;
mod region;

pub use contrastive::Contrastive;
pub use log_likelihood::LogLikelihood;
pub use logit::Logit;
pub use margin::Margin;
pub use masked::Masked;
pub use mean_over_positions::MeanOverPositions;
pub use mean_squared_output::MeanSquaredOutput;
pub use negative_squared_error::NegativeSquaredError;
pub use next_token::NextToken;
pub use of_class::OfClass;
pub use prediction::Prediction;
pub use region::Region;

use tch::Tensor;

use crate::error::Result;

/// One number per example from a model's outputs; larger is better.
///
/// The same trait serves as the *objective* that training maximises and as the *measurement* a score explains. A closure
/// `|outputs, targets| …` is one too. It must be differentiable in the outputs and treat examples separately.
///
/// ```
/// use ascribe::prelude::*;
/// let outputs = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 1.0]).view([2, 2]);
/// let targets = Tensor::from_slice(&[0i64, 0]);
/// let margin = Vec::<f64>::try_from(&Margin.measure(&outputs, &targets))?;
/// assert_eq!(margin, vec![2.0, -1.0]); // two classes: the difference of the logits
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Measurement: Send + Sync {
    /// `[n]` from outputs `[n, ...]` and targets `[n, ...]`.
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor;

    /// Name for tables and errors. It says every setting that changes a number: by it a [`Store`](crate::store::Store) is known.
    fn name(&self) -> String {
        "closure".into()
    }

    /// Targets drawn from the model's own predictions, for the true Fisher matrix; `None` where the measurement is not the log of
    /// a density in the targets.
    ///
    /// `targets` are the true ones, whose shape the result has; those that are ignored stay so. `uniform` holds numbers in
    /// [0, 1), one per target number, of the same shape.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let outputs = Tensor::from_slice(&[0.6f32, 0.4]).log().view([1, 2]).repeat([2, 1]);
    /// let uniform = Tensor::from_slice(&[0.59f32, 0.61]);
    /// let drawn = LogLikelihood.sample(&outputs, &Tensor::from_slice(&[0i64, 0]), &uniform).unwrap();
    /// assert_eq!(Vec::<i64>::try_from(drawn)?, [0, 1]);
    /// assert!(Margin.sample(&outputs, &Tensor::from_slice(&[0i64, 0]), &uniform).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn sample(&self, outputs: &Tensor, targets: &Tensor, uniform: &Tensor) -> Option<Tensor> {
        let _ = (outputs, targets, uniform);
        None
    }

    /// How fast training's objective rises with this output, `∂o/∂f`, `[n]`: the weights Q of TRAK (Park et al. 2023, section 3.2,
    /// arXiv 2303.14186). `None` where the objective that belongs to this output is not known.
    ///
    /// For the margin it is `1 − p(target)`: an example that the model is sure of no longer teaches it. For an output that is itself
    /// an objective it is 1. For sequences the mean over the positions that count.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let outputs = Tensor::from_slice(&[0.8f32, 0.2]).log().view([1, 2]);
    /// let residual = Margin.residual(&outputs, &Tensor::from_slice(&[0i64])).unwrap();
    /// assert!((residual.double_value(&[0]) - 0.2).abs() < 1e-6);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        let _ = (outputs, targets);
        None
    }

    /// Says what is wrong with outputs and targets before they reach libtorch; called once per dataset.
    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        let _ = (outputs, targets);
        Ok(())
    }
}

impl<F: Fn(&Tensor, &Tensor) -> Tensor + Send + Sync> Measurement for F {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        self(outputs, targets)
    }
}

/// A target that is left out of every sum over positions: PyTorch's `ignore_index`.
pub const IGNORED: i64 = -100;
