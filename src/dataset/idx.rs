//! The idx format, and datasets that are published as four gzipped idx files (MNIST and those modelled on it).
//!
//! An idx file is `0 0 type dimensions`, one big-endian u32 per dimension, then the values; `type` is 8 for unsigned bytes,
//! the only one used here. Every length is checked: [`Error::Data`] names the file, what was expected and what came.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tch::{Kind, Tensor};

use super::Dataset;
use super::download::{self, Folder};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Far more values than any file read here has: a damaged header must not ask for all memory.
const MOST_VALUES: u64 = 1 << 30;

const FILES: [&str; 4] =
    ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"];

/// A dataset of 28 x 28 grey images in ten classes, published as four idx files.
pub(crate) struct Source {
    /// Of the dataset, and of its folder.
    pub name: &'static str,
    /// Addresses that the name of a file is appended to.
    pub mirrors: &'static [&'static str],
    /// In the order of `FILES`.
    pub sha256: [&'static str; 4],
    /// Mean of all training pixels in [0, 1], and their standard deviation.
    pub mean: f64,
    pub deviation: f64,
    pub classes: [&'static str; 10],
}

impl Source {
    /// Train and test part, from the folder that [`Folder::of`] chooses, after downloading what is missing there.
    pub(crate) fn load(&self) -> Result<(Dataset, Dataset)> {
        self.load_from(&Folder::of(self.name)?)
    }

    /// Train and test part, from this folder.
    pub(crate) fn load_from(&self, folder: &Folder) -> Result<(Dataset, Dataset)> {
        let mut paths = Vec::new();
        for (file, sha256) in FILES.into_iter().zip(self.sha256) {
            paths.push(self.fetch(folder, file, sha256)?);
        }
        Ok((self.part("train", &paths[0], &paths[1])?, self.part("test", &paths[2], &paths[3])?))
    }

    /// One file's path, with a progress bar if it is downloaded.
    fn fetch(&self, folder: &Folder, file: &str, sha256: &str) -> Result<PathBuf> {
        let mut bar = None;
        let mut show = |done, total: Option<u64>| {
            if let Some(total) = total {
                bar.get_or_insert_with(|| Progress::new(&format!("{} {file}", self.name), total)).set(done);
            }
        };
        let path = download::fetch(self.mirrors, sha256, folder, file, &mut show);
        if let Some(bar) = bar {
            bar.finish();
        }
        path
    }

    fn part(&self, part: &str, images: &Path, labels: &Path) -> Result<Dataset> {
        let images = read(images)?;
        let &[n, 28, 28] = images.shape.as_slice() else {
            return Err(Error::shape(format!("{} images", self.name), "[n, 28, 28]", format!("{:?}", images.shape)));
        };
        let labels = read(labels)?;
        if labels.shape != [n] {
            return Err(Error::shape(format!("{} labels", self.name), format!("[{n}]"), format!("{:?}", labels.shape)));
        }
        // Bytes become f32 once and are scaled in place: the largest set needs 188 MB and nothing beside it.
        let mut inputs = Tensor::f_from_data_size(&images.values, &[n, 1, 28, 28], Kind::Uint8)?.f_to_kind(Kind::Float)?;
        let _ = inputs.f_div_scalar_(255.0)?.f_sub_scalar_(self.mean)?.f_div_scalar_(self.deviation)?;
        let targets = Tensor::f_from_slice(&labels.values)?.f_to_kind(Kind::Int64)?;
        let data = Dataset::new(inputs, targets)?;
        if data.classes() > Some(self.classes.len()) {
            return Err(Error::data(self.name, "expected labels 0 to 9, got a larger one"));
        }
        Ok(data.named(format!("{}-{part}", self.name)).with_class_names(&self.classes))
    }
}

/// The values of an idx file; there are exactly as many as `shape` says.
#[derive(Debug)]
pub(crate) struct Idx {
    pub shape: Vec<i64>,
    pub values: Vec<u8>,
}

/// Reads a gzipped idx file of unsigned bytes.
pub(crate) fn read(path: &Path) -> Result<Idx> {
    let packed = fs::read(path).map_err(|error| Error::io(path, error))?;
    parse(&path.display().to_string(), GzDecoder::new(packed.as_slice()))
}

/// Reads unpacked idx data to its end; `name` is for errors.
fn parse(name: &str, mut data: impl Read) -> Result<Idx> {
    let bad = |reason: String| Error::data(name, reason);
    let mut header = |part: &str| {
        let mut word = [0u8; 4];
        match data.read_exact(&mut word) {
            Ok(()) => Ok(word),
            Err(error) => Err(bad(format!("not an idx file, or cut off: cannot read its {part}: {error}"))),
        }
    };
    let [a, b, kind, dimensions] = header("first four bytes")?;
    if (a, b, kind) != (0, 0, 8) {
        return Err(bad(format!("expected an idx file of unsigned bytes (it begins 0 0 8), got {a} {b} {kind}")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(i64::from(u32::from_be_bytes(header("dimensions")?)));
    }
    let count = shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size as u64));
    let Some(count) = count.filter(|&count| count <= MOST_VALUES && dimensions > 0) else {
        return Err(bad(format!("expected between 1 dimension and {MOST_VALUES} values, got the shape {shape:?}")));
    };
    let mut values = Vec::new();
    // One byte more than expected is asked for: it must not be there, and reaching the end checks the gzip checksum.
    let read = data.take(count + 1).read_to_end(&mut values);
    if let Err(error) = read {
        return Err(bad(format!(
            "expected {count} values of shape {shape:?}, reading broke off after {}: {error}",
            values.len()
        )));
    }
    match values.len() as u64 {
        got if got < count => Err(bad(format!("cut off: expected {count} values of shape {shape:?}, got {got}"))),
        got if got > count => Err(bad(format!("expected {count} values of shape {shape:?}, and more follow"))),
        _ => Ok(Idx { shape, values }),
    }
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;
