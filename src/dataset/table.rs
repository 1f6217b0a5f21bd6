//! Tables: columns of a DataFrame or CSV file as inputs, target and metadata.

use std::path::Path;

use polars::prelude::{CsvReadOptions, DataFrame, SerReader};

use super::Dataset;
use super::encoding::Encoding;
use super::text::stem;
use crate::error::{Error, Result, guarded};

/// What the columns of a table are.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::dataset::Columns;
/// use ascribe::polars::df;
/// let table = df!("age" => [31, 42], "city" => ["Rome", "Oslo"], "name" => ["Ada", "Bo"], "bought" => ["yes", "no"])?;
/// let data = Dataset::from_frame(&table, &Columns { metadata: vec!["name".into()], ..Columns::class("bought") })?;
/// assert_eq!(Vec::<f32>::try_from(data.inputs().flatten(0, 1))?, [31.0, 0.0, 1.0, 42.0, 1.0, 0.0]); // age, Oslo, Rome
/// assert_eq!((data.labels(), data.class_name(1).as_str()), (Some(vec![1, 0]), "yes"));
/// assert_eq!(data.frame().column("name")?.str()?.get(1), Some("Bo")); // travels with the example
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// What is to be predicted.
    pub target: Target,
    /// The columns of the inputs, in this order; without any, all that are neither target nor metadata.
    pub inputs: Vec<String>,
    /// Columns that travel with the examples into every table of results and are no inputs.
    pub metadata: Vec<String>,
    /// How text becomes numbers.
    pub categories: Categories,
    /// Whether numbers have their mean subtracted and are divided by their standard deviation, those of the table that [`Encoding::of`] sees.
    pub standardise: bool,
}

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The classes of this column: its distinct values, numbers in their order, text by its letters.
    Class(String),
    /// The numbers of this column.
    Number(String),
}

/// How text becomes numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Categories {
    /// A column of zeros and ones for each of the distinct values, in the order of their letters.
    #[default]
    OneHot,
    /// The position among them: for trees and tables of embeddings.
    Index,
}

impl Default for Columns {
    /// Classes in the column `label`; all others are inputs.
    fn default() -> Columns {
        Columns::class("label")
    }
}

impl Columns {
    /// Classes in this column; all others are inputs.
    pub fn class(target: impl Into<String>) -> Columns {
        Columns::of(Target::Class(target.into()))
    }

    /// Numbers in this column; all others are inputs.
    pub fn number(target: impl Into<String>) -> Columns {
        Columns::of(Target::Number(target.into()))
    }

    fn of(target: Target) -> Columns {
        Columns { target, inputs: Vec::new(), metadata: Vec::new(), categories: Categories::OneHot, standardise: false }
    }

    pub(super) fn target(&self) -> &str {
        match &self.target {
            Target::Class(name) | Target::Number(name) => name,
        }
    }
}

impl Dataset {
    /// Examples from the rows of a table: inputs `[n, columns]` f32 and one target each.
    ///
    /// Numbers, true and false stay as they are, text becomes categories. For several tables of one kind, such as train and test, see
    /// [`Encoding`]: a class that only one of them has must not change the numbers of the others.
    ///
    /// Errors: [`Error::Data`] naming the column, with the nearest name where there is none, and the row for a missing or infinite number,
    /// for text among numbers and for what is neither.
    pub fn from_frame(frame: &DataFrame, columns: &Columns) -> Result<Dataset> {
        Encoding::of(frame, columns)?.dataset(frame)
    }

    /// [`Dataset::from_frame`] of a CSV file with a header.
    ///
    /// Errors: also for rows that have more cells than the header.
    pub fn from_csv(path: impl AsRef<Path>, columns: &Columns) -> Result<Dataset> {
        let path = path.as_ref();
        let named = |error| match error {
            Error::Data { name, reason } => Error::Data { name: format!("{}, {name}", path.display()), reason },
            other => other,
        };
        Ok(Dataset::from_frame(&read_csv(path)?, columns).map_err(named)?.named(stem(path)))
    }
}

/// Reads a CSV file; the kinds of columns are found out from all rows.
pub(super) fn read_csv(path: &Path) -> Result<DataFrame> {
    if !std::fs::metadata(path).map_err(|e| Error::io(path, e))?.is_file() {
        return Err(Error::data(path.display().to_string(), "expected a file, got a folder, pipe or device"));
    }
    let options = CsvReadOptions::default().with_has_header(true).with_infer_schema_length(None);
    let read = guarded(|| Ok(options.try_into_reader_with_file_path(Some(path.to_path_buf()))?.finish()?));
    read.map_err(|error| match error {
        Error::Frame(error) => {
            let text = error.to_string();
            Error::data(path.display().to_string(), format!("not a whole CSV table: {}", text.lines().next().unwrap_or_default()))
        }
        other => other,
    })
}
