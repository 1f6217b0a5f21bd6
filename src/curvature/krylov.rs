//! Ritz pairs from the Krylov space of a random vector.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::gradient::Operator;
use crate::random::{self, Purpose};
use crate::snapshot::all_finite;

/// Approximate eigenvalues, float64 `[t]`, and their orthonormal vectors as rows, `[t, p]`; by falling magnitude.
pub(super) struct Ritz {
    pub values: Tensor,
    pub vectors: Tensor,
}

/// A rest this much smaller than the matrix is rounding.
const INVARIANT: f64 = 3e-6;

/// At most `steps` products, each new direction orthogonalised twice against all before. Where the space closes, a fresh random
/// direction continues, so that a start vector that lies in a small invariant subspace does not decide what is found.
pub(super) fn ritz(operator: &dyn Operator, steps: i64, keep: i64, seed: u64) -> Result<Ritz> {
    let (p, steps) = (operator.p(), steps.min(operator.p()));
    let basis = Tensor::zeros([steps, p], (Kind::Float, Device::Cpu));
    let (mut diagonal, mut beside): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next = normal(&[1, p], seed, 0);
    next = &next / length(&next);
    let (mut scale, mut fresh) = (0.0f64, true);
    for j in 0..steps {
        let mut w = operator.product(&next)?;
        if !all_finite(&w) {
            return Err(Error::numerical("the Krylov space", "a product with the matrix is NaN or infinite"));
        }
        let reach = length(&w);
        scale = scale.max(reach);
        if fresh && j > 0 && reach <= INVARIANT * scale {
            break; // a random direction outside the space is mapped to nothing: so is all outside
        }
        basis.narrow(0, j, 1).copy_(&next);
        let known = basis.narrow(0, 0, j + 1);
        let along = orthogonalise(&mut w, &known);
        diagonal.push(along.double_value(&[0, j]));
        if j + 1 == steps {
            break;
        }
        let rest = length(&w);
        fresh = rest <= INVARIANT * scale;
        if fresh {
            w = normal(&[1, p], seed, j as u64 + 1);
            w = &w / length(&w);
            let _ = orthogonalise(&mut w, &known);
            if length(&w) < 1e-3 {
                break; // nothing is outside
            }
        }
        next = &w / length(&w);
        beside.push(if fresh { 0.0 } else { rest });
    }
    let t = diagonal.len() as i64;
    let matrix = Tensor::from_slice(&diagonal).diag_embed(0, 0, 1);
    if t > 1 {
        let beside = Tensor::from_slice(&beside[..t as usize - 1]);
        matrix.diagonal(1, 0, 1).copy_(&beside);
        matrix.diagonal(-1, 0, 1).copy_(&beside);
    }
    let (values, vectors) = matrix.linalg_eigh("L");
    let order = values.abs().argsort(0, true).narrow(0, 0, keep.min(t));
    let rotate = vectors.index_select(1, &order).transpose(0, 1).to_kind(Kind::Float);
    Ok(Ritz { values: values.index_select(0, &order), vectors: rotate.matmul(&basis.narrow(0, 0, t)) })
}

/// An estimate of the largest absolute eigenvalue from below, good to a few percent.
pub(super) fn largest_eigenvalue(operator: &dyn Operator, seed: u64) -> Result<f64> {
    Ok(ritz(operator, 12, 1, seed)?.values.abs().max().double_value(&[]))
}

/// Removes from `[1, p]` what lies along orthonormal rows, twice; gives the coefficients, `[1, t]`.
fn orthogonalise(w: &mut Tensor, rows: &Tensor) -> Tensor {
    let first = w.matmul(&rows.transpose(0, 1));
    let _ = w.g_sub_(&first.matmul(rows));
    let second = w.matmul(&rows.transpose(0, 1));
    let _ = w.g_sub_(&second.matmul(rows));
    first + second
}

fn length(x: &Tensor) -> f64 {
    x.square().sum(Kind::Double).sqrt().double_value(&[])
}

/// Standard normal numbers that are a function of (seed, index).
pub(super) fn normal(shape: &[i64; 2], seed: u64, index: u64) -> Tensor {
    let n = (shape[0] * shape[1]) as usize;
    let draws = Tensor::from_slice(&random::uniform(2 * n, seed, Purpose::Start, index)).view([2, n as i64]);
    let radius = ((draws.get(0).neg() + 1.0).log() * -2.0).sqrt();
    (radius * (draws.get(1) * std::f64::consts::TAU).cos()).view(shape.as_slice())
}
