//! CIFAR-10 and pairs of its classes: 32 x 32 colour images.
//!
//! * **What**: 50,000 training and 10,000 test images of ten classes, in the publisher's order; of a pair, 10,000 and 2,000 images.
//! * **Shapes**: inputs `[n, 3, 32, 32]` f32, pixels in [0, 1] less 0.5, divided by 0.5, as TRAK, D-TRAK and dattri do; targets `[n]` int64, of
//!   a pair 0 and 1. The column `position` says where in CIFAR-10's training or test part an image stands.
//! * **Source**: Krizhevsky, Learning multiple layers of features from tiny images (2009), the binary version: `data_batch_1.bin` to
//!   `data_batch_5.bin` and `test_batch.bin` in the folder `cifar-10-batches-bin` of the folder that the environment variable
//!   `ASCRIBE_DATA` names, else of the user's cache; each record is a label and 3,072 bytes. Its publisher offers it over https alone, for
//!   which no library is built in: it is not downloaded, the error says where to unpack it. A pair may also lie in the folder `cifar2` as
//!   `cat-dog-train.bin` and so on, records with CIFAR-10's labels, beside their positions `cat-dog-train.idx-u16le`.
//! * **Licence**: none stated by the authors; in customary use for research.
//! * **Errors**: [`Error::Data`](crate::Error::Data) if a file is not there, is not made of whole records, or has a label above 9.

use std::path::Path;

use polars::prelude::{NamedFrom, Series};
use tch::{Kind, Tensor};

use super::Dataset;
use super::download::Folder;
use crate::error::{Error, Result};

const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
const PIXELS: usize = 3 * 32 * 32;
/// Records of each of the publisher's files.
const BATCH: usize = 10_000;

/// Two classes of CIFAR-10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cifar2 {
    /// Cats are 0, dogs are 1: dattri's benchmark.
    CatDog,
    /// Automobiles are 0, horses are 1: D-TRAK.
    AutomobileHorse,
}

impl Cifar2 {
    fn classes(self) -> [u8; 2] {
        match self {
            Cifar2::CatDog => [3, 5],
            Cifar2::AutomobileHorse => [1, 7],
        }
    }

    fn name(self) -> String {
        self.classes().map(|class| CLASSES[usize::from(class)]).join("-")
    }
}

/// CIFAR-10 as (train, test): 50,000 and 10,000 images `[n, 3, 32, 32]`, pixels in [-1, 1], with labels 0 to 9.
///
/// ```no_run
/// let (train, test) = ascribe::dataset::cifar10()?;
/// assert_eq!((train.inputs().size(), test.len()), (vec![50_000, 3, 32, 32], 10_000));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn cifar10() -> Result<(Dataset, Dataset)> {
    let folder = Folder::of("cifar-10-batches-bin")?.path;
    let part =
        |part: &str| -> Result<Dataset> { Ok(published(&folder, part)?.dataset(&CLASSES)?.named(format!("cifar10-{part}"))) };
    Ok((part("train")?, part("test")?))
}

/// A pair of CIFAR-10's classes as (train, test): 10,000 and 2,000 images `[n, 3, 32, 32]`, pixels in [-1, 1], with labels 0 and 1.
///
/// ```no_run
/// use ascribe::dataset::{Cifar2, cifar2};
/// let (train, test) = cifar2(Cifar2::CatDog)?;
/// assert_eq!((train.len(), test.len(), train.class_name(1).as_str()), (10_000, 2_000, "dog"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn cifar2(pair: Cifar2) -> Result<(Dataset, Dataset)> {
    let (own, whole) = (Folder::of("cifar2")?.path, Folder::of("cifar-10-batches-bin")?.path);
    let part = |part: &str| -> Result<Dataset> {
        let file = own.join(format!("{}-{part}.bin", pair.name()));
        let records = match file.is_file() {
            true => Records::of_pair(&file, pair)?,
            false => published(&whole, part)?.of_classes(pair.classes()),
        };
        let names = pair.classes().map(|class| CLASSES[usize::from(class)]);
        Ok(records.dataset(&names)?.named(format!("cifar2-{}-{part}", pair.name())))
    };
    Ok((part("train")?, part("test")?))
}

/// Images as they are stored, with their labels and where they stand in CIFAR-10.
struct Records {
    labels: Vec<u8>,
    pixels: Vec<u8>,
    positions: Vec<u32>,
}

