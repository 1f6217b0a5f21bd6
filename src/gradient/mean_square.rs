//! Curvature that is a mean of squares, `(1/n) Σ_i Σ_c r_ic r_icᵀ`: Gauss-Newton, Fisher and empirical Fisher.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::operator::{Operator, check_vectors};
use super::roots::Roots;
use super::stream::batch_size;
use super::{Columns, Gradients, backward};
use crate::curvature::Matrix;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::random::{self, Purpose};
use crate::snapshot::{Of, Snapshot};

/// Bytes of roots that are kept between products instead of being computed again.
const HELD_BYTES: i64 = 768 << 20;

/// The most outputs per example for which `B`, `[outputs, outputs]` for each example, is worth having.
const MOST_OUTPUTS: i64 = 512;

/// A mean of squares at a snapshot over a dataset.
pub(crate) struct MeanSquare {
    snapshot: Rc<Snapshot>,
    train: Dataset,
    matrix: Matrix,
    at_once: i64,
    held: Option<Vec<Roots>>,
}

impl MeanSquare {
    pub fn new(snapshot: &Rc<Snapshot>, train: &Dataset, matrix: Matrix) -> Result<MeanSquare> {
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        if let Matrix::Fisher { draws: 0, .. } = matrix {
            return Err(Error::option("Matrix::Fisher.draws", "at least 1", 0));
        }
        let room = batch_size(snapshot, train, false)?;
        let mut square = MeanSquare { snapshot: snapshot.clone(), train: train.clone(), matrix, at_once: 1, held: None };
        let one = square.roots(0, 1)?;
        let bytes = room.held + 4 * one.blocks.iter().map(|b| b.numbers()).sum::<i64>();
        square.at_once = room.at_once.min((BATCH_BYTES / bytes).max(1));
        if bytes * train.len() as i64 <= HELD_BYTES {
            let mut held = Vec::new();
            square.each(|_, roots| {
                held.push(roots);
                Ok(())
            })?;
            square.held = Some(held);
        }
        Ok(square)
    }

    /// Number of examples.
    pub fn n(&self) -> i64 {
        self.train.len() as i64
    }

    /// Name and place of every layer.
    pub fn layers(&self) -> Result<Vec<(String, Columns)>> {
        let one = self.roots(0, 1)?;
        Ok(one.blocks.into_iter().map(|block| (block.name, block.columns)).collect())
    }

    /// Calls `each` with the position of the first example and the roots of every batch, in order.
    pub fn each_root(&self, mut each: impl FnMut(i64, &Roots) -> Result<()>) -> Result<()> {
        match &self.held {
            Some(held) => {
                let mut start = 0;
                for roots in held {
                    guarded(|| each(start, roots))?;
                    start += roots.n;
                }
                Ok(())
            }
            None => self.each(|start, roots| each(start, &roots)),
        }
    }

    fn each(&self, mut each: impl FnMut(i64, Roots) -> Result<()>) -> Result<()> {
        let n = self.n();
        for start in (0..n).step_by(self.at_once as usize) {
            let roots = self.roots(start, (start + self.at_once).min(n))?;
            guarded(|| each(start, roots))?;
        }
        Ok(())
    }

    fn roots(&self, start: i64, end: i64) -> Result<Roots> {
        guarded(|| {
            if let (Matrix::EmpiricalFisher, Some(stored)) = (self.matrix, self.snapshot.stored(Of::Objective, &self.train)) {
                return Ok(Roots::stack(vec![stored.read(start, end)?]));
            }
            let (inputs, targets) = self.train.slice(start, end);
            let ids = &self.train.examples()[start as usize..end as usize];
            let sets = Gradients::pull(&self.snapshot, &inputs, |outputs, i| {
                let (targets, ids) = match i {
                    Some(i) => (targets.narrow(0, i, 1), &ids[i as usize..=i as usize]),
                    None => (targets.shallow_clone(), ids),
                };
                covectors(&self.snapshot, self.matrix, outputs, &targets, ids)
            })?;
            Ok(Roots::stack(sets))
        })
    }
}

