use tch::{Kind, Reduction, Tensor};

use super::class::{check_classes, ones, pick, sum_counted};
use super::{IGNORED, Measurement};
use crate::error::Result;

/// `log p(target)`: minus the cross-entropy loss, summed over positions for sequences.
///
/// Outputs are logits `[n, classes]` with targets `[n]`, or `[n, t, classes]` with `[n, t]`. A target of −100 ([`IGNORED`]) is
/// left out; an example with no other has the value 0 and no gradient.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLikelihood;

impl Measurement for LogLikelihood {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let logs = outputs.log_softmax(-1, None::<Kind>);
        match logs.dim() {
            // The same in one operation.
            2 if targets.kind() == Kind::Int64 => -logs.g_nll_loss(targets, None::<&Tensor>, Reduction::None, IGNORED),
            _ => sum_counted(&pick(&logs, targets), targets),
        }
    }

    /// Inverts the distribution function: the first class whose cumulative probability exceeds the uniform number.
    fn sample(&self, outputs: &Tensor, targets: &Tensor, uniform: &Tensor) -> Option<Tensor> {
        let up_to = outputs.detach().softmax(-1, Kind::Double).cumsum(-1, None::<Kind>); // [n, ..., classes]
        let whole = up_to.narrow(-1, outputs.size().last()? - 1, 1); // 1, but for rounding
        let at = uniform.to_kind(Kind::Double).unsqueeze(-1) * whole;
        let drawn = up_to.less_equal_tensor(&at).sum_dim_intlist([-1i64].as_slice(), false, Kind::Int64);
        Some(drawn.masked_fill(&targets.eq(IGNORED), IGNORED))
    }

    fn residual(&self, _: &Tensor, targets: &Tensor) -> Option<Tensor> {
        Some(ones(targets))
    }

    fn name(&self) -> String {
        "log-likelihood".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_classes(outputs, targets)
    }
}
