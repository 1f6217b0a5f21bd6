//! What is looked at before any long work, and after each of its parts.

use tch::{Kind, Tensor, no_grad};

use super::Snapshot;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::measurement::Measurement;

impl Snapshot {
    /// Checks before any long work that data, network and measurement fit together, on two examples.
    pub(crate) fn check(&self, data: &Dataset, measurement: &dyn Measurement) -> Result<()> {
        guarded(|| {
            let n = (data.len() as i64).min(2);
            let (inputs, _) = data.slice(0, n);
            let outputs = no_grad(|| self.forward(&inputs));
            if outputs.size().first() != Some(&n) {
                let got = format!("{:?} for a batch of {n}", outputs.size());
                return Err(Error::shape("model outputs", "the batch as first dimension", got));
            }
            if outputs.isfinite().all().int64_value(&[]) == 0 {
                return Err(Error::numerical("the forward pass", format!("outputs of {} are not finite", self.name)));
            }
            let alone = no_grad(|| self.forward(&inputs.narrow(0, 0, 1)));
            let apart = (outputs.narrow(0, 0, 1) - &alone).abs().max().double_value(&[]);
            if apart > 1e-4 * (1.0 + alone.abs().max().double_value(&[])) {
                return Err(Error::layer(
                    "model",
                    format!(
                        "its output for an example changes by {apart:.2e} with the rest of the batch; call batch norm through the tape, or in eval mode"
                    ),
                ));
            }
            measurement.check(&outputs, data.targets())
        })
    }
}

/// Where all values of a tensor are finite, the tensor; else an error that names the operation.
pub(crate) fn finite(operation: &str, values: Tensor, hint: &str) -> Result<Tensor> {
    match all_finite(&values) {
        true => Ok(values),
        false => Err(Error::numerical(operation, hint)),
    }
}

/// Whether no value is NaN or infinite. One such value makes the sum so too; where a sum of finite values merely overflows,
/// each is looked at. A sum in another kind would first copy the tensor into that kind.
pub(crate) fn all_finite(values: &Tensor) -> bool {
    values.sum(None::<Kind>).double_value(&[]).is_finite() || values.isfinite().all().int64_value(&[]) != 0
}