/// One of the publisher's parts.
fn published(folder: &Path, part: &str) -> Result<Records> {
    let files: Vec<String> = match part {
        "train" => (1..=5).map(|batch| format!("data_batch_{batch}.bin")).collect(),
        _ => vec!["test_batch.bin".into()],
    };
    let mut all = Records { labels: Vec::new(), pixels: Vec::new(), positions: Vec::new() };
    for file in files {
        let path = folder.join(file);
        if !path.is_file() {
            let reason =
                format!("{} is not there: unpack the publisher's cifar-10-binary.tar.gz beside that folder", path.display());
            return Err(Error::data("cifar10", reason));
        }
        let records = Records::read(&path)?;
        if records.labels.len() != BATCH {
            return Err(wrong(&path, format!("expected {BATCH} images, got {}", records.labels.len())));
        }
        all.labels.extend(records.labels);
        all.pixels.extend(records.pixels);
    }
    all.positions = (0..all.labels.len() as u32).collect();
    Ok(all)
}

impl Records {
    /// Whole records with labels 0 to 9.
    fn read(path: &Path) -> Result<Records> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let records = bytes.chunks_exact(1 + PIXELS);
        if bytes.is_empty() || !records.remainder().is_empty() {
            return Err(wrong(path, format!("expected records of {} bytes, got {} bytes in all", 1 + PIXELS, bytes.len())));
        }
        let (mut labels, mut pixels) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len() * PIXELS));
        for record in records {
            labels.push(record[0]);
            pixels.extend_from_slice(&record[1..]);
        }
        match labels.iter().position(|label| *label > 9) {
            Some(at) => Err(wrong(path, format!("expected labels 0 to 9, image {at} has {}", labels[at]))),
            None => Ok(Records { positions: (0..labels.len() as u32).collect(), labels, pixels }),
        }
    }

    /// A file that holds a pair alone, with the file of positions beside it, if that is there.
    fn of_pair(path: &Path, pair: Cifar2) -> Result<Records> {
        let mut records = Records::read(path)?;
        if let Some(at) = records.labels.iter().position(|label| !pair.classes().contains(label)) {
            let reason =
                format!("expected labels {:?} of {}, image {at} has {}", pair.classes(), pair.name(), records.labels[at]);
            return Err(wrong(path, reason));
        }
        let beside = path.with_extension("idx-u16le");
        if beside.is_file() {
            let bytes = std::fs::read(&beside).map_err(|e| Error::io(&beside, e))?;
            if bytes.len() != 2 * records.labels.len() {
                return Err(wrong(
                    &beside,
                    format!("expected {} positions of two bytes, got {} bytes", records.labels.len(), bytes.len()),
                ));
            }
            records.positions = bytes.chunks_exact(2).map(|two| u32::from(u16::from_le_bytes([two[0], two[1]]))).collect();
        }
        Ok(records.of_classes(pair.classes()))
    }

    /// The images of two classes, which become 0 and 1.
    fn of_classes(&self, classes: [u8; 2]) -> Records {
        let mut chosen = Records { labels: Vec::new(), pixels: Vec::new(), positions: Vec::new() };
        for (at, label) in self.labels.iter().enumerate() {
            if let Some(new) = classes.iter().position(|class| class == label) {
                chosen.labels.push(new as u8);
                chosen.pixels.extend_from_slice(&self.pixels[at * PIXELS..(at + 1) * PIXELS]);
                chosen.positions.push(self.positions[at]);
            }
        }
        chosen
    }

    fn dataset(&self, names: &[&str]) -> Result<Dataset> {
        let size = [self.labels.len() as i64, 3, 32, 32];
        // Bytes become f32 once and are scaled in place.
        let mut inputs = Tensor::f_from_data_size(&self.pixels, &size, Kind::Uint8)?.f_to_kind(Kind::Float)?;
        let _ = inputs.f_div_scalar_(255.0)?.f_sub_scalar_(0.5)?.f_div_scalar_(0.5)?;
        let targets = Tensor::f_from_slice(&self.labels)?.f_to_kind(Kind::Int64)?;
        let data = Dataset::new(inputs, targets)?.with_class_names(names);
        data.with_column(Series::new("position".into(), self.positions.clone()))
    }
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::data(path.display().to_string(), reason)
}

#[cfg(test)]
#[path = "cifar_tests.rs"]
mod tests;
