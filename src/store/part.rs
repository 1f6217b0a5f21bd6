//! One part of a store: consecutive examples at one checkpoint, an `.npy` file for each array, and a note that is written last.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use flate2::Crc;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::form::{Arrays, Place, Shape, axes, inverse, known};
use super::npy;
use crate::error::{Error, Result};
use crate::file::{read_json, write_json};

/// Where a part lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unit {
    pub checkpoint: usize,
    pub part: usize,
}

/// The note of a part; without it, or with files of another size, the part does not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Position of the first example, and how many.
    pub start: usize,
    pub rows: usize,
    pub layers: Vec<Layer>,
    /// CRC-32 of the above.
    crc32: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Layer {
    shape: Shape,
    places: Vec<Place>,
    arrays: Vec<Array>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Array {
    name: String,
    file: String,
    dtype: String,
    /// As in the file.
    shape: Vec<i64>,
    /// Which dimension of the array each dimension of the file is.
    axes: Vec<i64>,
    bytes: u64,
    crc32: u32,
}

impl Note {
    fn sum(&self) -> u32 {
        let mut crc = Crc::new();
        crc.update(&serde_json::to_vec(&(self.start, self.rows, &self.layers)).unwrap_or_default());
        crc.sum()
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flat_map(|layer| &layer.arrays)
    }

    pub fn bytes(&self) -> u64 {
        self.arrays().map(|array| array.bytes).sum()
    }

    /// Names of the files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.arrays().map(|array| array.file.as_str())
    }
}

/// Only one process writes a part; the lock goes with the process, however it ends.
pub(super) enum Claim {
    Mine(Lock),
    Taken,
}

pub(super) struct Lock {
    path: PathBuf,
    file: Option<File>,
}

impl Unit {
    /// `c000/part-00003`.
    pub fn name(self) -> String {
        format!("c{:03}/{}", self.checkpoint, self.stem())
    }

    fn stem(self) -> String {
        format!("part-{:05}", self.part)
    }

    pub fn folder(self, dir: &Path) -> PathBuf {
        dir.join(format!("c{:03}", self.checkpoint))
    }

    pub fn note_path(self, dir: &Path) -> PathBuf {
        self.folder(dir).join(format!("{}.json", self.stem()))
    }

    /// The note of a whole part, `None` if there is none; an error that names what is wrong otherwise. `read` compares the bytes too.
    pub fn find(self, dir: &Path, read: bool) -> Result<Option<Note>> {
        let path = self.note_path(dir);
        if !path.exists() {
            return Ok(None);
        }
        let note: Note = read_json(&path)?;
        if note.crc32 != note.sum() {
            return Err(Error::data(path.display().to_string(), "it was changed after it was written"));
        }
        for array in note.arrays() {
            // A note is data from outside: its names must not lead out of the folder.
            if !array.file.starts_with(&self.stem()) || array.file.contains(['/', '\\']) {
                return Err(Error::data(
                    path.display().to_string(),
                    format!("names a file that is not its own, {:?}", array.file),
                ));
            }
            npy::check(&self.folder(dir).join(&array.file), array.bytes, array.crc32, read)?;
        }
        Ok(Some(note))
    }

