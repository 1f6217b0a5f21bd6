//! What a snapshot reads from disk instead of computing it.

use tch::Tensor;

use super::{Of, Snapshot};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::store::{Stored, StoredRows};

impl Snapshot {
    /// Recorded gradients of a dataset, if there are any.
    pub(crate) fn stored(&self, of: Of, data: &Dataset) -> Option<Stored<'_>> {
        self.stores.iter().find_map(|store| store.gradients(self.number(of), data, &self.layout))
    }

    /// Recorded features of a dataset, `[n, k]`; `None` where the task has no features of it.
    ///
    /// `projection` is the name of the projection and `member` what it was fitted with: the position of the checkpoint in the task that
    /// recorded. Errors: [`Error::Data`] if there are features of these examples, but by other projections.
    pub fn stored_features(&self, of: Of, data: &Dataset, projection: &str, member: u64) -> Result<Option<Tensor>> {
        self.stored_rows(of, data, projection, member)?.map(|rows| rows(0, data.len() as i64)).transpose()
    }

    /// What reads the recorded features of some of the examples, from a first to before a last.
    pub(crate) fn stored_rows(&self, of: Of, data: &Dataset, projection: &str, member: u64) -> Result<Option<StoredRows<'_>>> {
        let mut others = Vec::new();
        for (name, position, rows) in self.stores.iter().filter_map(|store| store.features(self.number(of), data)) {
            if (name, position as u64) == (projection, member) {
                return Ok(Some(rows));
            }
            others.push(format!("{name}, member {position}"));
        }
        match others.is_empty() {
            true => Ok(None),
            false => {
                let reason = format!("expected features by {projection}, member {member}; got a store by {}", others.join("; "));
                Err(Error::data(data.name(), reason))
            }
        }
    }
}
