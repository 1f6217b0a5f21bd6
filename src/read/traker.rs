//! The folder in which TRAK's own library keeps features, gradients and scores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::file::read_json;

/// A `save_dir` of `traker`: what it says of itself, its models, its experiments.
#[derive(Debug)]
pub struct Traker {
    /// Numbers per gradient after projection, `JL dimension`.
    pub dim: usize,
    /// Kind of the projection, `JL matrix type`: `normal`, `rademacher`, or `identity`.
    pub matrix: String,
    /// Train examples, `train set size`.
    pub n_train: usize,
    /// One per checkpoint, by id.
    pub models: Vec<TrakerModel>,
    /// One per call of `start_scoring_checkpoint` with a new name, by name.
    pub experiments: Vec<TrakerExperiment>,
}

/// What one checkpoint left. Arrays are float16 unless `use_half_precision=False`, and mapped where large.
#[derive(Debug)]
pub struct TrakerModel {
    /// `model_id`.
    pub id: u64,
    /// Projected train gradients `[n_train, dim]`; the library can delete them after `finalize_features`.
    pub grads: Option<Tensor>,
    /// `[n_train, dim]`, the gradients times the inverse of their second moments; zero before `finalize_features`.
    pub features: Tensor,
    /// `[n_train, 1]`, `1 − p` of each train example.
    pub out_to_loss: Tensor,
    /// `[n_train]`, bool: which examples have been featurised.
    pub is_featurized: Tensor,
    /// Whether `finalize_features` has run.
    pub is_finalized: bool,
    /// Projected gradients of the targets, `[targets, dim]`, by experiment.
    pub target_grads: Vec<(String, Tensor)>,
}

/// One scored set of targets.
#[derive(Debug)]
pub struct TrakerExperiment {
    /// `exp_name`.
    pub name: String,
    /// Number of targets.
    pub n_test: usize,
    /// Whether `finalize_scores` has run.
    pub is_finalized: bool,
    /// `[n_test, n_train]`, float32: the file has them the other way round. Zero before `finalize_scores`.
    pub scores: Tensor,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "JL dimension")]
    dim: usize,
    #[serde(rename = "JL matrix type")]
    matrix: String,
    #[serde(rename = "train set size")]
    n_train: usize,
}

#[derive(Deserialize)]
struct ModelNote {
    is_finalized: u8,
}

#[derive(Deserialize)]
struct ExperimentNote {
    num_targets: usize,
    scores_finalized: u8,
}

/// Reads a `save_dir` of TRAK's library `traker` (0.3).
///
/// Errors: [`Error::Data`](crate::Error::Data) for arrays that do not fit the metadata, and for a model whose featurisation did not
/// finish, naming the first example that is missing.
pub fn traker(dir: impl AsRef<Path>) -> Result<Traker> {
    let dir = dir.as_ref();
    let metadata: Metadata = read_json(&dir.join("metadata.json"))?;
    let experiments: BTreeMap<String, ExperimentNote> = read_json(&dir.join("experiments.json"))?;
    let (n, k) = (metadata.n_train as i64, metadata.dim as i64);
    let mut models = Vec::new();
    for (id, note) in notes(dir)? {
        let folder = dir.join(id.to_string());
        let is_featurized = featurized(&folder.join("_is_featurized.mmap"), metadata.n_train)?;
        let grads = folder.join("grads.mmap");
        let mut target_grads = Vec::new();
        for (name, experiment) in &experiments {
            let path = folder.join(format!("{}_grads.mmap", plain_name(dir, name)?));
            if path.exists() {
                target_grads.push((name.clone(), matrix(&path, [experiment.num_targets as i64, k])?));
            }
        }
        models.push(TrakerModel {
            id,
            grads: if grads.exists() { Some(matrix(&grads, [n, k])?) } else { None },
            features: matrix(&folder.join("features.mmap"), [n, k])?,
            out_to_loss: matrix(&folder.join("out_to_loss.mmap"), [n, 1])?,
            is_featurized,
            is_finalized: note.is_finalized != 0,
            target_grads,
        });
    }
    let mut scored = Vec::new();
    for (name, note) in experiments {
        let path = dir.join("scores").join(format!("{}.mmap", plain_name(dir, &name)?));
        let stored = matrix(&path, [n, note.num_targets as i64])?;
        let scores = stored.f_tr()?.f_to_kind(Kind::Float)?.f_contiguous()?;
        scored.push(TrakerExperiment { name, n_test: note.num_targets, is_finalized: note.scores_finalized != 0, scores });
    }
    Ok(Traker { dim: metadata.dim, matrix: metadata.matrix, n_train: metadata.n_train, models, experiments: scored })
}

/// The notes `id_{m}.json` in the order of their ids.
fn notes(dir: &Path) -> Result<Vec<(u64, ModelNote)>> {
    let mut notes = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))? {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with("id_") || !name.ends_with(".json") {
            continue;
        }
        let models: BTreeMap<u64, ModelNote> = read_json(&path)?;
        notes.extend(models);
    }
    notes.sort_by_key(|(id, _)| *id);
    match notes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Error::data(dir.display().to_string(), format!("two notes describe model id {}", pair[0].0))),
        None => Ok(notes),
    }
}

/// An experiment's name becomes part of a path, so it may not lead elsewhere.
fn plain_name<'a>(dir: &Path, name: &'a str) -> Result<&'a str> {
    match PathBuf::from(name).components().count() == 1 && !name.contains(['/', '\\', '\0']) && name != ".." && name != "." {
        true => Ok(name),
        false => Err(Error::data(dir.display().to_string(), format!("experiment {name:?} is not a plain file name"))),
    }
}

/// A float array of the size that the metadata announces.
fn matrix(path: &Path, size: [i64; 2]) -> Result<Tensor> {
    let read = super::npy(path)?;
    match read.size() == size && matches!(read.kind(), Kind::Half | Kind::Float) {
        true => Ok(read),
        false => Err(wrong(
            path,
            format!("expected float16 or float32 {size:?} as the metadata says, got {:?} {:?}", read.kind(), read.size()),
        )),
    }
}

/// The flags of featurisation; the library writes `[n]` and opens it again as `[n, 1]`.
fn featurized(path: &Path, n: usize) -> Result<Tensor> {
    let read = super::npy(path)?;
    if read.size() != [n as i64] && read.size() != [n as i64, 1] {
        return Err(wrong(path, format!("expected {n} flags as the metadata says, got {:?}", read.size())));
    }
    let done = read.f_reshape([-1])?.f_ne(0)?;
    let flags = Vec::<bool>::try_from(&done)?;
    match flags.iter().position(|done| !done) {
        None => Ok(done),
        Some(first) => {
            let missing = flags.iter().filter(|done| !**done).count();
            Err(wrong(path, format!("featurisation did not finish: {missing} of {n} examples are missing, the first is {first}")))
        }
    }
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::data(path.display().to_string(), reason)
}
