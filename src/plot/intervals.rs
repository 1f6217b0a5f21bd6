//! Numbers with their uncertainty, side by side.

use polars::prelude::{DataFrame, DataType};

use super::axes::Axis;
use super::figure::Figure;
use super::svg::{Anchor, Page, QUIET, Style, width_of};
use crate::display::{cut, number};
use crate::error::{Error, Result};
use crate::frame::column;

const WIDTH: f64 = 740.0;
const ROW: f64 = 22.0;
const MOST: usize = 60;
const LONGEST: usize = 56;
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#d55e00";

/// Options of [`intervals`].
///
/// ```
/// use ascribe::plot::Intervals;
/// use polars::df;
/// let table = df!("method" => ["influence"], "r" => [0.9], "low" => [0.8], "high" => [0.95], "published" => [0.7])?;
/// let figure = Intervals { mark: Some("published".into()) }.draw(&table, "r", "method")?;
/// assert!(figure.svg().contains("diamond: published"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    /// A column of other numbers to draw as a diamond in the row they belong to, such as published ones; gaps are left out.
    pub mark: Option<String>,
}

/// Column `value` as a dot and its interval, from the columns `<value>_low` and `<value>_high`, or else `low` and `high`, as a bar through
/// it; a line for each row, named by the column `by`, at most 60, in the order of the table.
///
/// The number stands at the right. A row whose value or interval is missing shows what it has. A dark line marks zero where it is in sight.
///
/// Errors: [`Error::Data`] if a column is missing or not numeric, a number is not finite, no value is there, or rows are too many.
///
/// ```
/// use ascribe::plot;
/// use polars::df;
/// let table = df!("method" => ["influence", "random"], "r" => [0.9, 0.0], "r_low" => [0.8, -0.1], "r_high" => [0.95, 0.1])?;
/// assert!(plot::intervals(&table, "r", "method")?.svg().contains(">influence</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn intervals(frame: &DataFrame, value: &str, by: &str) -> Result<Figure> {
    Intervals::default().draw(frame, value, by)
}

impl Intervals {
    /// Draws what [`intervals`] draws, with these options; errors are those of [`intervals`].
    pub fn draw(&self, frame: &DataFrame, value: &str, by: &str) -> Result<Figure> {
        let marks = self.mark.as_ref().map(|mark| finite(frame, mark)).transpose()?;
        drawn(frame, value, by, self.mark.as_deref().zip(marks.as_deref()))
    }
}

/// The figure, with marks of some name if given.
fn drawn(frame: &DataFrame, value: &str, by: &str, marks: Option<(&str, &[Option<f64>])>) -> Result<Figure> {
    let (values, low, high) =
        (finite(frame, value)?, finite(frame, &end(frame, value, "low"))?, finite(frame, &end(frame, value, "high"))?);
    let marked = marks.map(|(_, marks)| marks).unwrap_or_default();
    let names = column(frame, by)?.cast(&DataType::String)?;
    let names: Vec<String> = names.str()?.iter().map(|name| cut(name.unwrap_or("—"), LONGEST)).collect();
    if values.len() > MOST {
        return Err(Error::data(by, format!("expected at most {MOST} rows to draw, got {}", values.len())));
    }
    let all = || values.iter().chain(&low).chain(&high).chain(marked).flatten();
    if values.iter().flatten().next().is_none() {
        return Err(Error::data(value, "expected at least one number, got none"));
    }
    let (least, most) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let margin = 0.04 * (most - least);
    let axis = Axis::new(least - margin, most + margin, 6.0, value)?;
    let labels = names.iter().map(|name| width_of(name, 12.0)).fold(40.0, f64::max).min(360.0);
    let (left, right, top) = (16.0 + labels + 12.0, WIDTH - 66.0, 60.0);
    let below = top + ROW * values.len() as f64 + 6.0;
    let at = |x: f64| left + axis.share(x) * (right - left);
    let mut page = Page::new(WIDTH, below + 50.0);
    page.text(16.0, 26.0, Style::title(), &cut(&format!("{value} by {by}"), 80));
    page.text(
        16.0,
        44.0,
        Style::quiet(),
        &format!(
            "dot: value; bar: its interval{}",
            marks.map_or(String::new(), |(name, _)| format!("; diamond: {}", cut(name, 40)))
        ),
    );
    for (tick, text) in axis.marks() {
        page.line((at(tick), top), (at(tick), below), if tick == 0.0 { "#8a929b" } else { "#e8ebee" }, 1.0, "");
        page.text(at(tick), below + 16.0, Style::quiet().anchored(Anchor::Middle), &text);
    }
    page.line((left, below), (right, below), "#8a929b", 1.0, "");
    page.text((left + right) / 2.0, below + 38.0, Style::plain().anchored(Anchor::Middle), &cut(value, 80));
    let numbers = number::column(&values);
    for (row, name) in names.iter().enumerate() {
        let y = top + ROW * (row as f64 + 0.6);
        page.text(left - 12.0, y + 4.0, Style::plain().anchored(Anchor::End), name);
        if let (Some(low), Some(high)) = (low[row], high[row]) {
            page.line((at(low), y), (at(high), y), BLUE, 2.0, "");
            for end in [low, high] {
                page.line((at(end), y - 4.0), (at(end), y + 4.0), BLUE, 2.0, "");
            }
        }
        if let Some(value) = values[row] {
            page.dot(at(value), y, 4.0, BLUE);
        }
        if let Some(mark) = marked.get(row).copied().flatten() {
            let corners = [(-5.0, 0.0), (0.0, -5.0), (5.0, 0.0), (0.0, 5.0), (-5.0, 0.0)].map(|(dx, dy)| (at(mark) + dx, y + dy));
            corners.windows(2).for_each(|side| page.line(side[0], side[1], ORANGE, 1.8, ""));
        }
        let text = numbers[row].replace('-', "−");
        page.text(WIDTH - 16.0, y + 4.0, Style { colour: QUIET, ..Style::plain() }.anchored(Anchor::End), &text);
    }
    Ok(page.finish(&format!("intervals of {} by {}", cut(value, 40), cut(by, 40))))
}

/// The column of an end of the interval of `value`: `<value>_low`, unless the table has a plain `low` only.
pub(crate) fn end(frame: &DataFrame, value: &str, end: &str) -> String {
    let (own, has) = (format!("{value}_{end}"), |name: &str| frame.columns().iter().any(|column| column.name().as_str() == name));
    if !has(&own) && has(end) { end.to_string() } else { own }
}

/// Finite numbers, or gaps.
pub(crate) fn finite(frame: &DataFrame, name: &str) -> Result<Vec<Option<f64>>> {
    let column = column(frame, name)?;
    if !column.dtype().is_primitive_numeric() {
        return Err(Error::data(name, format!("expected a column of numbers, got {}", column.dtype())));
    }
    let values: Vec<Option<f64>> = column.cast(&DataType::Float64)?.f64()?.iter().collect();
    match values.iter().flatten().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::data(name, format!("expected finite numbers, got {value}"))),
        None => Ok(values),
    }
}
