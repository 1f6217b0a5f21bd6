//! What really changes without an example.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

use super::descent::Descent;
use super::newton::Newton;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::progress::Progress;
use crate::scores::Scores;
use crate::task::Task;

/// Bytes for the minimisations that run side by side.
const BYTES: i64 = 512 << 20;

/// True leave-one-out: retrains to the minimum without each chosen train example and measures the test set again.
///
/// Formula: `score(z', z_i) = −n · (m(z'; θ₋ᵢ) − m(z'; θ*))`, where `θ*` minimises `−(1/n) Σ_j o(z_j; θ) + λ/2 ‖θ‖²` and `θ₋ᵢ` the
/// same without example i: its weight becomes zero, the divisor stays n. So a positive score means proponent, and to first order in
/// 1/n the score equals that of `Influence` with the explicit Hessian and damping λ.
/// Parts: objective in training, measurement on the test side; both, and the differences, in float64.
/// Cost: one factor of the Hessian, shared; then 5 to 20 gradients over all n examples for each chosen one, together
/// as matrix products where the network is one linear layer, else one after the other. Memory: 0.5 GB at most beside the factor.
/// Defaults: λ = 0.01, gradients no longer than 1e-12.
/// Misleads: never about this penalised, converged model; but a network trained otherwise is another model.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(150, 10, 0)?;
/// let newton = Newton { penalty: 0.01, ..default() };
/// let task = newton.train(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), &train)?;
/// let truth = LeaveOneOut { newton }.score(&task, &train, &test, &[0, 7])?;
/// let predicted = Influence::new(Explicit { damping: Damping::Absolute(0.01), ..default() }).fit(&task, &train)?.score(&test)?;
/// assert_eq!(truth.tensor().size(), [10, 2]);
/// assert_eq!(truth.get(0, 1)? > 0.0, predicted.get(0, 7)? > 0.0);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaveOneOut {
    /// How each minimum is found.
    pub newton: Newton,
}

impl LeaveOneOut {
    /// Scores `[n_test, k]` of the train examples at these `k` positions; their train side is `train.select(positions)`.
    ///
    /// Starts from the task's last checkpoint, which need not be the minimum: that is found first. Errors: as
    /// [`Newton::train`]; [`Error::Data`](crate::Error::Data) for no position or one outside.
    pub fn score(&self, task: &Task, train: &Dataset, test: &Dataset, positions: &[usize]) -> Result<Scores> {
        let chosen = train.select(positions)?;
        let newton = &self.newton;
        let minimum = newton.minimise(task, train, false)?;
        let network = &minimum.network;
        network.check(test)?;
        let (examples, n) = (network.examples(test)?, train.len() as f64);
        let before = network.measure(&examples, &minimum.theta)?; // [m, 1]
        let mut progress = Progress::new("leave-one-out", positions.len() as u64);
        let mut columns = Vec::new();
        for some in positions.chunks(network.side_by_side(&minimum.train, BYTES)) {
            let without: Vec<Option<i64>> = some.iter().map(|&position| Some(position as i64)).collect();
            let loss = |theta: &Tensor, rows: &[usize]| {
                let without: Vec<Option<i64>> = rows.iter().map(|&row| without[row]).collect();
                network.loss(&minimum.train, newton.penalty, theta, &without)
            };
            let preconditioner = minimum.preconditioner.as_ref();
            let (tolerance, steps) = (newton.tolerance, newton.steps);
            let descent = Descent { loss: &loss, preconditioner, tolerance, steps, impatient: false };
            let start = guarded(|| Ok(minimum.theta.repeat([some.len() as i64, 1])))?;
            let reached = guarded(|| descent.run(&start))?;
            if reached.norm > newton.tolerance {
                return Err(newton.unfinished("leave-one-out", reached.norm, reached.steps));
            }
            columns.push((network.measure(&examples, &reached.theta)? - &before) * -n);
            progress.add(some.len() as u64);
        }
        progress.finish();
        let values = guarded(|| no_grad(|| Ok(Tensor::cat(&columns, 1).to_kind(Kind::Float))))?;
        Scores::new(values, "Leave-one-out", test, &chosen)
    }
}
