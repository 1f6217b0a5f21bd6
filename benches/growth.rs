//! How the cost of GradDot grows with the number of train examples.

use ascribe::prelude::*;

use crate::measure::Times;
use crate::report::{Table, known, number};
use crate::work::WORKS;
use crate::{Outcome, Sizes, fresh_peak};

/// Seconds and peak memory for each n, and the slope of log seconds against log n: 1 means cost linear in n.
pub fn measure(task: &Task, train: &Dataset, test: &Dataset, sizes: &Sizes) -> Outcome<Table> {
    let work = &WORKS[0];
    let (mut points, mut rows) = (Vec::new(), Vec::new());
    for &n in &sizes.growth {
        let part = train.head(n)?;
        let mut times = Times::default();
        drop(work.run(task, &part, test)?); // untimed: memory and threads are in place
        for _ in 0..sizes.repeats(5) {
            drop(times.run(|| work.run(task, &part, test))?);
        }
        let scores_mb = 4.0 * (n * test.len()) as f64 / f64::from(1 << 20);
        let peak = fresh_peak(work, n, test.len())?;
        points.push(((n as f64).ln(), times.median().unwrap_or(f64::NAN).ln()));
        let measured = [times.median(), times.low(), times.high(), peak, Some(scores_mb), peak.map(|peak| peak - scores_mb)];
        let mut row = vec![n.to_string(), test.len().to_string()];
        row.extend(measured.into_iter().map(known));
        rows.push(row);
    }
    let (slope, error) = line(&points);
    let header =
        ["n_train", "n_test", "seconds", "low", "high", "peak_mb", "scores_mb", "above_scores_mb", "slope", "slope_error"];
    let mut table = Table::new(&header);
    for mut row in rows {
        row.extend([number(slope), number(error)]);
        table.push(row);
    }
    Ok(table)
}

/// Least squares through the points: slope and its standard error.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    let residual: f64 = points.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    (slope, (residual / (n - 2.0) / spread).sqrt())
}
