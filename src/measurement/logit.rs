use tch::Tensor;

use super::Measurement;
use super::class::{check_classes, doubt, pick, sum_counted};
use crate::error::Result;

/// The target class's logit `s_y` itself; sequences and targets of −100 as for [`LogLikelihood`](super::LogLikelihood).
#[derive(Clone, Copy, Debug, Default)]
pub struct Logit;

impl Measurement for Logit {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        sum_counted(&pick(outputs, targets), targets)
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        Some(doubt(outputs, targets))
    }

    fn name(&self) -> String {
        "logit".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_classes(outputs, targets)
    }
}
