//! Recorded training that scores: the recursion over all steps.

use std::ops::Range;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::recursion::Adjoint;
use super::trajectory::Trajectory;
use super::{DataValueEmbedding, StepCurvature};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::stream::{batch_size, each_batch};
use crate::method::Attributor;
use crate::progress::Progress;
use crate::projection::Projector;
use crate::snapshot::{Of, Snapshot, all_finite};
use crate::train::Optimizer;

/// Memory for the rows of a recursion: three of each test example.
const ROW_BYTES: i64 = 1 << 30;

/// A fitted [`DataValueEmbedding`]: scores any number of test sets by going backward through the recorded steps.
#[derive(Clone)]
pub struct Unrolled {
    options: DataValueEmbedding,
    train: Dataset,
    runs: Rc<Vec<Run>>,
    /// Counted from 1.
    epoch: Option<usize>,
}

/// One training run, and with a projection its embeddings.
struct Run {
    trajectory: Trajectory,
    projector: Option<Box<dyn Projector>>,
    /// `[n, k]` for each epoch, or one of all epochs.
    embeddings: Vec<Tensor>,
}

impl Unrolled {
    pub(super) fn new(
        options: &DataValueEmbedding,
        train: &Dataset,
        runs: Vec<(Trajectory, Option<Box<dyn Projector>>)>,
    ) -> Result<Unrolled> {
        let mut fitted = Unrolled { options: options.clone(), train: train.clone(), runs: Rc::default(), epoch: options.epoch };
        let mut done = Vec::new();
        for (mut trajectory, projector) in runs {
            let embeddings = match trajectory.width() {
                Some(k) => {
                    let start = guarded(|| Ok(Tensor::f_eye(k, (Kind::Float, Device::Cpu))?))?;
                    let embeddings = fitted.sweep(&trajectory, start, options.epoch.is_some())?;
                    trajectory.forget();
                    guarded(|| Ok(embeddings.iter().map(|e| e.transpose(0, 1).contiguous()).collect()))?
                }
                None => Vec::new(),
            };
            done.push(Run { trajectory, projector, embeddings });
        }
        fitted.runs = Rc::new(done);
        Ok(fitted)
    }

    /// The share of one epoch, counted from 1; the shares of all epochs add up to the score. `None` is all of them.
    ///
    /// Errors: [`Error::Option`] for an epoch that was not trained, or with a projection that was fitted without asking for one.
    pub fn of_epoch(&self, epoch: Option<usize>) -> Result<Unrolled> {
        let options = DataValueEmbedding { epoch, ..self.options.clone() };
        options.check()?;
        if let (Some(epoch), Some(run)) = (epoch, self.runs.first().filter(|run| run.projector.is_some()))
            && run.embeddings.len() < epoch.max(self.options.trainer.epochs)
        {
            let expected = format!("Some({epoch}) when it was fitted with a projection: only the sum of all epochs was kept");
            return Err(Error::option("DataValueEmbedding.epoch", expected, "None"));
        }
        Ok(Unrolled { epoch, options, ..self.clone() })
    }

    /// The embedding of each train example, `[n_train, k]`: the derivative of the projected final weights in the example's
    /// weight, of the first run. A score is its inner product with a projected test gradient.
    ///
    /// Errors: [`Error::Unsupported`] without a projection: then they would be as long as the parameters, and are never formed.
    pub fn embeddings(&self) -> Result<Tensor> {
        match self.runs.first() {
            Some(run) if run.projector.is_some() => self.chosen(run),
            _ => Err(Error::Unsupported("embeddings are kept only with DataValueEmbedding.projection".into())),
        }
    }

    /// Positions of the train examples of each step of a run, in the order of training: what retraining without an example has
    /// to repeat.
    pub fn batches(&self, run: usize) -> Result<Vec<Vec<usize>>> {
        let found = self.runs.get(run);
        let found = found.ok_or_else(|| Error::data("run", format!("expected 0 to {}, got {run}", self.runs.len() - 1)))?;
        guarded(|| {
            let positions = |batch: &Tensor| Ok(Vec::<i64>::try_from(batch)?.into_iter().map(|i| i as usize).collect());
            found.trajectory.steps.iter().map(|step| positions(&step.batch)).collect()
        })
    }

