//! Examples as tensors, with one row of metadata each.

mod array;
mod cells;
mod cifar;
mod corrupt;
mod digits;
mod download;
mod encoding;
mod fashion;
mod folder;
mod idx;
mod maestro;
mod mnist;
mod music;
mod resize;
mod shakespeare;
mod table;
mod text;
mod walk;

pub use cifar::{Cifar2, cifar2, cifar10};
pub use corrupt::{Patch, backdoor, duplicate, flip_labels, near_duplicates, shortcut};
pub use digits::digits;
pub use encoding::Encoding;
pub use fashion::fashion_mnist;
pub use folder::{Images, Resize, folder};
pub use maestro::maestro;
pub use mnist::mnist;
pub use music::{Events, midi};
pub use shakespeare::tiny_shakespeare;
pub use table::{Categories, Columns, Target};
pub use text::{Blocks, Vocabulary, tokens};

use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, IntoColumn, NamedFrom, Series};
use tch::{Kind, Tensor};

use crate::digest;
use crate::error::{Error, Result, guarded};
use crate::random::{self, Purpose};
use crate::snapshot::all_finite;

/// Columns that tables of results have themselves.
const RESERVED: [&str; 8] = ["example", "label", "train", "test", "rank", "score", "method", "self_influence"];

/// Examples as tensors plus one `DataFrame` row each.
///
/// * `inputs`: `[n, ...]`, float, or int64 for tokens;
/// * `targets`: `[n, ...]`, int64 class labels or float values;
/// * `frame`: `n` rows; the column `example` holds an id that survives `select`, so that scores can be joined with it,
///   and `label` the class where targets are classes.
///
/// ```
/// use ascribe::prelude::*;
/// let inputs = Tensor::from_slice(&[0.0f32, 1.0, 2.0]).view([3, 1]);
/// let data = Dataset::new(inputs, Tensor::from_slice(&[0i64, 1, 0]))?;
/// assert_eq!((data.len(), data.classes()), (3, Some(2)));
/// assert_eq!(data.select(&[2, 0])?.examples(), vec![2, 0]);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Dataset {
    inputs: Tensor,
    targets: Tensor,
    frame: DataFrame,
    name: String,
    class_names: Vec<String>,
}

impl Clone for Dataset {
    fn clone(&self) -> Dataset {
        Dataset {
            inputs: self.inputs.shallow_clone(),
            targets: self.targets.shallow_clone(),
            frame: self.frame.clone(),
            name: self.name.clone(),
            class_names: self.class_names.clone(),
        }
    }
}

impl Dataset {
    /// Wraps tensors of equal first dimension; ids are 0, 1, 2, ….
    ///
    /// Errors: [`Error::Data`] for no examples or non-finite inputs or targets, [`Error::Shape`] for different lengths.
    pub fn new(inputs: Tensor, targets: Tensor) -> Result<Dataset> {
        guarded(|| Dataset::checked(inputs, targets))
    }

    fn checked(inputs: Tensor, targets: Tensor) -> Result<Dataset> {
        let (n, m) = (rows(&inputs), rows(&targets));
        if n != m {
            return Err(Error::shape("targets", format!("{n} rows, one per input"), format!("{m} rows")));
        }
        if n == 0 {
            return Err(Error::data("dataset", "expected at least one example, got none"));
        }
        check_finite("inputs", &inputs)?;
        check_finite("targets", &targets)?;
        let mut columns: Vec<Column> = vec![Series::new("example".into(), (0..n as u32).collect::<Vec<_>>()).into_column()];
        if let Some(labels) = labels_of(&targets)? {
            columns.push(Series::new("label".into(), labels).into_column());
        }
        let frame = DataFrame::new(n as usize, columns)?;
        Ok(Dataset { inputs, targets, frame, name: "dataset".into(), class_names: Vec::new() })
    }

    /// The same examples under another name (it appears in tables, files and errors).
    pub fn named(mut self, name: impl Into<String>) -> Dataset {
        self.name = name.into();
        self
    }

    /// The same examples with names for classes 0, 1, 2, … (used by plots).
    pub fn with_class_names<S: AsRef<str>>(mut self, names: &[S]) -> Dataset {
        self.class_names = names.iter().map(|name| name.as_ref().to_string()).collect();
        self
    }

