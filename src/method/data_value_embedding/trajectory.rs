//! What one training run did, step by step.

use std::rc::Rc;

use tch::{Kind, Tensor, no_grad};

use super::{Replay, StepCurvature};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Gradients;
use crate::gradient::Operator;
use crate::gradient::hessian::Hessian;
use crate::model::Tape;
use crate::projection::Projector;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;
use crate::train;

/// One step of the run.
pub(super) struct Step {
    /// Counted from 1.
    pub epoch: usize,
    pub rate: f64,
    /// Positions of its examples in the train data, `[b]`.
    pub batch: Tensor,
    held: Held,
}

/// What is kept of a step, at the weights before it.
enum Held {
    Weights(Vec<Tensor>),
    Gradients(Gradients),
    Rows(Tensor),
}

/// The steps of one run, and the network at its end.
pub(super) struct Trajectory {
    pub steps: Vec<Step>,
    pub end: Snapshot,
    /// A network of its own, whose weights are overwritten to look at a step.
    scratch: Rc<Snapshot>,
}

/// Watches a run; see [`train::Trainer::run`].
#[derive(Default)]
pub(super) struct Recorder<'a> {
    pub replay: Replay,
    pub projector: Option<&'a dyn Projector>,
    pub steps: Vec<Step>,
}

impl Recorder<'_> {
    pub fn watch(&mut self, train: &Dataset, step: &train::Step) -> Result<Option<Tensor>> {
        let inputs = || train.inputs().index_select(0, step.batch);
        if self.steps.is_empty() {
            check_deterministic(step, &inputs())?;
        }
        let gradients =
            || Gradients::compute(step.snapshot, Of::Objective, &inputs(), &train.targets().index_select(0, step.batch));
        let held = match (self.projector, self.replay) {
            (Some(projector), _) => Held::Rows(projector.project(&gradients()?)?),
            (None, Replay::Gradients) => Held::Gradients(gradients()?),
            (None, Replay::Weights) => Held::Weights(step.snapshot.parameters().iter().map(|p| p.detach().copy()).collect()),
        };
        self.steps.push(Step { epoch: step.epoch, rate: step.rate, batch: step.batch.copy(), held });
        Ok(None)
    }
}

/// An error if training computes other outputs than the network does when it is explained.
fn check_deterministic(step: &train::Step, inputs: &Tensor) -> Result<()> {
    let plain = no_grad(|| step.snapshot.network().forward(inputs, &mut Tape::off()));
    match plain.equal(&step.outputs.detach()) {
        true => Ok(()),
        false => Err(Error::Unsupported(
            "Data value embedding of a network whose outputs differ in training (dropout, batch norm): the gradients of a step are those of \
             one example alone, without dropout; train without"
                .into(),
        )),
    }
}

impl Trajectory {
    /// Takes the steps of a run that ended at this checkpoint.
    pub fn new(task: &Task, checkpoint: &Checkpoint, steps: Vec<Step>) -> Result<Trajectory> {
        Ok(Trajectory { steps, end: Snapshot::new(task, checkpoint)?, scratch: Rc::new(Snapshot::new(task, checkpoint)?) })
    }

    /// For directions `x` `[m, k]`: the scores of a step's examples `G xᵀ / b`, `[b, m]`, and `H x`, `[m, k]`.
    pub fn meet(&self, step: &Step, train: &Dataset, x: &Tensor, curvature: StepCurvature) -> Result<(Tensor, Tensor)> {
        guarded(|| {
            let count = step.batch.size()[0] as f64;
            let computed = match &step.held {
                Held::Rows(rows) => return super::recursion::meet_rows(rows, x),
                Held::Gradients(_) => None,
                Held::Weights(weights) => Some(self.gradients(step, train, weights)?),
            };
            let gradients = match (&step.held, &computed) {
                (Held::Gradients(gradients), _) => gradients,
                (_, Some(gradients)) => gradients,
                _ => return Err(Error::Unsupported("a step without gradients".into())),
            };
            let scores = gradients.dot(x)? / count;
            let curved = match curvature {
                StepCurvature::BatchGradients => gradients.combine(&scores)?,
                StepCurvature::Hessian => {
                    let positions = Vec::<i64>::try_from(&step.batch)?.iter().map(|&i| i as usize).collect::<Vec<_>>();
                    Hessian::new(&self.scratch, &train.select(&positions)?)?.product(x)?
                }
            };
            Ok((scores, curved))
        })
    }

    /// Gradients of a step's examples at the weights before it, which the scratch network then holds.
    fn gradients(&self, step: &Step, train: &Dataset, weights: &[Tensor]) -> Result<Gradients> {
        no_grad(|| {
            for (parameter, stored) in self.scratch.parameters().iter().zip(weights) {
                parameter.shallow_clone().f_copy_(stored)?;
            }
            Result::Ok(())
        })?;
        let (inputs, targets) = (train.inputs().index_select(0, &step.batch), train.targets().index_select(0, &step.batch));
        Gradients::compute(&self.scratch, Of::Objective, &inputs, &targets)
    }

    /// What is kept, if it is short rows.
    pub fn width(&self) -> Option<i64> {
        match &self.steps.first()?.held {
            Held::Rows(rows) => Some(rows.size()[1]),
            _ => None,
        }
    }

    /// Forgets what was kept of each step, but not which examples it had.
    pub fn forget(&mut self) {
        for step in &mut self.steps {
            step.held = Held::Weights(Vec::new());
        }
    }
}

/// How far a replayed run may end from the task's, in Euclidean length relative to all weights: another number of threads rounds
/// sums in another order.
const TOLERANCE: f64 = 1e-4;

/// An error that names the first tensor in which a replayed run ends elsewhere than the task's, beyond rounding.
pub(super) fn check_same(expected: &Checkpoint, replayed: &Checkpoint) -> Result<()> {
    let hint = "DataValueEmbedding.trainer is not how this run was trained on these examples";
    if expected.step != replayed.step {
        return Err(Error::checkpoint(expected.name(), format!("the replay ends at step {}; {hint}", replayed.step)));
    }
    let (mut apart, mut length) = (0.0, 0.0);
    let mut differs = None;
    for (name, there) in expected.tensors() {
        let reason = match replayed.tensor(name) {
            None => format!("{name} is not in the replay; {hint}"),
            Some(here) if here.size() != there.size() || here.kind() != there.kind() => {
                format!("{name} is {:?}, in the replay {:?}; {hint}", there.size(), here.size())
            }
            Some(here) => {
                let square = |x: Tensor| x.square().sum(Kind::Double).double_value(&[]);
                let square_apart = square(here.to_kind(Kind::Double) - there.to_kind(Kind::Double));
                (apart, length) = (apart + square_apart, length + square(there.to_kind(Kind::Double)));
                if square_apart > 0.0 && differs.is_none() {
                    differs = Some(name);
                }
                continue;
            }
        };
        return Err(Error::checkpoint(expected.name(), reason));
    }
    let share = (apart / length).sqrt();
    match differs {
        Some(name) if !(share <= TOLERANCE) => {
            let reason = format!("{name} differs from the replay, and all weights by {share:.1e} of their length; {hint}");
            Err(Error::checkpoint(expected.name(), reason))
        }
        _ => Ok(()),
    }
}
