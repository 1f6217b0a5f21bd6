//! Axes for curves and histograms, drawn by plotters on a grid fine enough for smooth lines.

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::prelude::SVGBackend;
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

use super::svg::{Anchor, Page, Style, width_of};
use crate::display::{cut, number};
use crate::error::{Error, Result, guarded};

/// plotters places whole pixels only, so everything is drawn this much larger and shrunk.
pub(super) const FINE: u32 = 4;

pub(super) type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// A span of values with round ticks.
#[derive(Clone)]
pub(super) struct Axis {
    span: Range<f64>,
    ticks: Vec<f64>,
    label: String,
    /// Whether equal factors, not equal differences, are equally far apart.
    logarithmic: bool,
}

impl Axis {
    /// An axis from `low` to `high` with about `wanted` ticks; an empty span is widened about its value.
    ///
    /// Errors: [`Error::Data`] if the ends are not finite or so far apart that a picture makes no sense.
    pub(super) fn new(low: f64, high: f64, wanted: f64, label: &str) -> Result<Axis> {
        let largest = low.abs().max(high.abs());
        if !low.is_finite() || !high.is_finite() || largest > 1e100 {
            return Err(Error::data(label, format!("expected finite numbers to draw, got {low} to {high}")));
        }
        let widen = if largest < 1e-100 { 1.0 } else { largest * 0.1 };
        let (low, high) = if high - low > largest * 1e-9 { (low, high) } else { (low - widen, high + widen) };
        Ok(Axis { ticks: ticks(low, high, wanted), span: low..high, label: label.to_string(), logarithmic: false })
    }

    /// The same with equal factors equally far apart.
    ///
    /// Errors: [`Error::Data`] also if an end is not positive.
    pub(super) fn logarithmic(low: f64, high: f64, wanted: f64, label: &str) -> Result<Axis> {
        if low <= 0.0 {
            return Err(Error::data(label, format!("expected positive numbers on a logarithmic axis, got {low}")));
        }
        let Axis { span, .. } = Axis::new(low, high, wanted, label)?;
        Ok(Axis { ticks: powers(span.start, span.end, wanted), span, label: label.to_string(), logarithmic: true })
    }

