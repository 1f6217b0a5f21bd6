//! Scores on disk, and the note beside them that says what they are about.

use std::path::Path;

use ndarray::Array2;
use polars::prelude::{CsvWriter, DataFrame, IntoColumn, NamedFrom, SerWriter, Series};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Scores;
use super::align::check_same;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::file::{read_json, write_aside, write_json};

/// What made a matrix of scores; stored beside it as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) method: String,
    pub(super) test: Vec<u32>,
    pub(super) train: Vec<u32>,
    /// Digest of each example's input and target, since ids alone are 0, 1, 2, … for every dataset.
    pub(super) test_digests: Vec<i64>,
    pub(super) train_digests: Vec<i64>,
}

impl About {
    pub(super) fn new(method: String, test: &Dataset, train: &Dataset) -> Result<About> {
        let (test_digests, train_digests) = (test.digests()?, train.digests()?);
        Ok(About { method, test: test.examples(), train: train.examples(), test_digests, train_digests })
    }

    /// That these are the examples the scores are about.
    pub(super) fn check(&self, name: &str, test: &Dataset, train: &Dataset) -> Result<()> {
        check_same(name, "test", (&self.test, &self.test_digests), test)?;
        check_same(name, "train", (&self.train, &self.train_digests), train)
    }
}

impl Scores {
    /// Writes the matrix: `.npy` (float32 `[n_test, n_train]`, with a `.json` note of method and example ids beside it) or
    /// `.csv` (one row per test example, one column per train example id). Files are written aside and renamed.
    ///
    /// Errors: [`Error::Io`], or [`Error::Option`] for another extension.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match extension(path) {
            "npy" => {
                let shape = (self.n_test(), self.n_train());
                let array = Array2::from_shape_vec(shape, Vec::<f32>::try_from(&self.values.contiguous().view([-1]))?)
                    .map_err(|e| Error::data("scores", e.to_string()))?;
                write_aside(path, |file| {
                    ndarray_npy::WriteNpyExt::write_npy(&array, file).map_err(|e| std::io::Error::other(e.to_string()))
                })?;
                write_json(&path.with_extension("json"), &self.about)
            }
            "csv" => {
                let mut table = vec![self.test.column("example")?.clone().with_name("test".into())];
                for (j, id) in self.about.train.iter().enumerate() {
                    let column = Vec::<f32>::try_from(&self.values.select(1, j as i64).contiguous())?;
                    table.push(Series::new(id.to_string().into(), column).into_column());
                }
                let mut table = DataFrame::new(self.n_test(), table)?;
                write_aside(path, |file| CsvWriter::new(file).finish(&mut table).map_err(std::io::Error::other))
            }
            other => Err(Error::option("path", "a name ending in .npy or .csv", other)),
        }
    }

    /// Reads what [`Scores::save`] wrote as `.npy`, for the same examples.
    ///
    /// Errors: [`Error::Data`] if the file is damaged or its note names other examples than `test` and `train`.
    pub fn load(path: impl AsRef<Path>, test: &Dataset, train: &Dataset) -> Result<Scores> {
        let path = path.as_ref();
        let about: About = read_json(&path.with_extension("json"))?;
        about.check(&path.display().to_string(), test, train)?;
        let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        let array: Array2<f32> = ndarray_npy::ReadNpyExt::read_npy(file)
            .map_err(|e| Error::data(path.display().to_string(), format!("not a readable float32 .npy file ({e})")))?;
        let size = [array.nrows() as i64, array.ncols() as i64];
        let values = Tensor::from_slice(&array.into_iter().collect::<Vec<_>>()).view(size);
        Scores::assemble(values, about, test.frame().clone(), train.frame().clone())
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
}
