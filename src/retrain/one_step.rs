//! The first step towards leave-one-out, in closed form.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::double::{F64, only_linear};
use super::newton::Newton;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::progress::Progress;
use crate::scores::Scores;
use crate::snapshot::all_finite;
use crate::task::Task;

/// Preconditioned rows held at once.
const BYTES: i64 = 256 << 20;

/// Influence corrected for leverage: one exact Newton step towards the minimum without the example.
///
/// Answers: what [`LeaveOneOut`](super::LeaveOneOut) does, without iterating.
/// Formula: `score(z', z_i) = −n · (m(z'; θ* − d_i) − m(z'; θ*))` with `d_i = (H + λ − B_i ⊗ a_i a_iᵀ / n)⁻¹ ∇o(z_i) / n`: the Hessian
/// loses the example too, which the influence function leaves out. With `U_i = I ⊗ a_i` `[p, c]`, `V_i = (H + λ)⁻¹ U_i` and
/// `M_i = U_iᵀ V_i` `[c, c]`, Woodbury gives `d_i = V_i (I − B_i M_i / n)⁻¹ δ_i / n`; `δ_i` `[c]` and `−B_i` `[c, c]` are the
/// derivatives of the objective in the c outputs, `a_i` is the input with a 1. For a quadratic objective it is leave-one-out.
/// Cost: c solves for each chosen example. Memory: 0.25 GB at most beside the factor.
/// Defaults: λ = 0.01. Misleads: where one step is not enough, for examples that shape the model nearly alone; and like
/// influence anywhere but at the minimum, which is found first.
/// Reference: Rad & Maleki 2020 (approximate leave-out, arXiv 1801.10243); Koh et al. 2019 (arXiv 1905.13289).
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(150, 10, 0)?;
/// let newton = Newton { penalty: 0.01, ..default() };
/// let task = newton.train(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), &train)?;
/// let (step, truth) = (OneStep { newton }, LeaveOneOut { newton });
/// let (step, truth) = (step.score(&task, &train, &test, &[7])?, truth.score(&task, &train, &test, &[7])?);
/// let apart = (step.tensor() - truth.tensor()).abs().max() / truth.tensor().abs().max();
/// assert!(apart.double_value(&[]) < 0.2);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneStep {
    /// How the minimum over all examples is found.
    pub newton: Newton,
}

impl OneStep {
    /// Scores `[n_test, k]` of the train examples at these `k` positions; their train side is `train.select(positions)`.
    ///
    /// Errors: as [`LeaveOneOut::score`](super::LeaveOneOut::score); [`Error::Unsupported`] unless the network is one linear layer.
    pub fn score(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Scores> {
        let chosen = train.select(positions)?;
        let minimum = self.newton.minimise(task, train, false)?;
        let network = &minimum.network;
        network.check(test)?;
        let (Some(linear), Some(a)) = (network.linear(), &minimum.train.a) else {
            return Err(only_linear("OneStep"));
        };
        let (examples, n, c) = (network.examples(test)?, train.len() as f64, linear.outputs);
        let before = network.measure(&examples, &minimum.theta)?;
        let together = (BYTES / (8 * 3 * c * network.p())).clamp(1, 1 << 16) as usize;
        let mut progress = Progress::new("one Newton step", positions.len() as u64);
        let mut columns = Vec::new();
        for some in positions.chunks(together) {
            let steps = guarded(|| {
                let (k, index) = (some.len() as i64, Tensor::from_slice(&some.iter().map(|&i| i as i64).collect::<Vec<_>>()));
                let (rows, targets) = (a.index_select(0, &index), minimum.train.targets.index_select(0, &index)); // [k, d]
                let (slopes, curves) = network.in_outputs(&linear.outputs(&rows, &minimum.theta), &targets)?;
                // Row (i, e) of U: the input of example i at the weights of output e.
                let u = Tensor::eye(c, F64).view([1, c, c, 1]) * rows.view([k, 1, 1, -1]); // [k, c, c, d]
                let u = linear.flatten(&u.reshape([k * c, c, -1]), network.p()).to_kind(Kind::Float);
                let v = minimum.preconditioner.apply(&u)?.to_kind(Kind::Double); // [k * c, p]
                let m = linear.matrices(&v).view([k, c, c, -1]).matmul(&rows.view([k, 1, -1, 1])).squeeze_dim(3); // [k, e, f], symmetric
                let system = Tensor::eye(c, F64) - curves.matmul(&m.transpose(1, 2)) / n;
                let x = Tensor::linalg_solve(&system, &(slopes / n).unsqueeze(2), true); // [k, c, 1]
                Ok((v.view([k, c, -1]) * x).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
            })?;
            if !all_finite(&steps) {
                return Err(Error::numerical("OneStep", "an example holds the model alone (leverage 1); raise Newton.penalty"));
            }
            let without = guarded(|| Ok(&minimum.theta - steps))?;
            columns.push((network.measure(&examples, &without)? - &before) * -n);
            progress.add(some.len() as u64);
        }
        progress.finish();
        let values = guarded(|| Ok(Tensor::cat(&columns, 1).to_kind(Kind::Float)))?;
        Scores::new(values, "One Newton step", test, &chosen)
    }
}
