//! Amounts as bars, in groups.

use polars::prelude::DataFrame;

use super::axes::Axis;
use super::correlations::{distinct, texts};
use super::curve::COLOURS;
use super::figure::Figure;
use super::intervals::{end, finite};
use super::svg::{Anchor, INK, Page, Style, width_of};
use crate::display::{cut, number};
use crate::error::{Error, Result};

const WIDTH: f64 = 740.0;
const BAR: f64 = 18.0;
const GAP: f64 = 12.0;
const MOST: usize = 60;
const LONGEST: usize = 40;

/// Column `value` as bars from zero, a group for each value of the column `by`, within it a bar in a colour of its own for each value of the
/// column `bar` if given, at most seven.
///
/// Where the table has `<value>_low` and `<value>_high`, or else `low` and `high`, a line through the end of the bar is its interval. The number
/// stands at the right. A missing value has no bar. For amounts that have no natural zero prefer [`intervals`](super::intervals()).
///
/// Errors: [`Error::Data`] if a column is missing or not numeric, a number is not finite, no value is there, a bar is there twice, or for more
/// than 60 bars or seven kinds.
///
/// ```
/// use ascribe::{plot, polars::df};
/// let table = df!(
///     "component" => ["init", "order", "init", "order"], "method" => ["TRAK", "TRAK", "GradDot", "GradDot"],
///     "share" => [0.7, 0.3, 0.6, 0.4], "low" => [0.5, 0.1, 0.4, 0.2], "high" => [0.9, 0.5, 0.8, 0.6],
/// )?;
/// let figure = plot::bars(&table, "share", "method", Some("component"))?;
/// assert!(figure.svg().contains(">TRAK</text>") && figure.svg().contains(">order</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn bars(frame: &DataFrame, value: &str, by: &str, bar: Option<&str>) -> Result<Figure> {
    let values = finite(frame, value)?;
    let has = |name: &str| frame.columns().iter().any(|column| column.name().as_str() == name);
    let ends = |which: &str| match end(frame, value, which) {
        name if has(&name) => finite(frame, &name),
        _ => Ok(vec![None; values.len()]),
    };
    let (low, high) = (ends("low")?, ends("high")?);
    let groups = texts(frame, by)?;
    let kinds = bar.map_or_else(|| Ok(vec![String::new(); values.len()]), |bar| texts(frame, bar))?;
    let (known, colours) = (distinct(groups.iter().map(String::as_str)), distinct(kinds.iter().map(String::as_str)));
    if values.iter().flatten().next().is_none() {
        return Err(Error::data(value, "expected at least one number, got none"));
    }
    for (what, count, most) in [("bars", values.len(), MOST), ("kinds of bar", colours.len(), COLOURS.len())] {
        if count > most {
            return Err(Error::data(bar.unwrap_or(by), format!("expected at most {most} {what} to draw, got {count}")));
        }
    }
    // The row of each bar, group by group.
    let mut rows: Vec<Vec<Option<usize>>> = vec![vec![None; colours.len()]; known.len()];
    for row in 0..values.len() {
        let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap_or(0);
        let cell = &mut rows[place(&known, &groups[row])][place(&colours, &kinds[row])];
        if cell.replace(row).is_some() {
            let which = [groups[row].as_str(), kinds[row].as_str()].join(" ");
            return Err(Error::data(by, format!("expected each bar once, got {} again", which.trim())));
        }
    }
    let all = values.iter().chain(&low).chain(&high).flatten().copied().chain([0.0]);
    let (least, most) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    let margin = 0.04 * (most - least);
    let axis =
        Axis::new(if least < 0.0 { least - margin } else { 0.0 }, if most > 0.0 { most + margin } else { 0.0 }, 6.0, value)?;
    let mut page = Page::new(WIDTH, 0.0);
    page.text(16.0, 26.0, Style::title(), &cut(&format!("{value} by {by}"), 80));
    let with = low.iter().zip(&high).any(|(low, high)| low.is_some() && high.is_some());
    page.text(16.0, 44.0, Style::quiet(), if with { "bar: value; line: its interval" } else { "bar: value" });
    let top = if bar.is_some() { legend(&mut page, &colours) } else { 56.0 };
    let labels = known.iter().map(|name| width_of(&cut(name, LONGEST), 12.0)).fold(40.0, f64::max).min(300.0);
    let (left, right) = (16.0 + labels + 12.0, WIDTH - 66.0);
    let tall = rows.iter().map(|group| group.iter().flatten().count() as f64 * BAR + GAP).sum::<f64>();
    let below = top + tall;
    let at = |x: f64| left + axis.share(x) * (right - left);
    for (tick, text) in axis.marks() {
        page.line((at(tick), top), (at(tick), below), "#e8ebee", 1.0, "");
        page.text(at(tick), below + 16.0, Style::quiet().anchored(Anchor::Middle), &text);
    }
    page.text((left + right) / 2.0, below + 38.0, Style::plain().anchored(Anchor::Middle), &cut(value, 80));
    let numbers = number::column(&values);
    let mut y = top + GAP / 2.0;
    for (group, name) in rows.iter().zip(&known) {
        let bars: Vec<(usize, usize)> = group.iter().enumerate().filter_map(|(kind, row)| row.map(|row| (kind, row))).collect();
        page.text(
            left - 12.0,
            y + bars.len() as f64 * BAR / 2.0 + 4.0,
            Style::plain().anchored(Anchor::End),
            &cut(name, LONGEST),
        );
        for (kind, row) in bars {
            let middle = y + BAR / 2.0;
            if let Some(value) = values[row] {
                let (from, to) = (at(value.min(0.0)), at(value.max(0.0)));
                let (red, green, blue) = COLOURS[kind];
                page.fill(from, y + 1.5, to - from, BAR - 3.0, &format!("#{red:02x}{green:02x}{blue:02x}"));
            }
            if let (Some(low), Some(high)) = (low[row], high[row]) {
                page.line((at(low), middle), (at(high), middle), INK, 1.5, "");
                [low, high].iter().for_each(|&end| page.line((at(end), middle - 3.5), (at(end), middle + 3.5), INK, 1.5, ""));
            }
            let text = numbers[row].replace('-', "−");
            page.text(WIDTH - 16.0, middle + 4.0, Style::quiet().anchored(Anchor::End), &text);
            y += BAR;
        }
        y += GAP;
    }
    page.line((at(0.0), top), (at(0.0), below), "#8a929b", 1.0, "");
    page.set_height(below + 50.0);
    Ok(page.finish(&format!("bars of {} by {}", cut(value, 40), cut(by, 40))))
}

/// Kinds of bar and their colours; returns where the bars begin.
fn legend(page: &mut Page, kinds: &[&str]) -> f64 {
    let (mut x, mut y) = (16.0, 64.0);
    for (kind, name) in kinds.iter().enumerate() {
        let name = cut(name, 30);
        let width = 18.0 + width_of(&name, 12.0) + 18.0;
        if x + width > WIDTH - 8.0 && x > 16.0 {
            (x, y) = (16.0, y + 18.0);
        }
        let (red, green, blue) = COLOURS[kind];
        page.fill(x, y - 10.0, 12.0, 12.0, &format!("#{red:02x}{green:02x}{blue:02x}"));
        page.text(x + 18.0, y, Style::plain(), &name);
        x += width;
    }
    y + 14.0
}
