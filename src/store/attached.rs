//! A store beside a task: whose gradients it can give instead of computing them.

use std::sync::Arc;

use tch::Tensor;

use super::Store;
use super::about::{number, of_name, parameters};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::digest;
use crate::error::{Error, Result, guarded};
use crate::gradient::{Gradients, Layout};
use crate::measurement::Measurement;
use crate::snapshot::{Snapshot, same};
use crate::task::Task;

/// How far recorded numbers may be from computed ones, relative to the largest: rounding of float32, and of float16.
const APART: f64 = 1e-3;
const APART_HALF: f64 = 1e-2;

/// The name of every measurement that gives itself none.
const CLOSURE: &str = "closure";

/// A store that has been compared with a task and a dataset.
#[derive(Clone)]
pub(crate) struct Attached {
    store: Store,
    /// What its gradients are of.
    number: Arc<dyn Measurement>,
    train: Dataset,
    checkpoints: Vec<(Checkpoint, usize)>,
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
    /// Compares all that can be: the note, and a first and a last example computed anew, since two architectures may have the same
    /// parameters and two closures the same name.
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
        let number = first.number(about.of()).clone();
        let attached = Attached { store: store.clone(), number, train: train.clone(), checkpoints };
        if about.projection.is_none() {
            for (at, (_, position)) in attached.checkpoints.iter().enumerate() {
                attached.compare(&task.snapshot(at)?, *position)?;
            }
        }
        Ok(attached)
    }

    /// Recorded gradients of two examples with computed ones.
    fn compare(&self, snapshot: &Snapshot, position: usize) -> Result<()> {
        for example in [0, self.train.len() as i64 - 1] {
            let (inputs, targets) = self.train.slice(example, example + 1);
            let stored = self.store.gradients(position, example, example + 1, snapshot.layout())?.dense()?;
            let apart = guarded(|| {
                let computed = Gradients::compute(snapshot, self.store.about.of(), &inputs, &targets)?.dense()?;
                Ok((&stored - &computed).abs().max().double_value(&[]) / computed.abs().max().double_value(&[]).max(1e-6))
            })?;
            let most = if self.store.about.dtype == "float16" { APART_HALF } else { APART };
            if apart.is_nan() || apart > most {
                let reason = format!("made from something else, the gradient of example {example} at {}", snapshot.name());
                let got = format!("one that is {apart:.1e} of its size away; look at the architecture and the measurement");
                return Err(Error::data(self.store.name(), format!("{reason}: expected that of this task, got {got}")));
            }
        }
        Ok(())
    }

    /// Its part about one checkpoint, to travel with a snapshot.
    pub fn at(&self, checkpoint: &Checkpoint) -> Option<Attached> {
        let found = self.checkpoints.iter().find(|(mine, _)| same_weights(mine, checkpoint))?;
        Some(Attached { checkpoints: vec![found.clone()], ..self.clone() })
    }

    /// Whether it is about this number of these examples.
    fn is_of(&self, number: &Arc<dyn Measurement>, data: &Dataset) -> bool {
        let equal = |a: &Tensor, b: &Tensor| {
            a.kind() == b.kind()
                && a.size() == b.size()
                && (same(a, b) && a.stride() == b.stride() || a.f_equal(b).unwrap_or(false))
        };
        let train = &self.train;
        same_number(number, &self.number) && equal(train.inputs(), data.inputs()) && equal(train.targets(), data.targets())
    }

    /// Gradients, if it holds those.
    pub fn gradients<'a>(&'a self, number: &Arc<dyn Measurement>, data: &Dataset, layout: &'a Arc<Layout>) -> Option<Stored<'a>> {
        let held = self.store.about.projection.is_none() && self.is_of(number, data);
        let checkpoint = self.checkpoints.first().filter(|_| held)?.1;
        Some(Stored { store: &self.store, checkpoint, layout })
    }

    /// The name of its projection, the checkpoint's position, and what reads the features, if it holds those.
    pub fn features(&self, number: &Arc<dyn Measurement>, data: &Dataset) -> Option<(&str, usize, StoredRows<'_>)> {
        let projection = self.store.about.projection.as_deref()?;
        let checkpoint = self.checkpoints.first().filter(|_| self.is_of(number, data))?.1;
        let rows = move |start: i64, end: i64| self.store.feature_rows(checkpoint, start as usize, end as usize);
        Some((projection, checkpoint, Box::new(rows)))
    }
}

/// Whether two measurements are one: the same object, or two without any settings and of one name, as methods make them.
fn same_number(a: &Arc<dyn Measurement>, b: &Arc<dyn Measurement>) -> bool {
    let bare = |x: &Arc<dyn Measurement>| size_of_val(&**x) == 0 && x.name() != CLOSURE;
    Arc::ptr_eq(a, b) || (bare(a) && bare(b) && a.name() == b.name())
}

fn same_weights(a: &Checkpoint, b: &Checkpoint) -> bool {
    let (mine, theirs) = (a.tensors(), b.tensors());
    let equal = |a: &Tensor, b: &Tensor| same(a, b) || a.f_equal(b).unwrap_or(false);
    let found = |(name, tensor): &(String, Tensor)| b.tensor(name).is_some_and(|other| equal(tensor, other));
    (a.run, a.step, mine.len()) == (b.run, b.step, theirs.len()) && mine.iter().all(found)
}
