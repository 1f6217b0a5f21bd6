use std::path::Path;
use std::sync::Arc;

use tch::{CModule, IValue, Kind, Tensor, nn};

use super::{Model, Tape};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result, guarded, raise};
use crate::read;
use crate::task::Task;

/// A network exported from Python as TorchScript: its forward pass and its weights, with no architecture written in Rust.
///
/// In Python: `torch.jit.script(model.eval()).save("net.pt")`, or `torch.jit.trace(model.eval(), example)` where the code cannot be
/// scripted. Parameters have their Python names; those that required a gradient there are trained ones here, buffers such as running
/// averages stay as in the file. It runs as in evaluation, also while training: no dropout, batch norm by running averages.
///
/// The tape does not see inside, so each example has its own forward and backward pass: exact, at the price of a loop (see
/// `benches/README.md`), and no answer from methods that need layers, such as K-FAC. Predictions are batched. What follows from gradients
/// and Hessian-vector products works as for any model. Training starts from the weights of the file, whatever the seed: methods that
/// retrain tell what *continued* training does. Loading runs code that the file brings: only open files that you trust.
///
/// ```
/// use ascribe::prelude::*;
/// let script = model::script(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/script/net.pt"))?;
/// let task = script.task()?; // the weights of the file are its one checkpoint
/// let images = Tensor::from_slice(&(0..4 * 36).map(|i| (i as f32).sin()).collect::<Vec<_>>()).view([4, 1, 6, 6]);
/// let data = Dataset::new(images, Tensor::from_slice(&[0i64, 1, 2, 0]))?;
/// let scores = GradDot::default().fit(&task, &data)?.score(&data)?;
/// assert!(scores.get(1, 1)? > 0.0);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct Script {
    name: String,
    bytes: Arc<Vec<u8>>,
    /// Numbers in the parameters, and how many these are.
    size: (usize, usize),
}

/// Opens a TorchScript file; see [`Script`].
///
/// Errors: [`Error::Io`]; [`Error::Checkpoint`] for a file that is not TorchScript, has no parameters (as after `torch.jit.freeze`), none
/// that requires a gradient, or trained ones that are not float32.
pub fn script(path: impl AsRef<Path>) -> Result<Script> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let name = path.display().to_string();
    let module = load(&bytes).map_err(|reason| {
        let what = match read::weights(path, None).is_ok() {
            true => "there is a state dict in it, for Checkpoint::load",
            false => "nor does it hold weights",
        };
        let advice = "write it with torch.jit.script(model.eval()).save(path)";
        Error::checkpoint(&name, format!("not a TorchScript file: {what}; {advice} ({reason})"))
    })?;
    let parameters = parameters(&module)?;
    let refuse = |reason: String| Err(Error::checkpoint(&name, reason));
    if parameters.is_empty() {
        return refuse("it has no parameters; torch.jit.freeze turns them into constants: export the model without it".into());
    }
    let trained: Vec<_> = parameters.iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
    if trained.is_empty() {
        return refuse("none of its parameters requires a gradient: call model.requires_grad_() before exporting it".into());
    }
    if let Some((parameter, tensor)) = trained.iter().find(|(_, tensor)| tensor.kind() != Kind::Float) {
        let kind = tensor.kind();
        return refuse(format!("{parameter} expected float32, got {kind:?}: call model.float() before exporting it"));
    }
    let size = (parameters.iter().map(|(_, tensor)| tensor.numel()).sum(), parameters.len());
    Ok(Script { name, bytes: Arc::new(bytes), size })
}

impl Script {
    /// A task with this architecture and the weights of the file as its checkpoint: run 0, step 0, learning rate 0.
    pub fn task(&self) -> Result<Task> {
        let script = self.clone();
        Task::new(move |path: &nn::Path| script.build(path)).with_checkpoints(vec![self.checkpoint()?])
    }

    /// The weights of the file by name, without buffers.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let module = load(&self.bytes).map_err(|reason| Error::checkpoint(&self.name, reason))?;
        Ok(Checkpoint::new(0, 0, 0.0, parameters(&module)?))
    }

    /// The network, with its parameters in `path`: for a [`Task::new`] of one's own, alone or as part of a model.
    pub fn build(&self, path: &nn::Path) -> ScriptModel {
        let mut module = match load(&self.bytes) {
            Ok(module) => module,
            Err(reason) => raise(Error::checkpoint(&self.name, reason)),
        };
        module.set_eval();
        match parameters(&module) {
            Ok(parameters) => parameters.into_iter().for_each(|(name, tensor)| add(path, &name, tensor)),
            Err(error) => raise(error),
        }
        ScriptModel { module, name: self.name.clone() }
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Script {} ({} numbers in {} parameters)", self.name, self.size.0, self.size.1)
    }
}

/// A network that runs TorchScript; made by [`Script::build`].
pub struct ScriptModel {
    module: CModule,
    name: String,
}

impl Model for ScriptModel {
    fn forward(&self, inputs: &Tensor, _: &mut Tape) -> Tensor {
        match self.module.forward_is(&[IValue::Tensor(inputs.shallow_clone())]) {
            Ok(IValue::Tensor(outputs)) => outputs,
            Ok(other) => {
                raise(Error::layer(&self.name, format!("its forward expected to give one tensor, got {}", kind(&other))))
            }
            Err(error) => raise(Error::layer(&self.name, reason(&error.to_string()))),
        }
    }
}

/// The module in the bytes of a file, or why there is none.
fn load(bytes: &[u8]) -> std::result::Result<CModule, String> {
    CModule::load_data(&mut &bytes[..]).map_err(|error| reason(&error.to_string()))
}

/// Parameters by name; one that has two names by its first.
fn parameters(module: &CModule) -> Result<Vec<(String, Tensor)>> {
    guarded(|| {
        let mut own: Vec<(String, Tensor)> = Vec::new();
        for (name, tensor) in module.named_parameters()? {
            if !own.iter().any(|(_, known)| known.data_ptr() == tensor.data_ptr() && tensor.numel() > 0) {
                own.push((name, tensor));
            }
        }
        Ok(own)
    })
}

fn add(path: &nn::Path, name: &str, tensor: Tensor) {
    let (outer, last) = name.rsplit_once('.').unwrap_or(("", name));
    let place = outer.split('.').filter(|part| !part.is_empty()).fold(path.clone(), |path, part| path / part);
    let trained = tensor.requires_grad();
    let _ = place.add(last, tensor, trained);
}

/// What went wrong, out of a message that holds the interpreter's trace and a C++ one.
fn reason(message: &str) -> String {
    let said = message.split("Exception raised from").next().unwrap_or(message);
    let line = said.lines().map(str::trim).rfind(|line| line.starts_with("RuntimeError: "));
    let line = line.or_else(|| said.lines().map(str::trim).find(|line| !line.is_empty())).unwrap_or("no message");
    line.trim_start_matches("Internal torch error: ").trim_start_matches("RuntimeError: ").to_string()
}

fn kind(value: &IValue) -> String {
    match value {
        IValue::Tuple(parts) => format!("a tuple of {}", parts.len()),
        IValue::TensorList(parts) => format!("a list of {} tensors", parts.len()),
        IValue::GenericDict(parts) => format!("a dict of {}", parts.len()),
        IValue::GenericList(parts) => format!("a list of {}", parts.len()),
        other => format!("{other:?}").chars().take(60).collect(),
    }
}
