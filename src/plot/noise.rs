//! How large scores are beside how much they move.

use plotters::element::DashedPathElement;
use plotters::prelude::Circle;
use plotters::style::{Color, RGBColor};
use polars::prelude::DataFrame;

use super::axes::{Axis, FINE, chart, drawing, inner};
use super::figure::Figure;
use super::intervals::finite;
use super::png::{Colour, encode};
use super::svg::{Page, Style};
use crate::error::{Error, Result};
use crate::statistics::two_sided_point;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Side of a cell of many points, in pixels.
const CELL: f64 = 3.0;
const CLEAR: RGBColor = RGBColor(213, 94, 0);
const NOISY: RGBColor = RGBColor(0, 114, 178);

/// Options of [`noise`].
///
/// ```
/// use ascribe::{plot::Noise, polars::df};
/// let table = df!("mean" => [0.5, -2.0, 0.1], "std" => [1.0, 0.5, 0.4])?;
/// let figure = Noise { runs: 5, alpha: 0.01, ..Default::default() }.draw(&table)?;
/// assert!(figure.svg().contains("p &lt; 0.01") && figure.svg().contains("1 of 3 pairs"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Noise {
    /// How many independent draws each mean and standard deviation are of.
    pub runs: usize,
    /// Where the dashed lines stand: a mean below them differs from zero by a t-test at this level.
    pub alpha: f64,
    /// Up to so many pairs are points; more are cells, the darker the more pairs are in them.
    pub most: usize,
}

impl Default for Noise {
    fn default() -> Noise {
        Noise { runs: 10, alpha: 0.05, most: 2_000 }
    }
}

/// Each pair's `std` against its `mean`, from a table with these columns, over `runs` independent draws; the dashed lines are where a t-test has
/// `p = 0.05`: `|mean| = t std / √runs`.
///
/// Pairs below the lines have scores that stand out from their own noise; the subtitle counts them, and how many pure noise would put there.
/// Above 2,000 pairs cells are drawn, the darker the more pairs are in them, and the axes leave out the outermost 0.1 % on each side.
///
/// Errors: [`Error::Option`] for fewer than two runs or a level outside 0 to 1; [`Error::Data`] if a column is missing or not numeric, a
/// number is not finite, or no row has both.
///
/// ```
/// use ascribe::{plot, polars::df};
/// let table = df!("mean" => [0.5, -2.0, 0.1], "std" => [1.0, 0.5, 0.4])?;
/// assert!(plot::noise(&table, 10)?.svg().contains("1 of 3 pairs"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn noise(frame: &DataFrame, runs: usize) -> Result<Figure> {
    Noise { runs, ..Noise::default() }.draw(frame)
}

