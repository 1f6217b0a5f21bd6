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

/// `log p(target)`: minus the cross-entropy loss, summed over positions for sequences.
///
/// Outputs are logits `[n, classes]` with targets `[n]`, or `[n, t, classes]` with `[n, t]`. A target of −100 ([`IGNORED`]) is
/// left out; an example with no other has the value 0 and no gradient.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogLikelihood;

/// `log p/(1−p)` of the target class: the margin of TRAK (Park et al. 2023, section 3.2, arXiv 2303.14186).
///
/// Computed as `s_y − log Σ_{c≠y} exp s_c`, so it neither overflows nor loses its gradient where p rounds to one. Sequences and
/// targets of −100 as for [`LogLikelihood`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Margin;

/// The target class's logit `s_y` itself; sequences and targets of −100 as for [`LogLikelihood`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Logit;

/// `−Σ (output − target)²`, for regression; outputs and targets have the same shape up to a trailing 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct NegativeSquaredError;

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

impl Measurement for LogLikelihood {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        sum_counted(&pick(&outputs.log_softmax(-1, None::<Kind>), targets), targets)
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

/// The entry of the target class in the last dimension; of class 0 where the target is ignored.
fn pick(values: &Tensor, targets: &Tensor) -> Tensor {
    values.gather(-1, &targets.clamp_min(0).unsqueeze(-1), false).squeeze_dim(-1)
}

fn ones(targets: &Tensor) -> Tensor {
    Tensor::ones([targets.size().first().copied().unwrap_or(0)], (Kind::Float, targets.device()))
}

/// `1 − p(target)`, `[n]`: over the classes that are not the target, so that it keeps its digits where p rounds to 1.
fn doubt(outputs: &Tensor, targets: &Tensor) -> Tensor {
    let own = targets.clamp_min(0).unsqueeze(-1);
    let others =
        outputs.softmax(-1, None::<Kind>).scatter_value(-1, &own, 0.0).sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>);
    let counted = sum_positions(&targets.not_equal(IGNORED).to_kind(others.kind()));
    sum_counted(&others, targets) / counted.clamp_min(1.0)
}

/// `[n, ...] → [n]` over the targets that are not ignored.
fn sum_counted(values: &Tensor, targets: &Tensor) -> Tensor {
    sum_positions(&values.masked_fill(&targets.eq(IGNORED), 0.0))
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

/// Logits `[n, ..., classes]` against labels `[n, ...]` that lie within the classes or are ignored.
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
    let counted = targets.masked_fill(&targets.eq(IGNORED), 0);
    let (low, high) = (counted.min().int64_value(&[]), counted.max().int64_value(&[]));
    if low < 0 || high >= classes {
        let got = if low < 0 { low } else { high };
        return Err(Error::data(
            "targets",
            format!("expected labels 0 to {} (the model has {classes} outputs) or {IGNORED}, got {got}", classes - 1),
        ));
    }
    Ok(())
}
