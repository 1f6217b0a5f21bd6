//! The weights of one moment of one training run.

mod fit;
mod rename;

pub(crate) use fit::Fit;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::file::write_aside;
use crate::model::Thinning;
use crate::read;
use crate::train::Memory;

/// The weights of one moment of one training run.
///
/// `run` numbers independent trainings, `step` counts optimiser steps, `learning_rate` is the one of the last step (TracIn
/// weights by it). Tensors are named as in the model's path: trained parameters and buffers such as running means.
///
/// ```
/// use ascribe::prelude::*;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
/// let task = task.train(&Trainer { epochs: 1, ..default() }, &dataset::digits()?.head(64)?)?;
/// let file = std::env::temp_dir().join(format!("ascribe-doc-{}.safetensors", std::process::id()));
/// task.checkpoints()[0].save(&file)?;
/// let back = Checkpoint::load(&file)?;
/// assert_eq!((back.step, back.learning_rate), (task.checkpoints()[0].step, task.checkpoints()[0].learning_rate));
/// # std::fs::remove_file(&file).ok();
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Checkpoint {
    /// Number of the training run, from 0.
    pub run: usize,
    /// Optimiser steps taken so far.
    pub step: usize,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    tensors: Vec<(String, Tensor)>,
    /// What its network's dropout drops; nothing, if not given.
    pub(crate) thinning: Option<Thinning>,
    /// What the optimiser remembered, if it was kept.
    pub(crate) memory: Option<Memory>,
}

impl Clone for Checkpoint {
    fn clone(&self) -> Checkpoint {
        let tensors = self.tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        Checkpoint { tensors, memory: self.memory.clone(), ..*self }
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint {} ({} tensors, learning rate {})", self.name(), self.tensors.len(), self.learning_rate)
    }
}

impl Checkpoint {
    /// Weights by name. They are copied, so later training does not change them.
    pub fn new(run: usize, step: usize, learning_rate: f64, tensors: Vec<(String, Tensor)>) -> Checkpoint {
        let tensors = tensors.into_iter().map(|(name, t)| (name, t.detach().copy())).collect();
        Checkpoint { run, step, learning_rate, tensors, thinning: None, memory: None }
    }

    /// The same weights as those of another run.
    pub(crate) fn of_run(self, run: usize) -> Checkpoint {
        Checkpoint { run, ..self }
    }

    /// The same weights, with what the optimiser remembered there.
    pub(crate) fn with_memory(self, memory: Option<Memory>) -> Checkpoint {
        Checkpoint { memory, ..self }
    }

    /// `run 0, step 320`.
    pub fn name(&self) -> String {
        let draw = self.thinning.map_or_else(String::new, |thinning| format!(", draw {} of dropout", thinning.draw));
        format!("run {}, step {}{draw}", self.run, self.step)
    }

    /// Names and weights, in the model's order.
    pub fn tensors(&self) -> &[(String, Tensor)] {
        &self.tensors
    }

    /// One tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(stored, _)| stored == name).map(|(_, t)| t)
    }

    /// Writes safetensors, with what the optimiser remembers if it was kept; run, step and learning rate go into its metadata. Written aside and renamed.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let remembered = self.memory.iter().flat_map(Memory::stored);
        let stored: Vec<_> = self.tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).chain(remembered).collect();
        let bytes = stored.iter().map(|(name, t)| Ok((name.as_str(), (t, raw_bytes(t)?)))).collect::<Result<Vec<_>>>()?;
        let mut views = Vec::with_capacity(bytes.len());
        for (name, (tensor, data)) in &bytes {
            let size = tensor.size().iter().map(|&d| d as usize).collect();
            let view = TensorView::new(dtype(tensor.kind())?, size, data).map_err(|e| broken(path, e))?;
            views.push((*name, view));
        }
        let steps = self.memory.iter().map(|memory| ("optimizer_steps".to_string(), memory.steps.to_string()));
        let mut metadata = HashMap::from([
            ("run".to_string(), self.run.to_string()),
            ("step".to_string(), self.step.to_string()),
            ("learning_rate".to_string(), self.learning_rate.to_string()),
        ]);
        metadata.extend(steps);
        let buffer = safetensors::serialize(views, &Some(metadata)).map_err(|e| broken(path, e))?;
        write_aside(path, |file| file.write_all(&buffer))
    }

    /// Reads weights that any software wrote, told apart by content; nothing in the file is executed.
    ///
    /// * safetensors, whose metadata may say run, step and learning rate; these are 0 otherwise;
    /// * safetensors or torch files in parts, by their index (`model.safetensors.index.json`), or the folder that holds it;
    /// * what `torch.save` wrote: a state dict, or a dict that holds one (see [`read::state_dict`]), and pickles of NumPy arrays;
    /// * `.npz`.
    ///
    /// Names are as in the file: [`Checkpoint::rename`] turns them into those of the architecture, [`Task::compare`] says which fit.
    ///
    /// Errors: [`Error::Io`], or [`Error::Checkpoint`] for a file that is not whole and valid, or holds several state dicts.
    ///
    /// [`Task::compare`]: crate::task::Task::compare
    pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Checkpoint::read(path.as_ref(), None)
    }

    /// As [`Checkpoint::load`], from a torch file that holds several state dicts; keys within keys are joined by a dot.
    ///
    /// ```no_run
    /// let averaged = ascribe::checkpoint::Checkpoint::load_at("run.pt", "ema.model")?;
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn load_at(path: impl AsRef<Path>, key: &str) -> Result<Checkpoint> {
        Checkpoint::read(path.as_ref(), Some(key))
    }

    fn read(path: &Path, key: Option<&str>) -> Result<Checkpoint> {
        let (mut tensors, metadata) = read::weights(path, key).map_err(|error| match error {
            Error::Data { name, reason } => Error::Checkpoint { name, reason },
            other => other,
        })?;
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let said = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
        let learning_rate = said("learning_rate").parse().unwrap_or(0.0);
        let (run, step) = (said("run").parse().unwrap_or(0), said("step").parse().unwrap_or(0));
        let memory = Memory::taken(&mut tensors, said("optimizer_steps").parse().ok());
        Ok(Checkpoint { run, step, learning_rate, tensors, thinning: None, memory })
    }
}

fn broken(path: &Path, error: safetensors::SafeTensorError) -> Error {
    Error::checkpoint(path.display().to_string(), format!("cannot be written as safetensors ({error:?})"))
}

fn raw_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

const KINDS: [(Dtype, Kind); 10] = [
    (Dtype::F32, Kind::Float),
    (Dtype::F64, Kind::Double),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::I16, Kind::Int16),
    (Dtype::I8, Kind::Int8),
    (Dtype::U8, Kind::Uint8),
    (Dtype::BOOL, Kind::Bool),
];

fn dtype(kind: Kind) -> Result<Dtype> {
    let pair = KINDS.iter().find(|(_, k)| *k == kind);
    pair.map(|(d, _)| *d).ok_or_else(|| Error::Unsupported(format!("a checkpoint tensor of kind {kind:?}")))
}
