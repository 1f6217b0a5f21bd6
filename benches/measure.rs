//! Seconds of repeated runs, and the memory a run takes above what was held before it.

use std::fs;
use std::time::Instant;

use crate::Outcome;

/// Seconds of all runs of one work.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn add(&mut self, seconds: f64) {
        self.0.push(seconds);
        self.0.sort_by(f64::total_cmp);
    }

    /// Runs the work and gives its result.
    pub fn run<T>(&mut self, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let start = Instant::now();
        let result = work()?;
        self.add(start.elapsed().as_secs_f64());
        Ok(result)
    }

    pub fn low(&self) -> Option<f64> {
        self.0.first().copied()
    }

    pub fn high(&self) -> Option<f64> {
        self.0.last().copied()
    }

    pub fn median(&self) -> Option<f64> {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => None,
            n if n % 2 == 1 => Some(self.0[middle]),
            _ => Some((self.0[middle - 1] + self.0[middle]) / 2.0),
        }
    }
}

/// Peak resident memory of `work` above what was resident before it, in MB of 2^20 bytes; `None` where Linux does not tell.
///
/// Meaningful in a fresh process: the allocator may keep memory that an earlier run freed.
pub fn peak_above<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<Option<f64>> {
    // 5 resets the peak of this process to what is resident now.
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = resident("VmRSS:");
    let result = work()?;
    let peak = resident("VmHWM:");
    drop(result);
    Ok(match (reset, before, peak) {
        (true, Some(before), Some(peak)) => Some(peak - before),
        _ => None,
    })
}

fn resident(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
