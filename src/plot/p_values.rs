//! How p-values are distributed.

use plotters::element::DashedPathElement;
use plotters::prelude::{PathElement, Rectangle};
use plotters::style::{Color, RGBColor};
use polars::prelude::DataFrame;

use super::axes::{Axis, FINE, chart, drawing};
use super::figure::Figure;
use super::intervals::finite;
use super::svg::{Page, Style};
use crate::display::{cut, number};
use crate::error::{Error, Result};
use crate::statistics::{Pi0, storey};

const BINS: usize = 20;

/// The distribution of the p-values in a column, in 20 bins, beside what would be there if no pair had anything but noise: the dashed line, as
/// all p-values are then equally likely. The lower, solid line is the same for the estimated share π₀ of pairs that have nothing but noise
/// ([`storey`], from the p-values above 0.5).
///
/// What stands above the solid line at the left is signal. A rise towards 1 says that the test is not valid (dependent draws, a statistic that is
/// no p-value) or that its p-values are discrete. Missing values are left out, and counted.
///
/// Errors: [`Error::Data`] if the column is missing, not numeric, without a number, or a number is outside 0 to 1.
///
/// ```
/// use ascribe::{plot, polars::df};
/// let table = df!("p" => [Some(0.001), Some(0.01), Some(0.4), Some(0.6), Some(0.9), None])?;
/// assert!(plot::p_values(&table, "p")?.svg().contains("5 p-values, 2 below 0.05"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn p_values(frame: &DataFrame, name: &str) -> Result<Figure> {
    let values = finite(frame, name)?;
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    if let Some(p) = known.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::data(name, format!("expected p-values between 0 and 1, got {p}")));
    }
    let pi0 = storey(&values, Pi0::default()).map(|found| found.pi0);
    let pi0 = pi0.ok_or_else(|| Error::data(name, "expected at least one p-value, got none"))?;
    let n = known.len();
    let mut counts = [0usize; BINS];
    known.iter().for_each(|p| counts[((p * BINS as f64) as usize).min(BINS - 1)] += 1);
    let even = n as f64 / BINS as f64;
    let top = counts.iter().map(|&count| count as f64).fold(even, f64::max);
    let small = known.iter().filter(|p| **p < 0.05).count();
    let missing = if n < values.len() { format!(", {} missing", values.len() - n) } else { String::new() };
    let mut page = Page::new(640.0, 390.0);
    page.text(16.0, 26.0, Style::title(), &cut(&format!("Distribution of {name}"), 60));
    page.text(
        16.0,
        44.0,
        Style::quiet(),
        &format!("{n} p-values, {small} below 0.05 (pure noise: {:.0}){missing}", 0.05 * n as f64),
    );
    let (grey, dark) = (RGBColor(36, 41, 47), "#24292f");
    page.line((16.0, 60.0), (40.0, 60.0), dark, 1.5, "6 4");
    page.text(46.0, 64.0, Style::plain(), "if all were noise");
    page.line((176.0, 60.0), (200.0, 60.0), "#d55e00", 2.0, "");
    page.text(
        206.0,
        64.0,
        Style::plain(),
        &format!("estimated share of noise, π₀ = {}", number::drawn((pi0 * 1_000.0).round() / 1_000.0)),
    );
    let axes = (Axis::new(0.0, 1.0, 10.0, name)?, Axis::new(0.0, top * 1.04, 5.0, "pairs")?);
    chart(&mut page, (8.0, 72.0, 624.0, 308.0), axes, |chart| {
        let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, &count)| {
            let (left, right) = (bin as f64 / BINS as f64, (bin + 1) as f64 / BINS as f64);
            Rectangle::new([(left + 0.001, 0.0), (right - 0.001, count as f64)], RGBColor(146, 197, 222).filled())
        });
        chart.draw_series(bars).map_err(drawing)?;
        let style = grey.stroke_width(FINE * 3 / 2);
        chart
            .draw_series([DashedPathElement::new(vec![(0.0, even), (1.0, even)], 6 * FINE, 4 * FINE, style)])
            .map_err(drawing)?;
        let signal = RGBColor(213, 94, 0).stroke_width(2 * FINE);
        chart.draw_series([PathElement::new(vec![(0.0, pi0 * even), (1.0, pi0 * even)], signal)]).map_err(drawing)?;
        Ok(())
    })?;
    Ok(page.finish(&format!("p-values of {}", cut(name, 40))))
}
