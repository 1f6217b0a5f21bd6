use tch::Tensor;

use super::class::check_sequences;
use super::{LogLikelihood, Measurement};
use crate::error::{Error, Result};

/// A measurement of how a language model goes on: position t is measured on token t + 1.
///
/// Outputs are logits `[n, t, vocab]`, targets the tokens themselves, `[n, t]`, as the model read them: the shift happens here.
/// Tokens of −100 ([`IGNORED`](super::IGNORED)), such as padding or a prompt, are not measured; the first token never is. Each
/// example has one number, the sum over its positions; `NextToken::new(MeanOverPositions::new(LogLikelihood))` has the mean.
///
/// ```
/// use ascribe::prelude::*;
/// let logits = Tensor::from_slice(&[0.9f32, 0.1, 0.2, 0.8, 0.5, 0.5]).log().view([1, 3, 2]);
/// let tokens = Tensor::from_slice(&[1i64, 0, 1]).view([1, 3]);
/// let value = NextToken::default().measure(&logits, &tokens).double_value(&[0]);
/// assert!((value - (0.9f64.ln() + 0.8f64.ln())).abs() < 1e-6); // 0 after 1, then 1 after 0
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct NextToken {
    /// What is measured at each position.
    pub inner: Box<dyn Measurement>,
}

impl NextToken {
    /// Wraps a measurement of sequences of classes, such as [`LogLikelihood`] or [`Margin`](super::Margin).
    pub fn new(inner: impl Measurement + 'static) -> NextToken {
        NextToken { inner: Box::new(inner) }
    }
}

impl Default for NextToken {
    fn default() -> NextToken {
        NextToken::new(LogLikelihood)
    }
}

/// All positions but the last, with all tokens but the first.
fn shifted(outputs: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
    let following = targets.size()[1] - 1;
    (outputs.narrow(1, 0, following), targets.narrow(1, 1, following))
}

impl Measurement for NextToken {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let (outputs, targets) = shifted(outputs, targets);
        self.inner.measure(&outputs, &targets)
    }

    /// Every token but the first is drawn from what the model says after the true ones.
    fn sample(&self, outputs: &Tensor, targets: &Tensor, uniform: &Tensor) -> Option<Tensor> {
        let (outputs, following) = shifted(outputs, targets);
        let drawn = self.inner.sample(&outputs, &following, &uniform.narrow(1, 1, following.size()[1]))?;
        Some(Tensor::cat(&[targets.narrow(1, 0, 1), drawn], 1))
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        let (outputs, targets) = shifted(outputs, targets);
        self.inner.residual(&outputs, &targets)
    }

    fn name(&self) -> String {
        format!("{} of the next token", self.inner.name())
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_sequences(targets, 2)?;
        let (given, tokens) = (outputs.size(), targets.size());
        if given.len() != 3 || given[1] != tokens[1] {
            return Err(Error::shape(
                "outputs",
                format!("logits [n, {}, vocab], one for each token", tokens[1]),
                format!("{given:?}"),
            ));
        }
        let (outputs, targets) = shifted(outputs, targets);
        self.inner.check(&outputs, &targets)
    }
}
