//! All scores at a glance.

use tch::Kind;

use super::diverging::Scale;
use super::figure::Figure;
use super::svg::{Anchor, Page, Style};
use crate::display::cut;
use crate::error::{Result, guarded};
use crate::scores::Scores;

const LEFT: f64 = 70.0;
const WIDEST: f64 = 560.0;
const HIGHEST: f64 = 320.0;
const ROWS: i64 = 200;
const COLUMNS: i64 = 560;

/// The matrix of scores as colours: a row per test example, a column per train example, in the order of the datasets.
///
/// Blue raises the measurement, red lowers it, white is zero. The scale spans 99 % of the magnitudes; where that leaves extremes
/// out, the ends of the bar say so. A matrix of more than 200 × 560 is shown as means over neighbouring scores, and says so.
///
/// Errors: [`crate::Error::Torch`] if the matrix cannot be read.
///
/// ```
/// use ascribe::{dataset::Dataset, plot, scores::Scores};
/// use tch::{Device, Kind, Tensor};
/// let data = Dataset::new(Tensor::zeros([4, 2], (Kind::Float, Device::Cpu)), Tensor::from_slice(&[0i64, 1, 0, 1]))?;
/// let scores = Scores::new(Tensor::eye(4, (Kind::Float, Device::Cpu)), "GradDot", &data, &data)?;
/// assert!(plot::heatmap(&scores)?.svg().contains("train example"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn heatmap(scores: &Scores) -> Result<Figure> {
    let (n_test, n_train) = (scores.n_test(), scores.n_train());
    let (rows, columns) = ((n_test as i64).min(ROWS), (n_train as i64).min(COLUMNS));
    let values = guarded(|| {
        let values = scores.tensor().to_kind(Kind::Float);
        let cells =
            if values.size() != [rows, columns] { values.unsqueeze(0).adaptive_avg_pool2d([rows, columns]) } else { values };
        Ok(Vec::<f32>::try_from(&cells.contiguous().view([-1]))?)
    })?;
    let scale = Scale::of(&values);
    let width = (columns as f64 * 24.0).clamp(80.0, WIDEST);
    let least = (rows as f64 * 24.0).clamp(80.0, 200.0); // a few wide rows are drawn taller than their columns are wide
    let height = (rows as f64 * width / columns as f64).clamp(least, HIGHEST);
    let reduced = (rows as usize, columns as usize) != (n_test, n_train);
    let top = if reduced { 56.0 } else { 42.0 };
    let mut page = Page::new((LEFT + width + 120.0).max(340.0), top + height + 52.0);
    page.text(16.0, 26.0, Style::title(), &cut(&format!("{}: score of every pair", scores.method()), 40));
    if reduced {
        let (down, across) = (n_test as f64 / rows as f64, n_train as f64 / columns as f64);
        page.text(
            16.0,
            44.0,
            Style::quiet(),
            &format!("each cell is the mean of about {down:.1} × {across:.1} neighbouring scores"),
        );
    }
    page.image(LEFT, top, width, height, &scale.png(&values, columns as usize)?);
    page.frame(LEFT, top, width, height, "#b9c0c8", 1.0);
    let below = top + height;
    for at in marks(n_train, width / 70.0) {
        let x = LEFT + (at as f64 + 0.5) / n_train as f64 * width;
        page.line((x, below), (x, below + 4.0), "#8a929b", 1.0, "");
        page.text(x, below + 18.0, Style::quiet().anchored(Anchor::Middle), &at.to_string());
    }
    for at in marks(n_test, height / 40.0) {
        let y = top + (at as f64 + 0.5) / n_test as f64 * height;
        page.line((LEFT - 4.0, y), (LEFT, y), "#8a929b", 1.0, "");
        page.text(LEFT - 8.0, y + 4.0, Style::quiet().anchored(Anchor::End), &at.to_string());
    }
    page.text(LEFT + width / 2.0, below + 40.0, Style::plain().anchored(Anchor::Middle), "train example");
    page.turned(20.0, top + height / 2.0, -90.0, Style::plain().anchored(Anchor::Middle), "test example");
    scale.bar(&mut page, LEFT + width + 20.0, top, height)?;
    Ok(page.finish(&format!("heatmap of {n_test} × {n_train} scores")))
}

/// Positions to label: multiples of a round step, about as many as asked for.
fn marks(n: usize, wanted: f64) -> Vec<usize> {
    let least = n as f64 / wanted.max(1.0);
    let step = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.pow(power))).find(|&step| step as f64 >= least);
    (0..n).step_by(step.unwrap_or(n).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::marks;

    #[test]
    fn marks_are_round_and_inside() {
        assert_eq!(marks(10, 5.0), [0, 2, 4, 6, 8]);
        assert_eq!(marks(1000, 5.0), [0, 200, 400, 600, 800]);
        assert_eq!(marks(1, 8.0), [0]);
    }
}
