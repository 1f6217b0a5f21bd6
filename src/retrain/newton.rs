//! Training to the minimum.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::descent::Descent;
use super::double::{Double, Examples};
use crate::curvature::{Curvature, Damping, Explicit, Preconditioner};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::snapshot::Snapshot;
use crate::task::Task;

/// Trains a convex task to its minimum: `F(θ) = −(1/n) Σ_i o(z_i; θ) + λ/2 ‖θ‖²`.
///
/// Full batch, in float64, without randomness: the penalty makes the minimum unique. Each step is preconditioned by the damped
/// Hessian `(H + λ)⁻¹` in the [`Explicit`] form, factored anew where progress is slow, corrected by the last ten steps (L-BFGS) and
/// halved until the loss falls. At this minimum influence with damping λ is the exact derivative of the weights in an example's
/// weight.
///
/// Cost: a few Hessians (n p² / 2 multiplications each for a network of one linear layer) and factors (p³ / 3); the steps between
/// cost a full gradient each. Memory: 8 p² bytes. p is at most 20,000.
/// Misleads: a network with hidden layers is not convex; then the Hessian is indefinite and training stops with an error, or
/// ends in one of many minima.
///
/// ```
/// use ascribe::prelude::*;
/// let train = dataset::digits()?.head(200)?;
/// let task = Newton { penalty: 0.01, ..default() }.train(&Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), &train)?;
/// let (snapshot, checkpoint) = (task.snapshot(0)?, &task.checkpoints()[0]);
/// let gradient = snapshot.gradients(Of::Objective, &train)?.dense()?.mean_dim([0i64].as_slice(), false, None::<ascribe::tch::Kind>);
/// for entry in snapshot.layout().entries() {
///     let balance = gradient.narrow(0, entry.offset, entry.len).view(entry.shape.as_slice());
///     let balance = checkpoint.tensor(&entry.name).map(|weights| balance - weights * 0.01);
///     assert!(balance.is_some_and(|b| b.abs().max().double_value(&[]) < 1e-6)); // the penalty balances the data
/// }
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Newton {
    /// λ of the penalty λ/2 ‖θ‖² on all parameters, biases too; above 0.
    pub penalty: f64,
    /// Converged when the gradient of F is no longer than this.
    pub tolerance: f64,
    /// At most so many steps.
    pub steps: usize,
}

impl Default for Newton {
    fn default() -> Newton {
        Newton { penalty: 0.01, tolerance: 1e-12, steps: 500 }
    }
}

/// The minimum over all examples, in float64.
pub(super) struct Minimum {
    pub(super) network: Double,
    pub(super) train: Examples,
    /// `[1, p]`
    pub(super) theta: Tensor,
    /// `(H + λ)⁻¹` near it.
    pub(super) preconditioner: Box<dyn Preconditioner>,
    pub(super) steps: usize,
}

impl Newton {
    /// Trains one more run, from fresh weights, and adds its one checkpoint, the minimum in float32.
    ///
    /// Errors: [`Error::Option`]; [`Error::Unsupported`] above 20,000 parameters; [`Error::Numerical`] where the loss is not convex
    /// or the tolerance is not reached, with a hint.
    pub fn train(&self, task: &Task, train: &Dataset) -> Result<Task> {
        let minimum = self.minimise(task, train, true)?;
        let run = task.runs().last().map_or(0, |run| run + 1);
        let checkpoint = guarded(|| Ok(minimum.network.checkpoint(&minimum.theta.get(0), run, minimum.steps)))?;
        task.clone().with_checkpoints(task.checkpoints().iter().cloned().chain([checkpoint]).collect())
    }

    pub(super) fn check(&self) -> Result<()> {
        let positive = |name: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::option(name, "a positive number", value)),
        };
        positive("Newton.penalty", self.penalty)?;
        positive("Newton.tolerance", self.tolerance)?;
        match self.steps {
            0 => Err(Error::option("Newton.steps", "at least 1", 0)),
            _ => Ok(()),
        }
    }

    /// The minimum, from fresh weights or from the task's last checkpoint.
    pub(super) fn minimise(&self, task: &Task, train: &Dataset, fresh: bool) -> Result<Minimum> {
        self.check()?;
        let task = &task.whole();
        let (network, mut theta) = Double::new(task, train, fresh)?;
        let examples = network.examples(train)?;
        let loss = |theta: &Tensor, rows: &[usize]| network.loss(&examples, self.penalty, theta, &vec![None; rows.len()]);
        let mut steps = 0;
        loop {
            let preconditioner = self.curvature(task, train, &network, &theta)?;
            let left = self.steps - steps;
            let descent = Descent {
                loss: &loss,
                preconditioner: preconditioner.as_ref(),
                tolerance: self.tolerance,
                steps: left,
                impatient: true,
            };
            let reached = guarded(|| descent.run(&theta))?;
            (theta, steps) = (reached.theta, steps + reached.steps);
            if reached.norm <= self.tolerance {
                return Ok(Minimum { network, train: examples, theta, preconditioner, steps });
            }
            // Out of steps, or not one that leads down.
            if steps >= self.steps || reached.steps == 0 || reached.stuck {
                return Err(self.unfinished("training", reached.norm, steps));
            }
        }
    }

    /// `(H + λ)⁻¹` at these weights.
    fn curvature(&self, task: &Task, train: &Dataset, network: &Double, theta: &Tensor) -> Result<Box<dyn Preconditioner>> {
        let explicit = Explicit { damping: Damping::Absolute(self.penalty), ..Explicit::default() };
        if network.p() > explicit.largest_p {
            let reason = format!("Newton for {} parameters (at most {}): its Hessian is formed", network.p(), explicit.largest_p);
            return Err(Error::Unsupported(reason));
        }
        let checkpoint = guarded(|| Ok(network.checkpoint(&theta.get(0), 0, 0)))?;
        explicit.fit(&Rc::new(Snapshot::new(task, &checkpoint)?), train).map_err(|error| match error {
            Error::Numerical { reason, .. } => {
                Error::numerical("Newton", format!("the loss is not convex there ({reason}); Newton.penalty is the damping"))
            }
            other => other,
        })
    }

    pub(super) fn unfinished(&self, what: &str, norm: f64, steps: usize) -> Error {
        let reason = format!(
            "the gradient is {norm:.1e} long after {steps} steps, Newton.tolerance asks for {:.1e}; raise it or Newton.steps ({}), or scale the inputs",
            self.tolerance, self.steps
        );
        Error::numerical(format!("Newton ({what})"), reason)
    }
}
