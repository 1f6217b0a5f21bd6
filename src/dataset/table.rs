//! Tables: columns of a DataFrame or CSV file as inputs, target and metadata.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::{CsvReadOptions, DataFrame, DataType, SerReader, Series};
use tch::{Kind, Tensor};

use super::Dataset;
use super::text::stem;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::names::hint;

/// Levels that one-hot columns are made of at most: more are names, not categories.
const MOST_LEVELS: usize = 1_000;

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

    fn target(&self) -> &str {
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

/// What was learnt from the rows of one table, to read others alike: the classes, the levels of text, means and deviations.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::dataset::{Columns, Encoding};
/// use ascribe::polars::df;
/// let train = df!("size" => [1.0, 3.0], "label" => ["cat", "dog"])?;
/// let encoding = Encoding::of(&train, &Columns { standardise: true, ..default() })?;
/// let test = encoding.dataset(&df!("size" => [5.0], "label" => ["dog"])?)?;
/// assert_eq!((test.labels(), test.inputs().double_value(&[0, 0])), (Some(vec![1]), 3.0)); // (5 - 2) / 1
/// assert!(encoding.dataset(&df!("size" => [5.0], "label" => ["cow"])?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    columns: Columns,
    inputs: Vec<Input>,
    /// Empty for numbers.
    classes: Vec<String>,
}

/// One column of the inputs.
#[derive(Clone, Debug, PartialEq)]
struct Input {
    name: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Number { mean: f64, deviation: f64 },
    Category(Vec<String>),
}

impl Encoding {
    /// Learns from a table.
    ///
    /// Errors: as for [`Dataset::from_frame`]; [`Error::Data`] for a column of text with more than 1,000 distinct values that is to be
    /// one-hot.
    pub fn of(frame: &DataFrame, columns: &Columns) -> Result<Encoding> {
        let all: Vec<String> = frame.columns().iter().map(|column| column.name().to_string()).collect();
        for name in columns.inputs.iter().chain(&columns.metadata).map(String::as_str).chain([columns.target()]) {
            if !all.iter().any(|column| column == name) {
                let near = hint(name, all.iter().map(String::as_str));
                return Err(Error::data(format!("column {name}"), format!("it is none of the {} columns{near}", all.len())));
            }
        }
        let other = |name: &&String| *name != columns.target() && !columns.metadata.contains(name);
        let names: Vec<&String> = match columns.inputs.is_empty() {
            true => all.iter().filter(other).collect(),
            false => columns.inputs.iter().collect(),
        };
        if let Some(name) = names.iter().find(|name| name.as_str() == columns.target()) {
            return Err(Error::data(format!("column {name}"), "it is the target and cannot be an input"));
        }
        if names.is_empty() {
            return Err(Error::data("columns", "expected at least one column for the inputs, got none"));
        }
        let inputs = names.into_iter().map(|name| Ok(Input { name: name.clone(), form: Form::of(frame, name, columns)? }));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let classes = match &columns.target {
            Target::Class(name) => levels(frame, name)?,
            Target::Number(_) => Vec::new(),
        };
        Ok(Encoding { columns: columns.clone(), inputs, classes })
    }

    /// Names of the numbers of an input, in their order: a column, or `column=value`.
    pub fn inputs(&self) -> Vec<String> {
        let names = self.inputs.iter().flat_map(|input| match &input.form {
            Form::Category(levels) if self.columns.categories == Categories::OneHot => {
                levels.iter().map(|level| format!("{}={level}", input.name)).collect()
            }
            _ => vec![input.name.clone()],
        });
        names.collect()
    }

    /// The classes in their order; none where the target is a number.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Reads a table alike.
    ///
    /// Errors: as for [`Dataset::from_frame`], and for text or a class that the first table did not have.
    pub fn dataset(&self, frame: &DataFrame) -> Result<Dataset> {
        let n = frame.height() as i64;
        if n == 0 {
            return Err(Error::data("table", "expected at least one row, got none"));
        }
        let mut parts = Vec::with_capacity(self.inputs.len());
        for Input { name, form } in &self.inputs {
            parts.push(match form {
                Form::Number { mean, deviation } => {
                    let values: Vec<f32> = numbers(frame, name)?.iter().map(|x| ((x - mean) / deviation) as f32).collect();
                    Tensor::f_from_slice(&values)?.f_view([n, 1])?
                }
                Form::Category(levels) => {
                    let index = Tensor::f_from_slice(&indices(frame, name, levels)?)?;
                    match self.columns.categories {
                        Categories::OneHot => index.f_one_hot(levels.len() as i64)?.f_to_kind(Kind::Float)?,
                        Categories::Index => index.f_to_kind(Kind::Float)?.f_view([n, 1])?,
                    }
                }
            });
        }
        let targets = match &self.columns.target {
            Target::Class(name) => Tensor::f_from_slice(&indices(frame, name, &self.classes)?)?,
            Target::Number(name) => {
                let values: Vec<f32> = numbers(frame, name)?.iter().map(|x| *x as f32).collect();
                Tensor::f_from_slice(&values)?
            }
        };
        let mut data = Dataset::new(Tensor::f_cat(&parts, 1)?, targets)?.with_class_names(&self.classes);
        for name in &self.columns.metadata {
            data = data.with_column(column(frame, name)?.as_materialized_series().clone())?;
        }
        Ok(data)
    }
}