impl Noise {
    /// Draws what [`noise`] draws, with these options; errors are those of [`noise`].
    pub fn draw(&self, frame: &DataFrame) -> Result<Figure> {
        if self.runs < 2 {
            return Err(Error::option("Noise.runs", "at least 2", self.runs));
        }
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(Error::option("Noise.alpha", "above 0 and below 1", self.alpha));
        }
        let points: Vec<(f64, f64)> =
            finite(frame, "mean")?.into_iter().zip(finite(frame, "std")?).filter_map(|(mean, std)| mean.zip(std)).collect();
        if points.is_empty() {
            return Err(Error::data("mean and std", "expected at least one pair with both, got none"));
        }
        // std of a mean at the line.
        let slope = (self.runs as f64).sqrt() / two_sided_point(self.alpha, self.runs - 1);
        let clear = |&(mean, std): &(f64, f64)| std > 0.0 && std < slope * mean.abs();
        let found = points.iter().filter(|point| clear(point)).count();
        let dense = points.len() > self.most;
        let (low, high) = span(points.iter().map(|point| point.0), dense);
        let (_, top) = span(points.iter().map(|point| point.1), dense);
        let margin = 0.04 * (high - low);
        let axes = (
            Axis::new(low - margin, high + margin, 7.0, "mean")?,
            Axis::new(0.0, if top > 0.0 { top * 1.05 } else { 1.0 }, 6.0, "standard deviation")?,
        );
        let mut page = Page::new(WIDTH, HEIGHT + if dense { 76.0 } else { 62.0 });
        page.text(16.0, 26.0, Style::title(), "Noise of a score against its mean");
        let (n, alpha) = (points.len(), self.alpha);
        let expected = (alpha * n as f64).round();
        let said =
            format!("{found} of {n} pairs below the dashed lines (p < {alpha}, {} runs); pure noise: {expected:.0}", self.runs);
        page.text(16.0, 44.0, Style::quiet(), &said);
        let place = (8.0, 56.0, WIDTH - 16.0, HEIGHT);
        if dense {
            self.cells(&mut page, inner(place, &axes.1), &axes, &points)?;
        }
        let (left, right, ceiling) = (low - margin, high + margin, top * 1.05);
        chart(&mut page, place, axes, |chart| {
            if !dense {
                let opacity = (40.0 / (n as f64).sqrt()).clamp(0.3, 0.85);
                let circle = |point: &(f64, f64)| {
                    let colour = if clear(point) { CLEAR } else { NOISY };
                    Circle::new(*point, 5 * FINE / 2, colour.mix(opacity).filled())
                };
                chart.draw_series(points.iter().map(circle)).map_err(drawing)?;
            }
            for (side, edge) in [(-1.0, -left), (1.0, right)] {
                let reach = edge.min(ceiling / slope);
                if reach > 0.0 {
                    let ends = vec![(0.0, 0.0), (side * reach, slope * reach)];
                    let style = RGBColor(36, 41, 47).stroke_width(FINE * 3 / 2);
                    chart.draw_series([DashedPathElement::new(ends, 6 * FINE, 4 * FINE, style)]).map_err(drawing)?;
                }
            }
            Ok(())
        })?;
        Ok(page.finish(&format!("noise of {n} pairs")))
    }

    /// Counts of points in cells, as a picture between the axes, and what its colours mean.
    fn cells(
        &self,
        page: &mut Page,
        (x, y, width, height): (f64, f64, f64, f64),
        (across, up): &(Axis, Axis),
        points: &[(f64, f64)],
    ) -> Result<()> {
        let (columns, rows) = ((width / CELL) as usize, (height / CELL) as usize);
        let mut counts = vec![0usize; columns * rows];
        let mut outside = 0;
        for &(mean, std) in points {
            let (a, b) = (across.share(mean), up.share(std));
            match (0.0..=1.0).contains(&a) && (0.0..=1.0).contains(&b) {
                true => {
                    let place = |share: f64, n: usize| ((share * n as f64) as usize).min(n - 1);
                    counts[(rows - 1 - place(b, rows)) * columns + place(a, columns)] += 1;
                }
                false => outside += 1,
            }
        }
        let most = counts.iter().copied().max().unwrap_or(1).max(1);
        let shade = |count: usize| match count {
            0 => 0,
            count => 1 + (254.0 * (count as f64).ln() / (most as f64).ln().max(1e-9)).min(254.0) as u8,
        };
        let pixels: Vec<u8> = counts.iter().map(|&count| shade(count)).collect();
        page.image(x, y, width, height, &encode(columns, rows, Colour::Palette(&shades()), &pixels)?);
        let beyond = if outside > 0 { format!("; {outside} lie beyond the axes") } else { String::new() };
        page.text(16.0, HEIGHT + 66.0, Style::quiet(), &format!("the darker a cell, the more pairs: 1 to {most}{beyond}"));
        Ok(())
    }
}

/// White for nothing, then from light to dark blue.
fn shades() -> Vec<[u8; 3]> {
    const STOPS: [[f64; 3]; 4] = [[198.0, 219.0, 239.0], [107.0, 174.0, 214.0], [33.0, 113.0, 181.0], [8.0, 38.0, 84.0]];
    let between = |at: usize| {
        let place = at as f64 / 254.0 * (STOPS.len() - 1) as f64;
        let (low, share) = ((place as usize).min(STOPS.len() - 2), place - (place as usize).min(STOPS.len() - 2) as f64);
        [0, 1, 2].map(|c| (STOPS[low][c] * (1.0 - share) + STOPS[low + 1][c] * share).round() as u8)
    };
    [[255; 3]].into_iter().chain((0..255).map(between)).collect()
}

/// The ends of the values and zero; of many without the outermost thousandth on each side.
fn span(values: impl Iterator<Item = f64>, dense: bool) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let out = if dense { sorted.len() / 1_000 } else { 0 };
    (sorted[out].min(0.0), sorted[sorted.len() - 1 - out].max(0.0))
}
