//! The gradients of all train examples, kept where memory allows, for geometries that live in their span.

use std::rc::Rc;

use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::gradient::Gradients;
use crate::gradient::stream::{batch_size, each_batch};
use crate::progress::Progress;
use crate::snapshot::{Of, Snapshot};

/// Bytes of factored gradients that are kept instead of being computed again.
pub(crate) const HELD_BYTES: i64 = 512 << 20;

/// Train gradients of the objective in batches.
pub(crate) struct TrainSide {
    snapshot: Rc<Snapshot>,
    train: Dataset,
    size: i64,
    held: Option<Vec<Gradients>>,
    held_bytes: i64,
}

impl TrainSide {
    pub fn new(snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<TrainSide> {
        TrainSide::within(snapshot, train, HELD_BYTES)
    }

    /// Keeps them only if they take no more than `bytes` either.
    pub fn within(snapshot: &Rc<Snapshot>, train: &Dataset, bytes: i64) -> Result<TrainSide> {
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        let room = batch_size(snapshot, train, false)?;
        // At least four batches: a pair of different ones serves both ways.
        let size = room.at_once.min((train.len().div_ceil(4) as i64).max(64));
        let mut side = TrainSide { snapshot: snapshot.clone(), train: train.clone(), size, held: None, held_bytes: 0 };
        let all = room.held * train.len() as i64;
        if all <= HELD_BYTES.min(bytes) {
            side.held_bytes = all;
            let mut held = Vec::new();
            let mut progress = Progress::new("train gradients", train.len() as u64);
            each_batch(snapshot, Of::Objective, train, side.size, |_, gradients| {
                progress.add(gradients.n() as u64);
                held.push(gradients);
                Ok(())
            })?;
            side.held = Some(held);
        }
        Ok(side)
    }

    /// Bytes of the gradients that are kept.
    pub fn held_bytes(&self) -> i64 {
        self.held_bytes
    }

    pub fn n(&self) -> i64 {
        self.train.len() as i64
    }

    /// Calls `each` with the position of the first example and the gradients of every batch, in order.
    pub fn each(&self, mut each: impl FnMut(i64, &Gradients) -> Result<()>) -> Result<()> {
        match &self.held {
            Some(held) => {
                let mut start = 0;
                for gradients in held {
                    guarded(|| each(start, gradients))?;
                    start += gradients.n();
                }
                Ok(())
            }
            None => each_batch(&self.snapshot, Of::Objective, &self.train, self.size, |start, gradients| each(start, &gradients)),
        }
    }

    /// Calls `each` with every unordered pair of batches, a batch with itself included.
    pub fn each_pair(&self, mut each: impl FnMut((i64, &Gradients), (i64, &Gradients)) -> Result<()>) -> Result<()> {
        self.each(|row, rows| {
            self.each(|column, columns| match column >= row {
                true => each((row, rows), (column, columns)),
                false => Ok(()),
            })
        })
    }

    /// Whether inner products of all train examples with each other cost less than `m` formed gradients that meet all of them.
    pub fn by_gram(&self, m: i64) -> bool {
        let Some(held) = &self.held else { return false };
        let n = self.n();
        let (mut kernel, mut formed) = (0, 0);
        for block in held.iter().take(1).flat_map(|g| g.blocks()) {
            kernel += n * n * block.cost_of_pair() / 2 + n * n * m;
            formed += 2 * n * m * block.len();
        }
        kernel < formed
    }
}
