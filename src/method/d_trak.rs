//! Answers: as TRAK, for models whose training loss says little about one example's pull, such as diffusion models.
//! Formula: `mean_c φ_c(z')ᵀ (Φ_cᵀ Φ_c + λ)⁻¹ φ_c(z)`, `φ_c` `[k]` gradients of a function that was *not* trained, on both sides; Q = 1.
//! Parts: mean square of the outputs on both sides; projection or none; inverse and means as TRAK.
//! Cost: as TRAK. Defaults: the function that did best for diffusion models; exact; λ = 0.1 of the mean squared length.
//! Misleads: this function never sees the targets, so a wrong label stays unseen; the sign says little.
//! Reference: Zheng et al. 2024, section 3 (arXiv 2311.00500).

use std::sync::Arc;

use super::{Attributor, Method};
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::kernel::{Columns, DampingPath, Inverse, Kernel, Threshold, both_sides};
use crate::measurement::{MeanSquaredOutput, Measurement};
use crate::plan::{Part, Probe};
use crate::projection::Projection;
use crate::task::Task;

/// D-TRAK: TRAK of another function.
///
/// The paper's *relative* influence `S / ‖(ΦᵀΦ + λ)⁻¹ φ(z)‖` is [`RelatIf`](super::RelatIf) of it by parameters, and its
/// *renormalised* one, `S / ‖φ(z)‖`, an option.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 5, ..default() }, &train)?;
/// let of = |output| DTrak { output, ..default() }.fit(&task, &train)?.matrix(&test);
/// let wrong = train.with_labels(&vec![0; 200])?;
/// let (right, wrong) = (DTrak::default().fit(&task, &train)?, DTrak::default().fit(&task, &wrong)?);
/// assert!(right.matrix(&test)?.equal(&wrong.matrix(&test)?)); // labels are not looked at
/// assert!(!right.matrix(&test)?.equal(&of(std::sync::Arc::new(LogLikelihood))?));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct DTrak {
    /// f, on both sides; also the loss or any other number per example.
    pub output: Arc<dyn Measurement>,
    /// Shortens gradients to k numbers; None is exact.
    pub projection: Option<Arc<dyn Projection>>,
    /// λ as in [`Trak`](super::Trak).
    pub damping: Damping,
    /// Divides each train example's scores by the length of its features, the root mean square over checkpoints.
    pub renormalised: bool,
    /// Keeps projected features in float16.
    pub half: bool,
}

impl Default for DTrak {
    fn default() -> DTrak {
        DTrak {
            output: Arc::new(MeanSquaredOutput),
            projection: None,
            damping: Damping::Relative(0.1),
            renormalised: false,
            half: false,
        }
    }
}

impl DTrak {
    /// With a projection, drawn anew for each checkpoint.
    pub fn new(projection: impl Projection + 'static) -> DTrak {
        DTrak { projection: Some(Arc::new(projection)), ..DTrak::default() }
    }

    /// Every damping at once, as [`Trak::path`](super::Trak::path).
    pub fn path(&self, task: &Task, train: &Dataset) -> Result<DampingPath> {
        self.kernel().path(&both_sides(task, &self.output), train)
    }

    fn kernel(&self) -> Kernel<'_> {
        Kernel {
            options: "DTrak",
            name: self.name(),
            projection: self.projection.as_ref(),
            inverse: Inverse::Sum(self.damping),
            columns: if self.renormalised { Columns::Length } else { Columns::Plain },
            threshold: Threshold::None,
            half: self.half,
        }
    }
}

impl Method for DTrak {
    fn name(&self) -> String {
        let how = self.projection.as_ref().map(|projection| projection.name());
        let parts: Vec<String> = how.into_iter().chain(self.renormalised.then(|| "renormalised".to_string())).collect();
        if parts.is_empty() { "D-TRAK".into() } else { format!("D-TRAK ({})", parts.join(", ")) }
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.kernel().fit(&both_sides(task, &self.output), train)
    }

    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        self.kernel().parts(probe).map(Some)
    }
}
