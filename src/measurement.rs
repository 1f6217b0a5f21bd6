//! One number per example, larger is better: what training raised, or what is to be explained.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

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

    /// Name for tables and errors.
    fn name(&self) -> String {
        "closure".into()
    }

    /// Targets drawn from the model's own predictions, for the true Fisher matrix; `None` if it cannot.
    fn sample(&self, outputs: &Tensor, targets: &Tensor, uniform: &Tensor) -> Option<Tensor> {
        let _ = (outputs, targets, uniform);
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

/// `log p(target)`: minus the cross-entropy loss, summed over positions for sequences.
///
/// Outputs are logits `[n, classes]` with targets `[n]`, or `[n, t, classes]` with `[n, t]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLikelihood;

/// `log p/(1−p)` of the target class: the margin of TRAK (Park et al. 2023, section 3.2, arXiv 2303.14186).
///
/// Computed as `s_y − log Σ_{c≠y} exp s_c`, so it neither overflows nor loses its gradient where p rounds to one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Margin;

/// The target class's logit `s_y` itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logit;

/// `−Σ (output − target)²`, for regression; outputs and targets have the same shape up to a trailing 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct NegativeSquaredError;

impl Measurement for LogLikelihood {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        sum_positions(&pick(&outputs.log_softmax(-1, None::<Kind>), targets))
    }

    fn name(&self) -> String {
        "log-likelihood".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_classes(outputs, targets)
    }
}

impl Measurement for Margin {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let others = outputs.scatter_value(-1, &targets.unsqueeze(-1), f64::NEG_INFINITY).logsumexp([-1i64], false);
        sum_positions(&(pick(outputs, targets) - others))
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

impl Measurement for Logit {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        sum_positions(&pick(outputs, targets))
    }

    fn name(&self) -> String {
        "logit".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
        check_classes(outputs, targets)
    }
}

impl Measurement for NegativeSquaredError {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        let error = outputs - targets.to_kind(outputs.kind()).reshape(outputs.size().as_slice());
        sum_positions(&(-error.square()))
    }

    fn name(&self) -> String {
        "negative squared error".into()
    }

    fn check(&self, outputs: &Tensor, targets: &Tensor) -> Result<()> {
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
}

/// The entry of the target class in the last dimension.
fn pick(values: &Tensor, targets: &Tensor) -> Tensor {
    values.gather(-1, &targets.unsqueeze(-1), false).squeeze_dim(-1)
}

/// `[n, ...] → [n]`.
fn sum_positions(values: &Tensor) -> Tensor {
    match values.dim() {
        1 => values.shallow_clone(),
        _ => values.flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>),
    }
}

fn shape(tensor: &Tensor) -> String {
    format!("{:?}", tensor.size())
}

/// Logits `[n, ..., classes]` against labels `[n, ...]` that lie within the classes.
fn check_classes(outputs: &Tensor, targets: &Tensor) -> Result<()> {
    let size = outputs.size();
    let Some((&classes, positions)) = size.split_last().filter(|(_, positions)| !positions.is_empty()) else {
        return Err(Error::shape("outputs", "[n, ..., classes]", shape(outputs)));
    };
    if targets.kind() != Kind::Int64 {
        return Err(Error::data("targets", format!("expected int64 class labels, got {:?}", targets.kind())));
    }
    // Outputs may come from a few examples only; every dimension but the first must agree.
    if targets.dim() != positions.len() || targets.size()[1..] != positions[1..] {
        return Err(Error::shape("targets", format!("{:?} to match outputs {:?}", positions, size), shape(targets)));
    }
    let (low, high) = (targets.min().int64_value(&[]), targets.max().int64_value(&[]));
    if low < 0 || high >= classes {
        let got = if low < 0 { low } else { high };
        return Err(Error::data(
            "targets",
            format!("expected labels 0 to {} (the model has {classes} outputs), got {got}", classes - 1),
        ));
    }
    Ok(())
}
