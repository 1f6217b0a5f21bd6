//! Results of retraining on disk.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tch::Tensor;

use super::probe::Probe;
use super::retraining::{Outcome, Retraining};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::digest;
use crate::error::{Error, Result, guarded};
use crate::file::{read_json, write_json};
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;
use crate::train::Trainer;

const NOTE: &str = "retraining.json";
/// Tensors beside the weights in a file; no parameter has a name like these.
const VALUES: &str = "retrained/measurement";
const POSITIONS: &str = "retrained/positions";
/// How far apart two vectors may be, as a share of their largest number: the last bits differ on another processor.
const ROOM: f64 = 1e-5;

/// What the files of a folder belong to.
#[derive(Serialize)]
pub(super) struct Provenance {
    trainer: Trainer,
    #[serde(skip_serializing_if = "std::ops::Not::not")] // notes of before have none
    paired: bool,
    network: Vec<(String, Vec<i64>)>,
    untrained: Probe,
    objective: String,
    measurement: String,
    train: Examples,
    test: Examples,
}

#[derive(Serialize)]
struct Examples {
    n: usize,
    ids: String,
    inputs: String,
    targets: String,
}

impl Examples {
    fn of(data: &Dataset) -> Result<Examples> {
        let (inputs, targets) = (digest::of_tensor(data.inputs())?, digest::of_tensor(data.targets())?);
        Ok(Examples { n: data.len(), ids: digest::of_ids(&data.examples()), inputs, targets })
    }
}

impl Provenance {
    pub(super) fn new(how: &Retraining, task: &Task, train: &Dataset, test: &Dataset) -> Result<Provenance> {
        let fresh = Snapshot::fresh(task, 0)?;
        Ok(Provenance {
            trainer: Trainer { seed: how.trainer.seed, ..how.trainer_of(0, 0) },
            paired: how.paired,
            network: fresh.layout().entries().iter().map(|entry| (entry.name.clone(), entry.shape.clone())).collect(),
            untrained: Probe::new(task, train, test)?,
            objective: task.objective.name(),
            measurement: task.measurement.name(),
            train: Examples::of(train)?,
            test: Examples::of(test)?,
        })
    }
}

