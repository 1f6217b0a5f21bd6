//! The engine of TRAK and its kin: regression on gradients, `mean_c Φ_t (ΦᵀΦ + λ)⁻¹ Φᵀ`, over the checkpoints c of a task.
//!
//! `Φ` `[n, k]` are features of the train examples, projected gradients, `Φ_t` `[m, k]` those of the test examples. The inverse is taken
//! among the features or among the examples, whichever is smaller; without a projection the inner products come from the
//! factors of gradients that are never formed.

mod columns;
mod factor;
mod features;
mod fitted;
mod member;
mod path;
mod plan;
mod route;
#[cfg(test)]
mod tests;
mod threshold;

pub use path::DampingPath;
pub use threshold::Threshold;

use std::rc::Rc;
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::curvature::Damping;
use crate::curvature::train_side::HELD_BYTES as TRAIN_BYTES;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::measurement::Measurement;
use crate::method::Attributor;
use crate::plan::{Part, Probe};
use crate::progress::Progress;
use crate::projection::Projection;
use crate::snapshot::Of;
use crate::task::Task;

pub(crate) use columns::Columns;
use factor::{Factor, Noise, Spectrum};
use features::HELD_BYTES;
use fitted::{Fitted, Solved};
use member::Member;
use plan::Plan;
use route::Route;

/// Bytes of all matrices to invert, over checkpoints and blocks: n = 23 000 train examples for one exact kernel.
pub(crate) const LARGEST_BYTES: i64 = 4 << 30;

/// What is inverted, and in which units its damping is given.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Inverse {
    /// Nothing: plain inner products.
    None,
    /// `(ΦᵀΦ + λ)⁻¹`; a relative λ is a multiple of the mean squared length of a train example's features, `tr ΦΦᵀ / n`.
    Sum(Damping),
    /// `(ΦᵀΦ/n + λ)⁻¹`, for each part of the projection; a relative λ is a multiple of the mean eigenvalue.
    Mean(Damping),
}

impl Inverse {
    /// What is added to `ΦᵀΦ` of trace `trace`, for `k` features.
    fn lambda(self, damping: Damping, option: &str, trace: f64, n: i64, k: i64) -> Result<f64> {
        let (n, k) = (n as f64, k as f64);
        match self {
            Inverse::None | Inverse::Sum(_) => damping.value(option, || Ok(trace / n)),
            Inverse::Mean(_) => Ok(n * damping.value(option, || Ok(trace / n / k))?),
        }
    }

    fn damping(self) -> Option<Damping> {
        match self {
            Inverse::None => None,
            Inverse::Sum(damping) | Inverse::Mean(damping) => Some(damping),
        }
    }
}

/// The parts a method of this family is made of.
pub(crate) struct Kernel<'a> {
    /// The struct of the options, for errors: `Trak`.
    pub options: &'static str,
    /// Name for tables.
    pub name: String,
    /// None: gradients themselves.
    pub projection: Option<&'a Arc<dyn Projection>>,
    pub inverse: Inverse,
    pub columns: Columns,
    pub threshold: Threshold,
    /// Features are kept in float16.
    pub half: bool,
}

/// A task whose every gradient is of one output, on both sides.
pub(crate) fn both_sides(task: &Task, output: &Arc<dyn Measurement>) -> Task {
    let mut task = task.clone();
    task.objective = output.clone();
    task.measurement = output.clone();
    task
}

