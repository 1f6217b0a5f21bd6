//! What a run will take, before it is started: counted, with speeds measured on a few examples, or rehearsed on a few.

mod probe;
mod rehearsal;

use std::time::Instant;

use polars::df;
use polars::prelude::DataFrame;

use crate::error::Result;
use crate::process::{available, resident};

pub use probe::Probe;
pub(crate) use rehearsal::rehearse;

/// Seconds that a measurement may take before it is not repeated, and how often it is at most.
const ENOUGH: f64 = 0.15;
const MOST: usize = 5;

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

/// One row of a plan's table, of all checkpoints.
pub(crate) struct Row {
    pub part: &'static str,
    /// Gradients of one example each, and all multiplications and additions; `None` where the work was not counted but rehearsed.
    pub gradients: Option<f64>,
    pub flops: Option<f64>,
    pub seconds: f64,
    /// Bytes held at the peak, beside what the process holds now.
    pub memory: f64,
    pub disk: f64,
    pub cheaper: Option<&'static str>,
}

/// The counted parts as rows, and their sum.
pub(crate) fn counted(probe: &Probe, parts: &[Part], checkpoints: usize) -> Vec<Row> {
    let count = checkpoints as f64;
    let kept: f64 = parts.iter().map(|part| part.kept).sum::<f64>() * (count - 1.0);
    let row = |part: &Part| Row {
        part: part.name,
        gradients: Some(part.gradients * count),
        flops: Some((part.flops + part.gradients * probe.gradient_flops) * count),
        seconds: (part.seconds + part.gradients * probe.gradient) * count,
        memory: part.memory + kept,
        disk: part.disk * count,
        cheaper: part.cheaper,
    };
    with_total(parts.iter().map(row).collect())
}

/// And a row for their sum; memory is given back between parts.
fn with_total(mut rows: Vec<Row>) -> Vec<Row> {
    let total = Row {
        part: "total",
        gradients: rows.iter().map(|row| row.gradients).sum(),
        flops: rows.iter().map(|row| row.flops).sum(),
        seconds: rows.iter().map(|row| row.seconds).sum(),
        memory: rows.iter().map(|row| row.memory).fold(0.0, f64::max),
        disk: rows.iter().map(|row| row.disk).sum(),
        cheaper: None,
    };
    rows.push(total);
    rows
}

/// The table that a user sees.
pub(crate) fn table(rows: &[Row]) -> Result<DataFrame> {
    let (now, free) = (resident().unwrap_or(0.0), available());
    let warning = |row: &Row| -> Option<String> {
        let free = free.filter(|&free| row.memory > free && row.part != "total")?;
        let advice = row.cheaper.map_or_else(String::new, |cheaper| format!("; cheaper: {cheaper}"));
        Some(format!("needs {:.1} GB, {:.1} GB are free{advice}", row.memory / 1e9, free / 1e9))
    };
    Ok(df!(
        "part" => rows.iter().map(|row| row.part).collect::<Vec<_>>(),
        "gradients" => rows.iter().map(|row| row.gradients.map(|count| count.round() as i64)).collect::<Vec<_>>(),
        "gflops" => rows.iter().map(|row| row.flops.map(|flops| flops / 1e9)).collect::<Vec<_>>(),
        "seconds" => rows.iter().map(|row| row.seconds).collect::<Vec<_>>(),
        "memory_mb" => rows.iter().map(|row| (now + row.memory) / 1e6).collect::<Vec<_>>(),
        "disk_mb" => rows.iter().map(|row| row.disk / 1e6).collect::<Vec<_>>(),
        "warning" => rows.iter().map(warning).collect::<Vec<_>>(),
    )?)
}
