//! Architecture, objective, measurement and checkpoints: everything a method needs besides data.

use std::sync::Arc;

use polars::df;
use polars::prelude::DataFrame;
use tch::{Tensor, nn};

use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::measurement::{LogLikelihood, Measurement};
use crate::model::Model;
use crate::names::{Pattern, hint};
use crate::snapshot::Snapshot;
use crate::store::{Attached, Store};
use crate::train::{Trainer, Watch};

pub(crate) type Architecture = Arc<dyn Fn(&nn::Path) -> Box<dyn Model> + Send + Sync>;

/// What was trained, on which objective, what is to be explained, and the weights to explain it with.
///
/// The architecture is a constructor over a `tch::nn::Path`; a snapshot builds its own network from it and loads one checkpoint.
/// Objective and measurement are the log-likelihood unless set otherwise.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 100, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).with_measurement(Margin);
/// let task = task.train(&Trainer { epochs: 15, learning_rate: 0.01, ..default() }, &train)?;
/// assert!(task.accuracy(&test)? > 0.6);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct Task {
    pub(crate) architecture: Architecture,
    pub(crate) objective: Arc<dyn Measurement>,
    pub(crate) measurement: Arc<dyn Measurement>,
    checkpoints: Vec<Checkpoint>,
    /// Beginnings of the names of the parameters that gradients are taken in; all, if empty.
    pub(crate) layers: Vec<String>,
    pub(crate) stores: Vec<Attached>,
}

