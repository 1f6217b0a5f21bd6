//! Named tensors of whatever software wrote them, told apart by content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::broken::{Outcome, about, quoted, refuse};
use super::safetensors::Weights;
use super::source::{Source, open};
use super::state_dict;
use super::value::listed;
use super::zip::Archive;
use crate::error::{Error, Result};
use crate::file::read_json;

/// The index beside a checkpoint that was saved in parts.
const INDEX: &str = ".index.json";
/// What a folder may hold, in the order in which it is looked for.
const IN_FOLDER: [&str; 4] =
    ["model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin"];

/// The weights of a file of any kind, or of the file that a folder holds; under a key of a torch file or pickle, if there is one.
pub(crate) fn weights(path: &Path, key: Option<&str>) -> Result<Weights> {
    if path.is_dir() {
        let found = IN_FOLDER.iter().map(|name| path.join(name)).find(|file| file.is_file());
        let none = || Error::data(path.display().to_string(), format!("a folder without {}", IN_FOLDER.join(", ")));
        return weights(&found.ok_or_else(none)?, key);
    }
    match path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(INDEX)) {
        true => parts(path, key),
        false => about(path, || one(open(path)?, key)),
    }
}

fn one<R: std::io::Read + std::io::Seek>(mut source: Source<R>, key: Option<&str>) -> Outcome<Weights> {
    let start = source.start(16)?;
    if super::is_zip(&start) {
        let mut archive = Archive::open(source)?;
        let names = archive.names();
        if !names.iter().any(|name| name.ends_with("data.pkl")) && names.iter().any(|name| name.ends_with(".npy")) {
            return keyless(key).and_then(|()| Ok((super::npy::arrays_of(&mut archive)?, BTreeMap::new())));
        }
        let value = super::torch::value(archive.into_source())?;
        return Ok((state_dict::weights(&value, key)?, BTreeMap::new()));
    }
    // A header's length could begin like a pickle, but a pickle has no brace there.
    if start.get(8) != Some(&b'{') && matches!(start.as_slice(), [0x80, 2..=5, ..]) {
        let len = source.len;
        let value = super::pickle::value(&source.bytes(0, len)?)?;
        return Ok((state_dict::weights(&value, key)?, BTreeMap::new()));
    }
    keyless(key).and_then(|()| super::safetensors::tensors(&mut source))
}

fn keyless(key: Option<&str>) -> Outcome<()> {
    match key {
        None => Ok(()),
        Some(key) => refuse(format!("expected a torch file or pickle with a key {}; this file has none", quoted(key))),
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The parts that an index names; each tensor must be in the part that it says, and no other.
fn parts(path: &Path, key: Option<&str>) -> Result<Weights> {
    let wrong = |reason: String| Error::data(path.display().to_string(), reason);
    let index: Index = read_json(path)?;
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, file) in &index.weight_map {
        files.entry(file).or_default().push(name);
    }
    if let Some(file) = files.keys().find(|file| PathBuf::from(file).file_name().is_none_or(|plain| plain != **file)) {
        return Err(wrong(format!("expected names of files beside it, got {}", quoted(file))));
    }
    let (mut all, mut said) = (Vec::new(), BTreeMap::new());
    for (file, names) in files {
        let part = path.with_file_name(file);
        let (tensors, metadata) = about(&part, || one(open(&part)?, key))?;
        let has = |name: &str| tensors.iter().any(|(stored, _)| stored == name);
        let missing: Vec<String> = names.iter().filter(|name| !has(name)).map(|name| name.to_string()).collect();
        if !missing.is_empty() {
            return Err(wrong(format!("its part {} lacks {}", quoted(file), listed(&missing))));
        }
        let unnamed: Vec<String> =
            tensors.iter().map(|(name, _)| name).filter(|name| !names.contains(&name.as_str())).cloned().collect();
        if !unnamed.is_empty() {
            return Err(wrong(format!(
                "its part {} holds {}, which the index does not place there",
                quoted(file),
                listed(&unnamed)
            )));
        }
        all.extend(tensors);
        said.extend(metadata);
    }
    match all.is_empty() {
        true => Err(wrong("expected a weight_map of tensors to files, got an empty one".into())),
        false => Ok((all, said)),
    }
}

/// [`weights`] of bytes in memory.
pub(super) fn in_memory(bytes: &[u8]) -> Outcome<Weights> {
    one(super::source::memory(bytes), None)
}
