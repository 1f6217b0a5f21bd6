//! A plan for work that no count foresees: it is done on a few examples, and on a few more, and drawn out to all.

use std::time::Instant;

use super::{ENOUGH, MOST, Row, with_total};
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::method::Attributor;
use crate::process::{peak, reset_peak, resident};

/// One in so many examples is rehearsed with, within these bounds; and a quarter of those.
const TRAIN: (usize, [usize; 2]) = (8, [64, 512]);
const TEST: (usize, [usize; 2]) = (4, [16, 64]);

/// What one fit and one scoring took.
#[derive(Clone, Copy)]
struct Took {
    fit: f64,
    score: f64,
    /// Bytes of the process, at its most and of what was fitted alone.
    peak: [f64; 2],
    kept: f64,
}

impl Took {
    /// Straight through what `few` and `more` took to `all`; what did not grow does not.
    fn drawn_out([few, more, all]: [usize; 3], take: impl Fn(usize) -> Result<Took>) -> Result<Took> {
        if few == all {
            return take(all);
        }
        let (a, b, times) = (take(few)?, take(more)?, (all - few) as f64 / (more - few) as f64);
        let line = |of: fn(&Took) -> f64| of(&a) + (of(&b) - of(&a)).max(0.0) * times;
        Ok(Took {
            fit: line(|took| took.fit),
            score: line(|took| took.score),
            peak: [line(|took| took.peak[0]), line(|took| took.peak[1])],
            kept: line(|took| took.kept),
        })
    }
}

/// Fits and scores `train` and `test` in small, at one checkpoint of so many.
///
/// Time and memory are taken as linear in the train examples, in the test examples and in their product.
pub(crate) fn rehearse(
    fit: impl Fn(&Dataset) -> Result<Box<dyn Attributor>>,
    train: &Dataset,
    test: &Dataset,
    checkpoints: usize,
) -> Result<Vec<Row>> {
    let (n, m) = (sizes(train.len(), TRAIN), sizes(test.len(), TEST));
    let take = |n: usize, m: usize| {
        let (train, test) = (spread(train, n)?, spread(test, m)?);
        typical(|| guarded(|| once(&fit, &train, &test)))
    };
    let all = Took::drawn_out(n, |n| Took::drawn_out(m, |m| take(n, m)))?;
    let (count, now) = (checkpoints as f64, resident().unwrap_or(0.0));
    let row = |part: &'static str, seconds: f64, peak: f64| Row {
        part,
        gradients: None,
        flops: None,
        seconds: seconds * count,
        memory: (peak - now).max(0.0) + all.kept * (count - 1.0),
        disk: 0.0,
        cheaper: (part == "score").then_some("fewer test examples at once"),
    };
    Ok(with_total(vec![row("fit", all.fit, all.peak[0]), row("score", all.score, all.peak[1])]))
}

/// A few, more, and all.
fn sizes(all: usize, (share, [least, most]): (usize, [usize; 2])) -> [usize; 3] {
    let more = (all / share).clamp(least, most).min(all);
    let few = if more == all { all } else { more.div_ceil(4) };
    [few, more, all]
}

/// So many of the examples, evenly over the dataset, which may be in the order of its classes.
fn spread(data: &Dataset, count: usize) -> Result<Dataset> {
    let all = data.len();
    data.select(&(0..count).map(|i| i * all / count).collect::<Vec<_>>())
}

fn once(fit: &impl Fn(&Dataset) -> Result<Box<dyn Attributor>>, train: &Dataset, test: &Dataset) -> Result<Took> {
    let before = resident().unwrap_or(0.0);
    let told = reset_peak();
    let most = || if told { peak().unwrap_or(0.0) } else { 0.0 };
    let begun = Instant::now();
    let fitted = fit(train)?;
    let seconds = begun.elapsed().as_secs_f64();
    let (highest, kept) = (most(), (resident().unwrap_or(0.0) - before).max(0.0));
    let begun = Instant::now();
    let _ = fitted.matrix(test)?;
    Ok(Took { fit: seconds, score: begun.elapsed().as_secs_f64(), peak: [highest, most()], kept })
}

/// The median by time of several, the first left out; memory is the most that any took.
fn typical(work: impl Fn() -> Result<Took>) -> Result<Took> {
    let begun = Instant::now();
    let first = work()?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut all = Vec::new();
    while all.len() < MOST && (all.is_empty() || seconds < ENOUGH) {
        all.push(work()?);
    }
    let middle = |of: fn(&Took) -> f64| {
        let mut times: Vec<f64> = all.iter().map(of).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let most = |of: fn(&Took) -> f64| all.iter().map(of).fold(of(&first), f64::max);
    Ok(Took {
        fit: middle(|took| took.fit),
        score: middle(|took| took.score),
        peak: [most(|took| took.peak[0]), most(|took| took.peak[1])],
        kept: most(|took| took.kept),
    })
}
