//! Tables of pairs.

use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, IntoColumn, NamedFrom, Series};

use super::Posterior;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::scores::check_position;

/// A table under construction; NaN becomes null.
pub(super) struct Table {
    height: usize,
    columns: Vec<Column>,
}

impl Table {
    /// With `test` and `train` of all pairs, test by test.
    pub(super) fn of_pairs(posterior: &Posterior) -> Result<Table> {
        let (m, n) = posterior.size();
        let (test, train) = ids(posterior)?;
        let tests = test.iter().flat_map(|&id| std::iter::repeat_n(id, n)).collect::<Vec<_>>();
        let trains = (0..m).flat_map(|_| train.iter().copied()).collect::<Vec<_>>();
        Ok(Table { height: m * n, columns: vec![counts("test", tests), counts("train", trains)] })
    }

    /// With `test` and `train` of some pairs, numbered test by test.
    pub(super) fn of_some(posterior: &Posterior, pairs: &[usize]) -> Result<Table> {
        let (_, n) = posterior.size();
        let (test, train) = ids(posterior)?;
        let tests = pairs.iter().map(|pair| test[pair / n]).collect();
        let trains = pairs.iter().map(|pair| train[pair % n]).collect();
        Ok(Table { height: pairs.len(), columns: vec![counts("test", tests), counts("train", trains)] })
    }

    pub(super) fn push(&mut self, name: &str, values: Vec<f64>) {
        let series = match values.iter().any(|value| value.is_nan()) {
            true => Series::new(name.into(), values.into_iter().map(|v| (!v.is_nan()).then_some(v)).collect::<Vec<_>>()),
            false => Series::new(name.into(), values),
        };
        self.columns.push(series.into_column());
    }

    pub(super) fn push_counts(&mut self, name: &str, values: Vec<u32>) {
        self.columns.push(counts(name, values));
    }

    pub(super) fn finish(self) -> Result<DataFrame> {
        Ok(DataFrame::new(self.height, self.columns)?)
    }

    /// Adds the metadata of both examples.
    pub(super) fn with_metadata(mut self, posterior: &Posterior, pairs: &[usize]) -> Result<DataFrame> {
        let (about, (_, n)) = (posterior.about()?, posterior.size());
        let rows = |of: fn(usize, usize) -> usize| {
            IdxCa::from_vec("".into(), pairs.iter().map(|&pair| of(pair, n) as IdxSize).collect())
        };
        for (side, frame, rows) in
            [("test", &about.test.frame, rows(|pair, n| pair / n)), ("train", &about.train.frame, rows(|pair, n| pair % n))]
        {
            for column in frame.columns().iter().filter(|column| column.name().as_str() != "example") {
                self.columns.push(column.take(&rows)?.with_name(format!("{side}_{}", column.name()).into()));
            }
        }
        self.finish()
    }
}

fn counts(name: &str, values: Vec<u32>) -> Column {
    Series::new(name.into(), values).into_column()
}

fn ids(posterior: &Posterior) -> Result<(Vec<u32>, Vec<u32>)> {
    let about = posterior.about()?;
    Ok((about.test.side().examples()?, about.train.side().examples()?))
}

impl Posterior {
    /// Every draw of some pairs, given by positions (test, train): what a strip or violin of one pair shows.
    ///
    /// Columns: `pair` (from 0), `test`, `train` (example ids), `run`, `step`, `score`.
    ///
    /// Errors: [`Error::Data`] for no pair or a position outside; [`Error::Unsupported`] for running moments.
    pub fn of_pairs(&self, pairs: &[(usize, usize)]) -> Result<DataFrame> {
        let (kept, (m, n)) = (self.kept("draws of pairs")?, self.size());
        if pairs.is_empty() {
            return Err(Error::data("pairs", "expected at least one, got none"));
        }
        for &(test, train) in pairs {
            check_position("test", test, m)?;
            check_position("train", train, n)?;
        }
        let each = self.draws.len();
        let flat: Vec<usize> = pairs.iter().flat_map(|&(i, j)| std::iter::repeat_n(i * n + j, each)).collect();
        let mut table = Table::of_some(self, &flat)?;
        table.columns.insert(0, counts("pair", (0..pairs.len() as u32).flat_map(|at| std::iter::repeat_n(at, each)).collect()));
        let again =
            |of: fn(&super::Draw) -> usize| pairs.iter().flat_map(|_| self.draws.iter().map(move |d| of(d) as u32)).collect();
        table.push_counts("run", again(|draw| draw.run));
        table.push_counts("step", again(|draw| draw.step));
        table.push("score", pairs.iter().flat_map(|&(i, j)| kept.iter().map(move |draw| f64::from(draw[i * n + j]))).collect());
        table.finish()
    }

    /// Positions (test, train) of the rows of a table about pairs, by their example ids, such as the first rows of
    /// [`Posterior::reliable`].
    ///
    /// Errors: [`Error::Data`] for an example that the scores are not about.
    pub fn positions(&self, pairs: &DataFrame) -> Result<Vec<(usize, usize)>> {
        let (test, train) = ids(self)?;
        let place = |side: &str, all: &[u32]| -> Result<Vec<usize>> {
            let find = |id: u32| {
                let missing = || Error::data(format!("{side} example {id}"), "the scores are not about it");
                all.iter().position(|other| *other == id).ok_or_else(missing)
            };
            guarded(|| column(pairs, side)?.u32()?.into_no_null_iter().map(find).collect())
        };
        Ok(place("test", &test)?.into_iter().zip(place("train", &train)?).collect())
    }
}
