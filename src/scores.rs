//! The matrix of scores and the examples it is about.

mod align;
mod disk;

pub(crate) use align::Side;
use disk::About;

use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, IntoColumn, NamedFrom, Series};
use tch::{Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::snapshot::all_finite;

/// Scores of every train example for every test example, `[n_test, n_train]`, larger = stronger proponent.
///
/// Rows are test examples, columns train examples, always. A positive score says that the train example raises the number
/// explained on the test example, a negative one that it lowers it. That number is the task's measurement for `Influence`, and
/// the training objective for `GradDot`, `GradCos` and `TracIn`, as their papers define them.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(60, 10, 0)?;
/// let task = Task::new(|p| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 2, ..default() }, &train)?;
/// let scores = GradDot::default().fit(&task, &train)?.score(&test)?;
/// let best = scores.proponents(0, 3)?;
/// assert_eq!(best.height(), 3);
/// let column = best.column("score")?.f32()?;
/// assert!(column.get(0) >= column.get(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scores {
    values: Tensor,
    about: About,
    test: DataFrame,
    train: DataFrame,
}

impl Clone for Scores {
    fn clone(&self) -> Scores {
        let values = self.values.shallow_clone();
        Scores { values, about: self.about.clone(), test: self.test.clone(), train: self.train.clone() }
    }
}

impl Scores {
    /// Joins a matrix with the examples of its rows and columns.
    ///
    /// Errors: [`Error::Shape`] if it is not `[n_test, n_train]`; [`Error::Numerical`] if an entry is not finite.
    pub fn new(values: Tensor, method: impl Into<String>, test: &Dataset, train: &Dataset) -> Result<Scores> {
        let about = About::new(method.into(), test, train)?;
        Scores::assemble(values, about, test.frame().clone(), train.frame().clone())
    }

    /// The same for examples that are known by their metadata.
    pub(crate) fn of_sides(values: Tensor, method: impl Into<String>, test: &Side<'_>, train: &Side<'_>) -> Result<Scores> {
        let about = About {
            method: method.into(),
            test: test.examples()?,
            train: train.examples()?,
            test_digests: test.digests.to_vec(),
            train_digests: train.digests.to_vec(),
        };
        Scores::assemble(values, about, test.frame.clone(), train.frame.clone())
    }

    fn assemble(values: Tensor, about: About, test: DataFrame, train: DataFrame) -> Result<Scores> {
        let expected = [test.height() as i64, train.height() as i64];
        if values.size() != expected {
            return Err(Error::shape("scores", format!("[n_test, n_train] = {expected:?}"), format!("{:?}", values.size())));
        }
        let values = values.detach().to_kind(Kind::Float).contiguous();
        if !all_finite(&values) {
            let hint = "a score is NaN or infinite; look for saturated outputs, or raise the damping";
            return Err(Error::numerical(&about.method, hint));
        }
        Ok(Scores { values, about, test, train })
    }

    /// The matrix, `[n_test, n_train]`, float32.
    pub fn tensor(&self) -> &Tensor {
        &self.values
    }

    /// Name of the method that made the scores.
    pub fn method(&self) -> &str {
        &self.about.method
    }

    /// The same scores under another name of the method, for tables and figures.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(30, 2, 0)?;
    /// let scores = Scores::new(Tensor::from_slice(&[0f32; 60]).view([2, 30]), "GradDot", &test, &train)?;
    /// assert_eq!(scores.named("GradDot, five networks").method(), "GradDot, five networks");
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn named(mut self, method: impl Into<String>) -> Scores {
        self.about.method = method.into();
        self
    }

    /// Number of test examples (rows).
    pub fn n_test(&self) -> usize {
        self.test.height()
    }

    /// Number of train examples (columns).
    pub fn n_train(&self) -> usize {
        self.train.height()
    }

    /// Metadata of the test examples, one row each.
    pub fn test(&self) -> &DataFrame {
        &self.test
    }

    /// Metadata of the train examples, one row each.
    pub fn train(&self) -> &DataFrame {
        &self.train
    }

    /// The score of one pair, by position.
    ///
    /// Errors: [`Error::Data`] if a position is outside.
    pub fn get(&self, test: usize, train: usize) -> Result<f32> {
        check_position("test", test, self.n_test())?;
        check_position("train", train, self.n_train())?;
        Ok(self.values.double_value(&[test as i64, train as i64]) as f32)
    }

    /// The `k` train examples that raise the measurement of test example `i` most, strongest first.
    ///
    /// Columns: `rank` (from 1), `train` (example id), `score`, then the metadata of the train example.
    /// Cost: one partial sort of the row. Errors: [`Error::Data`] if `i` or `k` is out of range.
    pub fn proponents(&self, i: usize, k: usize) -> Result<DataFrame> {
        self.extreme(i, k, true)
    }

    /// The `k` train examples that lower the measurement of test example `i` most, strongest first.
    pub fn opponents(&self, i: usize, k: usize) -> Result<DataFrame> {
        self.extreme(i, k, false)
    }

    /// An error unless the scores are about these examples.
    pub(crate) fn check(&self, test: &Dataset, train: &Dataset) -> Result<()> {
        self.about.check("scores", test, train)
    }

