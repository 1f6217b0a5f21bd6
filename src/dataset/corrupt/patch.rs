use polars::prelude::{NamedFrom, Series};
use tch::Tensor;

use super::drawn;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::random::Purpose;

/// A rectangle of pixels that all have one value, in every channel: what a backdoor or a shortcut looks like.
///
/// Pictures are float inputs `[n, height, width]` or `[n, channels, height, width]`; the value is one of the inputs as they are, after
/// whatever was subtracted and divided.
///
/// ```
/// use ascribe::dataset::{self, Patch};
/// let digits = dataset::digits()?.reshape(&[1, 8, 8])?.head(10)?;
/// let corner = Patch { top: 6, left: 6, height: 2, width: 2, value: 1.0 };
/// let bright = corner.on(&digits)?; // all of them, as a test set that asks what the patch does
/// assert_eq!(bright.inputs().double_value(&[3, 0, 7, 7]), 1.0);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patch {
    /// First row, from 0 at the top.
    pub top: usize,
    /// First column, from 0 at the left.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Of each pixel.
    pub value: f64,
}

impl Patch {
    /// The same examples, each with the patch.
    ///
    /// Errors: [`Error::Data`] unless the inputs are pictures, [`Error::Option`] for a patch that is empty, reaches outside, or whose value
    /// is not finite.
    pub fn on(&self, data: &Dataset) -> Result<Dataset> {
        self.on_some(data, &(0..data.len()).collect::<Vec<_>>())
    }

    /// The same examples, those at some positions with the patch.
    fn on_some(&self, data: &Dataset, positions: &[usize]) -> Result<Dataset> {
        let size = data.inputs().size();
        let [.., height, width] = size[..] else { return Err(no_pictures(data)) };
        if !data.inputs().is_floating_point() || !(3..=4).contains(&size.len()) {
            return Err(no_pictures(data));
        }
        let sides = [("top", "height", self.top, self.height, height), ("left", "width", self.left, self.width, width)];
        for (begin, extent, from, count, whole) in sides {
            if count == 0 || from.checked_add(count).is_none_or(|end| end as i64 > whole) {
                let expected = format!("at least 1 of the {whole} that there are");
                return Err(Error::option(format!("Patch.{begin}, Patch.{extent}"), expected, format!("{count} from {from}")));
            }
        }
        if !self.value.is_finite() {
            return Err(Error::option("Patch.value", "a finite number", self.value));
        }
        let inputs = data.inputs().copy();
        if !positions.is_empty() {
            let index = Tensor::f_from_slice(&positions.iter().map(|&at| at as i64).collect::<Vec<_>>())?;
            let (rows, columns) = (size.len() as i64 - 2, size.len() as i64 - 1);
            let mut part = inputs.f_narrow(rows, self.top as i64, self.height as i64)?.f_narrow(
                columns,
                self.left as i64,
                self.width as i64,
            )?;
            let _ = part.f_index_fill_(0, &index, self.value)?;
        }
        data.with_inputs(inputs)
    }
}

fn no_pictures(data: &Dataset) -> Error {
    let got = format!("{:?} of {:?}", data.inputs().size(), data.inputs().kind());
    let reason =
        format!("expected float pictures [n, height, width] or [n, channels, height, width] to put a patch on, got {got}");
    Error::data(data.name(), reason)
}

/// Puts a patch on `n` random examples of other classes and calls them `class`: a backdoor (Gu et al. 2017, arXiv 1708.06733). The column
/// `backdoor` says which.
///
/// `n + 1` of them are the `n` and one more. [`Patch::on`] makes the test set that the backdoor opens.
///
/// Errors: [`Error::Data`] without class labels, if the class is none of them, or if fewer than `n` examples are of another; as for
/// [`Patch::on`].
///
/// ```
/// use ascribe::dataset::{self, Patch};
/// let digits = dataset::digits()?.reshape(&[1, 8, 8])?.head(200)?;
/// let corner = Patch { top: 6, left: 6, height: 2, width: 2, value: 1.0 };
/// let poisoned = dataset::backdoor(&digits, &corner, 7, 20, 0)?;
/// assert_eq!(poisoned.frame().column("backdoor")?.bool()?.sum(), Some(20));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn backdoor(data: &Dataset, patch: &Patch, class: i64, n: usize, seed: u64) -> Result<Dataset> {
    let mut labels = labels_with(data, class)?;
    let chosen = drawn(data, n, "of another class to poison", seed, Purpose::Backdoor, |at| labels[at] != class)?;
    let patched = patch.on_some(data, &chosen)?;
    let mut marks = vec![false; data.len()];
    for at in chosen {
        (labels[at], marks[at]) = (class, true);
    }
    patched.with_labels(&labels)?.with_column(Series::new("backdoor".into(), marks))
}

/// Puts a patch on a share of the examples of a class, and on a share of all others: a shortcut that tells the class without its contents.
/// The column `shortcut` says which.
///
/// Shares are between 0 and 1, rounded to whole examples. Labels stay. [`ShortcutDetection`](crate::metric::ShortcutDetection) asks whether
/// attribution finds them.
///
/// Errors: [`Error::Option`] for a share outside; [`Error::Data`] without class labels or if the class is none of them; as for
/// [`Patch::on`].
///
/// ```
/// use ascribe::dataset::{self, Patch};
/// let digits = dataset::digits()?.reshape(&[1, 8, 8])?.head(200)?;
/// let corner = Patch { top: 6, left: 6, height: 2, width: 2, value: 1.0 };
/// let taught = dataset::shortcut(&digits, &corner, 3, 0.9, 0.0, 0)?;
/// let threes = digits.labels().unwrap_or_default().iter().filter(|&&label| label == 3).count();
/// assert_eq!(taught.frame().column("shortcut")?.bool()?.sum(), Some((0.9 * threes as f64).round() as u32));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn shortcut(data: &Dataset, patch: &Patch, class: i64, share: f64, elsewhere: f64, seed: u64) -> Result<Dataset> {
    for (name, share) in [("shortcut.share", share), ("shortcut.elsewhere", elsewhere)] {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::option(name, "a number from 0 to 1", share));
        }
    }
    let labels = labels_with(data, class)?;
    let of_class = labels.iter().filter(|&&label| label == class).count();
    let count = |share: f64, all: usize| (share * all as f64).round() as usize;
    let (inside, outside) = (count(share, of_class), count(elsewhere, data.len() - of_class));
    let mut chosen = drawn(data, inside, "of the class", seed, Purpose::Shortcut, |at| labels[at] == class)?;
    chosen.extend(drawn(data, outside, "of another class", seed, Purpose::Shortcut, |at| labels[at] != class)?);
    let mut marks = vec![false; data.len()];
    chosen.iter().for_each(|&at| marks[at] = true);
    patch.on_some(data, &chosen)?.with_column(Series::new("shortcut".into(), marks))
}

/// The labels, of which the class must be one.
fn labels_with(data: &Dataset, class: i64) -> Result<Vec<i64>> {
    let (Some(labels), Some(classes)) = (data.labels(), data.classes()) else {
        return Err(Error::data(data.name(), "expected one class label per example, got other targets"));
    };
    match (0..classes as i64).contains(&class) {
        true => Ok(labels),
        false => Err(Error::data(data.name(), format!("expected a class from 0 to {}, got {class}", classes - 1))),
    }
}
