//! Gradients of both sides streamed, mapped and met: what a fitted [`InnerProduct`](super::InnerProduct) does.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::Attributor;
use super::wrapped::reciprocal;
use crate::curvature::Preconditioner;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::gradient::Gradients;
use crate::gradient::stream::{batch_size, each_batch};
use crate::progress::Progress;
use crate::snapshot::{Of, Snapshot, finite};

/// Memory for formed test gradients and preconditioned rows.
const TEST_BYTES: i64 = 1 << 30;

/// Memory for train gradients that are formed at once.
const FORMED_BYTES: i64 = 128 << 20;

/// One checkpoint, ready to score.
pub(super) struct Point {
    pub snapshot: Rc<Snapshot>,
    pub weight: f64,
    pub preconditioner: Option<Box<dyn Preconditioner>>,
}

pub(super) struct Scoring {
    pub name: String,
    pub train: Dataset,
    pub explain: Of,
    pub unit_norm: bool,
    pub points: Vec<Point>,
}

/// Some test examples at one checkpoint, preconditioned.
struct TestSide {
    start: i64,
    gradients: Gradients,
    scale: Option<Tensor>,
}

impl Point {
    /// Whether a pass forms dense gradients.
    fn forms(&self) -> bool {
        self.preconditioner.as_ref().is_some_and(|p| !p.keeps_factors())
    }
}

impl Scoring {
    /// Test gradients from example `from`, as many as memory allows; and the position after the last.
    ///
    /// Where the preconditioner wants rows, it gets all of them at once: an iterative solver shares its work among them.
    fn test_sides(&self, point: &Point, test: &Dataset, from: i64) -> Result<(Vec<TestSide>, i64)> {
        let room = batch_size(&point.snapshot, test, point.preconditioner.is_some())?;
        let until = (from + (TEST_BYTES / room.held).max(1)).min(test.len() as i64);
        let at_once = if point.forms() { room.at_once } else { self.at_once(point, test)? };
        let (mut sides, mut mapped, mut start) = (Vec::new(), Vec::new(), from);
        let rows = match point.forms() {
            true => Some(guarded(|| Ok(Tensor::f_empty([until - from, point.snapshot.p()], (Kind::Float, Device::Cpu))?))?),
            false => None,
        };
        let mut budget = TEST_BYTES;
        while start < until {
            let end = (start + at_once).min(until);
            let (inputs, targets) = test.slice(start, end);
            let gradients = guarded(|| Gradients::compute(&point.snapshot, self.explain, &inputs, &targets))?;
            let scale = if self.unit_norm { Some(reciprocal(&gradients.norms()?)?) } else { None };
            match &point.preconditioner {
                Some(_) if rows.is_some() => {
                    let part = rows.as_ref().map(|rows| rows.narrow(0, start - from, end - start));
                    part.map_or(Ok(()), |part| gradients.write(&part))?;
                }
                Some(preconditioner) => mapped.push(preconditioner.map(gradients)?),
                None => {
                    let share = budget * (end - start) / (until - start);
                    budget -= share;
                    sides.push(TestSide { start, gradients: gradients.prepare(self.train.len() as i64, share)?, scale });
                }
            }
            start = end;
        }
        if !mapped.is_empty() {
            // As one: a train batch that has to be formed is formed once.
            sides.push(TestSide { start: from, gradients: Gradients::join(mapped)?, scale: None });
        }
        if let (Some(preconditioner), Some(rows)) = (&point.preconditioner, rows) {
            let mapped = preconditioner.apply(&rows)?;
            drop(rows);
            let (inputs, targets) = test.slice(from, from + 1);
            let gradients = guarded(|| {
                let like = Gradients::compute(&point.snapshot, self.explain, &inputs, &targets)?;
                Ok(Gradients::of_rows_like(&mapped, &like))
            })?;
            sides.push(TestSide { start: from, gradients, scale: None });
        }
        Ok((sides, until))
    }

