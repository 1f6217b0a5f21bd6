//! What spoke for and against one prediction, as pictures.

use super::figure::Figure;
use super::picture::Pictures;
use super::svg::{Anchor, INK, Page, RED, Style, width_of};
use crate::dataset::Dataset;
use crate::display::{cut, number};
use crate::error::{Error, Result};
use crate::scores::Scores;

const WIDTH: f64 = 740.0;
const LEFT: f64 = 196.0; // where the rows of train pictures begin
const TEST: f64 = 136.0; // the longer side of the test picture
const MOST: usize = 12;

/// Options of [`gallery`].
///
/// ```
/// use ascribe::plot::Gallery;
/// assert_eq!(Gallery::default().k, 6);
/// ```
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Pictures in a row, 1 to 12; a smaller train set shows all it has.
    pub k: usize,
}

impl Default for Gallery {
    fn default() -> Gallery {
        Gallery { k: 6 }
    }
}

/// The 6 strongest proponents and the 6 strongest opponents of the test example at position `i`, as pictures.
///
/// Inputs are `[n, 1, h, w]`, `[n, 3, h, w]`, `[n, h, w]` or `[n, h · h]`; the smallest value of a dataset is drawn black and
/// the largest white. Under each train picture stand its class and its score; a class in red is not the class of the test
/// example.
///
/// Errors: [`Error::Data`] if `scores` are about other examples than `train` and `test`, or `i` is out of range;
/// [`Error::Unsupported`] if the inputs are not pictures.
///
/// ```
/// use ascribe::{dataset::Dataset, plot, scores::Scores};
/// use tch::{Device, Kind, Tensor};
/// let inputs = Tensor::rand([9, 1, 8, 8], (Kind::Float, Device::Cpu));
/// let train = Dataset::new(inputs, Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2, 0, 1, 2]))?;
/// let test = train.head(2)?;
/// let scores = Scores::new(Tensor::rand([2, 9], (Kind::Float, Device::Cpu)) - 0.5, "GradDot", &test, &train)?;
/// let figure = plot::gallery(&scores, &train, &test, 0)?;
/// assert_eq!(figure.svg().matches("<image").count(), 1 + 6 + 6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn gallery(scores: &Scores, train: &Dataset, test: &Dataset, i: usize) -> Result<Figure> {
    Gallery::default().draw(scores, train, test, i)
}

impl Gallery {
    /// Draws what [`gallery`] draws, with these options.
    ///
    /// Errors: those of [`gallery`], and [`Error::Option`] if `k` is not 1 to 12.
    pub fn draw(&self, scores: &Scores, train: &Dataset, test: &Dataset, i: usize) -> Result<Figure> {
        if self.k == 0 || self.k > MOST {
            return Err(Error::option("Gallery.k", format!("1 to {MOST}"), self.k));
        }
        scores.check(test, train)?;
        let k = self.k.min(scores.n_train());
        let rows = [scores.top(i, k)?, scores.bottom(i, k)?];
        let (shown, own) = (Pictures::of(train)?, Pictures::of(test)?);
        let cell = (WIDTH - LEFT - 8.0) / self.k.max(4) as f64;
        let picture = fit(shown.aspect(), (cell - 12.0).min(100.0));
        let step = picture.1 + 76.0; // title, picture, two lines of text, space
        let mut page = Page::new(WIDTH, (38.0 + 2.0 * step).max(TEST + 110.0));
        page.text(16.0, 26.0, Style::title(), &cut(&format!("{}: test example {}", scores.method(), test.examples()[i]), 90));
        let (width, height) = fit(own.aspect(), TEST);
        let middle = 24.0 + TEST / 2.0;
        page.image(middle - width / 2.0, 62.0, width, height, &own.png(i)?);
        page.frame(middle - width / 2.0, 62.0, width, height, "#b9c0c8", 1.0);
        let label = test.labels().map(|labels| labels[i]);
        if let Some(label) = label {
            let name = Style { size: 14.0, bold: true, ..Style::plain() }.anchored(Anchor::Middle);
            page.text(middle, 62.0 + height + 20.0, name, &cut(&test.class_name(label), 20));
        }
        let labels = train.labels();
        for (row, positions) in rows.iter().enumerate() {
            let y = 50.0 + row as f64 * step;
            page.text(LEFT, y, Style::plain(), self.title(row, scores.get(i, positions[0])?));
            for (column, &position) in positions.iter().enumerate() {
                let x = LEFT + column as f64 * cell;
                page.image(x, y + 12.0, picture.0, picture.1, &shown.png(position)?);
                page.frame(x, y + 12.0, picture.0, picture.1, "#b9c0c8", 1.0);
                let (centre, mut below) = (x + picture.0 / 2.0, y + 12.0 + picture.1 + 15.0);
                if let Some(labels) = &labels {
                    let differs = label.is_some_and(|label| train.class_name(labels[position]) != test.class_name(label));
                    let style = Style { colour: if differs { RED } else { INK }, bold: differs, ..Style::plain() };
                    let room = (cell / width_of("n", 12.0)) as usize;
                    page.text(centre, below, style.anchored(Anchor::Middle), &cut(&train.class_name(labels[position]), room));
                    below += 15.0;
                }
                let style = Style { size: if self.k > 8 { 10.0 } else { 12.0 }, ..Style::quiet() }.anchored(Anchor::Middle);
                page.text(centre, below, style, &number::drawn(scores.get(i, position)?.into()));
            }
        }
        Ok(page.finish(&format!("gallery of test example {}", test.examples()[i])))
    }

    fn title(&self, row: usize, strongest: f32) -> &'static str {
        match (row, strongest) {
            (0, score) if score > 0.0 => "proponents (raise the measurement)",
            (0, _) => "highest scores (none raises the measurement)",
            (_, score) if score < 0.0 => "opponents (lower it)",
            _ => "lowest scores (none lowers it)",
        }
    }
}

/// Width and height with this ratio, the longer side as given.
fn fit(aspect: f64, side: f64) -> (f64, f64) {
    if aspect >= 1.0 { (side, side / aspect) } else { (side * aspect, side) }
}
