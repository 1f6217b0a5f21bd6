//! How values are distributed.

use plotters::prelude::{PathElement, Rectangle};
use plotters::style::{Color, RGBColor};
use polars::prelude::{DataType, Series};

use super::axes::{Axis, FINE, chart, drawing};
use super::figure::Figure;
use super::svg::{Page, Style};
use crate::display::{cut, number};
use crate::error::{Error, Result};

const MOST_BINS: f64 = 80.0;

/// The distribution of a column of numbers; `label` names the horizontal axis.
///
/// The width of a bin follows Freedman and Diaconis, `2 · IQR / n^(1/3)`, with at most 80 bins; whole numbers get bins of whole
/// width about them. A bin holds its lower end, the last one both. A thin line marks zero where values stand on both sides.
///
/// Errors: [`Error::Data`] if `values` is empty, not numeric, or holds a missing or non-finite value.
///
/// ```
/// use ascribe::plot;
/// use polars::prelude::*;
/// let scores = Series::new("score".into(), [-1.0f32, 0.0, 0.5, 2.0]);
/// assert!(plot::histogram(&scores, "score")?.svg().contains("n = 4"));
/// assert!(plot::histogram(&Series::new("name".into(), ["a", "b"]), "name").is_err());
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn histogram(values: &Series, label: &str) -> Result<Figure> {
    let values = numbers(values)?;
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let spread = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n as f64 - 1.0).max(1.0)).sqrt();
    let (start, width, counts) = bins(&values);
    let across = Axis::new(start, start + width * counts.len() as f64, 8.0, label)?;
    let up = Axis::new(0.0, counts.iter().copied().max().unwrap_or(0) as f64 * 1.04, 5.0, "count")?;
    let mut page = Page::new(680.0, 360.0);
    page.text(16.0, 26.0, Style::title(), &cut(label, 80));
    let [mean, spread] = [mean, spread].map(number::drawn);
    page.text(16.0, 44.0, Style::quiet(), &format!("n = {n}, mean {mean}, standard deviation {spread}"));
    chart(&mut page, (8.0, 56.0, 664.0, 294.0), (across, up), |chart| {
        let gap = width * if counts.len() > 1 { 0.04 } else { 0.0 };
        let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, &count)| {
            let left = start + bin as f64 * width;
            Rectangle::new([(left + gap, 0.0), (left + width - gap, count as f64)], RGBColor(67, 147, 195).filled())
        });
        chart.draw_series(bars).map_err(drawing)?;
        if values.iter().any(|value| *value < 0.0) && values.iter().any(|value| *value > 0.0) {
            let top = chart.plotting_area().get_y_range().end;
            let zero = PathElement::new(vec![(0.0, 0.0), (0.0, top)], RGBColor(36, 41, 47).mix(0.6).stroke_width(FINE));
            chart.draw_series([zero]).map_err(drawing)?;
        }
        Ok(())
    })?;
    Ok(page.finish(&format!("histogram of {}", cut(label, 40))))
}

/// A column as finite numbers.
pub(super) fn numbers(values: &Series) -> Result<Vec<f64>> {
    let name = if values.name().is_empty() { "values" } else { values.name().as_str() };
    if !values.dtype().is_primitive_numeric() {
        return Err(Error::data(name, format!("expected a column of numbers, got {}", values.dtype())));
    }
    if values.is_empty() || values.null_count() > 0 {
        let got = if values.is_empty() { "none".to_string() } else { format!("{} missing ones", values.null_count()) };
        return Err(Error::data(name, format!("expected numbers without gaps, at least one; got {got}")));
    }
    let numbers: Vec<f64> = values.cast(&DataType::Float64)?.f64()?.into_no_null_iter().collect();
    match numbers.iter().position(|value| !value.is_finite()) {
        Some(row) => Err(Error::data(name, format!("expected finite numbers, got {} in row {row}", numbers[row]))),
        None => Ok(numbers),
    }
}

/// Start and width of the bins and how many values each holds.
fn bins(values: &[f64]) -> (f64, f64, Vec<usize>) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let at = |share: f64| sorted[((n - 1.0) * share).round() as usize];
    let (low, high) = (at(0.0), at(1.0));
    let span = high - low;
    let best = 2.0 * (at(0.75) - at(0.25)) / n.cbrt();
    let best = if best > 0.0 { best } else { span / (n.log2().ceil() + 1.0) };
    let whole = values.iter().all(|value| value.fract() == 0.0 && value.abs() < 1e15);
    let (start, width) = match whole {
        true => (low - 0.5, best.max((span + 1.0) / MOST_BINS).ceil().max(1.0)),
        false if span <= low.abs().max(high.abs()) * 1e-9 => {
            return (low - low.abs() * 0.05, low.abs() * 0.1, vec![values.len()]);
        }
        false => (low, best.max(span / MOST_BINS)),
    };
    let reach = if whole { span + 1.0 } else { span };
    let count = (reach / width).ceil().clamp(1.0, MOST_BINS) as usize;
    let width = if whole { width } else { reach / count as f64 };
    let mut counts = vec![0usize; count];
    for value in values {
        counts[(((value - start) / width) as usize).min(count - 1)] += 1;
    }
    (start, width, counts)
}

#[cfg(test)]
mod tests {
    use super::bins;

    #[test]
    fn every_value_is_in_a_bin() {
        for values in [
            vec![1.0],
            vec![0.25; 7],
            vec![0.0, 1e-12, 5.5],
            vec![-3.0, 4.0, 4.0, 100.0],
            (0..1000).map(|i| f64::from(i).sin()).collect(),
        ] {
            let (_, width, counts) = bins(&values);
            assert_eq!(counts.iter().sum::<usize>(), values.len());
            assert!(width > 0.0 && counts.len() <= 80);
        }
    }

    #[test]
    fn whole_numbers_stand_in_the_middle_of_their_bins() {
        assert_eq!(bins(&[0.0, 1.0, 1.0, 2.0]), (-0.5, 1.0, vec![1, 2, 1]));
        assert_eq!(bins(&(0..800).map(|i| f64::from(i % 4)).collect::<Vec<_>>()), (-0.5, 1.0, vec![200; 4]));
    }

    #[test]
    fn an_outlier_does_not_make_thousands_of_bins() {
        let mut values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.5).collect();
        values.push(1e9);
        assert_eq!(bins(&values).2.len(), 80);
    }
}