    /// `[n, k]` of the chosen epochs.
    fn chosen(&self, run: &Run) -> Result<Tensor> {
        guarded(|| match self.epoch {
            Some(epoch) => Ok(run.embeddings[epoch - 1].shallow_clone()),
            None => Ok(Tensor::stack(&run.embeddings, 0).sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)),
        })
    }

    /// From derivatives `[m, k]` in the final weights to derivatives in the weight of every train example, `[m, n]`: of each
    /// epoch, or of the chosen ones together.
    fn sweep(&self, trajectory: &Trajectory, rows: Tensor, each_epoch: bool) -> Result<Vec<Tensor>> {
        let Optimizer::Sgd { momentum, weight_decay } = self.options.trainer.optimizer else { return self.options.only_sgd() };
        let size = [rows.size()[0], self.train.len() as i64];
        let count = if each_epoch { self.options.trainer.epochs } else { 1 };
        let totals =
            guarded(|| (0..count).map(|_| Ok(Tensor::f_zeros(size, (Kind::Float, Device::Cpu))?)).collect::<Result<Vec<_>>>())?;
        let mut adjoint = Adjoint::new(rows, momentum, weight_decay);
        let mut progress = Progress::new("going back through training", trajectory.steps.len() as u64);
        for (number, step) in trajectory.steps.iter().enumerate().rev() {
            if self.epoch.is_some_and(|epoch| !each_epoch && step.epoch < epoch) {
                break;
            }
            let x = guarded(|| Ok(adjoint.along(step.rate)))?;
            let (scores, curved) = trajectory.meet(step, &self.train, &x, self.options.curvature)?;
            guarded(|| {
                if !all_finite(&scores) || !all_finite(&curved) {
                    let (epoch, rate) = (step.epoch, step.rate);
                    let reason =
                        format!("a value is NaN or infinite at epoch {epoch}, step {number}; lower the learning rate ({rate})");
                    return Err(Error::numerical(self.options.title(), reason));
                }
                let wanted = each_epoch || self.epoch.is_none_or(|epoch| epoch == step.epoch);
                if wanted {
                    let mut total = totals[if each_epoch { step.epoch - 1 } else { 0 }].shallow_clone();
                    let _ = total.f_index_add_(1, &step.batch, &scores.transpose(0, 1))?;
                }
                adjoint.back(x, &curved);
                Ok(())
            })?;
            progress.add(1);
        }
        progress.finish();
        Ok(totals)
    }

    /// `[m, n]` from gradients `[m, p]` at the end of a run.
    fn scores(&self, run: &Run, rows: Tensor) -> Result<Tensor> {
        match &run.projector {
            Some(projector) => {
                let rows = projector.rows(&rows)?;
                let embeddings = self.chosen(run)?;
                guarded(|| Ok(rows.matmul(&embeddings.transpose(0, 1))))
            }
            None => Ok(self.sweep(&run.trajectory, rows, false)?.remove(0)),
        }
    }

    /// Calls `each` with the place and the gradients `[m', p]` at the end of a run, as many at once as memory allows.
    fn each_side(
        &self,
        end: &Snapshot,
        of: Of,
        data: &Dataset,
        mut each: impl FnMut(Range<i64>, Tensor) -> Result<()>,
    ) -> Result<()> {
        end.check(data, end.measurement(of))?;
        let (m, p) = (data.len() as i64, end.p());
        let many = (ROW_BYTES / (12 * p)).max(1);
        let size = batch_size(end, data, true)?.at_once;
        for from in (0..m).step_by(many as usize) {
            let until = (from + many).min(m);
            let rows = guarded(|| Ok(Tensor::f_empty([until - from, p], (Kind::Float, Device::Cpu))?))?;
            let part = data.select(&(from as usize..until as usize).collect::<Vec<_>>())?;
            each_batch(end, of, &part, size, |start, gradients| gradients.write(&rows.narrow(0, start, gradients.n())))?;
            each(from..until, rows)?;
        }
        Ok(())
    }

    fn mean(&self, total: Tensor) -> Result<Tensor> {
        guarded(|| Ok(total / self.runs.len() as f64))
    }
}

/// Adds in place.
fn add(total: &Tensor, part: &Tensor) -> Result<()> {
    let _ = total.shallow_clone().f_add_(part)?;
    Ok(())
}

impl Attributor for Unrolled {
    fn name(&self) -> String {
        self.options.title()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let total = guarded(|| Ok(Tensor::f_zeros([test.len() as i64, self.train.len() as i64], (Kind::Float, Device::Cpu))?))?;
        for run in self.runs.iter() {
            self.each_side(&run.trajectory.end, Of::Measurement, test, |place, rows| {
                let scores = self.scores(run, rows)?;
                add(&total.narrow(0, place.start, place.end - place.start), &scores)
            })?;
        }
        self.mean(total)
    }

    /// Cost: as of scoring the train examples, which is far more than one gradient each, unless there is a projection.
    fn self_scores(&self) -> Result<Tensor> {
        let total = guarded(|| Ok(Tensor::f_zeros([self.train.len() as i64], (Kind::Float, Device::Cpu))?))?;
        for run in self.runs.iter() {
            self.each_side(&run.trajectory.end, Of::Objective, &self.train, |place, rows| {
                let scores = self.scores(run, rows)?.diagonal(place.start, 0, 1);
                add(&total.narrow(0, place.start, place.end - place.start), &scores)
            })?;
        }
        self.mean(total)
    }

    fn together(&self, test: &Dataset) -> Result<Tensor> {
        let total = guarded(|| Ok(Tensor::f_zeros([1, self.train.len() as i64], (Kind::Float, Device::Cpu))?))?;
        for run in self.runs.iter() {
            let sum = guarded(|| Ok(Tensor::f_zeros([1, run.trajectory.end.p()], (Kind::Float, Device::Cpu))?))?;
            self.each_side(&run.trajectory.end, Of::Measurement, test, |_, rows| {
                add(&sum, &guarded(|| Ok(rows.sum_dim_intlist([0i64].as_slice(), true, None::<Kind>)))?)
            })?;
            let scores = self.scores(run, sum)?;
            add(&total, &scores)?;
        }
        self.mean(guarded(|| Ok(total.squeeze_dim(0)))?)
    }
}

impl std::fmt::Debug for Unrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps: usize = self.runs.iter().map(|run| run.trajectory.steps.len()).sum();
        let exact = matches!(self.options.curvature, StepCurvature::Hessian);
        let by = if exact { "the Hessian of each batch" } else { "the gradients of each batch" };
        write!(f, "Unrolled ({steps} steps of {} runs, {} train examples, by {by})", self.runs.len(), self.train.len())
    }
}
