//! Every draw of some scores.

use polars::prelude::DataFrame;

use super::axes::Axis;
use super::correlations::{distinct, texts};
use super::curve::COLOURS;
use super::figure::Figure;
use super::intervals::finite;
use super::svg::{Anchor, INK, Page, Style, width_of};
use crate::display::{cut, number};
use crate::error::{Error, Result};
use crate::statistics::{t_quantile, t_test};

const WIDTH: f64 = 740.0;
const ROW: f64 = 40.0;
/// Height of the part of a row that dots use.
const LANES: f64 = 28.0;
const MOST: usize = 24;
const MOST_NAMED: usize = 14;

/// The draws of some scores as dots, a strip for each value of the columns `strip` together (such as `test` and `train`), in the order in which
/// they first appear, at most 24.
///
/// Column `value` is the score; column `run` says which draws belong together: they have one colour and one lane of the strip, so that what
/// varies within a run (its checkpoints) lies side by side and what varies between runs one below the other. The dark line is the mean over
/// runs of each run's mean, the grey band its 95 % interval by Student's t over runs, p at the right that of the same t-test; without it
/// (a single run, or runs that are all equal) there is no band. A row whose score is missing is left out.
///
/// Errors: [`Error::Data`] if a column is missing or not numeric, a number is not finite, no score is there, or for more than 24 strips;
/// [`Error::Option`] without a column in `strip`.
///
/// ```
/// use ascribe::{plot, polars::df};
/// let draws = df!(
///     "test" => [0, 0, 0, 0], "train" => [7, 7, 7, 7], "run" => [0, 0, 1, 1], "step" => [9, 10, 9, 10], "score" => [0.5, 0.6, 1.0, 0.9],
/// )?;
/// assert!(plot::strips(&draws, "score", &["test", "train"], "run")?.svg().contains(">test 0, train 7</text>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn strips(frame: &DataFrame, value: &str, strip: &[&str], run: &str) -> Result<Figure> {
    if strip.is_empty() {
        return Err(Error::option("strip", "at least one column that names the strips", "none"));
    }
    let values = finite(frame, value)?;
    let runs = texts(frame, run)?;
    let parts = strip.iter().map(|name| texts(frame, name)).collect::<Result<Vec<_>>>()?;
    let label =
        |row: usize| strip.iter().zip(&parts).map(|(name, part)| format!("{name} {}", part[row])).collect::<Vec<_>>().join(", ");
    let labels: Vec<String> = (0..values.len()).map(label).collect();
    let (rows, known) = (distinct(labels.iter().map(String::as_str)), distinct(runs.iter().map(String::as_str)));
    if rows.len() > MOST {
        return Err(Error::data(strip.join(", "), format!("expected at most {MOST} strips to draw, got {}", rows.len())));
    }
    if values.iter().flatten().next().is_none() {
        return Err(Error::data(value, "expected at least one score, got none"));
    }
    // Scores by strip and run.
    let mut drawn = vec![vec![Vec::new(); known.len()]; rows.len()];
    for (at, value) in values.iter().enumerate() {
        let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap_or(0);
        drawn[place(&rows, &labels[at])][place(&known, &runs[at])].extend(*value);
    }
    let means: Vec<Option<Summary>> = drawn.iter().map(|runs| Summary::of(runs)).collect();
    let ends = values
        .iter()
        .flatten()
        .copied()
        .chain(means.iter().flatten().filter_map(|s| s.reach.map(|r| [s.mean - r, s.mean + r])).flatten());
    let (low, high) = ends.chain([0.0]).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let margin = 0.03 * (high - low);
    let axis = Axis::new(low - margin, high + margin, 7.0, value)?;
    let mut page = Page::new(WIDTH, 0.0);
    page.text(16.0, 26.0, Style::title(), &cut(&format!("Draws of {value}"), 70));
    let said = format!("dots: draws, a lane for each {run}; line and band: mean over {run}s and its 95 % interval");
    page.text(16.0, 44.0, Style::quiet(), &cut(&said, 110));
    let top = legend(&mut page, run, &known) + 4.0;
    let wide = rows.iter().map(|row| width_of(&cut(row, 40), 12.0)).fold(40.0, f64::max).min(280.0);
    let (left, right, below) = (16.0 + wide + 12.0, WIDTH - 92.0, top + ROW * rows.len() as f64);
    let at = |x: f64| left + axis.share(x) * (right - left);
    for (row, summary) in means.iter().enumerate() {
        if let Some((summary, reach)) = summary.as_ref().and_then(|summary| Some((summary, summary.reach?))) {
            let (from, to) = (at(summary.mean - reach), at(summary.mean + reach));
            page.fill(from, top + ROW * row as f64 + 3.0, to - from, ROW - 6.0, "#e3e7eb");
        }
    }
    for (tick, text) in axis.marks() {
        page.line((at(tick), top), (at(tick), below), if tick == 0.0 { INK } else { "#d8dce1" }, 1.0, "");
        page.text(at(tick), below + 16.0, Style::quiet().anchored(Anchor::Middle), &text);
    }
    page.line((left, below), (right, below), "#8a929b", 1.0, "");
    page.text((left + right) / 2.0, below + 38.0, Style::plain().anchored(Anchor::Middle), &cut(value, 80));
    for (row, name) in rows.iter().enumerate() {
        let y = top + ROW * row as f64;
        page.text(left - 12.0, y + ROW / 2.0 + 4.0, Style::plain().anchored(Anchor::End), &cut(name, 40));
        for (lane, scores) in drawn[row].iter().enumerate() {
            let height = y + (ROW - LANES) / 2.0 + LANES * (lane as f64 + 0.5) / known.len() as f64;
            scores.iter().for_each(|&score| page.dot(at(score), height, 2.5, &colour(lane, known.len())));
        }
        if let Some(summary) = &means[row] {
            page.line((at(summary.mean), y + 3.0), (at(summary.mean), y + ROW - 3.0), INK, 2.0, "");
            let p = summary.p.map_or("—".to_string(), |p| {
                if p < 1e-4 { "p < 0.0001".to_string() } else { format!("p = {}", number::drawn(two(p))) }
            });
            page.text(WIDTH - 16.0, y + ROW / 2.0 + 4.0, Style::quiet().anchored(Anchor::End), &p);
        }
    }
    page.set_height(below + 50.0);
    Ok(page.finish(&format!("strips of {} of {}", rows.len(), cut(value, 40))))
}

