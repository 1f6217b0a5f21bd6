use tch::{Kind, Tensor};

use super::Measurement;

/// `Σ output² / d` over the d outputs of an example: what D-TRAK explains in place of the loss (Zheng et al. 2024, arXiv 2311.00500).
///
/// It looks at no target, and is not a measure of goodness.
///
/// ```
/// use ascribe::prelude::*;
/// let outputs = Tensor::from_slice(&[3.0f32, 1.0]).view([1, 2]);
/// assert_eq!(MeanSquaredOutput.measure(&outputs, &Tensor::from_slice(&[0i64])).double_value(&[0]), 5.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanSquaredOutput;

impl Measurement for MeanSquaredOutput {
    fn measure(&self, outputs: &Tensor, _: &Tensor) -> Tensor {
        let n = outputs.size().first().copied().unwrap_or(0);
        outputs.reshape([n, -1]).square().mean_dim([1i64].as_slice(), false, None::<Kind>)
    }

    fn name(&self) -> String {
        "mean squared output".into()
    }
}
