//! One network with the weights of one checkpoint.

mod check;
mod compare;
mod stored;

pub(crate) use check::{all_finite, finite};

use std::cell::OnceCell;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Tensor, nn, no_grad};

use crate::checkpoint::{Checkpoint, Fit};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::{Gradients, Layout, backward};
use crate::measurement::Measurement;
use crate::model::{Model, Record, Tape, Thinning};
use crate::store::Attached;
use crate::task::{Architecture, Task};

/// Initial weights come from libtorch's generator, which is one per process; whoever seeds it draws under this lock.
static SEEDING: Mutex<()> = Mutex::new(());

/// Which number per example a gradient is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// What training maximised.
    Objective,
    /// What is explained.
    Measurement,
}

/// One network with the weights of one checkpoint: predictions, per-example numbers and their gradients.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(50)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let gradients = snapshot.gradients(Of::Objective, &data)?;
/// assert_eq!(gradients.dense()?.size(), [50, 650]);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Snapshot {
    network: Box<dyn Model>,
    /// Trained parameters in the order the constructor made them.
    parameters: Vec<Tensor>,
    layout: Arc<Layout>,
    /// Not trained: running means and the like.
    buffers: Vec<(String, Tensor)>,
    pub(crate) objective: Arc<dyn Measurement>,
    pub(crate) measurement: Arc<dyn Measurement>,
    name: String,
    pub(crate) learning_rate: f64,
    /// Whether the tape suffices, once it is known.
    taped: OnceCell<bool>,
    thinning: Option<Thinning>,
    /// Recorded gradients of this checkpoint.
    stores: Vec<Attached>,
    _store: nn::VarStore,
}

impl Snapshot {
    /// A network with fresh weights drawn from `seed`.
    pub(crate) fn fresh(task: &Task, seed: u64) -> Result<Snapshot> {
        let mut snapshot = Snapshot::build(task, Some(seed))?;
        snapshot.name = format!("fresh weights, seed {seed}");
        Ok(snapshot)
    }

    /// A network whose weights are to be overwritten, unless there is a seed.
    fn build(task: &Task, seed: Option<u64>) -> Result<Snapshot> {
        let (store, network) = build(&task.architecture, seed)?;
        let mut named: Vec<(String, Tensor)> = store.variables().into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let mut parameters: Vec<Tensor> = store.trainable_variables().into_iter().filter(Tensor::requires_grad).collect();
        if parameters.is_empty() {
            return Err(Error::layer("model", "it has no trainable parameters"));
        }
        // The store's map has no order of its own; creation order has, and names follow by identity.
        let name_of = |p: &Tensor| named.iter().find(|(_, t)| same(t, p)).map_or_else(String::new, |(name, _)| name.clone());
        // What is not attributed to is a constant; what trains, with weights drawn from a seed, has no constants.
        if seed.is_none() {
            parameters.retain(|p| {
                let kept = task.attributes(&name_of(p));
                if !kept {
                    let _ = p.set_requires_grad(false);
                }
                kept
            });
        }
        let layout = Layout::new(parameters.iter().map(|p| (name_of(p), p.size())).collect());
        let buffers = named.iter().filter(|(_, t)| !parameters.iter().any(|p| same(p, t)));
        let buffers = buffers.map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        Ok(Snapshot {
            network,
            parameters,
            layout: Arc::new(layout),
            buffers,
            objective: task.objective.clone(),
            measurement: task.measurement.clone(),
            name: String::new(),
            learning_rate: 0.0,
            taped: OnceCell::new(),
            thinning: None,
            stores: Vec::new(),
            _store: store,
        })
    }

    /// A network with the weights of a checkpoint.
    pub(crate) fn new(task: &Task, checkpoint: &Checkpoint) -> Result<Snapshot> {
        let mut snapshot = Snapshot::build(task, None)?;
        snapshot.name = checkpoint.name();
        snapshot.learning_rate = checkpoint.learning_rate;
        snapshot.thinning = checkpoint.thinning;
        // Gradients of a thinned network are others than those of its weights.
        let stores = if checkpoint.thinning.is_none() { task.stores.as_slice() } else { &[] };
        snapshot.stores = stores.iter().filter_map(|store| store.at(checkpoint)).collect();
        let network = snapshot.named_tensors();
        if let Some(reason) = Fit::of(&network, checkpoint).trouble(false) {
            return Err(Error::checkpoint(checkpoint.name(), reason));
        }
        for (name, mut tensor) in network {
            if let Some(stored) = checkpoint.tensor(&name) {
                no_grad(|| tensor.f_copy_(stored))?;
            }
        }
        Ok(snapshot)
    }

    /// Names of all trained parameters of the task's architecture.
    pub(crate) fn parameter_names(task: &Task) -> Result<Vec<String>> {
        let network = Snapshot::build(task, None)?;
        Ok(network.layout.entries().iter().map(|entry| entry.name.clone()).collect())
    }

    /// Which weights of a checkpoint are those of the task's architecture.
    pub(crate) fn fit(task: &Task, checkpoint: &Checkpoint) -> Result<Fit> {
        let network = Snapshot::build(task, None)?.named_tensors();
        guarded(|| Ok(Fit::of(&network, checkpoint)))
    }

    pub(crate) fn network(&self) -> &dyn Model {
        self.network.as_ref()
    }

    pub(crate) fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Names, shapes and offsets of the trained parameters in a flat vector.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Number of trained parameters.
    pub fn p(&self) -> i64 {
        self.layout.p()
    }