/// A folder of results.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Errors: [`Error::Data`] naming the first difference if the folder belongs to something else.
    pub(super) fn open(folder: &Path, provenance: &Provenance) -> Result<Cache> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let note = folder.join(NOTE);
        if note.exists() {
            let (there, here) = (read_json::<Value>(&note)?, serde_json::to_value(provenance).map_err(unwritable)?);
            if let Some(difference) = difference("", &there, &here) {
                let reason = format!("made with another setting: {difference}; choose another folder");
                return Err(Error::data(note.display().to_string(), reason));
            }
        } else {
            write_json(&note, provenance)?;
        }
        Ok(Cache { folder: folder.to_path_buf() })
    }

    fn file(&self, number: usize, run: usize) -> PathBuf {
        self.folder.join(format!("{number:05}-{run}.safetensors"))
    }

    /// What is known of a subset and run; an error if the file is of other examples.
    pub(super) fn load(
        &self,
        number: usize,
        run: usize,
        positions: impl Fn() -> Result<Vec<i64>>,
        n_test: usize,
    ) -> Result<Option<Outcome>> {
        let file = self.file(number, run);
        if !file.exists() {
            return Ok(None);
        }
        let stored = Checkpoint::load(&file)?;
        let wrong = |reason: &str| Error::data(file.display().to_string(), reason.to_string());
        let (Some(values), Some(there)) = (stored.tensor(VALUES), stored.tensor(POSITIONS)) else {
            return Err(wrong("expected measurements and positions; this is no result of retraining"));
        };
        if values.size() != [n_test as i64] {
            return Err(wrong("its number of test examples differs"));
        }
        if Vec::<i64>::try_from(there).ok() != Some(positions()?) {
            return Err(wrong(&format!("it is about another subset of number {number}; choose another folder")));
        }
        let values = values.shallow_clone();
        let weights = stored.tensors().iter().filter(|(name, _)| name != VALUES && name != POSITIONS);
        let weights: Vec<_> = weights.map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let checkpoint = Checkpoint::new(0, stored.step, stored.learning_rate, weights);
        Ok(Some(Outcome { values, checkpoint: (!checkpoint.tensors().is_empty()).then_some(checkpoint) }))
    }

    /// An error unless the weights of a result, if it has them, still measure what is stored beside them.
    pub(super) fn check(&self, (number, run): (usize, usize), known: &Outcome, task: &Task, test: &Dataset) -> Result<()> {
        let Some(checkpoint) = &known.checkpoint else { return Ok(()) };
        let now = Snapshot::new(task, checkpoint)?.measure(Of::Measurement, test)?;
        let largest = |values: &Tensor| guarded(|| Ok(values.abs().max().double_value(&[])));
        let (apart, size) = (largest(&guarded(|| Ok(now - &known.values))?)?, largest(&known.values)?);
        match apart <= 10.0 * ROOM * size {
            true => Ok(()),
            false => {
                let reason = format!(
                    "with this network and measurement its weights give numbers that differ from the stored ones by up to {apart:.1e} \
                     of {size:.1e}; choose another folder"
                );
                Err(Error::data(self.file(number, run).display().to_string(), reason))
            }
        }
    }

    pub(super) fn store(&self, number: usize, run: usize, positions: &[i64], outcome: &Outcome) -> Result<()> {
        let (step, rate) = outcome.checkpoint.as_ref().map_or((0, 0.0), |c| (c.step, c.learning_rate));
        let weights = outcome.checkpoint.iter().flat_map(|c| c.tensors()).map(|(name, t)| (name.clone(), t.shallow_clone()));
        let mut tensors: Vec<_> = weights.collect();
        tensors.push((VALUES.into(), outcome.values.shallow_clone()));
        tensors.push((POSITIONS.into(), Tensor::from_slice(positions)));
        guarded(|| Checkpoint::new(run, step, rate, tensors).save(self.file(number, run)))
    }
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::data(NOTE, format!("cannot be written ({error})"))
}

/// The first place where two notes differ, and how.
fn difference(path: &str, there: &Value, here: &Value) -> Option<String> {
    let below = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => {
            let names = b.keys().chain(a.keys().filter(|name| !b.contains_key(*name)));
            names.into_iter().find_map(|name| {
                let value = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                difference(&below(name), &value(a), &value(b))
            })
        }
        (Value::Array(a), Value::Array(b)) if path.starts_with("untrained") && !a.iter().chain(b).any(Value::is_array) => {
            apart(a, b).map(|how| format!("{path} {how}"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| difference(&below(&at.to_string()), a, b))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (x, y) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let exact = a.is_u64() && b.is_u64();
            let equal = if exact { a == b } else { (x - y).abs() <= 1e-12 * x.abs().max(y.abs()) };
            (!equal).then(|| format!("{path} is {a} there and {b} here"))
        }
        _ => (there != here).then(|| format!("{path} is {there} there and {here} here")),
    }
}

/// How two vectors of numbers, null where not finite, differ by more than rounding.
fn apart(there: &[Value], here: &[Value]) -> Option<String> {
    let finite = |values: &[Value]| values.iter().map(Value::as_f64).collect::<Vec<_>>();
    let (a, b) = (finite(there), finite(here));
    if a.len() != b.len() || a.iter().zip(&b).any(|(a, b)| a.is_some() != b.is_some()) {
        return Some("has other numbers that are not finite".into());
    }
    let pairs = || a.iter().zip(&b).filter_map(|(a, b)| Some(((*a)?, (*b)?)));
    let largest = pairs().map(|(a, b)| a.abs().max(b.abs())).fold(0.0, f64::max);
    let (a, b) = pairs().max_by(|(a, b), (c, d)| (a - b).abs().total_cmp(&(c - d).abs()))?;
    ((a - b).abs() > ROOM * largest).then(|| format!("has {a} there and {b} here"))
}
