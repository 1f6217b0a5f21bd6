use tch::{Kind, Tensor};

use super::Measurement;
use super::negative_squared_error::check_same_shape;
use crate::error::{Error, Result};

/// The predicted number `ŷ` itself, for regression: what TRAK differentiates where training minimised `(ŷ − y)²`.
///
/// Outputs are `[n]` or `[n, 1]`; a model of several outputs has no single prediction: pick one by a closure. The residual is the
/// slope of the objective `o = −(ŷ − y)²` in the output, `∂o/∂ŷ = 2(y − ŷ)`: positive where the prediction is too low.
///
/// ```
/// use ascribe::prelude::*;
/// let (outputs, targets) = (Tensor::from_slice(&[1.5f32, 4.0]).view([2, 1]), Tensor::from_slice(&[2.0f32, 1.0]));
/// assert_eq!(Vec::<f32>::try_from(Prediction.measure(&outputs, &targets))?, [1.5, 4.0]);
/// assert_eq!(Vec::<f32>::try_from(Prediction.residual(&outputs, &targets).unwrap())?, [1.0, -6.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Prediction;

impl Measurement for Prediction {
    fn measure(&self, outputs: &Tensor, _: &Tensor) -> Tensor {
        outputs.reshape([-1])
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        let kind = if outputs.kind() == Kind::Double { Kind::Double } else { Kind::Float };
        Some((targets.reshape([-1]).to_kind(kind) - outputs.detach().reshape([-1])) * 2.0)
    }

    fn name(&self) -> String {
        "prediction".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        let size = outputs.size();
        if size.is_empty() || size[1..].iter().product::<i64>() != 1 {
            return Err(Error::shape("outputs", "[n] or [n, 1], one prediction per example", format!("{size:?}")));
        }
        check_same_shape(outputs, targets)
    }
}
