//! Tables of correlations as small matrices, side by side.

use polars::prelude::{DataFrame, DataType};

use super::diverging::Scale;
use super::figure::Figure;
use super::intervals::finite;
use super::svg::{Anchor, INK, Page, QUIET, Style, width_of};
use crate::display::cut;
use crate::error::{Error, Result};
use crate::frame::column;

const MOST_PANELS: usize = 12;
const MOST_NAMES: usize = 20;
const LONGEST: usize = 18;
const CELL: (f64, f64) = (42.0, 28.0);

/// A table of correlations, such as [`statistics::correlation_matrix`](crate::statistics::correlation_matrix())'s, as symmetric matrices side by
/// side on one scale from −1 (red) to 1 (blue), the numbers in the cells.
///
/// Columns `a`, `b` and `value` are needed; a panel is drawn for each value of the column `across` (next to each other) and of the column
/// `down` (below each other), or one in all. Names stand in the order in which they first appear; a pair that is not there or has no value is
/// an empty cell.
///
/// Errors: [`Error::Data`] if a column is missing or not numeric, a value is outside −1 to 1, there is no row, a pair is there twice in a panel, or
/// for more than 12 panels or 20 names.
///
/// ```
/// use ascribe::{plot, polars::df};
/// let table = df!("a" => ["TRAK", "TRAK"], "b" => ["GradDot", "GradDot"], "coefficient" => ["pearson", "spearman"], "value" => [0.25, -0.5])?;
/// let figure = plot::correlations(&table, Some("coefficient"), None)?;
/// assert!(figure.svg().contains(">−0.50</text>") && figure.svg().contains(">spearman</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn correlations(frame: &DataFrame, across: Option<&str>, down: Option<&str>) -> Result<Figure> {
    let values = finite(frame, "value")?;
    if let Some(value) = values.iter().flatten().find(|value| value.abs() > 1.0 + 1e-9) {
        return Err(Error::data("value", format!("expected correlations between -1 and 1, got {value}")));
    }
    let rows = values.len();
    if rows == 0 {
        return Err(Error::data("correlations", "expected at least one row, got none"));
    }
    let (a, b) = (texts(frame, "a")?, texts(frame, "b")?);
    let names = distinct((0..rows).flat_map(|row| [a[row].as_str(), b[row].as_str()]));
    let of = |by: Option<&str>| by.map_or_else(|| Ok(vec![String::new(); rows]), |by| texts(frame, by));
    let (right_of, below_of) = (of(across)?, of(down)?);
    let (across, down) = (distinct(right_of.iter().map(String::as_str)), distinct(below_of.iter().map(String::as_str)));
    for (what, count, most) in [("panels", across.len() * down.len(), MOST_PANELS), ("names", names.len(), MOST_NAMES)] {
        if count > most {
            return Err(Error::data("correlations", format!("expected at most {most} {what} to draw, got {count}")));
        }
    }
    let n = names.len();
    let mut panels = vec![vec![None; n * n]; across.len() * down.len()];
    panels.iter_mut().for_each(|panel| (0..n).for_each(|at| panel[at * n + at] = Some(1.0)));
    let mut seen = vec![false; panels.len() * n * n];
    let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap_or(0);
    for row in 0..rows {
        let panel = place(&down, &below_of[row]) * across.len() + place(&across, &right_of[row]);
        let (i, j) = (place(&names, &a[row]), place(&names, &b[row]));
        for at in [i * n + j, j * n + i] {
            if i != j && std::mem::replace(&mut seen[panel * n * n + at], true) {
                return Err(Error::data(
                    "correlations",
                    format!("expected each pair once in a panel, got {} and {} again", a[row], b[row]),
                ));
            }
            panels[panel][at] = values[row];
        }
    }
    draw(&names, (&across, &down), &panels)
}

