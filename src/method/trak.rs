//! Answers: which train examples would a linear model on the network's own gradients learn this test example's output from?
//! Formula: `τ(z', z) = (mean_c φ_c(z')ᵀ (Φ_cᵀ Φ_c + λ)⁻¹ φ_c(z)) · mean_c Q_c(z)`; `φ_c = P_c ∇f(θ_c)` `[k]` of the output f, `Φ_c` `[n, k]`,
//! `Q_c = ∂o/∂f` `[n]` (for the margin `1 − p`).
//! Parts: margin on both sides; projection to k, or none; the inverse among k features or n examples; means over checkpoints.
//! Cost: n + m gradients, `n k min(n, k)` for the matrix, a third of a cube for its factor; exact `n² Σ widths / 2`, memory 8 n² bytes.
//! Defaults: exact; λ = the mean squared length of the features: within 0.03 of the best datamodeling score of eight dampings on three of
//! four tasks (MLPs and logistic regressions on digits and MNIST; on the fourth ten times as much is better); Q on, no threshold.
//! Misleads: with one checkpoint the scores are noisy, so train several runs; magnitudes follow λ, only compare within one fit.
//! Reference: Park et al. 2023, section 3 (arXiv 2303.14186); the dual form: Zheng et al. 2024 (arXiv 2311.00500).

use std::sync::Arc;

use super::{Attributor, Method};
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::kernel::{Columns, DampingPath, Inverse, Kernel, Threshold, both_sides};
use crate::measurement::{Margin, Measurement};
use crate::plan::{Part, Probe};
use crate::projection::Projection;
use crate::task::Task;

/// TRAK, exact or projected.
///
/// `self_scores` are of `output` on both sides, times Q, before the threshold; `own_scores` leave Q out. Divided by
/// [`RelatIf`](super::RelatIf) by parameters, or made a cosine by [`UnitNorm`](super::UnitNorm), Q cancels.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 5, ..default() }, &train)?;
/// let exact = Trak::exact().fit(&task, &train)?.matrix(&test)?;
/// // Among all 1210 parameters instead of among the 200 examples: the same numbers.
/// let primal = Trak::new(projection::Identity::default()).fit(&task, &train)?.matrix(&test)?;
/// let difference = (&exact - primal).abs().max().double_value(&[]);
/// assert!(difference < 1e-4 * exact.abs().max().double_value(&[]));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct Trak {
    /// f: gradients of it are the features of both sides, whatever the task's objective and measurement.
    pub output: Arc<dyn Measurement>,
    /// Shortens gradients to k numbers; None is exact.
    pub projection: Option<Arc<dyn Projection>>,
    /// λ, added to `ΦᵀΦ`, which is a sum over examples. Relative: times the mean squared length of a train example's features.
    pub damping: Damping,
    /// Whether scores are multiplied by Q.
    pub weighting: bool,
    /// Moves small scores to zero.
    pub threshold: Threshold,
    /// Keeps projected features in float16, in units of a power of two for each example: half the memory, three digits.
    pub half: bool,
}

impl Default for Trak {
    fn default() -> Trak {
        Trak {
            output: Arc::new(Margin),
            projection: None,
            damping: Damping::Relative(1.0),
            weighting: true,
            threshold: Threshold::None,
            half: false,
        }
    }
}

impl Trak {
    /// Without a projection.
    pub fn exact() -> Trak {
        Trak::default()
    }

    /// With a projection, drawn anew for each checkpoint.
    pub fn new(projection: impl Projection + 'static) -> Trak {
        Trak { projection: Some(Arc::new(projection)), ..Trak::default() }
    }

    /// Fits for every damping at once: `damping` is not looked at, [`DampingPath::score`] takes any number of them.
    ///
    /// Cost: an eigendecomposition for each checkpoint, 9 r³ multiplications where a fit's Cholesky factor takes r³ / 3: as long as 26 of
    /// them, measured at r = 2000. Worth it for some 20 dampings and more, where a path is scored again and again, or where the gradients
    /// take longer than the matrix; for a few dampings at r = 10 000 and above fit each alone.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 3, ..default() }, &train)?;
    /// let dampings = [Damping::Relative(1.0), Damping::Relative(10.0)];
    /// let path = Trak::exact().path(&task, &train)?.score(&test, &dampings)?;
    /// let alone = Trak { damping: dampings[1], ..default() }.fit(&task, &train)?.score(&test)?;
    /// let (a, b) = (path[1].get(2, 3)?, alone.get(2, 3)?);
    /// assert!((a - b).abs() < 1e-4 * b.abs());
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn path(&self, task: &Task, train: &Dataset) -> Result<DampingPath> {
        self.kernel().path(&both_sides(task, &self.output), train)
    }

    fn kernel(&self) -> Kernel<'_> {
        Kernel {
            options: "Trak",
            name: self.name(),
            projection: self.projection.as_ref(),
            inverse: Inverse::Sum(self.damping),
            columns: if self.weighting { Columns::Residual } else { Columns::Plain },
            threshold: self.threshold,
            half: self.half,
        }
    }
}

impl Method for Trak {
    fn name(&self) -> String {
        match &self.projection {
            Some(projection) => format!("TRAK ({})", projection.name()),
            None => "TRAK".into(),
        }
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.kernel().fit(&both_sides(task, &self.output), train)
    }

    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        self.kernel().parts(probe).map(Some)
    }
}