impl Task {
    /// A task with an architecture and no weights yet.
    pub fn new<M: Model + 'static>(architecture: impl Fn(&nn::Path) -> M + Send + Sync + 'static) -> Task {
        Task {
            architecture: Arc::new(move |path| Box::new(architecture(path))),
            objective: Arc::new(LogLikelihood),
            measurement: Arc::new(LogLikelihood),
            checkpoints: Vec::new(),
            layers: Vec::new(),
            stores: Vec::new(),
        }
    }

    /// Sets what training maximises, and with it the measurement.
    pub fn with_objective(mut self, objective: impl Measurement + 'static) -> Task {
        self.objective = Arc::new(objective);
        self.measurement = self.objective.clone();
        self
    }

    /// Sets what scores explain on test examples.
    pub fn with_measurement(mut self, measurement: impl Measurement + 'static) -> Task {
        self.measurement = Arc::new(measurement);
        self
    }

    /// Takes weights from elsewhere instead of training; each is checked against the architecture.
    ///
    /// Errors: [`Error::Checkpoint`] naming every parameter that is missing, misshapen or NaN, every weight that the network has no place
    /// for, and the nearest names. Torch's counters `num_batches_tracked` may be left over; [`Checkpoint::without`] drops others.
    pub fn with_checkpoints(mut self, checkpoints: Vec<Checkpoint>) -> Result<Task> {
        for checkpoint in &checkpoints {
            if let Some(reason) = Snapshot::fit(&self, checkpoint)?.trouble(true) {
                return Err(Error::checkpoint(checkpoint.name(), reason));
            }
        }
        self.checkpoints = checkpoints;
        Ok(self)
    }

    /// The architecture's parameters beside a checkpoint's weights, what does not fit first.
    ///
    /// Columns: `parameter`, `expected` and `found` (shapes), `verdict` (`missing`, `misshapen`, `not finite`, `extra`, `fits`, or
    /// `not used` for torch's counters), `nearest` (for a missing name the nearest of those left over, and the other way round).
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
    /// let zeros = |size: &[i64]| Tensor::zeros(size, (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu));
    /// let python = Checkpoint::new(0, 0, 0.0, vec![("0.weight".into(), zeros(&[10, 64])), ("0.bias".into(), zeros(&[10]))]);
    /// let table = task.compare(&python)?;
    /// assert_eq!(table.column("verdict")?.str()?.get(0), Some("missing"));
    /// let task = task.with_checkpoints(vec![python.rename(&[("0", "linear")])?])?;
    /// assert_eq!(task.checkpoints().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compare(&self, checkpoint: &Checkpoint) -> Result<DataFrame> {
        Snapshot::fit(self, checkpoint)?.frame()
    }

    /// Trains one more run from fresh weights and adds the checkpoints it kept.
    pub fn train(self, trainer: &Trainer, train: &Dataset) -> Result<Task> {
        self.train_watched(trainer, train, &mut |_| Ok(None))
    }

    /// Trains so many more runs, each from its own fresh weights and with its own order of batches: a deep ensemble.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let train = dataset::digits()?.head(100)?;
    /// let trainer = Trainer { epochs: 2, seeds: vec![446, 724, 571], ..default() };
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train_runs(&trainer, &train, 3)?;
    /// assert_eq!(task.runs(), [0, 1, 2]);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn train_runs(self, trainer: &Trainer, train: &Dataset, runs: usize) -> Result<Task> {
        (0..runs).try_fold(self, |task, _| task.train(trainer, train))
    }

    /// The same as [`Task::train`], showing every step before it is taken; see [`Trainer::run`].
    pub(crate) fn train_watched(mut self, trainer: &Trainer, train: &Dataset, watch: &mut Watch) -> Result<Task> {
        let run = self.runs().last().map_or(0, |run| run + 1);
        let kept = guarded(|| trainer.run(&self, train, run, watch))?;
        self.checkpoints.extend(kept);
        Ok(self)
    }

    /// Reads recorded gradients or features of these examples instead of computing them; a task may have several stores.
    ///
    /// A store is read wherever gradients of the number it was made from are asked for, be that as the objective, as the measurement or as
    /// the output of a method such as [`Trak`](crate::method::Trak); all else is computed.
    ///
    /// Errors: [`Error::Data`] if parts are missing, or if the store was made from other weights, another architecture, other data or
    /// another objective: it names the first difference.
    pub fn with_store(mut self, store: &Store, train: &Dataset) -> Result<Task> {
        let attached = Attached::new(store, &self.clone().without_stores(), train)?;
        self.stores.push(attached);
        Ok(self)
    }

    /// Attributes to some layers alone: gradients, curvature and projections are those of the parameters whose names begin so.
    ///
    /// A beginning ends at a dot or with the name: `fc2` is `fc2.weight` and `fc2.bias`; `*` stands for anything but a dot, so
    /// `block*.attention` is the attention of every block. Names are those of [`Task::parameters`]. Cost and memory fall with the number of
    /// parameters. What the other layers compute stays as it is; they count as constants. Training and retraining are of all parameters, before
    /// and after; methods that look at inputs or features instead of gradients do not notice.
    ///
    /// Errors: [`Error::Layer`] for a beginning that no parameter has, naming the nearest, and for none at all; [`Error::Unsupported`] for a
    /// task with stores: choose the layers first, and record a store of them.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let data = dataset::digits()?.head(50)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
    /// let last = task.clone().with_layers(&["fc2"])?;
    /// assert_eq!(last.snapshot(0)?.p(), 8 * 10 + 10);
    /// let (all, some) = (GradDot::default().fit(&task, &data)?, GradDot::default().fit(&last, &data)?);
    /// assert!(all.score(&data)?.get(0, 0)? > some.score(&data)?.get(0, 0)?); // a sum over layers, positive on the diagonal
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn with_layers(mut self, beginnings: &[&str]) -> Result<Task> {
        if !self.stores.is_empty() {
            let reason = "layers of a task that reads a store; choose the layers first, then record a store and read that".into();
            return Err(Error::Unsupported(reason));
        }
        if beginnings.is_empty() {
            return Err(Error::layer("with_layers", "expected the beginning of at least one parameter's name, got none"));
        }
        self.layers.clear();
        let names: Vec<String> = Snapshot::parameter_names(&self)?;
        for beginning in beginnings {
            let pattern = Pattern::new(beginning);
            if !names.iter().any(|name| pattern.find(name).is_some()) {
                let near = hint(beginning, names.iter().map(String::as_str));
                return Err(Error::layer(*beginning, format!("no parameter's name begins so{near}; see Task::parameters")));
            }
        }
        self.layers = beginnings.iter().map(|beginning| beginning.to_string()).collect();
        Ok(self)
    }

    /// Whether gradients are taken in the parameter of this name.
    pub(crate) fn attributes(&self, name: &str) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|beginning| Pattern::new(beginning).find(name).is_some())
    }

    /// The same task with all its layers: what trains has no other.
    pub(crate) fn whole(&self) -> Task {
        Task { layers: Vec::new(), ..self.clone() }
    }

    /// The trained parameters of the architecture. Columns: `parameter`, `shape`, `numbers`, `attributed` (see [`Task::with_layers`]).
    pub fn parameters(&self) -> Result<DataFrame> {
        let all = Snapshot::fresh(self, 0)?;
        let entries = all.layout().entries();
        Ok(df!(
            "parameter" => entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
            "shape" => entries.iter().map(|entry| format!("{:?}", entry.shape)).collect::<Vec<_>>(),
            "numbers" => entries.iter().map(|entry| entry.len).collect::<Vec<_>>(),
            "attributed" => entries.iter().map(|entry| self.attributes(&entry.name)).collect::<Vec<_>>(),
        )?)
    }

    /// The same task, computing everything.
    pub(crate) fn without_stores(mut self) -> Task {
        self.stores.clear();
        self
    }

    /// The weights, in the order of training.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// Only the last checkpoint of each run: what most methods use.
    pub fn last(&self) -> Task {
        let last = |c: &&Checkpoint| !self.checkpoints.iter().any(|d| d.run == c.run && d.step > c.step);
        Task { checkpoints: self.checkpoints.iter().filter(last).cloned().collect(), ..self.clone() }
    }

    /// Only the checkpoints of one run; none if there is no such run.
    pub fn run(&self, run: usize) -> Task {
        Task { checkpoints: self.checkpoints.iter().filter(|c| c.run == run).cloned().collect(), ..self.clone() }
    }

    /// Numbers of the runs, ascending.
    pub fn runs(&self) -> Vec<usize> {
        let mut runs: Vec<usize> = self.checkpoints.iter().map(|c| c.run).collect();
        runs.sort_unstable();
        runs.dedup();
        runs
    }

    /// The network with the weights of checkpoint `index`.
    pub fn snapshot(&self, index: usize) -> Result<Snapshot> {
        let checkpoint = self.checkpoints.get(index).ok_or_else(|| match self.checkpoints.is_empty() {
            true => Error::checkpoint("task", "it has no checkpoints yet: train it or add some"),
            false => Error::checkpoint("task", format!("expected 0 to {}, got {index}", self.checkpoints.len() - 1)),
        })?;
        Snapshot::new(self, checkpoint)
    }

    /// What the random maps of checkpoint `index` are drawn with, the `member` of [`Projection::fit`](crate::projection::Projection::fit):
    /// `run · 2³² + step`, so that a checkpoint has the same map in every task it is part of. Of checkpoints that share run and step, such
    /// as weights from elsewhere, the second has 2⁴⁸ more, and so on.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let trainer = Trainer { epochs: 2, batch_size: 8, keep: Keep::LastEpochs(2), ..default() };
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&trainer, &dataset::digits()?.head(64)?)?;
    /// assert_eq!((task.member(0), task.member(1), task.last().member(0)), (8, 16, 16));
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn member(&self, index: usize) -> u64 {
        let key = |checkpoint: &Checkpoint| (checkpoint.run as u64) << 32 ^ checkpoint.step as u64;
        let Some(own) = self.checkpoints.get(index).map(key) else { return 0 };
        let before = self.checkpoints[..index].iter().filter(|checkpoint| key(checkpoint) == own).count();
        own.wrapping_add((before as u64) << 48)
    }

    /// What the last checkpoint gives for some inputs beside stored outputs, such as those of the same model in Python.
    ///
    /// Columns: `example`; `difference`, the largest absolute one among its outputs; `relative`, divided by the largest absolute stored
    /// output; `argmax_here` and `argmax_there`, of a sequence at the position of the largest difference, empty for a single output;
    /// `agrees`, whether `relative` is at most 1e-4, which rounding explains.
    ///
    /// Where they part, [`Task::compare_layers`] tells the first layer that does.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let data = dataset::digits()?.head(50)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
    /// let python = task.snapshot(0)?.outputs(&data)?; // in earnest, read::npy("outputs.npy")?
    /// let table = task.compare_outputs(data.inputs(), &python)?;
    /// assert!(table.column("agrees")?.bool()?.all());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Errors: [`Error::Shape`] for outputs of another shape.
    pub fn compare_outputs(&self, inputs: &Tensor, outputs: &Tensor) -> Result<DataFrame> {
        self.snapshot(self.checkpoints.len().saturating_sub(1))?.compare_outputs(inputs, outputs)
    }

    /// What each layer of the last checkpoint gives for some inputs beside what the layer of the same name gave elsewhere, in the order of
    /// use; layers that are only stored come last.
    ///
    /// Columns: `layer`, `here` and `there` (shapes), `difference` and `relative` as in [`Task::compare_outputs`], `verdict`: `agrees`,
    /// `first to part`, `parts`, `other shape`, `not stored` or `not in this network`. The first layer to part has other weights or settings,
    /// or something before it differs that no layer of the tape is: an activation, a pool, a reshape.
    ///
    /// In Python, `module.register_forward_hook(lambda m, x, y, name=name: stored.update({name: y}))` for each of `model.named_modules()`
    /// collects them, `safetensors.torch.save_file(stored, path)` stores them and [`Checkpoint::load`] reads them, for its
    /// [`tensors`](Checkpoint::tensors). Names are those that the model gives the tape; see [`Snapshot::layer_outputs`].
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let data = dataset::digits()?.head(50)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
    /// let mut python = task.snapshot(0)?.layer_outputs(data.inputs())?;
    /// python[1].1 = &python[1].1 + 0.5; // another bias
    /// let table = task.compare_layers(data.inputs(), &python)?;
    /// assert_eq!(table.column("verdict")?.str()?.get(1), Some("first to part"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Errors: [`Error::Data`] if no stored name is that of a layer; [`Error::Unsupported`] for networks that the tape does not see.
    pub fn compare_layers(&self, inputs: &Tensor, stored: &[(String, Tensor)]) -> Result<DataFrame> {
        self.snapshot(self.checkpoints.len().saturating_sub(1))?.compare_layers(inputs, stored)
    }

    /// Share of examples whose largest output is the label, with the last checkpoint.
    ///
    /// Errors: [`Error::Data`] if the targets are not class labels.
    pub fn accuracy(&self, data: &Dataset) -> Result<f64> {
        if data.labels().is_none() {
            return Err(Error::data(data.name(), "accuracy needs one class label per example"));
        }
        let snapshot = self.snapshot(self.checkpoints.len().saturating_sub(1))?;
        let predicted = snapshot.outputs(data)?.argmax(-1, false);
        guarded(|| Ok(predicted.eq_tensor(data.targets()).to_kind(tch::Kind::Float).mean(None::<tch::Kind>).double_value(&[])))
    }
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (objective, measurement) = (self.objective.name(), self.measurement.name());
        let layers = if self.layers.is_empty() { String::new() } else { format!(", layers {}", self.layers.join(", ")) };
        write!(
            f,
            "Task (objective {objective}, measurement {measurement}{layers}, {} checkpoints of {} runs)",
            self.checkpoints.len(),
            self.runs().len()
        )
    }
}