    /// Where a value stands between the ends, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        match self.logarithmic {
            true => (value / self.span.start).ln() / (self.span.end / self.span.start).ln(),
            false => (value - self.span.start) / (self.span.end - self.span.start),
        }
    }

    /// The ticks and their texts.
    pub(super) fn marks(&self) -> Vec<(f64, String)> {
        self.ticks.iter().copied().zip(self.texts()).collect()
    }

    fn texts(&self) -> Vec<String> {
        if self.logarithmic {
            return self.ticks.iter().map(|&tick| number::drawn(tick)).collect();
        }
        let largest = self.ticks.iter().fold(0.0f64, |largest, tick| largest.max(tick.abs()));
        let texts = match (1e-3..1e6).contains(&largest) {
            true if self.ticks.iter().all(|tick| tick.fract() == 0.0) => {
                self.ticks.iter().map(|tick| format!("{tick:.0}")).collect()
            }
            true => number::column(&self.ticks.iter().map(|&tick| Some(tick)).collect::<Vec<_>>()),
            false => self.ticks.iter().map(|&tick| if tick == 0.0 { "0".to_string() } else { format!("{tick:e}") }).collect(),
        };
        texts.into_iter().map(|text| text.replace('-', "−")).collect()
    }

    fn text_of(&self, value: f64) -> String {
        let at = self.ticks.iter().position(|&tick| tick == value);
        at.and_then(|at| self.texts().into_iter().nth(at)).unwrap_or_default()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten inside the span, each the float nearest to its decimal.
fn ticks(low: f64, high: f64, wanted: f64) -> Vec<f64> {
    let rough = (high - low) / wanted.max(1.0);
    let power = rough.log10().floor() as i32;
    let (digit, power) = match rough / 10f64.powi(power) {
        share if share < 1.5 => (1i64, power),
        share if share < 3.5 => (2, power),
        share if share < 7.5 => (5, power),
        _ => (1, power + 1),
    };
    let step = digit as f64 * 10f64.powi(power);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    let tick = |count: i64| format!("{}e{power}", i128::from(count) * i128::from(digit)).parse().unwrap_or(count as f64 * step);
    (first..=last).take(100).map(tick).collect()
}

/// Powers of ten inside the span, every few of them where they are many; where they are few, 1, 2 and 5 times them.
fn powers(low: f64, high: f64, wanted: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |digits: &[i32], every: usize| -> Vec<f64> {
        let powers = (first..=last).step_by(every);
        let numbers =
            powers.flat_map(|power| digits.iter().map(move |digit| format!("{digit}e{power}").parse().unwrap_or(f64::NAN)));
        numbers.filter(|&tick| tick >= low * (1.0 - 1e-9) && tick <= high * (1.0 + 1e-9)).collect()
    };
    let every = ((last - first) as f64 / wanted.max(1.0)).ceil().max(1.0) as usize;
    match inside(&[1], every) {
        few if few.len() < 3 => inside(&[1, 2, 5], 1),
        ticks => ticks,
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.share(*value).clamp(-1.0, 2.0) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.span.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        number::drawn(*value)
    }
}

/// The rectangle between the axes that [`chart`] draws at a place: for what lies below its lines.
pub(super) fn inner((x, y, width, height): (f64, f64, f64, f64), up: &Axis) -> (f64, f64, f64, f64) {
    let left = room(up);
    (x + 24.0 + left, y + 8.0, width - 24.0 - left - 16.0, height - BELOW - 22.0 - 8.0)
}

/// Height of the tick texts below the axis.
const BELOW: f64 = 26.0;

/// Width of the tick texts left of the axis.
fn room(up: &Axis) -> f64 {
    up.texts().iter().map(|text| width_of(text, 12.0)).fold(12.0, f64::max) + 14.0
}

/// Draws axes into the rectangle `(x, y, width, height)` of the page, labels included, and lets `draw` add the data.
pub(super) fn chart(
    page: &mut Page,
    place: (f64, f64, f64, f64),
    (across, up): (Axis, Axis),
    draw: impl FnOnce(&mut Chart<'_>) -> Result<()>,
) -> Result<()> {
    let (x, y, width, height) = place;
    let (left, below) = (room(&up), BELOW);
    let (_, _, wide, tall) = inner(place, &up);
    page.text(x + 24.0 + left + wide / 2.0, y + height - 6.0, Style::plain().anchored(Anchor::Middle), &cut(&across.label, 80));
    page.turned(x + 12.0, y + 8.0 + tall / 2.0, -90.0, Style::plain().anchored(Anchor::Middle), &cut(&up.label, 44));
    let fine = |length: f64| (length * f64::from(FINE)).round().max(1.0) as u32;
    let mut svg = String::new();
    guarded(|| {
        let area = SVGBackend::with_string(&mut svg, (fine(width - 24.0), fine(height - 22.0))).into_drawing_area();
        mesh(&area, [fine(left), fine(below)], (across, up), draw)?;
        area.present().map_err(drawing)
    })
    .map_err(|error| if let Error::Torch(panic) = error { drawing(panic) } else { error })?;
    page.insert(x + 24.0, y, FINE, &svg);
    Ok(())
}

fn mesh<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    [left, below]: [u32; 2],
    (across, up): (Axis, Axis),
    draw: impl FnOnce(&mut Chart<'a>) -> Result<()>,
) -> Result<()> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_top(8 * FINE).margin_right(16 * FINE).x_label_area_size(below).y_label_area_size(left);
    let mut chart = builder.build_cartesian_2d(across.clone(), up.clone()).map_err(drawing)?;
    let (grey, light) = (RGBColor(138, 146, 155), RGBColor(232, 235, 238));
    // plotters divides the size of a font by 1.24 when it writes SVG.
    let text = TextStyle::from(("sans-serif", 12.0 * 1.24 * f64::from(FINE)).into_font()).color(&RGBColor(98, 106, 115));
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(light.stroke_width(FINE))
        .axis_style(grey.stroke_width(FINE))
        .set_all_tick_mark_size(4 * FINE)
        .label_style(text)
        .x_label_formatter(&|value| across.text_of(*value))
        .y_label_formatter(&|value| up.text_of(*value))
        .draw()
        .map_err(drawing)?;
    draw(&mut chart)
}

/// A failure of plotters as one of ours.
pub(super) fn drawing(error: impl std::fmt::Display) -> Error {
    Error::data("figure", format!("cannot be drawn ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1.0, 5.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(-0.3, 0.31, 3.0), [-0.2, 0.0, 0.2]);
        assert_eq!(ticks(3.0, 97.0, 4.0), [20.0, 40.0, 60.0, 80.0]);
    }

    #[test]
    fn tick_texts_share_their_decimals() -> Result<()> {
        assert_eq!(Axis::new(0.0, 0.3, 3.0, "x")?.texts(), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(Axis::new(-20.0, 20.0, 2.0, "x")?.texts(), ["−20", "0", "20"]);
        assert_eq!(Axis::new(0.0, 2e-20, 2.0, "x")?.texts(), ["0", "1e−20", "2e−20"]);
        Ok(())
    }

    #[test]
    fn logarithmic_ticks_are_powers() -> Result<()> {
        assert_eq!(powers(0.5, 2000.0, 8.0), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(powers(1.0, 30.0, 8.0), [1.0, 2.0, 5.0, 10.0, 20.0]);
        assert_eq!(powers(1e-10, 1e10, 5.0), [1e-10, 1e-6, 1e-2, 1e2, 1e6, 1e10]);
        let axis = Axis::logarithmic(0.01, 100.0, 8.0, "x")?;
        assert_eq!(axis.texts(), ["0.01", "0.1", "1", "10", "100"]);
        assert!((axis.share(1.0) - 0.5).abs() < 1e-12 && axis.share(0.01) == 0.0);
        assert!(Axis::logarithmic(0.0, 1.0, 5.0, "x").is_err());
        Ok(())
    }

    #[test]
    fn odd_spans_end() {
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (1e30, 1e30), (1e99, 1e99), (0.0, 1e-300), (1e9, 1e9 + 1e-6), (-1e90, 1e90)] {
            assert!(
                Axis::new(low, high, 5.0, "x").is_ok_and(|axis| axis.ticks.len() < 20 && axis.texts().len() < 20),
                "{low} {high}"
            );
        }
        assert!(Axis::new(f64::NAN, 1.0, 5.0, "x").is_err());
        assert!(Axis::new(0.0, f64::INFINITY, 5.0, "x").is_err());
    }
}