    /// Adds a metadata column with one value per example; replaces one of the same name.
    ///
    /// Errors: [`Error::Shape`] if its length differs; [`Error::Data`] for a name that tables of results use
    /// themselves: `example`, `label`, `train`, `test`, `rank`, `score`, `method`, `self_influence`.
    pub fn with_column(mut self, series: Series) -> Result<Dataset> {
        if RESERVED.contains(&series.name().as_str()) {
            return Err(Error::data(
                series.name().to_string(),
                "tables of results have a column of this name themselves; choose another",
            ));
        }
        if series.len() != self.len() {
            return Err(Error::shape(format!("column {}", series.name()), format!("{} rows", self.len()), series.len()));
        }
        self.frame.with_column(series.into_column())?;
        Ok(self)
    }

    /// The same examples with other class labels, e.g. after planting label noise; `label` follows, all else stays.
    pub fn with_labels(&self, labels: &[i64]) -> Result<Dataset> {
        if labels.len() != self.len() {
            return Err(Error::shape("labels", format!("{} values", self.len()), labels.len()));
        }
        let mut changed = self.clone();
        changed.targets = Tensor::from_slice(labels);
        labels_of(&changed.targets)?;
        changed.frame.with_column(Series::new("label".into(), labels).into_column())?;
        Ok(changed)
    }

    /// The same examples with other inputs, one each: in another scale, say, or another size.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let digits = dataset::digits()?.head(2)?;
    /// let larger = digits.inputs().view([-1, 1, 8, 8]).upsample_bilinear2d([28, 28], false, None, None);
    /// assert_eq!(digits.with_inputs(larger)?.frame(), digits.frame());
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    ///
    /// Errors: [`Error::Shape`] for another number of them, [`Error::Data`] if one is not finite.
    pub fn with_inputs(&self, inputs: Tensor) -> Result<Dataset> {
        guarded(|| {
            if rows(&inputs) != self.len() as i64 {
                return Err(Error::shape("inputs", format!("{} rows", self.len()), format!("{} rows", rows(&inputs))));
            }
            check_finite("inputs", &inputs)?;
            let mut changed = self.clone();
            changed.inputs = inputs;
            Ok(changed)
        })
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        rows(&self.inputs) as usize
    }

    /// Never true for a dataset that was made by [`Dataset::new`]; here for completeness.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inputs, `[n, ...]`.
    pub fn inputs(&self) -> &Tensor {
        &self.inputs
    }

    /// Targets, `[n, ...]`.
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// One row of metadata per example.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The name given by the source or by [`Dataset::named`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ids of the examples, in order.
    pub fn examples(&self) -> Vec<u32> {
        let column = self.frame.column("example").and_then(|c| c.u32().cloned());
        column.map(|ids| ids.into_no_null_iter().collect()).unwrap_or_default()
    }

    /// Class labels, in order; `None` where targets are not one class per example.
    pub fn labels(&self) -> Option<Vec<i64>> {
        labels_of(&self.targets).ok().flatten()
    }

    /// Number of classes: names if given, else the largest label plus one.
    pub fn classes(&self) -> Option<usize> {
        let largest = self.labels()?.into_iter().max()? as usize + 1;
        Some(largest.max(self.class_names.len()))
    }