/// Bytes of roots that are made at once.
const BATCH_BYTES: i64 = 96 << 20;

impl Operator for MeanSquare {
    fn p(&self) -> i64 {
        self.snapshot.p()
    }

    fn product(&self, vectors: &Tensor) -> Result<Tensor> {
        check_vectors(vectors, self.p())?;
        guarded(|| {
            let mut total = vectors.zeros_like();
            self.each_root(|_, roots| roots.add_product(vectors, &total))?;
            Ok(total.g_mul_scalar_(1.0 / self.n() as f64))
        })
    }

    /// Exact: mean squared length of the roots.
    fn estimate_mean_eigenvalue(&self) -> Result<(f64, f64)> {
        let mut total = 0.0;
        self.each_root(|_, roots| {
            total += roots.squares()?;
            Ok(())
        })?;
        Ok((total / (self.n() * self.p()) as f64, 0.0))
    }

    /// Exact: mean squares of the roots' entries.
    fn diagonal(&self) -> Result<Tensor> {
        let p = self.p();
        let mut total = guarded(|| Ok(Tensor::zeros([1, p], (Kind::Double, Device::Cpu))))?;
        self.each_root(|_, roots| roots.add_squares(&total))?;
        guarded(|| Ok(total.g_div_scalar_(self.n() as f64).squeeze_dim(0)))
    }

    fn minibatch(&self, examples: usize, seed: u64, step: u64) -> Result<Option<Box<dyn Operator>>> {
        if examples == 0 || examples >= self.train.len() {
            return Ok(None);
        }
        let positions = random::sample(self.train.len(), examples, seed, Purpose::Minibatch, step);
        let part = self.train.select(&positions)?;
        Ok(Some(Box::new(MeanSquare { train: part, held: None, snapshot: self.snapshot.clone(), ..*self })))
    }
}

/// The covectors `w_c`, each in the outputs' shape, with `Σ_c w_c w_cᵀ` the curvature in the outputs of each example.
fn covectors(snapshot: &Snapshot, matrix: Matrix, outputs: &Tensor, targets: &Tensor, ids: &[u32]) -> Result<Vec<Tensor>> {
    let outputs = outputs.detach().set_requires_grad(true);
    let slope = |targets: &Tensor| -> Result<Tensor> {
        let values = snapshot.measured(Of::Objective, &outputs, targets)?.sum(None::<Kind>);
        Ok(backward(&values, &[&outputs], false, false)?.remove(0).detach())
    };
    match matrix {
        Matrix::EmpiricalFisher => Ok(vec![slope(targets)?]),
        Matrix::Fisher { draws, seed } => (0..draws)
            .map(|draw| {
                let each = targets.numel() / ids.len().max(1);
                let uniform: Vec<f32> = ids
                    .iter()
                    .flat_map(|&id| random::uniform(each, seed, Purpose::Label, (draw as u64) << 32 | u64::from(id)))
                    .collect();
                let uniform = Tensor::from_slice(&uniform).view(targets.size().as_slice());
                let objective = snapshot.measurement(Of::Objective);
                let drawn = objective.sample(&outputs.detach(), targets, &uniform).ok_or_else(|| {
                    Error::Unsupported(format!(
                        "the Fisher matrix of the objective {}: it cannot draw targets; use GaussNewton, or give it `sample`",
                        objective.name()
                    ))
                })?;
                Ok(slope(&drawn)? * (1.0 / draws as f64).sqrt())
            })
            .collect(),
        Matrix::GaussNewton => gauss_newton(snapshot, &outputs, targets),
        Matrix::Hessian => Err(Error::Unsupported("the Hessian is not a mean of squares; use GaussNewton".into())),
    }
}