impl Form {
    fn of(frame: &DataFrame, name: &str, columns: &Columns) -> Result<Form> {
        if is_text(frame, name)? {
            let levels = levels(frame, name)?;
            return match columns.categories == Categories::OneHot && levels.len() > MOST_LEVELS {
                true => Err(wrong(
                    name,
                    format!("{} distinct texts are names rather than categories: list it in metadata", levels.len()),
                )),
                false => Ok(Form::Category(levels)),
            };
        }
        let values = numbers(frame, name)?;
        if !columns.standardise {
            return Ok(Form::Number { mean: 0.0, deviation: 1.0 });
        }
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        // A constant column is of no use, and of no harm.
        Ok(Form::Number { mean, deviation: if deviation > 0.0 { deviation } else { 1.0 } })
    }
}

fn wrong(column: &str, reason: impl Into<String>) -> Error {
    Error::data(format!("column {column}"), reason)
}

fn is_text(frame: &DataFrame, name: &str) -> Result<bool> {
    let column = column(frame, name)?;
    let kind = column.dtype();
    match kind {
        DataType::String => text_alone(name, column.str()?.iter()).map(|()| true),
        DataType::Boolean => Ok(false),
        kind if kind.is_primitive_numeric() => Ok(false),
        // A column without a single value.
        DataType::Null => Err(wrong(name, "row 0: expected a value, got nothing")),
        _ => Err(wrong(name, format!("expected numbers, text or true and false, got {kind}"))),
    }
}

/// An error for a column of numbers that a few cells turn into text.
fn text_alone<'c>(name: &str, cells: impl Iterator<Item = Option<&'c str>>) -> Result<()> {
    let (mut numbers, mut texts, mut first) = (0, 0, None);
    for (row, cell) in cells.enumerate().filter_map(|(row, cell)| Some((row, cell?))) {
        match cell.trim().parse::<f64>() {
            Ok(_) => numbers += 1,
            Err(_) => {
                texts += 1;
                first = first.or(Some((row, cell)));
            }
        }
    }
    match first {
        Some((row, cell)) if numbers > texts => {
            let cell: String = cell.chars().take(40).collect();
            Err(wrong(name, format!("row {row}: expected a number, as in most of its rows, got {cell:?}")))
        }
        _ => Ok(()),
    }
}

/// Finite numbers.
fn numbers(frame: &DataFrame, name: &str) -> Result<Vec<f64>> {
    if is_text(frame, name)? {
        return Err(wrong(name, "expected numbers, got text"));
    }
    let wide = column(frame, name)?.cast(&DataType::Float64)?;
    let checked = wide.f64()?.iter().enumerate().map(|(row, value)| match value {
        Some(value) if value.is_finite() && (value as f32).is_finite() => Ok(value),
        Some(value) => Err(wrong(name, format!("row {row}: expected a finite number, got {value:e}"))),
        None => Err(wrong(name, format!("row {row}: expected a number, got nothing"))),
    });
    checked.collect()
}

/// The text of each cell; whole numbers and true and false as text too.
fn texts(frame: &DataFrame, name: &str) -> Result<Vec<String>> {
    let column = column(frame, name)?;
    match column.dtype() {
        DataType::String | DataType::Boolean => {}
        kind if kind.is_integer() => {}
        kind => return Err(wrong(name, format!("expected classes (text, whole numbers, true and false), got {kind}"))),
    }
    let text: Series = column.as_materialized_series().cast(&DataType::String)?;
    let cells = text.str()?.iter().enumerate();
    let whole = cells.map(|(row, cell)| {
        cell.map(str::to_string).ok_or_else(|| wrong(name, format!("row {row}: expected a value, got nothing")))
    });
    whole.collect()
}

/// The distinct values of a column: whole numbers in their order, else by their letters.
fn levels(frame: &DataFrame, name: &str) -> Result<Vec<String>> {
    let mut levels = texts(frame, name)?;
    levels.sort_unstable();
    levels.dedup();
    if column(frame, name)?.dtype().is_integer() {
        levels.sort_by_key(|level| level.parse::<i128>().unwrap_or_default());
    }
    Ok(levels)
}

/// The position of each cell among the levels.
fn indices(frame: &DataFrame, name: &str, levels: &[String]) -> Result<Vec<i64>> {
    let known: HashMap<&str, i64> = levels.iter().zip(0..).map(|(level, at)| (level.as_str(), at)).collect();
    let found = texts(frame, name)?.into_iter().enumerate().map(|(row, cell)| {
        known.get(cell.as_str()).copied().ok_or_else(|| {
            let cell: String = cell.chars().take(40).collect();
            wrong(
                name,
                format!(
                    "row {row}: {cell:?} is none of the {} values that were learnt{}",
                    levels.len(),
                    hint(&cell, levels.iter().map(String::as_str))
                ),
            )
        })
    });
    found.collect()
}