    /// The name of a class, or its number.
    pub fn class_name(&self, class: i64) -> String {
        self.class_names.get(class.max(0) as usize).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The examples at these positions, in this order.
    ///
    /// Errors: [`Error::Data`] if a position is outside or none is given.
    pub fn select(&self, positions: &[usize]) -> Result<Dataset> {
        if positions.is_empty() {
            return Err(Error::data(&self.name, "a selection needs at least one position, got none"));
        }
        if let Some(outside) = positions.iter().find(|&&p| p >= self.len()) {
            return Err(Error::data(&self.name, format!("position {outside} is outside its {} examples", self.len())));
        }
        let index = Tensor::from_slice(&positions.iter().map(|&p| p as i64).collect::<Vec<_>>());
        let rows = IdxCa::from_vec("".into(), positions.iter().map(|&p| p as IdxSize).collect());
        Ok(Dataset {
            inputs: self.inputs.index_select(0, &index),
            targets: self.targets.index_select(0, &index),
            frame: self.frame.take(&rows)?,
            name: self.name.clone(),
            class_names: self.class_names.clone(),
        })
    }

    /// The first `n` examples.
    pub fn head(&self, n: usize) -> Result<Dataset> {
        if n > self.len() {
            return Err(Error::data(&self.name, format!("expected at most {} examples, {n} were asked for", self.len())));
        }
        self.select(&(0..n).collect::<Vec<_>>())
    }

    /// Two disjoint random parts of the given sizes.
    ///
    /// Errors: [`Error::Data`] if both together are more than there are.
    pub fn split(&self, n_train: usize, n_test: usize, seed: u64) -> Result<(Dataset, Dataset)> {
        if n_train + n_test > self.len() {
            let reason = format!("has {} examples, a split into {n_train} + {n_test} was asked for", self.len());
            return Err(Error::data(&self.name, reason));
        }
        let order = random::permutation(self.len(), seed, Purpose::Split, 0);
        Ok((self.select(&order[..n_train])?, self.select(&order[n_train..n_train + n_test])?))
    }

    /// The same examples with each input in another shape, e.g. `&[1, 8, 8]` for an image of 64 numbers; nothing is copied.
    ///
    /// Errors: [`Error::Shape`] unless `shape` holds as many numbers as an input has.
    pub fn reshape(&self, shape: &[i64]) -> Result<Dataset> {
        let each: i64 = self.inputs.size()[1..].iter().product();
        let asked = shape.iter().try_fold(1i64, |product, &size| product.checked_mul(size));
        if asked != Some(each) || shape.iter().any(|&size| size < 0) {
            return Err(Error::shape(format!("{} inputs", self.name), format!("{each} numbers each"), format!("{shape:?}")));
        }
        let mut changed = self.clone();
        changed.inputs = self.inputs.f_reshape([&[self.len() as i64], shape].concat())?;
        Ok(changed)
    }

    /// The same examples and, behind them, those at some positions again with other inputs and ids above all others.
    pub(super) fn extended(&self, positions: &[usize], inputs: Tensor) -> Result<Dataset> {
        let again = self.select(positions)?;
        let next = self.examples().into_iter().max().map_or(0, |id| u64::from(id) + 1);
        let ids: Vec<u32> = (next..next + positions.len() as u64).filter_map(|id| id.try_into().ok()).collect();
        if ids.len() < positions.len() {
            return Err(Error::data(self.name(), "expected ids small enough that others are left, got one near the largest"));
        }
        let mut frame = again.frame;
        frame.with_column(Series::new("example".into(), ids).into_column())?;
        Ok(Dataset {
            inputs: Tensor::f_cat(&[&self.inputs, &inputs], 0)?,
            targets: Tensor::f_cat(&[&self.targets, &again.targets], 0)?,
            frame: self.frame.vstack(&frame)?,
            ..self.clone()
        })
    }

    /// One number for each example, of its input and target.
    pub(crate) fn digests(&self) -> Result<Vec<i64>> {
        digest::of_rows([&self.inputs, &self.targets])
    }

    /// Inputs and targets of the examples `start..end` as views, without copying.
    pub(crate) fn slice(&self, start: i64, end: i64) -> (Tensor, Tensor) {
        (self.inputs.narrow(0, start, end - start), self.targets.narrow(0, start, end - start))
    }
}

fn rows(tensor: &Tensor) -> i64 {
    tensor.size().first().copied().unwrap_or(0)
}

fn check_finite(name: &str, tensor: &Tensor) -> Result<()> {
    if !tensor.is_floating_point() {
        return Ok(());
    }
    if all_finite(tensor) {
        return Ok(());
    }
    let bad = tensor.isfinite().logical_not().reshape([rows(tensor), -1]).any_dim(1, false);
    let first = bad.to_kind(Kind::Int64).argmax(0, false).int64_value(&[]);
    Err(Error::data(name, format!("expected finite numbers, got NaN or infinity, first in example {first}")))
}

/// Class labels if the targets are one int64 per example; an error if one is negative.
fn labels_of(targets: &Tensor) -> Result<Option<Vec<i64>>> {
    if targets.kind() != Kind::Int64 || targets.dim() != 1 {
        return Ok(None);
    }
    let labels = Vec::<i64>::try_from(targets)?;
    match labels.iter().position(|&label| label < 0) {
        Some(at) => Err(Error::data("targets", format!("class labels start at 0, example {at} has {}", labels[at]))),
        None => Ok(Some(labels)),
    }
}
