//! From the columns of a table to numbers, learnt from one table and repeated on others.

use polars::prelude::DataFrame;
use tch::{Kind, Tensor};

use super::Dataset;
use super::cells::{indices, is_text, levels, numbers, wrong};
use super::table::{Categories, Columns, Target};
use crate::error::{Error, Result};
use crate::frame::column;
use crate::names::hint;

/// Levels that one-hot columns are made of at most: more are names, not categories.
const MOST_LEVELS: usize = 1_000;

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
