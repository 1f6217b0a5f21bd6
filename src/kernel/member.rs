//! One checkpoint: its train features, and how test examples meet them on either side of the inverse.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::features::{BATCH_BYTES, FeatureMap, HELD_BYTES, Rows};
use super::plan::{Block, Plan};
use super::route::Route;
use crate::curvature::train_side::TrainSide;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::gradient::stream::{batch_size, each_batch};
use crate::progress::Progress;
use crate::snapshot::{Of, Snapshot};

/// Bytes that test examples may take while they meet the train examples.
const TEST_BYTES: i64 = 1 << 30;

/// Where the features of the train examples come from.
pub(super) enum Source {
    /// Gradients of all parameters, met through their factors: k = p, and only inner products are formed.
    Gradients(TrainSide),
    /// Features `[n, k]`.
    Features(FeatureMap, Rows),
}

pub(super) struct Member {
    pub snapshot: Rc<Snapshot>,
    pub n: i64,
    pub source: Source,
    pub blocks: Vec<Block>,
}

impl Member {
    /// Keeps what fits into `room`, which the members share, and takes its bytes from it.
    pub fn new(snapshot: Rc<Snapshot>, train: &Dataset, plan: Plan, half: bool, room: &mut i64) -> Result<Member> {
        let source = match plan.projector {
            None => {
                let side = TrainSide::within(&snapshot, train, *room)?;
                *room -= side.held_bytes();
                Source::Gradients(side)
            }
            Some((projector, name, member)) => {
                let map = FeatureMap { snapshot: snapshot.clone(), projector, name, member };
                let rows = Rows::new(&map, train, half, room)?;
                Source::Features(map, rows)
            }
        };
        Ok(Member { source, snapshot, n: train.len() as i64, blocks: plan.blocks })
    }

    /// Error of an inner product relative to the two lengths.
    pub fn rounding(&self) -> f64 {
        match &self.source {
            Source::Gradients(_) => 1e-6,
            Source::Features(_, rows) => rows.rounding(),
        }
    }

    fn k(&self) -> i64 {
        self.blocks.iter().map(|block| block.len).sum()
    }

    /// What each block's inverse is of, float64: `Φ Φᵀ` `[n, n]` or `Φᵀ Φ` `[len, len]`; only the upper triangle counts.
    ///
    /// Float64 products take twice the time of float32, but that is little beside the gradients and the factor, and rounding would
    /// otherwise be of the order of small dampings.
    pub fn matrices(&self) -> Result<Vec<Tensor>> {
        let sizes = self.blocks.iter().map(|block| block.route.size(self.n, block.len));
        let empty = |r: i64| Ok(Tensor::f_zeros([r, r], (Kind::Double, Device::Cpu))?);
        let matrices = guarded(|| sizes.map(empty).collect::<Result<Vec<_>>>())?;
        let mut progress = Progress::new("inner products", self.n.pow(2) as u64);
        match &self.source {
            Source::Gradients(train) => train.each_pair(|(row, rows), (column, columns)| {
                progress.add((rows.n() * columns.n() * if row == column { 1 } else { 2 }) as u64);
                let tile = rows.gram(columns)?;
                let part = |r: i64, h: i64, c: i64, w: i64| matrices[0].narrow(0, r, h).narrow(1, c, w);
                part(row, rows.n(), column, columns.n()).copy_(&tile);
                part(column, columns.n(), row, rows.n()).copy_(&tile.transpose(0, 1));
                Ok(())
            })?,
            Source::Features(map, rows) => {
                if self.blocks.iter().any(|block| block.route == Route::Primal) {
                    rows.each(map, |_, batch| {
                        for (block, matrix) in self.with(&matrices, Route::Primal) {
                            add_moment(&block.columns(batch), matrix);
                        }
                        Ok(())
                    })?;
                }
                if self.blocks.iter().any(|block| block.route == Route::Dual) {
                    self.kernels(map, rows, &matrices)?;
                }
            }
        }
        Ok(matrices)
    }

