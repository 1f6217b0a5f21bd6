use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Curvature, Damping, Matrix, Preconditioner, check_finite_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Operator;
use crate::gradient::mean_square::MeanSquare;
use crate::snapshot::Snapshot;

/// The diagonal alone: `(diag F + λ)⁻¹`, an own step size for each parameter.
///
/// Formula: `diag F = (1/n) Σ_i Σ_c r_ic²` `[p]` with the roots r of the chosen matrix. Cost: one pass over the train set;
/// memory: p numbers. Defaults: the Gauss-Newton matrix, λ = 0.1 of each layer's mean entry. Misleads: parameters are taken not to interact, and the
/// result depends on the coordinates they are written in. Reference: as a baseline in Grosse et al. 2023 (arXiv 2308.03296).
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let rows = snapshot.gradients(Of::Objective, &data.head(8)?)?.dense()?;
/// let solved = Diagonal { damping: Damping::Absolute(0.1), ..default() }.fit(&snapshot, &data)?.apply(&rows)?;
/// let diagonal = curvature::operator(snapshot, &data, Matrix::GaussNewton)?.diagonal()?;
/// let error = (solved * (diagonal + 0.1) - &rows).abs().max().double_value(&[]);
/// assert!(error < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
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
        let diagonal = square.diagonal()?.unsqueeze(0);
        let layers = square.layers()?;
        guarded(|| {
            for (name, columns) in layers {
                let part = columns.columns(&diagonal);
                let mean = || Ok(part.mean(Kind::Double).double_value(&[]));
                let lambda = self.damping.value("Diagonal.damping", mean)?;
                if part.min().double_value(&[]) + lambda <= 0.0 {
                    let reason = match self.damping {
                        Damping::Relative(share) if share > 0.0 => {
                            "all its gradients vanish, and so does a damping relative to them; use Damping::Absolute"
                        }
                        _ => "an entry of the diagonal is 0 and so is the damping; give Diagonal.damping a number above 0",
                    };
                    return Err(Error::layer(name, reason));
                }
                columns.add_columns(&part.full_like(lambda), &diagonal);
            }
            Ok(Box::new(Scale(diagonal.squeeze_dim(0).reciprocal().to_kind(Kind::Float))) as Box<dyn Preconditioner>)
        })
    }
}

struct Scale(Tensor);

impl Preconditioner for Scale {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_finite_rows(rows, self.0.size()[0])?;
        guarded(|| Ok(rows * &self.0))
    }
}