    /// Takes the part, or says that another process has it; waits for that one if asked to.
    pub fn claim(self, dir: &Path, wait: bool) -> Result<Claim> {
        let path = self.folder(dir).join(format!("{}.lock", self.stem()));
        let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        let outcome = if wait { file.lock().map_err(TryLockError::Error) } else { file.try_lock() };
        match outcome {
            Ok(()) => Ok(Claim::Mine(Lock { path, file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(Claim::Taken),
            // A file system without locks: parts still appear whole, at worst twice.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                Ok(Claim::Mine(Lock { path, file: None }))
            }
            Err(TryLockError::Error(error)) => Err(Error::io(&path, error)),
        }
    }

    /// Removes what a part left behind; only by who holds its lock.
    pub fn clear(self, dir: &Path) -> Result<()> {
        let folder = self.folder(dir);
        let of_part = |name: &str| {
            let rest = name.strip_prefix(&self.stem());
            rest.is_some_and(|rest| rest.starts_with(['-', '.']) && !rest.ends_with(".lock"))
        };
        // The note first: without it nobody reads the rest.
        let _ = fs::remove_file(self.note_path(dir));
        for entry in fs::read_dir(&folder).map_err(|e| Error::io(&folder, e))? {
            let entry = entry.map_err(|e| Error::io(&folder, e))?;
            if entry.file_name().to_str().is_some_and(of_part) {
                fs::remove_file(entry.path()).map_err(|e| Error::io(&entry.path(), e))?;
            }
        }
        Ok(())
    }

    /// Writes every array, then the note. After an error nothing of the part is left.
    pub fn write(self, dir: &Path, start: usize, layers: &[Arrays], half: bool) -> Result<Note> {
        let outcome = self.write_all(dir, start, layers, half);
        if outcome.is_err() {
            let _ = self.clear(dir);
        }
        outcome
    }

    fn write_all(self, dir: &Path, start: usize, layers: &[Arrays], half: bool) -> Result<Note> {
        let mut note = Note { start, rows: 0, layers: Vec::new(), crc32: 0 };
        let mut taken: Vec<String> = Vec::new();
        for layer in layers {
            let name = unused(layer.places.first().filter(|_| layer.places.len() == 1), &mut taken);
            let mut arrays = Vec::new();
            for (role, tensor) in &layer.arrays {
                let axes = axes(tensor);
                let kept = stored_kind(tensor, half, &name)?.f_permute(&axes)?.f_contiguous()?;
                let file = match name.is_empty() {
                    true => format!("{}-{role}.npy", self.stem()),
                    false => format!("{}-{name}.{role}.npy", self.stem()),
                };
                let (bytes, crc32) = npy::write(&self.folder(dir).join(&file), &kept)?;
                let (dtype, shape) = (npy::kind_name(kept.kind())?.to_string(), kept.size());
                note.rows = shape.first().map_or(0, |&rows| rows as usize);
                arrays.push(Array { name: role.to_string(), file, dtype, shape, axes, bytes, crc32 });
            }
            note.layers.push(Layer { shape: layer.shape, places: layer.places.clone(), arrays });
        }
        note.crc32 = note.sum();
        write_json(&self.note_path(dir), &note)?;
        Ok(note)
    }

    /// Some rows of every layer, as memory maps.
    pub fn read(self, dir: &Path, note: &Note, from: i64, len: i64) -> Result<Vec<Arrays>> {
        let path = self.note_path(dir);
        let broken = |what: &str| Error::data(path.display().to_string(), format!("its note contradicts itself ({what})"));
        let read = |array: &Array| -> Result<(&'static str, Tensor)> {
            let name = known(&array.name).ok_or_else(|| broken("name of an array"))?;
            let kind = npy::kind_of(&array.dtype).ok_or_else(|| broken("dtype"))?;
            let mut sorted = array.axes.clone();
            sorted.sort_unstable();
            if array.axes.first() != Some(&0) || sorted != (0..array.shape.len() as i64).collect::<Vec<_>>() {
                return Err(broken("axes"));
            }
            if array.shape.first() != Some(&(note.rows as i64)) {
                return Err(broken("number of rows"));
            }
            let rows = npy::map(&self.folder(dir).join(&array.file), kind, &array.shape)?.f_narrow(0, from, len)?;
            let rows = if kind == Kind::Half { rows.f_to_kind(Kind::Float)? } else { rows };
            Ok((name, rows.f_permute(inverse(&array.axes))?))
        };
        let layers = note.layers.iter().map(|layer| {
            let arrays = layer.arrays.iter().map(read).collect::<Result<_>>()?;
            Ok(Arrays { shape: layer.shape, places: layer.places.clone(), arrays })
        });
        layers.collect()
    }
}

impl Lock {
    /// After the part is whole: whoever waits for the lock finds it so.
    pub fn release(self) {
        let _ = fs::remove_file(&self.path);
        drop(self.file);
    }
}

/// Floating numbers in float16 if asked for.
fn stored_kind(tensor: &Tensor, half: bool, layer: &str) -> Result<Tensor> {
    if !half || tensor.kind() != Kind::Float {
        return Ok(tensor.shallow_clone());
    }
    let short = tensor.f_to_kind(Kind::Half)?;
    match short.f_isfinite()?.f_all()?.int64_value(&[]) {
        0 => Err(Error::numerical("recording in float16", format!("a number of layer {layer} is above 65504; set half: false"))),
        _ => Ok(short),
    }
}

/// A layer's name as part of a file name that no other layer of the part has.
fn unused(place: Option<&Place>, taken: &mut Vec<String>) -> String {
    let Some(place) = place else { return String::new() };
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let base: String = place.layer.chars().take(80).map(safe).collect();
    let mut name = base.clone();
    for number in 2.. {
        if !taken.contains(&name) {
            break;
        }
        name = format!("{base}-{number}");
    }
    taken.push(name.clone());
    name
}
