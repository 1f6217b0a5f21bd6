//! A few gradients, measured: the speeds and sizes that a count is made with.

use std::cell::Cell;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::{Part, timed};
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::gradient::Gradients;
use crate::gradient::stream::batch_size;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;

/// Side of the matrices whose product is timed.
const SIDE: i64 = 512;

/// What was measured on a few examples, and the sizes that a count needs.
pub struct Probe {
    snapshot: Rc<Snapshot>,
    data: Dataset,
    train: Gradients,
    test: Gradients,
    /// Train and test examples.
    pub n: f64,
    /// Test examples.
    pub m: f64,
    /// Trained parameters.
    pub p: f64,
    /// Outputs of one example.
    pub outputs: f64,
    /// Bytes that the gradient of one example takes while it is held, in factors where it has such.
    pub held: f64,
    /// Examples in a batch.
    pub at_once: f64,
    /// Bytes that a batch takes while it is recorded.
    pub working: f64,
    /// Seconds for a gradient.
    pub gradient: f64,
    /// Multiplications and additions of a gradient.
    pub gradient_flops: f64,
    /// Multiplications and additions of an inner product of two gradients.
    pub pair_flops: f64,
    /// Layers that have gradients.
    pub blocks: f64,
    /// Seconds for one in a float32 matrix product.
    pub flop: f64,
    /// Seconds for one in float64.
    pub flop64: f64,
    pair: Cell<Option<f64>>,
}

impl Probe {
    /// Measures gradients and matrix products with the first checkpoint.
    pub(crate) fn new(task: &Task, train: &Dataset, test: &Dataset) -> Result<Probe> {
        let snapshot = Rc::new(task.snapshot(0)?);
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        snapshot.check(test, snapshot.measurement(Of::Measurement))?;
        let room = batch_size(&snapshot, train, false)?;
        let of = |of: Of, data: &Dataset| {
            let (inputs, targets) = data.slice(0, room.at_once.min(data.len() as i64));
            guarded(|| Gradients::compute(&snapshot, of, &inputs, &targets))
        };
        let (few, gradients) = timed(|| of(Of::Objective, train))?;
        let other = of(Of::Measurement, test)?;
        let (count, outputs) = guarded(|| {
            let (outputs, records) = snapshot.record(&train.slice(0, 1).0);
            let products = |r: &crate::model::Record| {
                let rows = r.weight.size().first().copied().unwrap_or(1).max(1) as usize;
                2 * r.output.numel() * (r.weight.numel() / rows)
            };
            Ok((records.iter().map(products).sum::<usize>(), outputs.numel()))
        })?;
        let pair: i64 = gradients.blocks().iter().map(|block| block.cost_of_pair()).sum();
        let rate = |kind: Kind| -> Result<f64> {
            let (a, b) = (Tensor::ones([SIDE, SIDE], (kind, Device::Cpu)), Tensor::ones([SIDE, SIDE], (kind, Device::Cpu)));
            Ok(timed(|| Ok(a.f_matmul(&b)?))?.0 / (2.0 * (SIDE as f64).powi(3)))
        };
        Ok(Probe {
            n: train.len() as f64,
            m: test.len() as f64,
            p: snapshot.p() as f64,
            outputs: outputs as f64,
            held: room.held as f64,
            at_once: room.at_once as f64,
            working: (room.at_once.min(train.len() as i64) * room.held) as f64 * 3.0,
            gradient: few / gradients.n() as f64,
            // A backward pass to inputs and weights takes twice the forward pass.
            gradient_flops: 3.0 * (count as f64).max(2.0 * snapshot.p() as f64),
            pair_flops: 2.0 * pair as f64,
            blocks: gradients.blocks().len() as f64,
            flop: rate(Kind::Float)?,
            flop64: rate(Kind::Double)?,
            pair: Cell::new(None),
            snapshot,
            data: train.clone(),
            train: gradients,
            test: other,
        })
    }

    /// Seconds for an inner product of two gradients, where the side of `m` is met again and again.
    pub fn pair(&self) -> Result<f64> {
        if let Some(known) = self.pair.get() {
            return Ok(known);
        }
        let (targets, n) = (self.test.head(self.test.n()), self.n as i64);
        let side = targets.prepare(n, 1 << 30)?;
        let (seconds, _) = timed(|| self.train.gram(&side))?;
        let pair = seconds / (self.train.n() * side.n()) as f64;
        self.pair.set(Some(pair));
        Ok(pair)
    }

    /// Seconds for a gradient of all parameters as a row.
    pub fn row(&self) -> Result<f64> {
        let few = self.first(256)?;
        Ok(timed(|| few.dense())?.0 / few.n() as f64)
    }

    /// Seconds for what is done with the gradient of one example.
    pub(crate) fn each<T>(&self, work: impl Fn(&Gradients) -> Result<T>) -> Result<f64> {
        let few = self.first(256)?;
        Ok(timed(|| work(&few))?.0 / few.n() as f64)
    }

    /// Names and places of the parameters.
    pub(crate) fn snapshot(&self) -> &Rc<Snapshot> {
        &self.snapshot
    }

    /// Seconds for some work with the network on the train examples.
    pub(crate) fn seconds<T>(&self, work: impl Fn(&Rc<Snapshot>, &Dataset) -> Result<T>) -> Result<f64> {
        Ok(timed(|| work(&self.snapshot, &self.data))?.0)
    }

    /// Test gradients mapped as rows, with so many multiplications and additions in float64, by what holds so many bytes; then met with
    /// every train gradient.
    pub(crate) fn mapped(&self, held: f64, flops: f64) -> Result<Part> {
        const HELD: f64 = (1i64 << 30) as f64;
        let rounds = (self.m * 4.0 * self.p / HELD).ceil().max(1.0);
        let few = self.first(256)?;
        let rows = Tensor::ones([(self.m as i64).min(256), self.p as i64], (Kind::Float, Device::Cpu));
        let pair = timed(|| few.dot(&rows))?.0 / (few.n() * rows.size()[0]) as f64;
        let pairs = self.n * self.m;
        Ok(Part {
            name: "score",
            gradients: self.m + rounds * self.n,
            flops: flops + pairs * 2.0 * self.p,
            seconds: self.m * self.row()? + flops * self.flop64 + pairs * pair,
            // The rows, and again in float64 while they are mapped.
            memory: held + (self.m * self.p * 24.0).min(6.0 * HELD) + self.working + 8.0 * pairs,
            ..Part::default()
        })
    }

    fn first(&self, count: i64) -> Result<Gradients> {
        Ok(self.train.head(count))
    }

    /// Bytes of test gradients that are formed because that is cheaper than their factors.
    fn formed(&self) -> f64 {
        let formed = |block: &&crate::gradient::Block| block.cheaper_dense(self.test.n(), self.n as i64);
        self.test.blocks().iter().filter(formed).map(|block| 4.0 * block.len() as f64 * self.m).sum()
    }

    /// Gradients of both sides met once, in factors: what plain inner products take.
    pub fn streamed(&self) -> Result<Part> {
        const HELD: f64 = (1i64 << 30) as f64;
        let rounds = (self.m * self.held / HELD).ceil().max(1.0);
        let pairs = self.n * self.m;
        Ok(Part {
            name: "score",
            gradients: self.m + rounds * self.n,
            flops: pairs * self.pair_flops,
            seconds: pairs * self.pair()?,
            memory: (self.m * self.held).min(HELD) + self.formed().min(HELD) + self.working + 8.0 * pairs,
            ..Part::default()
        })
    }
}