    /// Adds what one checkpoint says to `total` `[m, n]`, where its geometry has a shorter way than meeting every train gradient.
    fn score_directly(&self, point: &Point, test: &Dataset, total: &Tensor) -> Result<bool> {
        let m = test.len() as i64;
        let Some(preconditioner) = point.preconditioner.as_ref().filter(|p| p.scores_directly(m)) else { return Ok(false) };
        let size = batch_size(&point.snapshot, test, false)?.at_once;
        each_batch(&point.snapshot, self.explain, test, size, |start, gradients| {
            let scores = preconditioner.scores(&gradients)? * point.weight;
            let _ = total.narrow(0, start, gradients.n()).g_add_(&scores);
            Ok(())
        })?;
        Ok(true)
    }

    /// Examples whose gradients a geometry gets at once: where it may form them, as many as memory allows.
    fn at_once(&self, point: &Point, data: &Dataset) -> Result<i64> {
        let size = batch_size(&point.snapshot, data, false)?.at_once;
        Ok(match point.preconditioner {
            Some(_) => size.min((FORMED_BYTES / (4 * point.snapshot.p())).max(16)),
            None => size,
        })
    }

    /// Calls `each` with the gradients of one number on the examples of a dataset: batch by batch, or as many rows at once as memory
    /// allows where the geometry wants rows, so that a solver shares its work among them.
    fn each_side(&self, point: &Point, of: Of, data: &Dataset, mut each: impl FnMut(i64, Gradients) -> Result<()>) -> Result<()> {
        point.snapshot.check(data, point.snapshot.measurement(of))?;
        if !point.forms() {
            return each_batch(&point.snapshot, of, data, self.at_once(point, data)?, each);
        }
        let (n, p) = (data.len() as i64, point.snapshot.p());
        let many = (TEST_BYTES / (4 * p)).max(1);
        let size = batch_size(&point.snapshot, data, true)?.at_once;
        for from in (0..n).step_by(many as usize) {
            let len = many.min(n - from);
            let rows = guarded(|| Ok(Tensor::f_empty([len, p], (Kind::Float, Device::Cpu))?))?;
            let positions: Vec<usize> = (from as usize..(from + len) as usize).collect();
            each_batch(&point.snapshot, of, &data.select(&positions)?, size, |start, gradients| {
                gradients.write(&rows.narrow(0, start, gradients.n()))
            })?;
            each(from, Gradients::of_rows(rows, point.snapshot.layout()))?;
        }
        Ok(())
    }

    /// `w_c ⟨P g, g⟩` summed over checkpoints, for the gradients of one number on each example of a dataset.
    fn kernel_diagonal(&self, of: Of, data: &Dataset) -> Result<Tensor> {
        let n = data.len() as i64;
        let total = Tensor::zeros([n], (Kind::Float, Device::Cpu));
        let mut progress = Progress::new(&format!("{} self-influence", self.name), n as u64 * self.points.len() as u64);
        for point in &self.points {
            self.each_side(point, of, data, |start, gradients| {
                let scores = match &point.preconditioner {
                    Some(preconditioner) => preconditioner.quadratic_of(&gradients)?,
                    None if self.unit_norm => gradients.norms()?.gt(0.0).to_kind(Kind::Float),
                    None => gradients.norms()?.square(),
                };
                let _ = total.narrow(0, start, gradients.n()).g_add_(&(scores * point.weight));
                progress.add(gradients.n() as u64);
                Ok(())
            })?;
        }
        progress.finish();
        finite(&self.name, total, "a self-influence overflowed; look for very large weights or inputs")
    }
}

impl Scoring {
    /// Self-influence and squared lengths of the train gradients, summed over checkpoints, if all geometries know them.
    fn of_train(&self) -> Result<Option<(Tensor, Tensor)>> {
        let mut total: Option<(Tensor, Tensor)> = None;
        for point in &self.points {
            let Some(preconditioner) = &point.preconditioner else { return Ok(None) };
            let Some((own, lengths)) = preconditioner.of_train()? else { return Ok(None) };
            total = Some(guarded(|| {
                let (own, squares) = (own * point.weight, (lengths * point.weight).square());
                Ok(match total.take() {
                    Some((a, b)) => (a + own, b + squares),
                    None => (own, squares),
                })
            })?);
        }
        Ok(total)
    }
}

