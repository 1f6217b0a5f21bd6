//! What a snapshot reads from disk instead of computing it.

use tch::Tensor;

use super::{Of, Snapshot};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::store::{Stored, StoredRows};

impl Snapshot {
    /// Recorded gradients of a dataset, if there are any.
    pub(crate) fn stored(&self, of: Of, data: &Dataset) -> Option<Stored<'_>> {
        self.stores.iter().find_map(|store| store.gradients(self, of, data))
    }

    /// Recorded features of a dataset, `[n, k]`; `None` where the task has no features of it.
    ///
    /// `projection` is the name of the projection and `member` what it was fitted with: [`Task::member`](crate::task::Task::member) of the task
    /// that recorded. Errors: [`Error::Data`] if there are features of these examples, but by other projections. Methods compute then.
    pub fn stored_features(&self, of: Of, data: &Dataset, projection: &str, member: u64) -> Result<Option<Tensor>> {
        if let Some(rows) = self.stored_rows(of, data, projection, member) {
            return rows(0, data.len() as i64).map(Some);
        }
        let others: Vec<String> = self.features(of, data).map(|(name, member, _)| format!("{name}, member {member}")).collect();
        match others.is_empty() {
            true => Ok(None),
            false => {
                let reason = format!("expected features by {projection}, member {member}; got a store by {}", others.join("; "));
                Err(Error::data(data.name(), reason))
            }
        }
    }

    /// What reads the recorded features of some of the examples, from a first to before a last, if there are such features.
    pub(crate) fn stored_rows(&self, of: Of, data: &Dataset, projection: &str, member: u64) -> Option<StoredRows<'_>> {
        self.features(of, data).find(|(name, of, _)| (*name, *of) == (projection, member)).map(|(_, _, rows)| rows)
    }

    fn features(&self, of: Of, data: &Dataset) -> impl Iterator<Item = (&str, u64, StoredRows<'_>)> {
        self.stores.iter().filter_map(move |store| store.features(self, of, data))
    }
}
