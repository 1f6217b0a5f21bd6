//! Scores at the examples of other scores.

use std::collections::HashMap;

use polars::prelude::DataFrame;
use tch::Tensor;

use super::Scores;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::frame::column;

/// Examples that something is about.
pub(crate) struct Side<'a> {
    pub(crate) frame: &'a DataFrame,
    /// Digest of the inputs: ids alone are 0, 1, 2, … for every dataset.
    pub(crate) inputs: &'a str,
}

impl Side<'_> {
    pub(crate) fn examples(&self) -> Result<Vec<u32>> {
        Ok(column(self.frame, "example")?.u32()?.into_no_null_iter().collect())
    }

    /// An error unless these are the examples of a dataset, in its order.
    pub(crate) fn check(&self, name: &str, side: &str, given: &Dataset) -> Result<()> {
        if self.examples()? != given.examples() {
            let reason =
                format!("its {side} examples are not the given ones ({} ids against {})", self.frame.height(), given.len());
            return Err(Error::data(name, reason));
        }
        match self.inputs == given.digest() {
            true => Ok(()),
            false => Err(Error::data(name, format!("its {side} examples have the given ids, but other inputs"))),
        }
    }
}

impl Scores {
    /// An error unless the rows are about these examples.
    pub(crate) fn check_test(&self, test: &Dataset) -> Result<()> {
        Side { frame: &self.test, inputs: &self.about.test_inputs }.check("scores", "test", test)
    }

    /// These scores at the rows and columns of `truth`, matched by example id, whatever their order: `[truth tests, truth trains]`.
    ///
    /// Errors: [`Error::Data`] naming an example of the truth that is not here, or examples that share ids but not their inputs or
    /// labels.
    pub(crate) fn at(&self, truth: &Scores) -> Result<Tensor> {
        let about = &truth.about;
        let test = Side { frame: &truth.test, inputs: &about.test_inputs };
        self.at_examples(&test, &Side { frame: &truth.train, inputs: &about.train_inputs })
    }

    /// The same for a truth about these examples.
    pub(crate) fn at_examples(&self, test: &Side<'_>, train: &Side<'_>) -> Result<Tensor> {
        let mine = &self.about;
        let (tests, trains) = (test.examples()?, train.examples()?);
        let rows = positions("test", (&mine.test, &self.test), (&tests, test.frame), self.method())?;
        let columns = positions("train", (&mine.train, &self.train), (&trains, train.frame), self.method())?;
        // A digest is of a whole set, so it can be compared only where the sets are the same.
        let tests_differ = mine.test == tests && mine.test_inputs != test.inputs;
        if tests_differ || (mine.train == trains && mine.train_inputs != train.inputs) {
            return Err(Error::data("truth", format!("its examples have the ids of {}, but other inputs", self.method())));
        }
        guarded(|| Ok(self.values.index_select(0, &Tensor::from_slice(&rows)).index_select(1, &Tensor::from_slice(&columns))))
    }
}

/// Where each of their ids stands among mine.
fn positions(side: &str, mine: (&[u32], &DataFrame), theirs: (&[u32], &DataFrame), method: &str) -> Result<Vec<i64>> {
    let mut place = HashMap::new();
    for (at, id) in mine.0.iter().enumerate() {
        place.entry(*id).or_insert(at as i64);
    }
    let (labels, their_labels) = (labels(mine.1), labels(theirs.1));
    let mut found = Vec::with_capacity(theirs.0.len());
    for (row, id) in theirs.0.iter().enumerate() {
        let Some(&at) = place.get(id) else {
            let expected = format!("{side} example {id} among the {} {side} examples of {method}", mine.0.len());
            return Err(Error::data("truth", format!("expected its {expected}; it is not there")));
        };
        if let (Some(a), Some(b)) = (&labels, &their_labels)
            && a[at as usize] != b[row]
        {
            let reason =
                format!("{side} example {id} has label {:?} there and {:?} in the scores of {method}", b[row], a[at as usize]);
            return Err(Error::data("truth", reason));
        }
        found.push(at);
    }
    Ok(found)
}

fn labels(frame: &DataFrame) -> Option<Vec<Option<i64>>> {
    Some(frame.column("label").ok()?.i64().ok()?.iter().collect())
}
