//! A small labelled table of numbers as colours.

use tch::{Kind, Tensor};

use super::diverging::Scale;
use super::figure::Figure;
use super::svg::{Anchor, INK, Page, Style, width_of};
use crate::display::{cut, number};
use crate::error::{Error, Result, guarded};

const MOST: usize = 40;
const LONGEST: usize = 24;

/// A matrix with named rows and columns as coloured cells, with its numbers where they fit.
///
/// `values` is `[rows, columns]`, at most 40 × 40. Blue is above zero, red below.
///
/// Errors: [`Error::Shape`] if the names do not fit `values` or there are more than 40 of them; [`Error::Data`] if a value is not
/// finite.
///
/// ```
/// use ascribe::plot;
/// use tch::Tensor;
/// let values = Tensor::from_slice(&[1.0f32, -0.5, 0.0, 2.0]).view([2, 2]);
/// let figure = plot::matrix(&values, &["a", "b"], &["c", "d"])?;
/// assert!(figure.svg().contains("−0.5") && figure.svg().contains("2.0"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn matrix(values: &Tensor, rows: &[&str], columns: &[&str]) -> Result<Figure> {
    let expected = [rows.len() as i64, columns.len() as i64];
    if values.size() != expected || !(1..=MOST).contains(&rows.len()) || !(1..=MOST).contains(&columns.len()) {
        let got = format!("{:?} for {} row and {} column names", values.size(), rows.len(), columns.len());
        return Err(Error::shape("matrix", format!("[rows, columns], 1 to {MOST} each, with a name for every one"), got));
    }
    let numbers = guarded(|| Ok(Vec::<f32>::try_from(&values.detach().to_kind(Kind::Float).contiguous().view([-1]))?))?;
    if numbers.iter().any(|value| !value.is_finite()) {
        return Err(Error::data("matrix", "expected finite numbers, got NaN or infinity"));
    }
    let widest = |names: &[&str]| names.iter().map(|name| width_of(&cut(name, LONGEST), 12.0)).fold(0.0, f64::max);
    let cell = (520.0 / columns.len() as f64).clamp(14.0, 64.0);
    let tall = cell.min(34.0);
    let turned = widest(columns) > cell - 4.0;
    let (left, top) = (24.0 + widest(rows), if turned { 30.0 + widest(columns) * 0.75 } else { 40.0 });
    let (width, height) = (cell * columns.len() as f64, tall * rows.len() as f64);
    let ends =
        columns.iter().enumerate().map(|(j, name)| left + (j as f64 + 0.5) * cell + width_of(&cut(name, LONGEST), 12.0) * 0.71);
    let reach = if turned { ends.fold(0.0, f64::max) + 20.0 } else { 0.0 }; // a turned name may reach past the bar
    let mut page = Page::new(reach.max(left + width + 120.0), top + height.max(60.0) + 20.0);
    let scale = Scale::of(&numbers);
    page.image(left, top, width, height, &scale.png(&numbers, columns.len())?);
    page.frame(left, top, width, height, "#b9c0c8", 1.0);
    for (i, name) in rows.iter().enumerate() {
        let y = top + (i as f64 + 0.5) * tall + 4.0;
        page.text(left - 8.0, y, Style::plain().anchored(Anchor::End), &cut(name, LONGEST));
    }
    for (j, name) in columns.iter().enumerate() {
        let x = left + (j as f64 + 0.5) * cell;
        match turned {
            true => page.turned(x + 3.0, top - 8.0, -45.0, Style::plain(), &cut(name, LONGEST)),
            false => page.text(x, top - 8.0, Style::plain().anchored(Anchor::Middle), &cut(name, LONGEST)),
        }
    }
    let texts = texts(&numbers);
    if tall >= 16.0 && texts.iter().all(|text| width_of(text, 12.0) < cell) {
        for (at, text) in texts.iter().enumerate() {
            let (x, y) =
                (left + ((at % columns.len()) as f64 + 0.5) * cell, top + ((at / columns.len()) as f64 + 0.5) * tall + 4.0);
            let colour = if scale.dark(numbers[at]) { "#ffffff" } else { INK };
            page.text(x, y, Style { colour, ..Style::plain() }.anchored(Anchor::Middle), text);
        }
    }
    scale.bar(&mut page, left + width + 20.0, top, height.max(60.0))?;
    Ok(page.finish(&format!("matrix of {} × {}", rows.len(), columns.len())))
}

/// The numbers in one format, with three significant digits for the largest.
fn texts(numbers: &[f32]) -> Vec<String> {
    let largest = numbers.iter().fold(0.0f64, |largest, value| largest.max(f64::from(*value).abs()));
    let unit = if largest > 0.0 { 10f64.powi(largest.log10().floor() as i32 - 2) } else { 1.0 };
    let rounded: Vec<_> = numbers.iter().map(|&value| Some((f64::from(value) / unit).round() * unit + 0.0)).collect();
    number::column(&rounded).into_iter().map(|text| text.replace('-', "−")).collect()
}
