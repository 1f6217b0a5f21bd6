//! Answers: what do `k` coordinates alone say? Formula: `√(p/k) x[S]`, S of k different coordinates, each as likely as any other.
//! Cost: n · k reads, or n · k · t multiplications of a layer's factors at t positions, without the gradient; k positions are kept.
//! Misleads: gradients that few coordinates dominate: S rarely holds them, so inner products vary far more than `1/√k`. With
//! `dim ≥ p` every coordinate is kept as it is, and k = p.
//! Reference: Hu et al. 2025, GraSS (arXiv:2505.18976).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::draw::Draw;
use super::{Part, Projection, Projector, check_dim, check_width};
use crate::error::{Result, guarded};
use crate::gradient::{Gradients, Layout};

/// A random choice of coordinates, without replacement.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::RandomMask { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomMask {
    /// `k`, how many coordinates are kept; all of them if there are fewer.
    pub dim: i64,
    /// Another seed gives another choice.
    pub seed: u64,
}

impl Default for RandomMask {
    fn default() -> RandomMask {
        RandomMask { dim: 512, seed: 0 }
    }
}

impl Projection for RandomMask {
    fn name(&self) -> String {
        format!("random mask, dim {}, seed {}", self.dim, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("RandomMask.dim", self.dim, 1)?;
        let mask = guarded(|| Ok(Mask::new(layout.p(), self.dim, Draw::new(self.seed, member))))?;
        Ok(Box::new(Fitted { parts: Part::all(mask.k()), mask }))
    }
}

struct Fitted {
    parts: Vec<Part>,
    mask: Mask,
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.mask.p)?;
        guarded(|| Ok(self.mask.apply(rows)))
    }

    fn project(&self, gradients: &Gradients) -> Result<Tensor> {
        self.mask.of(gradients)
    }
}

/// Some of `p` coordinates and the factor that makes up for the others; or all of them.
pub(super) struct Mask {
    p: i64,
    some: Option<Tensor>,
}

impl Mask {
    pub fn new(p: i64, k: i64, draw: Draw) -> Mask {
        Mask { p, some: (k < p).then(|| draw.sample(p, k)) }
    }

    pub fn k(&self) -> i64 {
        self.some.as_ref().map_or(self.p, |some| some.size()[0])
    }

    /// `[.., p] → [.., k]`
    pub fn apply(&self, rows: &Tensor) -> Tensor {
        match &self.some {
            Some(some) => rows.index_select(-1, some) * (self.p as f64 / self.k() as f64).sqrt(),
            None => rows.shallow_clone(),
        }
    }

    /// The same of gradients, which are formed at these coordinates only.
    pub fn of(&self, gradients: &Gradients) -> Result<Tensor> {
        let Some(some) = &self.some else { return gradients.dense() };
        let positions = guarded(|| Ok(Vec::<i64>::try_from(some)?))?;
        let chosen = gradients.at(&positions)?;
        guarded(|| Ok(chosen * (self.p as f64 / self.k() as f64).sqrt()))
    }

    /// The matrix `[p, k]`.
    pub fn matrix(&self) -> Tensor {
        let (p, k) = (self.p, self.k());
        let columns = Tensor::arange(k, (Kind::Int64, Device::Cpu));
        let rows = self.some.as_ref().map_or_else(|| columns.shallow_clone(), Tensor::shallow_clone);
        let scale = Tensor::full([k], (p as f64 / k as f64).sqrt(), (Kind::Float, Device::Cpu));
        Tensor::zeros([p, k], (Kind::Float, Device::Cpu)).index_put(&[Some(rows), Some(columns)], &scale, false)
    }
}