fn draw(names: &[&str], (across, down): (&[&str], &[&str]), panels: &[Vec<Option<f64>>]) -> Result<Figure> {
    let n = names.len() as f64;
    let names: Vec<String> = names.iter().map(|name| cut(name, LONGEST)).collect();
    let widest = names.iter().map(|name| width_of(name, 11.0)).fold(0.0, f64::max);
    let (wide, tall) = (CELL.0 * n, CELL.1 * n);
    let turned = widest > CELL.0 - 2.0;
    let titled = across.iter().chain(down).any(|title| !title.is_empty());
    let head = if titled { 24.0 } else { 4.0 } + if turned { 14.0 + widest * 0.71 } else { 18.0 };
    let overhang = if turned { (widest * 0.71 - CELL.0 / 2.0).max(0.0) } else { 0.0 };
    let titles: Vec<String> = down
        .iter()
        .flat_map(|down| {
            across.iter().map(move |across| [*across, *down].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(", "))
        })
        .collect();
    let gap = overhang.max(24.0);
    let left = 16.0 + widest + 10.0;
    let width = left + across.len() as f64 * (wide + gap) + 76.0;
    let height = 12.0 + down.len() as f64 * (head + tall + 16.0);
    let mut page = Page::new(width.max(240.0), height);
    let scale = Scale::fixed(1.0);
    for (at, panel) in panels.iter().enumerate() {
        let (column, row) = (at % across.len(), at / across.len());
        let x = left + column as f64 * (wide + gap);
        let y = 12.0 + row as f64 * (head + tall + 16.0) + head;
        page.text(x, y - head + 16.0, Style { size: 13.0, ..Style::title() }, &cut(&titles[at], (wide / 7.0) as usize + 6));
        for (cell, value) in panel.iter().enumerate().filter_map(|(cell, value)| Some((cell, (*value)?))) {
            let (i, j) = ((cell / names.len()) as f64, (cell % names.len()) as f64);
            page.fill(x + j * CELL.0, y + i * CELL.1, CELL.0, CELL.1, &scale.colour(value as f32));
        }
        page.frame(x, y, wide, tall, "#b9c0c8", 1.0);
        for (i, name) in names.iter().enumerate() {
            let middle = x + (i as f64 + 0.5) * CELL.0;
            match turned {
                true => page.turned(middle + 3.0, y - 6.0, -45.0, small(INK), name),
                false => page.text(middle, y - 6.0, small(INK).anchored(Anchor::Middle), name),
            }
            if column == 0 {
                page.text(x - 8.0, y + (i as f64 + 0.5) * CELL.1 + 4.0, small(INK).anchored(Anchor::End), name);
            }
        }
        for (cell, value) in panel.iter().enumerate() {
            let (i, j) = (cell / names.len(), cell % names.len());
            let (text, colour) = match value {
                Some(value) if scale.dark(*value as f32) => (written(*value), "#ffffff"),
                Some(value) => (written(*value), INK),
                None => ("–".to_string(), QUIET),
            };
            let (middle, line) = (x + (j as f64 + 0.5) * CELL.0, y + (i as f64 + 0.5) * CELL.1 + 4.0);
            page.text(middle, line, small(colour).anchored(Anchor::Middle), &text);
        }
    }
    let bar = left + across.len() as f64 * (wide + gap);
    scale.bar(&mut page, bar, 12.0 + head, tall.clamp(60.0, 180.0))?;
    Ok(page.finish(&format!("correlations of {} columns in {} panels", names.len(), panels.len())))
}

fn small(colour: &'static str) -> Style {
    Style { size: 11.0, colour, ..Style::plain() }
}

/// Two decimals; a whole 1 without.
fn written(value: f64) -> String {
    let text = format!("{value:.2}").replace('-', "−");
    match text.as_str() {
        "1.00" if value >= 1.0 => "1".to_string(),
        "−0.00" => "0.00".to_string(),
        _ => text,
    }
}

/// A column as texts.
pub(super) fn texts(frame: &DataFrame, name: &str) -> Result<Vec<String>> {
    let column = column(frame, name)?.cast(&DataType::String)?;
    Ok(column.str()?.iter().map(|text| text.unwrap_or("—").to_string()).collect())
}

/// In the order in which they first appear.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}