/// `B = L Lᵀ` for each example, `B = −∂²o/∂outputs²`; the columns of L.
fn gauss_newton(snapshot: &Snapshot, outputs: &Tensor, targets: &Tensor) -> Result<Vec<Tensor>> {
    let count = outputs.numel() as i64 / outputs.size()[0];
    if count > MOST_OUTPUTS {
        return Err(Error::Unsupported(format!(
            "the Gauss-Newton matrix for {count} outputs per example (at most {MOST_OUTPUTS}); use Fisher {{ draws, seed }}"
        )));
    }
    let (values, vectors) = curvature_of_outputs(snapshot, outputs, targets)?.linalg_eigh("L");
    let most = positive(snapshot, &values)?;
    let roots = vectors * values.clamp_min(0.0).sqrt().unsqueeze(1); // columns are roots
    // Directions without curvature in any example, such as the shift of all logits, come first: eigenvalues ascend.
    let needed: Vec<f64> = Vec::try_from(values.amax([0i64].as_slice(), false))?;
    let from = needed.iter().position(|&v| v > 1e-7 * most).unwrap_or(needed.len() - 1) as i64;
    let shape = outputs.size();
    Ok((from..count).map(|c| roots.select(2, c).to_kind(Kind::Float).reshape(shape.as_slice())).collect())
}

/// `B = −∂²o/∂outputs²` of each example, symmetric, float64 `[n, outputs, outputs]`.
fn curvature_of_outputs(snapshot: &Snapshot, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let (n, count) = (outputs.size()[0], outputs.numel() as i64 / outputs.size()[0]);
    // In float64: where predictions saturate, float32 leaves nothing of the second derivatives but rounding.
    let outputs = &outputs.detach().to_kind(Kind::Double).set_requires_grad(true);
    let values = snapshot.measured(Of::Objective, outputs, targets)?.sum(None::<Kind>);
    let first = backward(&values, &[outputs], true, true)?.remove(0);
    let flat = first.reshape([n, count]);
    let rows = (0..count).map(|c| {
        let zeros = || outputs.detach().zeros_like().view([n, count]);
        if !first.requires_grad() {
            return Ok(zeros());
        }
        let row = backward(&flat.select(1, c).sum(None::<Kind>), &[outputs], true, false)?.remove(0);
        Ok(if row.defined() { -row.detach().view([n, count]) } else { zeros() })
    });
    let b = Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 1); // [n, outputs, outputs]
    Ok((&b + b.transpose(1, 2)) * 0.5)
}

/// The largest magnitude of eigenvalues of `B`, or an error where one is negative.
fn positive(snapshot: &Snapshot, values: &Tensor) -> Result<f64> {
    let (least, most) = (values.min().double_value(&[]), values.abs().max().double_value(&[]));
    if least < -1e-5 * most {
        let reason = format!(
            "the objective {} is not concave in the outputs (eigenvalue {least:.2e}, largest {most:.2e}), so it has no Gauss-Newton matrix",
            snapshot.measurement(Of::Objective).name()
        );
        return Err(Error::numerical("the Gauss-Newton matrix", reason));
    }
    Ok(most)
}

/// Numbers that `B` of the examples looked at together may take.
const LOOKED_AT: i64 = 1 << 22;

/// An error unless the objective of every example is concave in the outputs.
pub(crate) fn check_concave(snapshot: &Snapshot, train: &Dataset) -> Result<()> {
    let outputs = snapshot.outputs(train)?;
    let n = outputs.size()[0];
    let count = outputs.numel() as i64 / n;
    let size = (LOOKED_AT / (count * count)).clamp(1, n);
    guarded(|| {
        for start in (0..n).step_by(size as usize) {
            let len = size.min(n - start);
            let b = curvature_of_outputs(snapshot, &outputs.narrow(0, start, len), &train.targets().narrow(0, start, len))?;
            // Much cheaper than eigenvalues, which are needed only where this fails.
            let shift = b.abs().max().double_value(&[]) * 1e-6;
            let shifted = &b + Tensor::eye(count, (Kind::Double, Device::Cpu)) * shift;
            let (_, info) = shifted.linalg_cholesky_ex(false, false);
            if info.any().int64_value(&[]) != 0 {
                positive(snapshot, &b.linalg_eigvalsh("L"))?;
            }
        }
        Ok(())
    })
}