    /// `run 0, step 320`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parameters, then buffers, by name; they share memory with the network.
    pub(crate) fn named_tensors(&self) -> Vec<(String, Tensor)> {
        let parameters = self.layout.entries().iter().zip(&self.parameters).map(|(e, p)| (e.name.clone(), p.shallow_clone()));
        parameters.chain(self.buffers.iter().map(|(name, t)| (name.clone(), t.shallow_clone()))).collect()
    }

    pub(crate) fn measurement(&self, of: Of) -> &dyn Measurement {
        self.number(of).as_ref()
    }

    pub(crate) fn number(&self, of: Of) -> &Arc<dyn Measurement> {
        match of {
            Of::Objective => &self.objective,
            Of::Measurement => &self.measurement,
        }
    }

    /// Outputs of the network, `[n, ...]`, without gradients.
    pub fn outputs(&self, data: &Dataset) -> Result<Tensor> {
        guarded(|| {
            no_grad(|| {
                let chunks = data.inputs().split(1024, 0);
                let outputs: Vec<Tensor> = chunks.iter().map(|x| self.forward(x)).collect();
                Ok(Tensor::cat(&outputs, 0))
            })
        })
    }

    /// The objective or measurement of each example, `[n]`, float32.
    pub fn measure(&self, of: Of, data: &Dataset) -> Result<Tensor> {
        self.check(data, self.measurement(of))?;
        let outputs = self.outputs(data)?;
        guarded(|| Ok(self.measurement(of).measure(&outputs, data.targets())))
    }

    /// Gradients of the objective or measurement of each example, factored where the tape allows.
    ///
    /// Keeps what one pass over all of `data` records; the methods stream over batches instead.
    pub fn gradients(&self, of: Of, data: &Dataset) -> Result<Gradients> {
        self.check(data, self.measurement(of))?;
        guarded(|| Gradients::compute(self, of, data.inputs(), data.targets()))
    }

    /// Runs the network on a tape that records nothing.
    pub(crate) fn forward(&self, inputs: &Tensor) -> Tensor {
        self.network.forward(inputs, &mut Tape::off().thinned(self.thinning))
    }

    /// What share each call of dropout is asked to drop, in the order of the calls.
    pub(crate) fn dropouts(&self, inputs: &Tensor) -> Vec<f64> {
        let mut tape = Tape::off();
        let _ = no_grad(|| self.network.forward(inputs, &mut tape));
        tape.dropouts().to_vec()
    }

    /// Runs the network on a recording tape; gives outputs and what each layer saw.
    pub(crate) fn record(&self, inputs: &Tensor) -> (Tensor, Vec<Record>) {
        let mut tape = Tape::recording().thinned(self.thinning);
        let outputs = self.network.forward(inputs, &mut tape);
        (outputs, tape.into_records())
    }

    /// Whether per-example gradients may be taken from the tape; asked on data once, then remembered.
    pub(crate) fn taped(&self, inputs: &Tensor) -> Result<bool> {
        if let Some(&known) = self.taped.get() {
            return Ok(known);
        }
        let found = Gradients::tape_suffices(self, inputs)?;
        Ok(*self.taped.get_or_init(|| found))
    }

    /// `[n]` of a batch, with its graph.
    pub(crate) fn measured(&self, of: Of, outputs: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let values = self.measurement(of).measure(outputs, targets);
        let n = targets.size().first().copied().unwrap_or(0);
        match values.size() == [n] {
            true => {
                let name = self.measurement(of).name();
                let hint = format!("the {name} of an example is NaN or infinite; look for saturated or masked outputs");
                finite("the forward pass", values, &hint)
            }
            false => Err(Error::shape(
                format!("{} of {n} examples", self.measurement(of).name()),
                format!("[{n}]"),
                format!("{:?}", values.size()),
            )),
        }
    }

    /// Gradients of a scalar in the parameters, in the layout's order.
    ///
    /// Errors: [`Error::Layer`] naming a parameter the scalar does not depend on.
    pub(crate) fn parameter_gradients(&self, scalar: &Tensor, keep: bool) -> Result<Vec<Tensor>> {
        self.reached(backward(scalar, &self.parameters, keep, keep)?)
    }

    /// The same, keeping the graph for another scalar of the same outputs, but no graph of the gradients.
    pub(crate) fn parameter_gradients_keeping(&self, scalar: &Tensor) -> Result<Vec<Tensor>> {
        self.reached(backward(scalar, &self.parameters, true, false)?)
    }

    fn reached(&self, gradients: Vec<Tensor>) -> Result<Vec<Tensor>> {
        for (gradient, entry) in gradients.iter().zip(self.layout.entries()) {
            if !gradient.defined() {
                return Err(unreached(&entry.name));
            }
        }
        Ok(gradients)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot ({}, {} parameters in {} tensors)", self.name, self.p(), self.parameters.len())
    }
}

pub(crate) fn unreached(name: &str) -> Error {
    Error::layer(name, "the output does not depend on it, so it has no gradient; use it in forward, or do not create it")
}

/// Whether two handles are the same tensor in memory.
pub(crate) fn same(a: &Tensor, b: &Tensor) -> bool {
    a.data_ptr() == b.data_ptr() && a.size() == b.size()
}

fn build(architecture: &Architecture, seed: Option<u64>) -> Result<(nn::VarStore, Box<dyn Model>)> {
    guarded(|| {
        let _alone = SEEDING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seed) = seed {
            tch::manual_seed(seed as i64);
        }
        let store = nn::VarStore::new(Device::Cpu);
        let network = architecture(&store.root());
        Ok((store, network))
    })
}
