//! Arrays that NumPy saved.

use std::path::Path;

use polars::prelude::{NamedFrom, Series};
use tch::{Kind, Tensor};

use super::Dataset;
use super::text::stem;
use crate::error::{Error, Result, guarded};
use crate::names::hint;
use crate::read;

impl Dataset {
    /// Examples from two `.npy` files of equal first dimension.
    ///
    /// Inputs: floats become f32, as do bytes and bools (pixels; they are not scaled), wider integers int64 (tokens). Targets: integers and
    /// bools become int64, floats f32.
    ///
    /// Errors: [`Error::Data`] for a file that is not whole (see [`read::npy`](read::npy())), as for [`Dataset::new`] otherwise.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let file = |name: &str| std::env::temp_dir().join(format!("ascribe-doc-{}-{name}.npy", std::process::id()));
    /// Tensor::from_slice(&[0.5f64, 1.5]).view([2, 1]).write_npy(file("x"))?;
    /// Tensor::from_slice(&[1i32, 0]).write_npy(file("y"))?;
    /// let data = Dataset::from_npy(file("x"), file("y"))?;
    /// assert_eq!((data.inputs().kind(), data.labels()), (ascribe::tch::Kind::Float, Some(vec![1, 0])));
    /// # for name in ["x", "y"] { std::fs::remove_file(file(name)).ok(); }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_npy(inputs: impl AsRef<Path>, targets: impl AsRef<Path>) -> Result<Dataset> {
        let name = stem(inputs.as_ref());
        let (inputs, targets) = (read::npy(inputs)?, read::npy(targets)?);
        Ok(Dataset::new(guarded(|| inputs_of(&inputs))?, guarded(|| targets_of(&targets))?)?.named(name))
    }

    /// Examples from two arrays of an `.npz` file; its other arrays of one number for each example become columns of metadata.
    ///
    /// Kinds are turned as by [`Dataset::from_npy`]. Errors: [`Error::Data`] where there is no such array, naming the nearest, and as there.
    pub fn from_npz(path: impl AsRef<Path>, inputs: &str, targets: &str) -> Result<Dataset> {
        let path = path.as_ref();
        let arrays = read::npz(path)?;
        let find = |name: &str| {
            let near = hint(name, arrays.iter().map(|(name, _)| name.as_str()));
            let none = || Error::data(path.display().to_string(), format!("it has no array {name}{near}"));
            arrays.iter().find(|(stored, _)| stored == name).map(|(_, array)| array).ok_or_else(none)
        };
        let (x, y) = (find(inputs)?, find(targets)?);
        let mut data = Dataset::new(guarded(|| inputs_of(x))?, guarded(|| targets_of(y))?)?.named(stem(path));
        for (name, array) in &arrays {
            if array.size() == [data.len() as i64] && name != inputs && name != targets {
                data = data.with_column(guarded(|| series(name, array))?)?;
            }
        }
        Ok(data)
    }
}

fn inputs_of(array: &Tensor) -> Result<Tensor> {
    Ok(array.f_to_kind(match array.kind() {
        Kind::Int16 | Kind::Int | Kind::Int64 => Kind::Int64,
        _ => Kind::Float,
    })?)
}

fn targets_of(array: &Tensor) -> Result<Tensor> {
    Ok(array.f_to_kind(match array.is_floating_point() {
        true => Kind::Float,
        false => Kind::Int64,
    })?)
}

fn series(name: &str, array: &Tensor) -> Result<Series> {
    let wide = |kind| array.f_to_kind(kind)?.f_contiguous();
    Ok(match array.kind() {
        Kind::Bool => Series::new(name.into(), Vec::<bool>::try_from(&wide(Kind::Bool)?)?),
        _ if array.is_floating_point() => Series::new(name.into(), Vec::<f64>::try_from(&wide(Kind::Double)?)?),
        _ => Series::new(name.into(), Vec::<i64>::try_from(&wide(Kind::Int64)?)?),
    })
}
