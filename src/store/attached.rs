//! A store beside a task: whose gradients it can give instead of computing them.

use std::sync::{Arc, Mutex, PoisonError};

use tch::Tensor;

use super::Store;
use super::about::{number, of_name, parameters};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::digest;
use crate::error::Result;
use crate::gradient::{Gradients, Layout};
use crate::measurement::Measurement;
use crate::snapshot::{Of, Snapshot, same};
use crate::task::Task;

/// The name of every measurement that gives itself none.
const CLOSURE: &str = "closure";

/// A number that was asked for, and whether it is the recorded one.
type Verdict = (Arc<dyn Measurement>, bool);

/// A store that has been compared with a task and a dataset.
#[derive(Clone)]
pub(crate) struct Attached {
    store: Store,
    /// What its gradients are of.
    number: Arc<dyn Measurement>,
    train: Dataset,
    checkpoints: Vec<(Checkpoint, usize)>,
    /// Which other numbers of the same name have been found to be it, or not.
    verdicts: Arc<Mutex<Vec<Verdict>>>,
}

/// Features of the examples from a first to before a last, `[n, k]`.
pub(crate) type StoredRows<'a> = Box<dyn Fn(i64, i64) -> Result<Tensor> + 'a>;

/// The gradients of one dataset at one checkpoint.
pub(crate) struct Stored<'a> {
    store: &'a Store,
    checkpoint: usize,
    layout: &'a Arc<Layout>,
}

/// Bytes of formed gradients that are read at once.
const FORMED_BYTES: i64 = 64 << 20;

impl Stored<'_> {
    /// The end of a batch that may go from `start` to `end`. Factors keep it, so that products have the shapes of computed ones; formed
    /// gradients are cut to what memory allows, and within a part, so that nothing is copied.
    pub fn end(&self, start: i64, end: i64) -> i64 {
        if self.store.about.kept != "rows" {
            return end;
        }
        let rows = self.store.about.part_rows as i64;
        end.min((start / rows + 1) * rows).min(start + (FORMED_BYTES / (4 * self.layout.p())).max(1))
    }

    /// Gradients of the examples `start..end`.
    pub fn read(&self, start: i64, end: i64) -> Result<Gradients> {
        self.store.gradients(self.checkpoint, start, end, self.layout)
    }
}

impl Attached {
    /// Compares all that can be: the note, and a few gradients, since two architectures may have the same parameters and two closures
    /// the same name.
    pub fn new(store: &Store, task: &Task, train: &Dataset) -> Result<Attached> {
        let (name, about) = (store.name(), &store.about);
        store.whole()?;
        let first = task.snapshot(0)?;
        about.check_number(&name, of_name(about.of()), &number(task, about.of()))?;
        about.check_parameters(&name, &parameters(first.layout()))?;
        let digests =
            (digest::of_tensor(train.inputs())?, digest::of_tensor(train.targets())?, digest::of_ids(&train.examples()));
        about.check_data(&name, train.len(), &digests.0, &digests.1, &digests.2)?;
        let position = |checkpoint: &Checkpoint| Ok((checkpoint.clone(), about.position(&name, checkpoint)?));
        let checkpoints = task.checkpoints().iter().map(position).collect::<Result<Vec<_>>>()?;
        for (at, (_, position)) in checkpoints.iter().enumerate() {
            about.probes[*position].check(&name, &task.snapshot(at)?, about.of(), train)?;
        }
        let number = first.number(about.of()).clone();
        Ok(Attached { store: store.clone(), number, train: train.clone(), checkpoints, verdicts: Arc::default() })
    }

    /// Its part about one checkpoint, to travel with a snapshot.
    pub fn at(&self, checkpoint: &Checkpoint) -> Option<Attached> {
        let found = self.checkpoints.iter().find(|(mine, _)| same_weights(mine, checkpoint))?;
        Some(Attached { checkpoints: vec![found.clone()], ..self.clone() })
    }

    /// Whether it is about these examples.
    fn is_about(&self, data: &Dataset) -> bool {
        let equal = |a: &Tensor, b: &Tensor| {
            a.kind() == b.kind()
                && a.size() == b.size()
                && (same(a, b) && a.stride() == b.stride() || a.f_equal(b).unwrap_or(false))
        };
        equal(self.train.inputs(), data.inputs()) && equal(self.train.targets(), data.targets())
    }

    /// Whether a snapshot's number is the one it was made from: the same object, or another of that name, which says all settings, with
    /// the same gradients. Closures have no names.
    fn is_of(&self, snapshot: &Snapshot, of: Of) -> bool {
        let number = snapshot.number(of);
        if Arc::ptr_eq(number, &self.number) {
            return true;
        }
        let name = number.name();
        let Some((_, checkpoint)) = self.checkpoints.first().filter(|_| name == self.number.name() && !name.contains(CLOSURE))
        else {
            return false;
        };
        let verdicts = || self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, verdict)) = verdicts().iter().find(|(known, _)| Arc::ptr_eq(known, number)) {
            return *verdict;
        }
        // What cannot be computed is not recorded either: whoever asked hears why.
        let verdict = self.store.about.probes[*checkpoint].agrees(snapshot, of, &self.train).unwrap_or(false);
        verdicts().push((number.clone(), verdict));
        verdict
    }

    /// Gradients, if it holds those.
    pub fn gradients<'a>(&'a self, snapshot: &'a Snapshot, of: Of, data: &Dataset) -> Option<Stored<'a>> {
        let held = self.store.about.projection.is_none() && self.is_about(data) && self.is_of(snapshot, of);
        let checkpoint = self.checkpoints.first().filter(|_| held)?.1;
        Some(Stored { store: &self.store, checkpoint, layout: snapshot.layout() })
    }

    /// The name of its projection, what that was fitted with, and what reads the features, if it holds those.
    pub fn features(&self, snapshot: &Snapshot, of: Of, data: &Dataset) -> Option<(&str, u64, StoredRows<'_>)> {
        let projection = self.store.about.projection.as_deref()?;
        let held = self.is_about(data) && self.is_of(snapshot, of);
        let checkpoint = self.checkpoints.first().filter(|_| held)?.1;
        let rows = move |start: i64, end: i64| self.store.feature_rows(checkpoint, start as usize, end as usize);
        Some((projection, self.store.about.members[checkpoint], Box::new(rows)))
    }
}

fn same_weights(a: &Checkpoint, b: &Checkpoint) -> bool {
    let (mine, theirs) = (a.tensors(), b.tensors());
    let equal = |a: &Tensor, b: &Tensor| same(a, b) || a.f_equal(b).unwrap_or(false);
    let found = |(name, tensor): &(String, Tensor)| b.tensor(name).is_some_and(|other| equal(tensor, other));
    (a.run, a.step, mine.len()) == (b.run, b.step, theirs.len()) && mine.iter().all(found)
}
