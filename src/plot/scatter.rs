//! One number against another, a point for each row.

use plotters::element::DashedPathElement;
use plotters::prelude::Circle;
use plotters::style::{Color, RGBColor};
use polars::prelude::DataFrame;

use super::axes::{Axis, FINE, chart, drawing};
use super::curve::{Line, colour, legend, lines};
use super::figure::Figure;
use super::svg::{Page, Style};
use crate::display::cut;
use crate::error::{Error, Result};

const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 430.0;

/// Options of [`scatter`].
///
/// ```
/// use ascribe::plot::Scatter;
/// use polars::prelude::*;
/// let real = Column::new("truth".into(), [0.0, 0.5, 1.0]);
/// let predicted = Column::new("score".into(), [0.1, 0.4, 1.2]);
/// let figure = Scatter { identity: true, ..Default::default() }.draw(&DataFrame::new(3, vec![real, predicted])?, "truth", "score", None)?;
/// assert!(figure.svg().contains("y = x"));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Scatter {
    /// Whether to draw `y = x` as a dashed grey line: what a perfect prediction lies on.
    pub identity: bool,
    /// At most about so many points are drawn; the subtitle says how many of how many.
    pub most: usize,
}

impl Default for Scatter {
    fn default() -> Scatter {
        Scatter { identity: false, most: 3_000 }
    }
}

/// Column `y` against column `x` as points, in a colour for each value of the column `by` if given, at most 14.
///
/// Above 3,000 rows crowded places are thinned, the same way each time, and the subtitle says how many points are left; one that stands
/// alone is always drawn. The more points, the lighter they are.
///
/// Errors: [`Error::Data`] if a column is missing, empty, not numeric, or has a missing or non-finite value, or for too many groups.
///
/// ```
/// use ascribe::plot;
/// use polars::prelude::*;
/// let real = Column::new("truth".into(), [0.0, 1.0, 0.0, 1.0]);
/// let predicted = Column::new("score".into(), [0.1, 0.9, 0.0, 0.5]);
/// let method = Column::new("method".into(), ["influence", "influence", "random", "random"]);
/// let figure = plot::scatter(&DataFrame::new(4, vec![real, predicted, method])?, "truth", "score", Some("method"))?;
/// assert!(figure.svg().contains(">influence</text>") && figure.svg().contains("4 points"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn scatter(frame: &DataFrame, x: &str, y: &str, by: Option<&str>) -> Result<Figure> {
    Scatter::default().draw(frame, x, y, by)
}

impl Scatter {
    /// Draws what [`scatter`] draws, with these options; errors are those of [`scatter`], and [`Error::Option`] for `most` of 0.
    pub fn draw(&self, frame: &DataFrame, x: &str, y: &str, by: Option<&str>) -> Result<Figure> {
        if self.most == 0 {
            return Err(Error::option("Scatter.most", "at least 1", 0));
        }
        let groups = lines(frame, x, y, by)?;
        let n: usize = groups.iter().map(|group| group.points.len()).sum();
        let across = ends(groups.iter().flat_map(|group| &group.points).map(|point| point.0));
        let up = ends(groups.iter().flat_map(|group| &group.points).map(|point| point.1));
        let thinned = thin(groups, self.most, (across, up));
        let drawn: usize = thinned.iter().map(|group| group.points.len()).sum();
        let mut page = Page::new(WIDTH, HEIGHT);
        page.text(16.0, 26.0, Style::title(), &cut(&format!("{y} against {x}"), 70));
        let said = if drawn < n { format!("{drawn} of {n} points, crowded places thinned") } else { format!("{n} points") };
        let identity = if self.identity { "; dashed: y = x" } else { "" };
        page.text(16.0, 44.0, Style::quiet(), &format!("{said}{identity}"));
        let top = if by.is_some() { legend(&mut page, &thinned, (WIDTH, 66.0)) } else { 56.0 };
        let axes = (Axis::new(across.0, across.1, 7.0, x)?, Axis::new(up.0, up.1, 6.0, y)?);
        let height = HEIGHT - 70.0;
        chart(&mut page, (8.0, top, WIDTH - 16.0, height), axes, |chart| {
            if self.identity {
                let (low, high) = (across.0.max(up.0), across.1.min(up.1));
                let ends = if low < high { vec![(low, low), (high, high)] } else { Vec::new() };
                let style = RGBColor(98, 106, 115).stroke_width(FINE * 3 / 2);
                chart.draw_series([DashedPathElement::new(ends, 5 * FINE, 4 * FINE, style)]).map_err(drawing)?;
            }
            let opacity = (40.0 / (drawn as f64).sqrt()).clamp(0.25, 0.8);
            let radius = if drawn > 400 { 5 * FINE / 2 } else { 3 * FINE };
            let circle = |(_, at, point)| Circle::new(point, radius, colour(at).mix(opacity).filled());
            chart.draw_series(interleaved(&thinned).into_iter().map(circle)).map_err(drawing)?;
            Ok(())
        })?;
        page.set_height(top + height + 12.0);
        Ok(page.finish(&format!("scatter of {} against {}", cut(y, 40), cut(x, 40))))
    }
}

/// The points to draw, in their order: where more than some cap of a group stand in one cell of a grid, only the first ones. A point
/// that stands alone is always kept. The cap is the largest, and the grid the finest, with which at most `most` remain.
fn thin(groups: Vec<Line>, most: usize, (across, up): ((f64, f64), (f64, f64))) -> Vec<Line> {
    if groups.iter().map(|group| group.points.len()).sum::<usize>() <= most {
        return groups;
    }
    for side in [96, 48, 24, 12, 6, 3, 1] {
        let place = |value: f64, (low, high): (f64, f64)| (((value - low) / (high - low) * side as f64) as usize).min(side - 1);
        let cell = |point: &(f64, f64)| place(point.0, across) * side + place(point.1, up);
        let counts: Vec<usize> = groups.iter().flat_map(|group| crowds(group.points.iter().map(cell), side)).collect();
        let kept = |cap: usize| counts.iter().map(|&count| count.min(cap)).sum::<usize>();
        if kept(1) > most && side > 1 {
            continue;
        }
        let cap = (1..=most).rev().find(|&cap| kept(cap) <= most).unwrap_or(1);
        let some = |group: Line| {
            let mut seen = vec![0; side * side];
            let points = group.points.into_iter().filter(|point| {
                let crowd: &mut usize = &mut seen[cell(point)];
                *crowd += 1;
                *crowd <= cap
            });
            Line { points: points.collect(), name: group.name }
        };
        return groups.into_iter().map(some).collect();
    }
    groups
}

/// How many points stand in each cell.
fn crowds(cells: impl Iterator<Item = usize>, side: usize) -> Vec<usize> {
    let mut counts = vec![0; side * side];
    cells.for_each(|cell| counts[cell] += 1);
    counts.retain(|&count| count > 0);
    counts
}

/// Points of all groups by turns, so that none hides another.
fn interleaved(groups: &[Line]) -> Vec<(f64, usize, (f64, f64))> {
    let mut all: Vec<_> = groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| {
            let size = group.points.len() as f64;
            group.points.iter().enumerate().map(move |(row, &point)| ((row as f64 + 0.5) / size, at, point))
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

/// Ends of an axis: a little more than the range of the values.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let margin = 0.04 * (high - low);
    (low - margin, high + margin)
}
