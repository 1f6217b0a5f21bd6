//! What the D-TRAK experiments write: projected gradients, losses, scores, latents.

use std::path::Path;

use tch::{Kind, Tensor};

use super::broken::{Outcome, about, quoted, refuse};
use super::element::bytes_of;
use super::raw::{array, bare};
use super::source::whole;
use super::value::Value;
use crate::error::Result;

/// Projected gradients of one split, as D-TRAK stores them.
///
/// The name says `ddpm-{side}-keys-{split}-{K}-{Z}-{f}-{t}.npy`; the number of rows follows from the size.
#[derive(Debug)]
pub struct ProjectedGradients {
    /// Whose gradients: `train`, `val`, `gen` or `gen-sampling-troj`; with the prefix `sd-lora-` where the name has it.
    pub side: String,
    /// Which part of the examples, as the name says it.
    pub split: String,
    /// K: time steps summed over per example.
    pub n_timesteps: usize,
    /// Z: numbers per example after projection.
    pub dim: usize,
    /// f: the function whose gradient it is, such as `mean-squared-l2-norm`.
    pub function: String,
    /// t: how time steps were chosen, such as `uniform`.
    pub timesteps: String,
    /// `[rows, Z]`, float32.
    pub values: Tensor,
}

/// Reads D-TRAK's gradients, which are float32 without a header although the name ends in `.npy`; mapped where large.
///
/// Errors: [`Error::Data`](crate::Error::Data) for another name, for a size that is not a whole number of rows of Z, and for a
/// file with an NPY header.
pub fn d_trak(path: impl AsRef<Path>) -> Result<ProjectedGradients> {
    let path = path.as_ref();
    about(path, || {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(mut read) = named(name) else {
            return refuse(format!("expected a name like ddpm-train-keys-0-100-32768-loss-uniform.npy, got {}", quoted(name)));
        };
        read.values = rows(path, &[read.dim as i64], "the name says Z")?;
        Ok(read)
    })
}

/// The parts of a name. `f` may have hyphens, so it is found as the first word after two numbers.
fn named(name: &str) -> Option<ProjectedGradients> {
    let (side, rest) = name.strip_suffix(".npy")?.split_once("-keys-")?;
    let (prefix, side) = match side.strip_prefix("sd-lora-") {
        Some(side) => ("sd-lora-", side),
        None => ("", side),
    };
    let side = side.strip_prefix("ddpm-").unwrap_or(side);
    let words: Vec<&str> = rest.split('-').collect();
    let number = |word: &str| word.parse::<u32>().ok().filter(|n| *n > 0).map(|n| n as usize);
    let f =
        (2..words.len()).find(|i| words[*i].parse::<u32>().is_err() && [1, 2].iter().all(|b| number(words[i - b]).is_some()))?;
    let (timesteps, function) = words[f..].split_last().filter(|(last, function)| !last.is_empty() && !function.is_empty())?;
    Some(ProjectedGradients {
        side: format!("{prefix}{side}"),
        split: words[..f - 2].join("-"),
        n_timesteps: number(words[f - 2])?,
        dim: number(words[f - 1])?,
        function: function.join("-"),
        timesteps: timesteps.to_string(),
        values: Tensor::new(),
    })
}

/// The latents of generation, `gen_latents.npy`: float32 `[n, 50, 3, 32, 32]` without a header.
pub fn gen_latents(path: impl AsRef<Path>) -> Result<Tensor> {
    about(path.as_ref(), || rows(path.as_ref(), &[50, 3, 32, 32], "latents are"))
}

/// A headerless float32 array whose number of rows follows from the size.
fn rows(path: &Path, row: &[i64], whence: &str) -> Outcome<Tensor> {
    let mut source = bare(path)?;
    let size = bytes_of(row, Kind::Float.elt_size_in_bytes())?;
    if source.len == 0 || !source.len.is_multiple_of(size) {
        let reason =
            format!("{whence} {row:?}, rows of {size} bytes, but the file has {} bytes: not a whole number of rows", source.len);
        return refuse(reason);
    }
    let shape: Vec<i64> = std::iter::once((source.len / size) as i64).chain(row.iter().copied()).collect();
    array(path, &mut source, &shape, Kind::Float)
}

/// Losses of one model, pickled as a list over batches of lists over time steps of vectors: `[time steps, targets]`, float32.
pub fn d_trak_losses(path: impl AsRef<Path>) -> Result<Tensor> {
    about(path.as_ref(), || losses(&super::pickle::value(&whole(path.as_ref())?)?))
}

pub(super) fn losses(value: &Value) -> Outcome<Tensor> {
    let mut batches = Vec::new();
    let mut steps = None;
    for (b, batch) in value.list()?.iter().enumerate() {
        let vectors = batch.list()?.iter().map(Value::tensor).collect::<Result<Vec<Tensor>>>()?;
        let length = vectors.first().map(Tensor::size);
        if vectors.iter().any(|v| v.dim() != 1 || Some(v.size()) != length || v.kind() != Kind::Float) {
            return refuse(format!("batch {b}: expected float32 vectors of one length at each time step"));
        }
        if vectors.is_empty() || *steps.get_or_insert(vectors.len()) != vectors.len() {
            return refuse(format!("batch {b}: expected {} time steps, got {}", steps.unwrap_or(1), vectors.len()));
        }
        batches.push(Tensor::f_stack(&vectors, 0)?); // [time steps, batch]
    }
    match batches.is_empty() {
        true => refuse("expected losses of at least one batch, got an empty list"),
        false => Ok(Tensor::f_cat(&batches, 1)?),
    }
}

/// Scores as D-TRAK pickles them: a float matrix `[targets, train]`, which is `[n_test, n_train]`.
///
/// The λ in the names of the published files is always the last of the grid, not the chosen one.
pub fn d_trak_scores(path: impl AsRef<Path>) -> Result<Tensor> {
    about(path.as_ref(), || scores(&super::pickle::value(&whole(path.as_ref())?)?))
}

pub(super) fn scores(value: &Value) -> Outcome<Tensor> {
    let scores = value.tensor()?;
    match (scores.dim(), scores.kind()) {
        (2, Kind::Half | Kind::Float | Kind::Double) => Ok(scores.f_to_kind(Kind::Float)?),
        _ => refuse(format!("expected a float matrix [targets, train], got {value:?}")),
    }
}
