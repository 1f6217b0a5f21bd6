//! Pictures in folders, one folder for each class.

use std::path::{Path, PathBuf};

use polars::prelude::{NamedFrom, Series};
use tch::{Kind, Tensor};

use super::Dataset;
use super::text::stem;
use super::walk::{files_below, hidden, relative};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::read::{self, Picture};

/// Endings of files that are read.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];

/// What is done to each picture, in this order, as by torchvision's `Resize`, `CenterCrop`, `ToTensor` and `Normalize` on Pillow's images.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::dataset::{Images, Resize};
/// // What networks trained on ImageNet expect.
/// let imagenet = Images {
///     resize: Resize::ShorterSide(256),
///     crop: Some([224, 224]),
///     mean: vec![0.485, 0.456, 0.406],
///     deviation: vec![0.229, 0.224, 0.225],
///     ..default()
/// };
/// assert!(dataset::folder("no/such/folder", &imagenet).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Bilinear, with antialiasing: equal to Pillow's to the byte. Pillow 13 treats columns before rows where that is quicker, which changes
    /// some bytes by one; those before it never did, nor does this.
    pub resize: Resize,
    /// Height and width of the middle part that is kept.
    pub crop: Option<[usize; 2]>,
    /// Whether pictures have one channel instead of three.
    pub grey: bool,
    /// Subtracted from the pixels in [0, 1], for each channel; nothing if empty.
    pub mean: Vec<f64>,
    /// What they are then divided by, for each channel; nothing if empty.
    pub deviation: Vec<f64>,
}

/// How large pictures become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// They stay as they are.
    #[default]
    Keep,
    /// The shorter side becomes so long, the other in proportion.
    ShorterSide(usize),
    /// Height and width, whatever the proportion.
    To([usize; 2]),
}

/// The PNG and JPEG pictures below a folder, whose own folders are the classes, in the order of their names.
///
/// * **Shapes**: inputs `[n, 3, height, width]` f32 (one channel if grey), pixels in [0, 1] before mean and deviation; targets `[n]` int64.
///   All pictures must be of one size in the end. The column `file` says where in the folder an example is.
/// * **Order**: by class, then by path, as torchvision's `ImageFolder`. Hidden files and those with other endings are passed over.
///
/// Memory: 4 bytes for each number. Errors: [`Error::Data`] naming the file for one that is no picture (see [`read::image`](read::image()))
/// or of another size than the first; for a folder without classes, a class without pictures; [`Error::Option`].
pub fn folder(path: impl AsRef<Path>, images: &Images) -> Result<Dataset> {
    let path = path.as_ref();
    images.check()?;
    let classes = classes(path)?;
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (class, folder) in classes.iter().enumerate() {
        let found = files_below(folder, &ENDINGS)?;
        labels.extend(std::iter::repeat_n(class as i64, found.len()));
        files.extend(found);
    }
    let mut pixels = Vec::new();
    let mut size = None;
    let mut progress = Progress::new(&format!("pictures of {}", stem(path)), files.len() as u64);
    for file in &files {
        let picture = images.prepare(read::picture(file)?, file)?;
        let own = [picture.height, picture.width];
        let first = *size.get_or_insert(own);
        if own != first {
            let [height, width] = first;
            let reason = format!(
                "expected {height} x {width} pixels (height, width) as {}, got {} x {}; set Images.resize or Images.crop",
                relative(path, &files[0]),
                own[0],
                own[1]
            );
            return Err(Error::data(file.display().to_string(), reason));
        }
        pixels.extend(picture.pixels);
        progress.add(1);
    }
    progress.finish();
    let [height, width] = size.unwrap_or_default().map(|side| side as i64);
    let stored = Tensor::f_from_data_size(&pixels, &[files.len() as i64, height, width, images.channels() as i64], Kind::Uint8)?;
    drop(pixels);
    let mut inputs = stored.f_permute([0, 3, 1, 2])?.f_contiguous()?.f_to_kind(Kind::Float)?;
    let _ = inputs.f_div_scalar_(255.0)?;
    let by_channel = |values: &[f64]| Tensor::f_from_slice(values)?.f_to_kind(Kind::Float)?.f_view([1, -1, 1, 1]);
    if !images.mean.is_empty() {
        let _ = inputs.f_sub_(&by_channel(&images.mean)?)?;
    }
    if !images.deviation.is_empty() {
        let _ = inputs.f_div_(&by_channel(&images.deviation)?)?;
    }
    let names: Vec<String> = classes.iter().map(|class| relative(path, class)).collect();
    let data = Dataset::new(inputs, Tensor::f_from_slice(&labels)?)?.named(stem(path)).with_class_names(&names);
    data.with_column(Series::new("file".into(), files.iter().map(|file| relative(path, file)).collect::<Vec<_>>()))
}

/// The folders of the classes.
fn classes(path: &Path) -> Result<Vec<PathBuf>> {
    let mut classes = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|e| Error::io(path, e))? {
        let entry = entry.map_err(|e| Error::io(path, e))?.path();
        if entry.is_dir() && !hidden(&entry) {
            classes.push(entry);
        }
    }
    classes.sort();
    match classes.is_empty() {
        true => Err(Error::data(path.display().to_string(), "expected a folder for each class, got none")),
        false => Ok(classes),
    }
}

impl Images {
    fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }

    fn check(&self) -> Result<()> {
        let (sides, name) = match self.resize {
            Resize::Keep => ([1, 1], "Images.resize"),
            Resize::ShorterSide(side) => ([side, side], "Images.resize"),
            Resize::To(sides) => (sides, "Images.resize"),
        };
        for (name, sides) in [(name, sides), ("Images.crop", self.crop.unwrap_or([1, 1]))] {
            if let Some(side) = sides.iter().find(|side| !(1..=1 << 14).contains(*side)) {
                return Err(Error::option(name, "sides of 1 to 16384 pixels", side));
            }
        }
        for (name, values) in [("Images.mean", &self.mean), ("Images.deviation", &self.deviation)] {
            if !values.is_empty() && values.len() != self.channels() {
                return Err(Error::option(name, format!("{} numbers, one for each channel", self.channels()), values.len()));
            }
            let bad = |value: &&f64| !value.is_finite() || name == "Images.deviation" && **value <= 0.0;
            if let Some(bad) = values.iter().find(bad) {
                return Err(Error::option(name, "finite numbers, deviations above 0", bad));
            }
        }
        Ok(())
    }

    fn prepare(&self, picture: Picture, file: &Path) -> Result<Picture> {
        let picture = picture.of_channels(self.channels());
        let picture = match self.resize {
            Resize::Keep => picture,
            Resize::ShorterSide(side) => {
                // A picture that is a thousand times as long as it is wide would become too large.
                let (long, short) = (picture.width.max(picture.height), picture.width.min(picture.height));
                if side * long / short > 1 << 16 {
                    let reason = format!(
                        "a picture of {} x {} is too narrow to resize by its shorter side",
                        picture.height, picture.width
                    );
                    return Err(Error::data(file.display().to_string(), reason));
                }
                picture.shorter_side(side)
            }
            Resize::To([height, width]) => picture.resized(width, height),
        };
        match self.crop {
            None => Ok(picture),
            Some([height, width]) => picture.centre(width, height).ok_or_else(|| {
                let got = format!("{} x {} to cut {height} x {width} from", picture.height, picture.width);
                Error::data(file.display().to_string(), format!("expected a larger picture, got {got}"))
            }),
        }
    }
}
