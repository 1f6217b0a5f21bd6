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
    /// Digest of the input and target of each: ids alone are 0, 1, 2, … for every dataset.
    pub(crate) digests: &'a [i64],
}

impl Side<'_> {
    pub(crate) fn examples(&self) -> Result<Vec<u32>> {
        Ok(column(self.frame, "example")?.u32()?.into_no_null_iter().collect())
    }

    /// An error unless these are the examples of a dataset, in its order.
    pub(crate) fn check(&self, name: &str, side: &str, given: &Dataset) -> Result<()> {
        check_same(name, side, (&self.examples()?, self.digests), given)
    }
}

/// An error unless these ids and digests are those of a dataset, in its order.
pub(super) fn check_same(name: &str, side: &str, (ids, digests): (&[u32], &[i64]), given: &Dataset) -> Result<()> {
    if *ids != given.examples() {
        let reason = format!("its {side} examples are not the given ones ({} ids against {})", ids.len(), given.len());
        return Err(Error::data(name, reason));
    }
    match digests.iter().zip(given.digests()?).position(|(mine, theirs)| *mine != theirs) {
        Some(at) => {
            let reason =
                format!("its {side} examples have the given ids, but other inputs or targets, first example {}", ids[at]);
            Err(Error::data(name, reason))
        }
        None if digests.len() != ids.len() => Err(Error::data(name, format!("it has not one digest per {side} example"))),
        None => Ok(()),
    }
}

impl Scores {
    /// The test and the train examples that these are about.
    pub(crate) fn sides(&self) -> (Side<'_>, Side<'_>) {
        let test = Side { frame: &self.test, digests: &self.about.test_digests };
        (test, Side { frame: &self.train, digests: &self.about.train_digests })
    }

    /// An error unless the rows are about these examples.
    pub(crate) fn check_test(&self, test: &Dataset) -> Result<()> {
        Side { frame: &self.test, digests: &self.about.test_digests }.check("scores", "test", test)
    }

    /// An error unless the columns are about these examples.
    pub(crate) fn check_train(&self, train: &Dataset) -> Result<()> {
        Side { frame: &self.train, digests: &self.about.train_digests }.check("scores", "train", train)
    }

    /// These scores at the rows and columns of `truth`, matched by example id, whatever their order: `[truth tests, truth trains]`.
    ///
    /// Errors: [`Error::Data`] naming an example of the truth that is not here, or examples that share ids but not their inputs or
    /// labels.
    pub(crate) fn at(&self, truth: &Scores) -> Result<Tensor> {
        let about = &truth.about;
        let test = Side { frame: &truth.test, digests: &about.test_digests };
        self.at_examples(&test, &Side { frame: &truth.train, digests: &about.train_digests })
    }

    /// The same for a truth about these examples.
    pub(crate) fn at_examples(&self, test: &Side<'_>, train: &Side<'_>) -> Result<Tensor> {
        let mine = Side { frame: &self.test, digests: &self.about.test_digests };
        let rows = positions("test", &mine, test, self.method())?;
        let mine = Side { frame: &self.train, digests: &self.about.train_digests };
        let columns = positions("train", &mine, train, self.method())?;
        guarded(|| Ok(self.values.index_select(0, &Tensor::from_slice(&rows)).index_select(1, &Tensor::from_slice(&columns))))
    }
}

/// Where each of their ids stands among mine.
fn positions(side: &str, mine: &Side<'_>, theirs: &Side<'_>, method: &str) -> Result<Vec<i64>> {
    let (my_ids, their_ids) = (mine.examples()?, theirs.examples()?);
    let mut place = HashMap::new();
    for (at, id) in my_ids.iter().enumerate() {
        place.entry(*id).or_insert(at);
    }
    let (labels, their_labels) = (labels(mine.frame), labels(theirs.frame));
    let mut found = Vec::with_capacity(their_ids.len());
    for (row, id) in their_ids.iter().enumerate() {
        let Some(&at) = place.get(id) else {
            let expected = format!("{side} example {id} among the {} {side} examples of {method}", my_ids.len());
            return Err(Error::data("truth", format!("expected its {expected}; it is not there")));
        };
        if let (Some(a), Some(b)) = (&labels, &their_labels)
            && a[at] != b[row]
        {
            let reason = format!("{side} example {id} has label {:?} there and {:?} in the scores of {method}", b[row], a[at]);
            return Err(Error::data("truth", reason));
        }
        if mine.digests[at] != theirs.digests[row] {
            let reason = format!("{side} example {id} has other inputs or targets there than in the scores of {method}");
            return Err(Error::data("truth", reason));
        }
        found.push(at as i64);
    }
    Ok(found)
}

fn labels(frame: &DataFrame) -> Option<Vec<Option<i64>>> {
    Some(frame.column("label").ok()?.i64().ok()?.iter().collect())
}
