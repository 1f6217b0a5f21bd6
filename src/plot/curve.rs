//! One number against another, a line for each group.

use plotters::element::DashedPathElement;
use plotters::prelude::{Circle, PathElement, Polygon};
use plotters::style::{Color, RGBColor};
use polars::prelude::{DataFrame, DataType};

use super::axes::{Axis, Chart, FINE, chart, drawing};
use super::figure::Figure;
use super::histogram::numbers;
use super::intervals::end;
use super::svg::{Page, Style, width_of};
use crate::display::cut;
use crate::error::{Error, Result};
use crate::frame::column;

/// Colours that colour-blind readers can tell apart (Okabe and Ito); a second round is dashed.
pub(super) const COLOURS: [(u8, u8, u8); 7] =
    [(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (60, 66, 74)];
const MOST_LINES: usize = 2 * COLOURS.len();
const MOST_MARKED: usize = 30;
const WIDTH: f64 = 700.0;

/// Options of [`curve`].
///
/// ```
/// use ascribe::plot::Curve;
/// use polars::prelude::*;
/// let share = Column::new("inspected".into(), [0.0, 0.5, 1.0]);
/// let found = Column::new("found".into(), [0.0, 0.8, 1.0]);
/// let figure = Curve { diagonal: true, ..Default::default() }.draw(&DataFrame::new(3, vec![share, found])?, "inspected", "found", None)?;
/// assert!(figure.svg().contains("inspected"));
/// let damping = Column::new("damping".into(), [1e-3, 1.0, 1e3]);
/// let lds = Column::new("lds".into(), [0.1, 0.3, 0.2]);
/// let figure = Curve { log_x: true, ..Default::default() }.draw(&DataFrame::new(3, vec![damping, lds])?, "damping", "lds", None)?;
/// assert!(figure.svg().contains("0.001"));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Whether to draw `y = x` as a dashed grey line: what a random order finds, or a perfect prediction.
    pub diagonal: bool,
    /// Whether to shade from column `<y>_low` to `<y>_high`, or else from `low` to `high`, about each line; these columns must then be there.
    pub band: bool,
    /// Whether equal factors of `x` are equally far apart; all of `x` must then be positive.
    pub log_x: bool,
    /// The same for `y`.
    pub log_y: bool,
}

/// Column `y` against column `x` as lines, one for each value of the column `by` if given, at most 14.
///
/// Points of a line are joined in order of `x`. Lines keep the order in which their names first appear.
///
/// Errors: [`Error::Data`] if a column is missing, empty, not numeric, or has a missing or non-finite value, or for too many lines.
///
/// ```
/// use ascribe::plot;
/// use polars::prelude::*;
/// let share = Column::new("inspected".into(), [0.0, 1.0, 0.0, 1.0]);
/// let found = Column::new("found".into(), [0.0, 0.9, 0.0, 0.5]);
/// let method = Column::new("method".into(), ["TRAK", "TRAK", "random", "random"]);
/// let figure = plot::curve(&DataFrame::new(4, vec![share, found, method])?, "inspected", "found", Some("method"))?;
/// assert!(figure.svg().contains(">TRAK</text>"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn curve(frame: &DataFrame, x: &str, y: &str, by: Option<&str>) -> Result<Figure> {
    Curve::default().draw(frame, x, y, by)
}

/// The rows of one group.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

