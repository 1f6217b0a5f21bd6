//! The cells of a column as numbers or classes; errors name column and row.

use std::collections::HashMap;

use polars::prelude::{DataFrame, DataType, Series};

use crate::error::{Error, Result};
use crate::frame::column;
use crate::names::hint;

pub(super) fn wrong(column: &str, reason: impl Into<String>) -> Error {
    Error::data(format!("column {column}"), reason)
}

pub(super) fn is_text(frame: &DataFrame, name: &str) -> Result<bool> {
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
pub(super) fn numbers(frame: &DataFrame, name: &str) -> Result<Vec<f64>> {
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
pub(super) fn levels(frame: &DataFrame, name: &str) -> Result<Vec<String>> {
    let mut levels = texts(frame, name)?;
    levels.sort_unstable();
    levels.dedup();
    if column(frame, name)?.dtype().is_integer() {
        levels.sort_by_key(|level| level.parse::<i128>().unwrap_or_default());
    }
    Ok(levels)
}

/// The position of each cell among the levels.
pub(super) fn indices(frame: &DataFrame, name: &str, levels: &[String]) -> Result<Vec<i64>> {
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