/// Over runs.
struct Summary {
    mean: f64,
    reach: Option<f64>,
    p: Option<f64>,
}

impl Summary {
    fn of(runs: &[Vec<f64>]) -> Option<Summary> {
        let means: Vec<f64> =
            runs.iter().filter(|run| !run.is_empty()).map(|run| run.iter().sum::<f64>() / run.len() as f64).collect();
        let n = means.len() as f64;
        let mean = means.iter().sum::<f64>() / n;
        let std = (means.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0)).sqrt();
        let test = t_test(mean, std, means.len());
        let reach = test.map(|test| t_quantile(test.freedom) * std / n.sqrt());
        (!means.is_empty()).then(|| Summary { mean, reach, p: test.map(|test| test.p) })
    }
}

/// Two significant digits.
fn two(p: f64) -> f64 {
    format!("{p:.1e}").parse().unwrap_or(p)
}

/// Names of up to 14 runs; returns where the strips begin.
fn legend(page: &mut Page, run: &str, runs: &[&str]) -> f64 {
    if runs.len() > MOST_NAMED {
        return 54.0;
    }
    let (mut x, mut y) = (16.0, 64.0);
    page.text(x, y, Style::quiet(), &cut(run, 12));
    x += width_of(&cut(run, 12), 12.0) + 12.0;
    for (at, name) in runs.iter().enumerate() {
        let name = cut(name, 16);
        let width = 12.0 + width_of(&name, 12.0) + 14.0;
        if x + width > WIDTH - 16.0 {
            (x, y) = (16.0, y + 18.0);
        }
        page.dot(x + 4.0, y - 4.0, 4.0, &colour(at, runs.len()));
        page.text(x + 12.0, y, Style::plain(), &name);
        x += width;
    }
    y + 10.0
}

/// A colour of its own for each run: the usual seven, or as many hues as there are runs.
fn colour(at: usize, of: usize) -> String {
    if of <= COLOURS.len() {
        let (red, green, blue) = COLOURS[at];
        return format!("#{red:02x}{green:02x}{blue:02x}");
    }
    let hue = at as f64 / of as f64 * 360.0;
    let light: f64 = if at.is_multiple_of(2) { 0.42 } else { 0.58 };
    let part = |shift: f64| {
        let k = (shift + hue / 30.0) % 12.0;
        let value: f64 = light - 0.62 * light.min(1.0 - light) * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", part(0.0), part(8.0), part(4.0))
}
