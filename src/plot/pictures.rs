//! Some examples as pictures.

use super::figure::Figure;
use super::picture::Pictures;
use super::svg::{Anchor, Page, Style, width_of};
use crate::dataset::Dataset;
use crate::display::cut;
use crate::error::{Error, Result};
use crate::scores::check_position;

const SIDE: f64 = 96.0;
const GAP: f64 = 20.0;
const A_ROW: usize = 6;
const MOST: usize = 60;

/// Examples of datasets, each by its position and with a caption, six in a row; under the caption stands the class.
///
/// Inputs are as in [`gallery`](super::gallery()).
///
/// Errors: [`Error::Data`] for none, more than 60, or a position outside; [`Error::Unsupported`] if the inputs are not pictures.
///
/// ```
/// use ascribe::{dataset, plot};
/// let digits = dataset::digits()?.reshape(&[1, 8, 8])?;
/// let figure = plot::pictures(&[(&digits, 3, "clear"), (&digits, 5, "unclear")])?;
/// assert!(figure.svg().contains(">unclear</text>") && figure.svg().matches("<image").count() == 2);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn pictures(examples: &[(&Dataset, usize, &str)]) -> Result<Figure> {
    if examples.is_empty() || examples.len() > MOST {
        return Err(Error::data("examples", format!("expected 1 to {MOST} to draw, got {}", examples.len())));
    }
    let columns = examples.len().min(A_ROW);
    let width = (GAP + columns as f64 * (SIDE + GAP)).max(240.0);
    let (row, rows) = (SIDE + 52.0, examples.len().div_ceil(A_ROW));
    let mut page = Page::new(width, 12.0 + rows as f64 * row);
    for (at, (data, position, caption)) in examples.iter().enumerate() {
        check_position("example", *position, data.len())?;
        let pictures = Pictures::of(data)?;
        let (x, y) = (GAP + (at % A_ROW) as f64 * (SIDE + GAP), 12.0 + (at / A_ROW) as f64 * row);
        let (wide, high) =
            if pictures.aspect() >= 1.0 { (SIDE, SIDE / pictures.aspect()) } else { (SIDE * pictures.aspect(), SIDE) };
        page.image(x + (SIDE - wide) / 2.0, y + SIDE - high, wide, high, &pictures.png(*position)?);
        page.frame(x + (SIDE - wide) / 2.0, y + SIDE - high, wide, high, "#b9c0c8", 1.0);
        let room = ((SIDE + GAP - 4.0) / width_of("n", 12.0)) as usize;
        page.text(x + SIDE / 2.0, y + SIDE + 16.0, Style::plain().anchored(Anchor::Middle), &cut(caption, room));
        if let Some(labels) = data.labels() {
            let class = data.class_name(labels[*position]);
            page.text(x + SIDE / 2.0, y + SIDE + 32.0, Style::quiet().anchored(Anchor::Middle), &cut(&class, room));
        }
    }
    Ok(page.finish(&format!("{} examples", examples.len())))
}