impl Kernel<'_> {
    pub fn fit(self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        Ok(Box::new(self.fit_within(task, train, HELD_BYTES)?))
    }

    /// With so many bytes for the features that checkpoints keep, which changes no score.
    fn fit_within(self, task: &Task, train: &Dataset, room: i64) -> Result<Fitted> {
        let damping = format!("{}.damping", self.options);
        let (mut points, mut columns) = (Vec::new(), self.columns.sum(train));
        let count = self.each_member(task, train, room, |member| {
            columns.add(&member, train, self.options)?;
            let noise = Noise { option: &damping, rounding: member.rounding() };
            let Some(given) = self.inverse.damping() else {
                let factors = member.blocks.iter().map(|_| None).collect();
                points.push(Solved { factors, scale: 1.0, member });
                return Ok(());
            };
            let mut factors = Vec::new();
            for (matrix, block) in member.matrices()?.into_iter().zip(&member.blocks) {
                let factor = guarded(|| {
                    let trace = matrix.diagonal(0, 0, 1).sum(Kind::Double).double_value(&[]);
                    let lambda = self.inverse.lambda(given, &damping, trace, member.n, block.len)?;
                    Factor::new(matrix, lambda, noise)
                })?;
                factors.push(Some(factor));
            }
            let scale = if matches!(self.inverse, Inverse::Mean(_)) { member.n as f64 } else { 1.0 };
            points.push(Solved { member, factors, scale });
            Ok(())
        })?;
        let columns = columns.finish(count)?;
        let (name, options, threshold) = (self.name, self.options, self.threshold);
        Ok(Fitted { name, options, train: train.clone(), points, columns, threshold })
    }

    /// What fitting and scoring take at one checkpoint.
    pub fn parts(&self, probe: &Probe) -> Result<Vec<Part>> {
        let (n, m) = (probe.n, probe.m);
        let projector = match self.projection {
            Some(projection) => Some(guarded(|| projection.fit(probe.snapshot().layout(), 0))?),
            None => None,
        };
        let room = HELD_BYTES as f64;
        let inverts = self.inverse.damping().is_some();
        let Some(projector) = projector else {
            // Among the examples. Where the features are fewer, inner products of all parameters take no longer.
            let fits = n * probe.held <= TRAIN_BYTES as f64;
            let held = if fits { n * probe.held } else { 0.0 };
            // Each batch meets all others, which are computed again if they were not kept.
            let passes = if fits { 1.0 } else { 1.0 + (n / probe.at_once.min((n / 4.0).max(64.0))).ceil() };
            let pairs = n * n / 2.0;
            let fit = Part {
                name: "fit",
                gradients: passes * n,
                flops: pairs * probe.pair_flops + n.powi(3) / 3.0,
                seconds: pairs * probe.pair()? + n.powi(3) / 3.0 * probe.flop64,
                memory: held + 8.0 * n * n + 3.0 * probe.working,
                kept: held + 8.0 * n * n,
                cheaper: Some("a projection to fewer numbers than there are train examples"),
                ..Part::default()
            };
            let score = Part {
                name: "score",
                gradients: m + if fits { 0.0 } else { n },
                flops: n * m * probe.pair_flops + 2.0 * m * n * n,
                seconds: n * m * probe.pair()? + 2.0 * m * n * n * probe.flop64,
                memory: held + 8.0 * n * n + m * probe.held + 32.0 * m * n,
                cheaper: Some("a projection to fewer numbers than there are train examples"),
                ..Part::default()
            };
            return Ok(vec![fit, score]);
        };
        let k = projector.k() as f64;
        let project = probe.each(|gradients| projector.project(gradients))?;
        let sizes =
            projector.parts().iter().map(|part| (part.len as f64, Route::of(n as i64, part.len).size(n as i64, part.len) as f64));
        let sizes: Vec<(f64, f64)> = sizes.collect();
        let sum = |of: fn(&(f64, f64)) -> f64| if inverts { sizes.iter().map(of).sum::<f64>() } else { 0.0 };
        let (matrix, cube, square) = (n * sum(|(k, r)| k * r), sum(|(_, r)| r.powi(3) / 3.0), sum(|(_, r)| r * r));
        let bytes = if self.half { 2.0 } else { 4.0 };
        let passes = if n * k * bytes > room { 2.0 } else { 1.0 };
        let held = (n * k * bytes).min(room);
        let forms = probe.working + 512.0 * 4.0 * probe.p.min(HELD_BYTES as f64 / 2048.0 / 4.0);
        let fit = Part {
            name: "fit",
            gradients: passes * n,
            flops: matrix + cube,
            seconds: passes * n * project + (matrix + cube) * probe.flop64,
            memory: held + 8.0 * square + forms,
            kept: held + 8.0 * square,
            cheaper: Some("a projection to fewer numbers, or half: true"),
            ..Part::default()
        };
        let meet = 2.0 * m * square + 2.0 * m * n * k;
        let score = Part {
            name: "score",
            gradients: m + (passes - 1.0) * n,
            flops: meet,
            seconds: (m + (passes - 1.0) * n) * project + meet * probe.flop64,
            memory: held + 8.0 * square + forms + 8.0 * m * k + 24.0 * m * n,
            cheaper: Some("a projection to fewer numbers, or half: true"),
            ..Part::default()
        };
        Ok(vec![fit, score])
    }

    /// Eigenvalues instead of a factor, so that every λ is at hand.
    pub fn path(self, task: &Task, train: &Dataset) -> Result<DampingPath> {
        let (mut points, mut columns) = (Vec::new(), self.columns.sum(train));
        let mut progress = Progress::new(&format!("{} eigenvalues", self.name), task.checkpoints().len().max(1) as u64);
        let count = self.each_member(task, train, HELD_BYTES, |member| {
            columns.add(&member, train, self.options)?;
            let matrices = member.matrices()?;
            let spectra = matrices.iter().map(|matrix| guarded(|| Spectrum::new(matrix))).collect::<Result<Vec<_>>>()?;
            points.push((member, spectra));
            progress.add(1);
            Ok(())
        })?;
        progress.finish();
        let (columns, option) = (columns.finish(count)?, format!("{}.damping", self.options));
        let (inverse, threshold) = (self.inverse, self.threshold);
        Ok(DampingPath { name: self.name, option, train: train.clone(), points, columns, inverse, threshold })
    }

    /// Checks options and data, then calls `each` with every checkpoint; gives their number.
    fn each_member(
        &self,
        task: &Task,
        train: &Dataset,
        mut room: i64,
        mut each: impl FnMut(Member) -> Result<()>,
    ) -> Result<usize> {
        if let Some(damping) = self.inverse.damping() {
            damping.value(&format!("{}.damping", self.options), || Ok(0.0))?;
        }
        self.threshold.check(&format!("{}.threshold", self.options))?;
        let count = task.checkpoints().len().max(1);
        for index in 0..count {
            let snapshot = Rc::new(task.snapshot(index)?);
            snapshot.check(train, snapshot.measurement(Of::Objective))?;
            let projection = self.projection.map(Arc::as_ref);
            let damping = self.inverse.damping();
            let plan = Plan::of(&snapshot, train, projection, task.member(index), damping)?;
            let bytes = 8 * count as i64 * plan.matrices(train.len() as i64);
            if damping.is_some() && bytes > LARGEST_BYTES {
                return Err(self.too_large(train.len(), count, bytes));
            }
            each(Member::new(snapshot, train, plan, self.half, &mut room)?)?;
        }
        Ok(count)
    }

    fn too_large(&self, n: usize, checkpoints: usize, bytes: i64) -> Error {
        let gigabytes = |bytes: i64| format!("{:.1} GB", bytes as f64 / 1e9);
        let expected = match self.projection {
            None => "a projection to fewer numbers than there are train examples",
            Some(_) => "a projection to fewer numbers",
        };
        let got = format!(
            "{}, for which {n} train examples and {checkpoints} checkpoints need {} of matrices (at most {})",
            self.projection.map_or_else(|| "None (exact)".to_string(), |projection| projection.name()),
            gigabytes(bytes),
            gigabytes(LARGEST_BYTES)
        );
        Error::option(format!("{}.projection", self.options), expected, got)
    }
}

/// Puts scores `[m, n]` of some test examples into their final form.
fn finished(scores: Tensor, columns: &Option<Tensor>, threshold: Threshold) -> Tensor {
    let scores = match columns {
        Some(columns) => scores * columns,
        None => scores,
    };
    threshold.apply(scores)
}