    fn with<'a>(&'a self, tensors: &'a [Tensor], route: Route) -> impl Iterator<Item = (&'a Block, &'a Tensor)> {
        self.blocks.iter().zip(tensors).filter(move |(block, _)| block.route == route)
    }

    /// `Φ Φᵀ` of the blocks among the examples: a chunk of rows meets itself and all rows after it.
    fn kernels(&self, map: &FeatureMap, rows: &Rows, kernels: &[Tensor]) -> Result<()> {
        let at_once = (HELD_BYTES / (8 * self.k())).clamp(1, self.n);
        for from in (0..self.n).step_by(at_once as usize) {
            let count = at_once.min(self.n - from);
            let chunk = guarded(|| Ok(Tensor::f_empty([count, self.k()], (Kind::Double, Device::Cpu))?))?;
            // The part of a batch that lies in the chunk joins it before the batch is met.
            rows.each(map, |start, batch| {
                let end = start + batch.size()[0];
                let (low, high) = (start.max(from), end.min(from + count));
                if low < high {
                    chunk.narrow(0, low - from, high - low).copy_(&batch.narrow(0, low - start, high - low));
                }
                if end <= from {
                    return Ok(());
                }
                let known = end.min(from + count) - from;
                for (block, kernel) in self.with(kernels, Route::Dual) {
                    let tile = block.columns(&chunk.narrow(0, 0, known)).matmul(&block.columns(batch).transpose(0, 1));
                    kernel.narrow(0, from, known).narrow(1, start, end - start).copy_(&tile);
                    kernel.narrow(1, from, known).narrow(0, start, end - start).copy_(&tile.transpose(0, 1));
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Calls `each` with the position of the first example of as many as memory allows to treat at once, in order.
    pub fn each_chunk(&self, test: &Dataset, mut each: impl FnMut(i64, &Dataset) -> Result<()>) -> Result<()> {
        let numbers: i64 = match &self.source {
            Source::Gradients(_) => self.n + batch_size(&self.snapshot, test, false)?.held / 8,
            Source::Features(..) => self.k() + self.blocks.iter().map(|b| b.route.size(self.n, b.len)).sum::<i64>(),
        };
        let at_once = (TEST_BYTES / (16 * (self.n + numbers))).max(1) as usize;
        if at_once >= test.len() {
            return guarded(|| each(0, test));
        }
        for from in (0..test.len()).step_by(at_once) {
            let positions: Vec<usize> = (from..(from + at_once).min(test.len())).collect();
            let chunk = test.select(&positions)?;
            guarded(|| each(from as i64, &chunk))?;
        }
        Ok(())
    }

    /// Squared lengths of the train examples' features, `[n]`, float64.
    pub fn squared_lengths(&self) -> Result<Tensor> {
        let total = Tensor::zeros([self.n], (Kind::Double, Device::Cpu));
        match &self.source {
            Source::Gradients(train) => train.each(|start, gradients| {
                total.narrow(0, start, gradients.n()).copy_(&gradients.norms()?.square());
                Ok(())
            })?,
            Source::Features(map, rows) => rows.each(map, |start, batch| {
                total.narrow(0, start, batch.size()[0]).copy_(&squares(batch));
                Ok(())
            })?,
        }
        Ok(total)
    }

    /// The squared lengths of examples by block, each `[m]`, and what they meet.
    pub fn meet_with_lengths(&self, of: Of, data: &Dataset) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        match &self.source {
            Source::Features(map, _) => {
                let features = map.features(of, data)?;
                let features = guarded(|| Ok(features.to_kind(Kind::Double)))?;
                let lengths = guarded(|| Ok(self.blocks.iter().map(|block| squares(&block.columns(&features))).collect()))?;
                Ok((lengths, self.meet_rows(&features)?))
            }
            Source::Gradients(_) => {
                let lengths = Tensor::zeros([data.len() as i64], (Kind::Double, Device::Cpu));
                let size = batch_size(&self.snapshot, data, false)?.at_once;
                each_batch(&self.snapshot, of, data, size, |start, gradients| {
                    lengths.narrow(0, start, gradients.n()).copy_(&gradients.norms()?.square());
                    Ok(())
                })?;
                Ok((vec![lengths], self.meet(of, data)?))
            }
        }
    }

    /// What each block's inverse is applied to, `[m, n]` or `[m, len]`: the features of test examples, or their inner products
    /// with those of the train examples; float64.
    pub fn meet(&self, of: Of, test: &Dataset) -> Result<Vec<Tensor>> {
        match &self.source {
            Source::Features(map, _) => {
                let features = map.features(of, test)?;
                self.meet_rows(&guarded(|| Ok(features.to_kind(Kind::Double)))?)
            }
            Source::Gradients(train) => {
                let mut sides = Vec::new();
                let size = batch_size(&self.snapshot, test, false)?.at_once;
                let mut budget = BATCH_BYTES;
                each_batch(&self.snapshot, of, test, size, |start, gradients| {
                    let share = budget * gradients.n() / (test.len() as i64 - start);
                    budget -= share;
                    sides.push((start, gradients.prepare(self.n, share)?));
                    Ok(())
                })?;
                let products = guarded(|| Ok(Tensor::f_empty([test.len() as i64, self.n], (Kind::Double, Device::Cpu))?))?;
                train.each(|start, gradients| {
                    for (from, side) in &sides {
                        let tile = gradients.gram(side)?.transpose(0, 1);
                        products.narrow(0, *from, side.n()).narrow(1, start, gradients.n()).copy_(&tile);
                    }
                    Ok(())
                })?;
                Ok(vec![products])
            }
        }
    }

    /// The same for the sum of all test examples, as one row.
    pub fn meet_together(&self, of: Of, test: &Dataset) -> Result<Vec<Tensor>> {
        match &self.source {
            Source::Features(map, _) => {
                let sum = Tensor::zeros([1, self.k()], (Kind::Double, Device::Cpu));
                map.each(of, test, |_, rows| {
                    let _ = sum.shallow_clone().g_add_(&rows.sum_dim_intlist([0i64].as_slice(), true, Kind::Double));
                    Ok(())
                })?;
                self.meet_rows(&sum)
            }
            Source::Gradients(train) => {
                let sum = Tensor::zeros([1, self.snapshot.p()], (Kind::Float, Device::Cpu));
                let size = batch_size(&self.snapshot, test, false)?.at_once;
                each_batch(&self.snapshot, of, test, size, |_, gradients| {
                    let ones = Tensor::ones([gradients.n(), 1], (Kind::Float, Device::Cpu));
                    let _ = sum.shallow_clone().g_add_(&gradients.combine(&ones)?);
                    Ok(())
                })?;
                let products = Tensor::zeros([1, self.n], (Kind::Double, Device::Cpu));
                train.each(|start, gradients| {
                    products.narrow(1, start, gradients.n()).copy_(&gradients.dot(&sum)?.transpose(0, 1));
                    Ok(())
                })?;
                Ok(vec![products])
            }
        }
    }

    pub(super) fn meet_rows(&self, features: &Tensor) -> Result<Vec<Tensor>> {
        let sides = self.blocks.iter().map(|block| match block.route {
            Route::Primal => block.columns(features),
            Route::Dual => Tensor::zeros([features.size()[0], self.n], (Kind::Double, Device::Cpu)),
        });
        let sides = guarded(|| Ok(sides.collect::<Vec<_>>()))?;
        if let Source::Features(map, rows) = &self.source
            && self.blocks.iter().any(|block| block.route == Route::Dual)
        {
            rows.each(map, |start, batch| {
                for (block, side) in self.with(&sides, Route::Dual) {
                    let tile = block.columns(features).matmul(&block.columns(batch).transpose(0, 1));
                    side.narrow(1, start, batch.size()[0]).copy_(&tile);
                }
                Ok(())
            })?;
        }
        Ok(sides)
    }

    /// Scores `[m, n]`, float64, from what `meet` gave after the inverse.
    pub fn finish(&self, solved: &[Tensor]) -> Result<Tensor> {
        let m = solved.first().map_or(0, |rows| rows.size()[0]);
        let total = guarded(|| Ok(Tensor::f_zeros([m, self.n], (Kind::Double, Device::Cpu))?))?;
        for (_, rows) in self.with(solved, Route::Dual) {
            let _ = total.shallow_clone().g_add_(rows);
        }
        if let Source::Features(map, rows) = &self.source
            && self.blocks.iter().any(|block| block.route == Route::Primal)
        {
            // Blocks side by side: one product sums over them.
            let whole = Tensor::zeros([m, self.k()], (Kind::Double, Device::Cpu));
            self.with(solved, Route::Primal).for_each(|(block, rows)| block.columns(&whole).copy_(rows));
            rows.each(map, |start, batch| {
                let _ = total.narrow(1, start, batch.size()[0]).addmm_(&whole, &batch.transpose(0, 1));
                Ok(())
            })?;
        }
        Ok(total)
    }
}

/// Of each row.
pub(super) fn squares(rows: &Tensor) -> Tensor {
    rows.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
}

/// Adds `ΦᵀΦ` of a batch to the upper triangle, in four strips that leave out most of the lower one.
fn add_moment(rows: &Tensor, matrix: &Tensor) {
    let len = rows.size()[1];
    let width = ((len + 3) / 4).max(1);
    for start in (0..len).step_by(width as usize) {
        let (height, rest) = (width.min(len - start), len - start);
        let strip = rows.narrow(1, start, height).transpose(0, 1);
        let _ = matrix.narrow(0, start, height).narrow(1, start, rest).addmm_(&strip, &rows.narrow(1, start, rest));
    }
}
