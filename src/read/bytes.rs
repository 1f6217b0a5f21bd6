//! The readers on bytes in memory, for fuzzing and for files that are not files.

use std::path::Path;

use tch::Tensor;

use super::broken::{Broken, about};
use super::source::memory;
use super::value::Value;
use super::{Midi, ScoreTable, bayesian, d_trak};
use crate::error::Result;

fn here() -> &'static Path {
    Path::new("bytes")
}

/// As [`read::npy`](super::npy()).
pub fn npy(bytes: &[u8]) -> Result<Tensor> {
    about(here(), || super::npy::array(bytes))
}

/// As [`read::npz`](super::npz).
pub fn npz(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    about(here(), || super::npy::arrays(memory(bytes)))
}

/// As [`read::pickle`](super::pickle()).
pub fn pickle(bytes: &[u8]) -> Result<Value> {
    about(here(), || super::pickle::value(bytes))
}

/// As [`read::indices`](super::indices).
pub fn indices(bytes: &[u8]) -> Result<Vec<i64>> {
    about(here(), || super::pickle::index_list(bytes))
}

/// As [`read::torch`](super::torch()).
pub fn torch(bytes: &[u8]) -> Result<Value> {
    about(here(), || super::torch::value(memory(bytes)))
}

/// As [`read::state_dict`](super::state_dict()).
pub fn state_dict(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    about(here(), || super::state_dict::weights(&super::torch::value(memory(bytes))?, None))
}

/// As [`read::safetensors`](super::safetensors()).
pub fn safetensors(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    about(here(), || Ok(super::safetensors::tensors(&mut memory(bytes))?.0))
}

/// As [`Checkpoint::load`](crate::checkpoint::Checkpoint::load).
pub fn weights(bytes: &[u8]) -> Result<Vec<(String, Tensor)>> {
    about(here(), || Ok(super::weights::in_memory(bytes)?.0))
}

/// As [`read::image`](super::image()).
pub fn image(bytes: &[u8]) -> Result<Tensor> {
    about(here(), || super::image::decode(bytes)?.tensor())
}

/// As [`read::midi`](super::midi()).
pub fn midi(bytes: &[u8]) -> Result<Midi> {
    about(here(), || super::midi::piece(bytes))
}

/// As [`read::bayesian_scores`](super::bayesian_scores).
pub fn bayesian_scores(bytes: &[u8]) -> Result<ScoreTable> {
    about(here(), || bayesian::table(std::str::from_utf8(bytes).map_err(|_| Broken::from("expected UTF-8 text"))?))
}

/// As [`read::d_trak_losses`](super::d_trak_losses).
pub fn d_trak_losses(bytes: &[u8]) -> Result<Tensor> {
    about(here(), || d_trak::losses(&super::pickle::value(bytes)?))
}
