use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::krylov::largest_eigenvalue;
use super::{Curvature, Damping, Matrix, Preconditioner, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::snapshot::Snapshot;

/// `(H + λ)⁻¹ g` by a recursion over random batches: `h ← g + h − (H_batch + λ) h / scale` from `h = g`; then `h / scale`.
///
/// All gradients of all calls meet the same batches, drawn without replacement as a function of (seed, repeat, step).
/// Cost: `repeats · depth` products over `batch_size` examples for each gradient. Memory: 4 vectors of p for each gradient.
/// Defaults: λ = 0.01 absolute; batches of 32, 1,000 steps, once; the scale is 1.5 times the largest eigenvalue met in H and in
/// some batches. Directions of curvature below `scale / depth` are not resolved.
/// Misleads: short recursions act as more damping; batches add noise that only `repeats` average out.
/// Reference: Agarwal, Bullins & Hazan 2017 (arXiv 1602.03943); Koh & Liang 2017, section 3.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let rows = snapshot.gradients(Of::Objective, &data.head(8)?)?.dense()?;
/// let recursion = Lissa { damping: Damping::Absolute(0.1), batch_size: 100, depth: 2000, ..default() };
/// let solved = recursion.fit(&snapshot, &data)?.apply(&rows)?;
/// let matrix = curvature::operator(snapshot, &data, Matrix::Hessian)?;
/// let residual = matrix.product(&solved)? + &solved * 0.1 - &rows;
/// assert!(residual.norm().double_value(&[]) < 1e-3 * rows.norm().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lissa {
    /// H.
    pub matrix: Matrix,
    /// λ.
    pub damping: Damping,
    /// More than half the largest eigenvalue of every batch, or the recursion diverges; estimated if `None`.
    pub scale: Option<f64>,
    /// Examples of a batch; the whole train set if there are fewer.
    pub batch_size: usize,
    /// Steps of one recursion.
    pub depth: usize,
    /// Recursions to average.
    pub repeats: usize,
    /// Of the batches.
    pub seed: u64,
}

impl Default for Lissa {
    fn default() -> Lissa {
        Lissa {
            matrix: Matrix::Hessian,
            damping: Damping::Absolute(0.01),
            scale: None,
            batch_size: 32,
            depth: 1000,
            repeats: 1,
            seed: 0,
        }
    }
}

/// Batches looked at for the scale, and steps between looks at the size of the iterate.
const PROBES: u64 = 8;
const LOOK: usize = 10;

impl Lissa {
    /// The setting of the Bayesian study (Nguyen, Seo & Oh 2023, arXiv 2305.19765): damping 0.005 · scale = 50, scale 10⁴, batches of 8, one pass
    /// over `n_train` examples.
    ///
    /// The recursion has not left its start after so few steps: `h ≈ (⌈n / 8⌉ + 1) · g`, so that the influence function is the inner product of
    /// gradients times `(⌈n / 8⌉ + 1) / 10⁴`. It is here to reproduce what was published.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(40, 5, 0)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 5, ..default() }, &train)?;
    /// let published = Influence::new(Lissa::published(40)).fit(&task, &train)?.score(&test)?;
    /// let dot = GradDot::default().fit(&task, &train)?.score(&test)?;
    /// let apart = (published.tensor() * (1e4 / 6.0) - dot.tensor()).abs().max() / dot.tensor().abs().max();
    /// assert!(apart.double_value(&[]) < 0.05);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn published(n_train: usize) -> Lissa {
        let scale = 1e4;
        let damping = Damping::Absolute(5e-3 * scale);
        Lissa { damping, scale: Some(scale), batch_size: 8, depth: n_train.div_ceil(8).max(1), ..Lissa::default() }
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [("batch_size", self.batch_size), ("depth", self.depth), ("repeats", self.repeats)] {
            if value == 0 {
                return Err(Error::option(format!("Lissa.{name}"), "at least 1", 0));
            }
        }
        if let Some(scale) = self.scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return Err(Error::option("Lissa.scale", "a positive number, or None to estimate it", scale));
        }
        self.damping.value("Lissa.damping", || Ok(0.0)).map(|_| ())
    }

    /// λ and the scale.
    pub(super) fn constants(&self, operator: &dyn Operator) -> Result<(f64, f64)> {
        self.check()?;
        let damping = self.damping.of("Lissa.damping", operator)?;
        if let Some(scale) = self.scale {
            return Ok((damping, scale));
        }
        guarded(|| {
            let mut largest = largest_eigenvalue(operator, self.seed)?;
            for probe in 0..PROBES {
                let Some(batch) = operator.minibatch(self.batch_size, self.seed, u64::MAX - probe)? else { break };
                largest = largest.max(largest_eigenvalue(batch.as_ref(), self.seed)?);
            }
            Ok((damping, (1.5 * largest + damping).max(f64::from(f32::MIN_POSITIVE))))
        })
    }

    /// The mean of the recursions for rows `[k, p]`.
    pub(super) fn recursion(&self, operator: &dyn Operator, damping: f64, scale: f64, rows: &Tensor) -> Result<Tensor> {
        let start = lengths(rows);
        let minus = Tensor::from(-1.0 / scale as f32);
        let mut mean = rows.zeros_like();
        for repeat in 0..self.repeats {
            let mut h = rows.copy();
            for step in 0..self.depth {
                let batch = operator.minibatch(self.batch_size, self.seed, (repeat as u64) << 32 | step as u64)?;
                let product = batch.as_deref().unwrap_or(operator).product(&h)?;
                let _ = h.g_mul_scalar_(1.0 - damping / scale);
                let _ = h.g_add_(rows);
                let _ = h.addcmul_(&product, &minus);
                if (step + 1) % LOOK == 0 || step + 1 == self.depth {
                    self.look(&h, &start, step, scale, damping)?;
                }
            }
            let _ = mean.g_add_(&(h / (scale * self.repeats as f64)));
        }
        Ok(mean)
    }

    /// If no step lengthens a vector, then `‖h‖ ≤ (steps + 1) ‖g‖`: beyond, the recursion diverges.
    fn look(&self, h: &Tensor, start: &Tensor, step: usize, scale: f64, damping: f64) -> Result<()> {
        let beyond = lengths(h).le_tensor(&(start * (1.001 * (step + 2) as f64))).logical_not();
        match beyond.any().int64_value(&[]) {
            0 => Ok(()),
            _ => {
                let hint = format!(
                    "the recursion diverges after {} steps: raise the scale ({scale:.3e}) above the largest eigenvalue of the batches, the batch size ({}) or, where the matrix is indefinite, the damping ({damping:.3e})",
                    step + 1,
                    self.batch_size
                );
                Err(Error::numerical("LiSSA", hint))
            }
        }
    }
}

fn lengths(rows: &Tensor) -> Tensor {
    rows.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt()
}

impl Curvature for Lissa {
    fn name(&self) -> String {
        match self.matrix {
            Matrix::Hessian => "LiSSA".into(),
            other => format!("LiSSA, {}", other.name()),
        }
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        self.check()?;
        let operator = self.matrix.operator(snapshot, train)?;
        let (damping, scale) = self.constants(operator.as_ref())?;
        Ok(Box::new(Recursion { operator, damping, scale, options: *self }))
    }
}

struct Recursion {
    operator: Box<dyn Operator>,
    damping: f64,
    scale: f64,
    options: Lissa,
}

impl Preconditioner for Recursion {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.operator.p())?;
        guarded(|| self.options.recursion(self.operator.as_ref(), self.damping, self.scale, rows))
    }
}
