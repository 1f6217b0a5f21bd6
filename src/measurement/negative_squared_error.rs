use tch::{Kind, Tensor};

use super::Measurement;
use super::class::{ones, sum_positions};
use crate::error::{Error, Result};

/// `−Σ (output − target)²`, for regression; outputs and targets have the same shape up to a trailing 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct NegativeSquaredError;

impl Measurement for NegativeSquaredError {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let error = outputs - targets.to_kind(outputs.kind()).reshape(outputs.size().as_slice());
        sum_positions(&(-error.square()))
    }

    /// `exp(−‖output − y‖²)` is a normal density of variance 1/2 around the output: `y = output + erf⁻¹(2u − 1)`.
    fn sample(&self, outputs: &Tensor, targets: &Tensor, uniform: &Tensor) -> Option<Tensor> {
        let centre = uniform.to_kind(Kind::Double).clamp_min(0.5f64.powi(25)) * 2.0 - 1.0;
        let mean = outputs.detach().reshape(targets.size().as_slice());
        Some(mean + centre.erfinv().reshape(targets.size().as_slice()).to_kind(outputs.kind()))
    }

    fn residual(&self, _: &Tensor, targets: &Tensor) -> Option<Tensor> {
        Some(ones(targets))
    }

    fn name(&self) -> String {
        "negative squared error".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_same_shape(outputs, targets)
    }
}

/// Targets of the outputs' shape, up to a trailing 1.
pub(super) fn check_same_shape(outputs: &Tensor, targets: &Tensor) -> Result<()> {
    // Outputs may come from a few examples only, so the first dimension is left out; a trailing 1 may be missing.
    let each = |x: &Tensor| {
        let size = x.size();
        let rest = size.get(1..).unwrap_or_default();
        rest.strip_suffix(&[1]).unwrap_or(rest).to_vec()
    };
    match each(outputs) == each(targets) {
        true => Ok(()),
        false => Err(Error::shape(
            "targets",
            format!("{:?} per example, as the outputs", each(outputs)),
            format!("{:?}", each(targets)),
        )),
    }
}
