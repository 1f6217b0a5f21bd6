use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{Curvature, Damping, Matrix, Preconditioner, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Columns;
use crate::gradient::mean_square::MeanSquare;
use crate::gradient::roots::{RootBlock, RootForm, Roots};
use crate::snapshot::Snapshot;

/// The diagonal alone: `(diag F + λ)⁻¹`, an own step size for each parameter.
///
/// Formula: `diag F = (1/n) Σ_i Σ_c r_ic²` `[p]` with the roots r of the chosen matrix. Cost: one pass over the train set;
/// memory: p numbers. Defaults: the Gauss-Newton matrix, λ = 0.1 of each layer's mean entry. Misleads: parameters are taken not to interact, and the
/// result depends on the coordinates they are written in. Reference: as a baseline in Grosse et al. 2023 (arXiv 2308.03296).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Diagonal {
    /// Which matrix; not the Hessian.
    pub matrix: Matrix,
    /// λ, relative to the mean entry of each layer.
    pub damping: Damping,
}

impl Default for Diagonal {
    fn default() -> Diagonal {
        Diagonal { matrix: Matrix::GaussNewton, damping: Damping::Relative(0.1) }
    }
}

impl Curvature for Diagonal {
    fn name(&self) -> String {
        "diagonal".into()
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        self.damping.value("Diagonal.damping", || Ok(0.0))?;
        let square = MeanSquare::new(snapshot, train, self.matrix)?;
        let (diagonal, layers) = diagonal(&square)?;
        guarded(|| {
            for columns in layers {
                let part = columns.columns(&diagonal);
                let mean = || Ok(part.mean(Kind::Double).double_value(&[]));
                let lambda = self.damping.value("Diagonal.damping", mean)?;
                columns.add_columns(&part.full_like(lambda), &diagonal);
            }
            if diagonal.min().double_value(&[]) <= 0.0 {
                let hint = "an entry is 0 and so is its damping; give Diagonal.damping a positive number, or gradients that do not all vanish";
                return Err(Error::numerical("the diagonal", hint));
            }
            Ok(Box::new(Scale(diagonal.squeeze_dim(0).reciprocal().to_kind(Kind::Float))) as Box<dyn Preconditioner>)
        })
    }
}

/// `(1/n) Σ r²`, `[1, p]`, float64; and where each layer's entries lie.
fn diagonal(square: &MeanSquare) -> Result<(Tensor, Vec<Columns>)> {
    let mut total = Tensor::zeros([1, square.snapshot().p()], (Kind::Double, Device::Cpu));
    let mut layers = Vec::new();
    square.each_root(|start, roots| {
        for block in &roots.blocks {
            if start == 0 {
                layers.push(block.columns.clone());
            }
            block.columns.add_columns(&squares(roots, block)?.unsqueeze(0), &total);
        }
        Ok(())
    })?;
    guarded(move || Ok((total.g_div_scalar_(square.n() as f64), layers)))
}

/// Sums of squares over examples and covectors, `[len]`, float64.
fn squares(roots: &Roots, block: &RootBlock) -> Result<Tensor> {
    if let RootForm::Outer { a, delta, .. } = &block.form
        && a.size()[2] == 1
    {
        // One outer product: its squares are the outer product of squares.
        let delta = delta.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>).squeeze_dim(2); // [n, g, out]
        let weight = delta.permute([1, 2, 0]).matmul(&a.squeeze_dim(2).square().transpose(0, 1)).reshape([-1]);
        let bias = delta.sum_dim_intlist([0i64].as_slice(), false, Kind::Double).reshape([-1]);
        let weight = weight.to_kind(Kind::Double);
        return Ok(if block.columns.bias.is_some() { Tensor::cat(&[weight, bias], 0) } else { weight });
    }
    let mut total = Tensor::zeros([block.columns.len()], (Kind::Double, Device::Cpu));
    let step = ((1 << 23) / block.columns.len()).max(1);
    for c in 0..roots.c {
        let set = roots.set(c);
        let one = set.blocks().iter().find(|b| b.columns == block.columns);
        let Some(one) = one else { continue };
        for start in (0..roots.n).step_by(step as usize) {
            let rows = one.narrow(start, step.min(roots.n - start)).dense()?;
            let _ = total.g_add_(&rows.square().sum_dim_intlist([0i64].as_slice(), false, Kind::Double));
        }
    }
    Ok(total)
}

struct Scale(Tensor);

impl Preconditioner for Scale {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.0.size()[0])?;
        guarded(|| Ok(rows * &self.0))
    }
}
