//! What a run will take, before it is started: counted, with speeds measured on a few examples.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use polars::df;
use polars::prelude::DataFrame;
use tch::{Device, Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Gradients;
use crate::gradient::stream::batch_size;
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;

/// Seconds that a measurement may take before it is not repeated, and how often it is at most.
const ENOUGH: f64 = 0.15;
const MOST: usize = 5;

/// Side of the matrices whose product is timed.
const SIDE: i64 = 512;

/// One part of a method's work, for one checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// `fit` or `score`.
    pub name: &'static str,
    /// Gradients of one example each.
    pub gradients: f64,
    /// Multiplications and additions, those of the gradients left out.
    pub flops: f64,
    /// Seconds, those of the gradients left out.
    pub seconds: f64,
    /// Bytes held at the same time, beside data and network; they may be given back before the next part.
    pub memory: f64,
    /// Bytes that every further checkpoint adds to them.
    pub kept: f64,
    /// Bytes on disk.
    pub disk: f64,
    /// A setting that needs less memory.
    pub cheaper: Option<&'static str>,
}

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

/// Median seconds, and what came of it; the first call, which pays for what later ones find ready, is not timed.
fn timed<T>(mut work: impl FnMut() -> Result<T>) -> Result<(f64, T)> {
    let begun = Instant::now();
    let mut last = work()?;
    let first = begun.elapsed().as_secs_f64();
    let mut times = Vec::new();
    while times.len() < MOST && (times.is_empty() || first < ENOUGH) {
        let begun = Instant::now();
        last = work()?;
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], last))
}

/// One row of a plan's table.
struct Row {
    part: &'static str,
    gradients: f64,
    flops: f64,
    seconds: f64,
    memory: f64,
    disk: f64,
    warning: Option<String>,
}

/// The parts as a table, with their sum.
pub(crate) fn table(probe: &Probe, parts: &[Part], checkpoints: usize) -> Result<DataFrame> {
    let count = checkpoints as f64;
    let (now, free) = (resident(), available());
    let mega = |bytes: f64| bytes / 1e6;
    let kept: f64 = parts.iter().map(|part| part.kept).sum::<f64>() * (count - 1.0);
    let mut rows: Vec<Row> = Vec::new();
    for part in parts {
        let extra = part.memory + kept;
        let warning = free.filter(|&free| extra > free).map(|free| warning(extra, free, part.cheaper));
        rows.push(Row {
            part: part.name,
            gradients: part.gradients * count,
            flops: (part.flops + part.gradients * probe.gradient_flops) * count,
            seconds: (part.seconds + part.gradients * probe.gradient) * count,
            memory: mega(now + extra),
            disk: mega(part.disk * count),
            warning,
        });
    }
    let sum = |of: fn(&Row) -> f64| rows.iter().map(of).sum::<f64>();
    rows.push(Row {
        part: "total",
        gradients: sum(|row| row.gradients),
        flops: sum(|row| row.flops),
        seconds: sum(|row| row.seconds),
        memory: rows.iter().map(|row| row.memory).fold(mega(now), f64::max),
        disk: sum(|row| row.disk),
        warning: None,
    });
    Ok(df!(
        "part" => rows.iter().map(|row| row.part).collect::<Vec<_>>(),
        "gradients" => rows.iter().map(|row| row.gradients.round() as i64).collect::<Vec<_>>(),
        "gflops" => rows.iter().map(|row| row.flops / 1e9).collect::<Vec<_>>(),
        "seconds" => rows.iter().map(|row| row.seconds).collect::<Vec<_>>(),
        "memory_mb" => rows.iter().map(|row| row.memory).collect::<Vec<_>>(),
        "disk_mb" => rows.iter().map(|row| row.disk).collect::<Vec<_>>(),
        "warning" => rows.iter().map(|row| row.warning.clone()).collect::<Vec<_>>(),
    )?)
}

/// Work of one part, measured as a whole.
pub(crate) struct Measured {
    pub name: &'static str,
    pub gradients: f64,
    pub seconds: f64,
    /// Bytes that are held, beside what measuring took.
    pub memory: f64,
    pub disk: f64,
    pub cheaper: &'static str,
}

impl Measured {
    pub fn table(self) -> Result<DataFrame> {
        let free = available();
        let warning = free.filter(|&free| self.memory > free).map(|free| warning(self.memory, free, Some(self.cheaper)));
        Ok(df!(
            "part" => [self.name],
            "gradients" => [self.gradients.round() as i64],
            "gflops" => [None::<f64>],
            "seconds" => [self.seconds],
            "memory_mb" => [(resident() + self.memory) / 1e6],
            "disk_mb" => [self.disk / 1e6],
            "warning" => [warning],
        )?)
    }
}

fn warning(needed: f64, free: f64, cheaper: Option<&str>) -> String {
    let advice = cheaper.map_or_else(String::new, |cheaper| format!("; cheaper: {cheaper}"));
    format!("needs {:.1} GB, {:.1} GB are free{advice}", needed / 1e9, free / 1e9)
}

/// An error for methods whose work follows from something else than gradients.
pub(crate) fn none(method: &str) -> Error {
    Error::Unsupported(format!("a plan for {method}: its work does not follow from the number of gradients"))
}

/// Bytes of memory that the process holds; 0 where the system does not say.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kilobytes(&status, "VmRSS:").unwrap_or(0.0)
}

/// Bytes that are still free, by the machine and by the container's limit; `None` where the system does not say.
fn available() -> Option<f64> {
    let machine = kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let number = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<f64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(group.map_or(machine, |(most, used)| machine.min((most - used).max(0.0))))
}

fn kilobytes(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
