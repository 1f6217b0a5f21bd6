use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::error::Result;
use crate::gradient::Operator;
use crate::gradient::hessian::Hessian;
use crate::gradient::mean_square::{MeanSquare, check_concave};
use crate::snapshot::Snapshot;

/// Which curvature of the mean loss (minus the mean objective) is inverted.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(100)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let trace = |matrix| curvature::operator(snapshot.clone(), &data, matrix)?.mean_eigenvalue();
/// // Logits are linear in the parameters, so that the Gauss-Newton matrix is the Hessian.
/// assert!((trace(Matrix::GaussNewton)? / trace(Matrix::Hessian)? - 1.0).abs() < 1e-5);
/// let g = snapshot.gradients(Of::Objective, &data)?.dense()?;
/// let squares = g.square().mean(ascribe::tch::Kind::Double).double_value(&[]);
/// assert!((trace(Matrix::EmpiricalFisher)? / squares - 1.0).abs() < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Matrix {
    /// The exact second derivatives, `−∇² (1/n) Σ_i o(z_i)`; indefinite away from a minimum.
    #[default]
    Hessian,
    /// `(1/n) Σ_i J_iᵀ B_i J_i` with the Jacobian `J_i` `[outputs, p]` of the outputs and `B_i = −∂²o/∂outputs²`: positive
    /// semi-definite, equal to the Hessian where outputs are linear in the parameters.
    GaussNewton,
    /// The Fisher matrix with labels drawn from the model's own predictions: an unbiased estimate of `GaussNewton` for
    /// log-likelihoods, from `draws` backward passes instead of one per output.
    Fisher {
        /// Labels drawn for each example.
        draws: usize,
        /// Of the draws.
        seed: u64,
    },
    /// `(1/n) Σ_i g_i g_iᵀ` with the gradients on the true labels: cheap, and not the Fisher matrix.
    EmpiricalFisher,
}

impl Matrix {
    /// Name for tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Matrix::Hessian => "Hessian",
            Matrix::GaussNewton => "Gauss-Newton",
            Matrix::Fisher { .. } => "Fisher",
            Matrix::EmpiricalFisher => "empirical Fisher",
        }
    }

    /// The matrix at a snapshot over a dataset.
    pub(crate) fn operator(self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Operator>> {
        match self {
            Matrix::Hessian => Ok(Box::new(Hessian::new(snapshot, train)?)),
            Matrix::GaussNewton => {
                // Outputs linear in the parameters have no curvature of their own: the matrix is the Hessian.
                let hessian = Hessian::new(snapshot, train)?;
                match hessian.is_closed_form() {
                    true => {
                        check_concave(snapshot, train)?;
                        Ok(Box::new(hessian))
                    }
                    false => Ok(Box::new(MeanSquare::new(snapshot, train, self)?)),
                }
            }
            Matrix::Fisher { .. } | Matrix::EmpiricalFisher => Ok(Box::new(MeanSquare::new(snapshot, train, self)?)),
        }
    }
}