impl Curve {
    /// Draws what [`curve`] draws, with these options; errors are those of [`curve`].
    pub fn draw(&self, frame: &DataFrame, x: &str, y: &str, by: Option<&str>) -> Result<Figure> {
        let mut lines = lines(frame, x, y, by)?;
        for line in &mut lines {
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        let band = match self.band {
            true => Some(band(frame, x, y, by)?),
            false => None,
        };
        let points = || lines.iter().chain(band.iter().flatten().flatten()).flat_map(|line| &line.points);
        if self.diagonal && self.log_x != self.log_y {
            return Err(Error::option("Curve.diagonal", "false, or both axes alike", "true with one logarithmic axis"));
        }
        let (across, up) = (self.across(points().map(|point| point.0)), self.up(points().map(|point| point.1)));
        let mut page = Page::new(WIDTH, 400.0);
        page.text(16.0, 26.0, Style::title(), &cut(&format!("{y} against {x}"), 80));
        let top = if by.is_some() { legend(&mut page, &lines, (WIDTH, 48.0)) } else { 40.0 };
        let height = 320.0;
        let kind = |logarithmic: bool| if logarithmic { Axis::logarithmic } else { Axis::new };
        let axes = (kind(self.log_x)(across.0, across.1, 8.0, x)?, kind(self.log_y)(up.0, up.1, 5.0, y)?);
        chart(&mut page, (8.0, top, WIDTH - 16.0, height), axes, |chart| {
            if self.diagonal {
                let (low, high) = (across.0.max(up.0), across.1.min(up.1));
                let style = RGBColor(138, 146, 155).stroke_width(FINE);
                let ends = if low < high { vec![(low, low), (high, high)] } else { Vec::new() };
                chart.draw_series([DashedPathElement::new(ends, 5 * FINE, 4 * FINE, style)]).map_err(drawing)?;
            }
            for (at, [low, high]) in band.iter().flatten().enumerate() {
                let around = low.points.iter().chain(high.points.iter().rev()).copied().collect::<Vec<_>>();
                chart.draw_series([Polygon::new(around, colour(at).mix(0.15).filled())]).map_err(drawing)?;
            }
            lines.iter().enumerate().try_for_each(|(at, line)| trace(chart, at, line))
        })?;
        page.set_height(top + height + 12.0);
        Ok(page.finish(&format!("curve of {} against {}", cut(y, 40), cut(x, 40))))
    }

    fn across(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if self.log_x { range(values) } else { ends(values, 0.0) }
    }

    fn up(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if self.log_y { range(values) } else { ends(values, 0.05) }
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// Lower and upper ends of each line, in order of `x`.
fn band(frame: &DataFrame, x: &str, y: &str, by: Option<&str>) -> Result<Vec<[Line; 2]>> {
    let sorted = |which: &str| -> Result<Vec<Line>> {
        let mut lines = lines(frame, x, &end(frame, y, which), by)?;
        lines.iter_mut().for_each(|line| line.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        Ok(lines)
    };
    Ok(sorted("low")?.into_iter().zip(sorted("high")?).map(|(low, high)| [low, high]).collect())
}

/// The rows in their order, by group; groups in the order in which their names first appear.
pub(super) fn lines(frame: &DataFrame, x: &str, y: &str, by: Option<&str>) -> Result<Vec<Line>> {
    let (across, up) =
        (numbers(column(frame, x)?.as_materialized_series())?, numbers(column(frame, y)?.as_materialized_series())?);
    let mut lines: Vec<Line> = Vec::new();
    let names = by.map(|by| column(frame, by)?.cast(&DataType::String).map_err(Error::from)).transpose()?;
    for (row, point) in across.into_iter().zip(up).enumerate() {
        let name = match &names {
            Some(names) => names.str()?.get(row).unwrap_or("—"),
            None => y,
        };
        match lines.iter().position(|line| line.name == name) {
            Some(at) => lines[at].points.push(point),
            None if lines.len() < MOST_LINES => lines.push(Line { name: name.to_string(), points: vec![point] }),
            None => return Err(Error::data(by.unwrap_or(y), format!("expected at most {MOST_LINES} lines to draw, got more"))),
        }
    }
    Ok(lines)
}

/// Ends of an axis for these values: 0 to 1 for shares that use it, else a little more than their range.
fn ends(values: impl Iterator<Item = f64>, margin: f64) -> (f64, f64) {
    let (low, high) = range(values);
    match low >= 0.0 && high <= 1.0 && high - low > 0.4 {
        true => (0.0, 1.0),
        false => (low - margin * (high - low), high + margin * (high - low)),
    }
}

/// The colour of a group.
pub(super) fn colour(at: usize) -> RGBColor {
    let (red, green, blue) = COLOURS[at % COLOURS.len()];
    RGBColor(red, green, blue)
}

fn trace(chart: &mut Chart<'_>, at: usize, line: &Line) -> Result<()> {
    let colour = colour(at);
    let style = colour.stroke_width(2 * FINE);
    match at < COLOURS.len() {
        true => chart.draw_series([PathElement::new(line.points.clone(), style)]).map_err(drawing)?,
        false => chart.draw_series([DashedPathElement::new(line.points.clone(), 6 * FINE, 4 * FINE, style)]).map_err(drawing)?,
    };
    if line.points.len() <= MOST_MARKED {
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 3 * FINE, colour.filled()))).map_err(drawing)?;
    }
    Ok(())
}

/// Names of the lines in as many rows as they need, the first at height `y`; returns where the legend ends.
pub(super) fn legend(page: &mut Page, lines: &[Line], (width_of_page, y): (f64, f64)) -> f64 {
    let (mut x, mut y) = (16.0, y);
    for (at, line) in lines.iter().enumerate() {
        let name = cut(&line.name, 30);
        let width = 26.0 + width_of(&name, 12.0) + 18.0;
        if x + width > width_of_page - 8.0 && x > 16.0 {
            (x, y) = (16.0, y + 18.0);
        }
        let (red, green, blue) = COLOURS[at % COLOURS.len()];
        let dashes = if at < COLOURS.len() { "" } else { "6 4" };
        page.line((x, y - 4.0), (x + 20.0, y - 4.0), &format!("#{red:02x}{green:02x}{blue:02x}"), 3.0, dashes);
        page.text(x + 26.0, y, Style::plain(), &name);
        x += width;
    }
    y + 14.0
}