impl Attributor for Scoring {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let (m, n) = (test.len() as i64, self.train.len() as i64);
        let total = Tensor::zeros([m, n], (Kind::Float, Device::Cpu));
        let mut progress = Progress::new(&format!("{} scores", self.name), (m * n) as u64 * self.points.len() as u64);
        for point in &self.points {
            point.snapshot.check(test, point.snapshot.measurement(self.explain))?;
            if self.score_directly(point, test, &total)? {
                progress.add((m * n) as u64);
                continue;
            }
            let size = self.at_once(point, &self.train)?;
            let mut from = 0;
            while from < m {
                let (sides, until) = self.test_sides(point, test, from)?;
                each_batch(&point.snapshot, Of::Objective, &self.train, size, |start, gradients| {
                    let lengths = if self.unit_norm { Some(reciprocal(&gradients.norms()?)?) } else { None };
                    for side in &sides {
                        let mut products = gradients.gram(&side.gradients)? * point.weight;
                        if let (Some(mine), Some(theirs)) = (&lengths, &side.scale) {
                            products = products * mine.unsqueeze(1) * theirs;
                        }
                        let count = side.gradients.n();
                        let _ =
                            total.narrow(0, side.start, count).narrow(1, start, gradients.n()).g_add_(&products.transpose(0, 1));
                        progress.add((count * gradients.n()) as u64);
                    }
                    Ok(())
                })?;
                from = until;
            }
        }
        progress.finish();
        finite(&self.name, total, "a score overflowed; look for very large weights or inputs")
    }

    fn self_scores(&self) -> Result<Tensor> {
        match self.of_train()? {
            Some((scores, _)) => Ok(scores),
            None => self.kernel_diagonal(Of::Objective, &self.train),
        }
    }

    fn own_scores(&self, data: &Dataset) -> Result<Tensor> {
        self.kernel_diagonal(self.explain, data)
    }

    fn train_lengths(&self) -> Result<Tensor> {
        if let Some((_, squares)) = self.of_train()? {
            return guarded(|| Ok(squares.sqrt()));
        }
        let n = self.train.len() as i64;
        let total = Tensor::zeros([n], (Kind::Float, Device::Cpu));
        for point in &self.points {
            self.each_side(point, Of::Objective, &self.train, |start, gradients| {
                let count = gradients.n();
                let lengths = match &point.preconditioner {
                    Some(preconditioner) => preconditioner.map(gradients)?.norms()?,
                    None if self.unit_norm => gradients.norms()?.gt(0.0).to_kind(Kind::Float),
                    None => gradients.norms()?,
                };
                let _ = total.narrow(0, start, count).g_add_(&(lengths * point.weight).square());
                Ok(())
            })?;
        }
        guarded(|| Ok(total.sqrt()))
    }

    fn together(&self, test: &Dataset) -> Result<Tensor> {
        if self.unit_norm {
            return guarded(|| Ok(self.matrix(test)?.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)));
        }
        let n = self.train.len() as i64;
        let total = Tensor::zeros([n], (Kind::Float, Device::Cpu));
        for point in &self.points {
            point.snapshot.check(test, point.snapshot.measurement(self.explain))?;
            let mut sum = Tensor::zeros([1, point.snapshot.p()], (Kind::Float, Device::Cpu));
            let size = batch_size(&point.snapshot, test, false)?.at_once;
            each_batch(&point.snapshot, self.explain, test, size, |_, gradients| {
                let ones = Tensor::ones([gradients.n(), 1], (Kind::Float, Device::Cpu));
                let _ = sum.g_add_(&gradients.combine(&ones)?);
                Ok(())
            })?;
            let mapped = match &point.preconditioner {
                Some(preconditioner) if preconditioner.scores_directly(1) => {
                    let row = Gradients::of_rows(sum, point.snapshot.layout());
                    let scores = preconditioner.scores(&row)?.squeeze_dim(0) * point.weight;
                    let _ = total.shallow_clone().g_add_(&scores);
                    continue;
                }
                Some(preconditioner) => preconditioner.apply(&sum)?,
                None => sum,
            };
            let size = batch_size(&point.snapshot, &self.train, false)?.at_once;
            each_batch(&point.snapshot, Of::Objective, &self.train, size, |start, gradients| {
                let products = gradients.dot(&mapped)?.squeeze_dim(1) * point.weight;
                let _ = total.narrow(0, start, gradients.n()).g_add_(&products);
                Ok(())
            })?;
        }
        finite(&self.name, total, "a score overflowed; look for very large weights or inputs")
    }
}
