use tch::Tensor;

use super::Measurement;
use super::class::{check_classes, doubt, pick, sum_counted};
use crate::error::{Error, Result};

/// `log p/(1−p)` of the target class: the margin of TRAK (Park et al. 2023, section 3.2, arXiv 2303.14186).
///
/// Computed as `s_y − log Σ_{c≠y} exp s_c`, so it neither overflows nor loses its gradient where p rounds to one. Sequences and
/// targets of −100 as for [`LogLikelihood`](super::LogLikelihood).
#[derive(Clone, Copy, Debug, Default)]
pub struct Margin;

impl Measurement for Margin {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let own = targets.clamp_min(0).unsqueeze(-1);
        let others = outputs.scatter_value(-1, &own, f64::NEG_INFINITY).logsumexp([-1i64], false);
        sum_counted(&(pick(outputs, targets) - others), targets)
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        Some(doubt(outputs, targets))
    }

    fn name(&self) -> String {
        "margin".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_classes(outputs, targets)?;
        match outputs.size().last() {
            Some(&classes) if classes < 2 => Err(Error::shape("outputs", "at least 2 classes for a margin", classes)),
            _ => Ok(()),
        }
    }
}