    fn extreme(&self, i: usize, k: usize, largest: bool) -> Result<DataFrame> {
        check_position("test", i, self.n_test())?;
        let (scores, columns) = self.ranked(&self.values.get(i as i64).unsqueeze(0), k, largest)?;
        let mut table = vec![counting("rank", k, 1), self.ids(&columns)?, Series::new("score".into(), scores).into_column()];
        table.extend(metadata(&self.train, &columns, "")?);
        Ok(DataFrame::new(k, table)?)
    }

    /// Positions (columns) of the `k` strongest proponents of test example `i`, strongest first.
    pub fn top(&self, i: usize, k: usize) -> Result<Vec<usize>> {
        check_position("test", i, self.n_test())?;
        let (_, columns) = self.ranked(&self.values.get(i as i64).unsqueeze(0), k, true)?;
        Ok(columns.into_iter().map(|c| c as usize).collect())
    }

    /// Positions (columns) of the `k` strongest opponents of test example `i`, strongest first.
    pub fn bottom(&self, i: usize, k: usize) -> Result<Vec<usize>> {
        check_position("test", i, self.n_test())?;
        let (_, columns) = self.ranked(&self.values.get(i as i64).unsqueeze(0), k, false)?;
        Ok(columns.into_iter().map(|c| c as usize).collect())
    }

    /// The `k` strongest proponents of every test example in one tidy table.
    ///
    /// Columns: `test`, `train`, `rank`, `score`, `method`, then `test_*` and `train_*` metadata.
    pub fn top_k(&self, k: usize) -> Result<DataFrame> {
        let (scores, columns) = self.ranked(&self.values, k, true)?;
        self.pairs(scores, columns, k)
    }

    /// All pairs in one tidy table, test by test, strongest first: `n_test · n_train` rows, so ask for it when it fits.
    pub fn frame(&self) -> Result<DataFrame> {
        self.top_k(self.n_train())
    }

    /// Values and column positions of the k largest or smallest entries of each row, sorted; ties by position.
    fn ranked(&self, rows: &Tensor, k: usize, largest: bool) -> Result<(Vec<f32>, Vec<IdxSize>)> {
        if k == 0 || k > self.n_train() {
            return Err(Error::data("k", format!("expected 1 to {} (the train examples), got {k}", self.n_train())));
        }
        guarded(|| {
            let (height, k) = (rows.size()[0], k as i64);
            let (mut scores, mut columns) = (Vec::new(), Vec::new());
            let limits = Vec::<f32>::try_from(&rows.topk(k, -1, largest, true).0.select(1, k - 1).contiguous())?;
            for (i, limit) in (0..height).zip(limits) {
                let row = Vec::<f32>::try_from(&rows.get(i).contiguous())?;
                let beats = |a: f32, b: f32| if largest { a >= b } else { a <= b };
                let mut chosen: Vec<IdxSize> = (0..row.len() as IdxSize).filter(|&j| beats(row[j as usize], limit)).collect();
                chosen.sort_by(|&a, &b| {
                    let order = row[a as usize].total_cmp(&row[b as usize]);
                    if largest { order.reverse() } else { order }
                });
                chosen.truncate(k as usize);
                scores.extend(chosen.iter().map(|&j| row[j as usize]));
                columns.extend(chosen);
            }
            Ok((scores, columns))
        })
    }

    fn ids(&self, columns: &[IdxSize]) -> Result<Column> {
        let mut ids = self.train.column("example")?.take(&IdxCa::from_vec("".into(), columns.to_vec()))?;
        ids.rename("train".into());
        Ok(ids)
    }

    fn pairs(&self, scores: Vec<f32>, columns: Vec<IdxSize>, k: usize) -> Result<DataFrame> {
        let height = scores.len();
        let rows: Vec<IdxSize> = (0..self.n_test() as IdxSize).flat_map(|i| std::iter::repeat_n(i, k)).collect();
        let mut tests = self.test.column("example")?.take(&IdxCa::from_vec("".into(), rows.clone()))?;
        tests.rename("test".into());
        let ranks: Vec<u32> = (0..self.n_test()).flat_map(|_| 1..=k as u32).collect();
        let mut table = vec![
            tests,
            self.ids(&columns)?,
            Series::new("rank".into(), ranks).into_column(),
            Series::new("score".into(), scores).into_column(),
            Series::new("method".into(), vec![self.method(); height]).into_column(),
        ];
        table.extend(metadata(&self.test, &rows, "test_")?);
        table.extend(metadata(&self.train, &columns, "train_")?);
        Ok(DataFrame::new(height, table)?)
    }
}

fn counting(name: &str, n: usize, from: u32) -> Column {
    Series::new(name.into(), (from..from + n as u32).collect::<Vec<_>>()).into_column()
}

pub(crate) fn check_position(side: &str, position: usize, n: usize) -> Result<()> {
    match position < n {
        true => Ok(()),
        false => Err(Error::data(format!("{side} position"), format!("expected 0 to {}, got {position}", n - 1))),
    }
}

/// The metadata columns (all but `example`) at these rows, renamed by a prefix.
fn metadata(frame: &DataFrame, rows: &[IdxSize], prefix: &str) -> Result<Vec<Column>> {
    let rows = IdxCa::from_vec("".into(), rows.to_vec());
    let columns = frame.columns().iter().filter(|c| c.name().as_str() != "example");
    columns.map(|c| Ok(c.take(&rows)?.with_name(format!("{prefix}{}", c.name()).into()))).collect()
}
