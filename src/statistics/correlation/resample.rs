//! Bootstrap samples of a correlation: whole groups of pairs are drawn with replacement, each group as one.

use std::thread;

use rand::Rng;

use super::Coefficient;
use super::group::numbered;
use super::linear::centred;
use crate::random::{self, Purpose};

/// The correlation in each of `resamples` bootstrap samples, as a function of `seed`, smallest first; samples where it is not defined are
/// left out. Without groups every pair is a group of its own.
///
/// Nothing is sorted again: a sample is how often each group was drawn, and ranks follow from running sums of these counts.
pub(super) fn resampled(
    x: &[f64],
    y: &[f64],
    groups: Option<&[usize]>,
    coefficient: Coefficient,
    (resamples, seed): (usize, u64),
) -> Vec<f64> {
    let (group, count) = groups.map_or_else(|| ((0..x.len()).collect(), x.len()), numbered);
    let Some(prepared) = Prepared::of(x, y, &group, count, coefficient) else {
        return Vec::new();
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(resamples.max(1));
    let one = |resample: usize| {
        let mut stream = random::generator(seed, Purpose::Bootstrap, resample as u64);
        let mut drawn = vec![0u32; count];
        (0..count).for_each(|_| drawn[stream.gen_range(0..count)] += 1);
        prepared.value(&drawn, &group)
    };
    let mut found: Vec<f64> = thread::scope(|scope| {
        let one = &one;
        let parts: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || (core..resamples).step_by(cores).filter_map(one).collect::<Vec<_>>()))
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    found.sort_unstable_by(f64::total_cmp);
    found
}

/// What does not change from sample to sample.
enum Prepared<'a> {
    /// Each group's count, Σx, Σy, Σx², Σxy and Σy², of columns about their means at length 1.
    Sums(Vec<[f64; 6]>),
    /// Each side's places from the smallest up, and where each run of equal numbers ends.
    Ranks([(Vec<u32>, Vec<u32>); 2]),
    Whole(&'a [f64], &'a [f64]),
}

impl<'a> Prepared<'a> {
    fn of(x: &'a [f64], y: &'a [f64], group: &[usize], count: usize, coefficient: Coefficient) -> Option<Prepared<'a>> {
        Some(match coefficient {
            Coefficient::Pearson => {
                let (x, y) = (centred(x)?, centred(y)?);
                let mut sums = vec![[0.0; 6]; count];
                for ((&x, &y), &group) in x.iter().zip(&y).zip(group) {
                    [1.0, x, y, x * x, x * y, y * y].iter().zip(&mut sums[group]).for_each(|(value, sum)| *sum += value);
                }
                Prepared::Sums(sums)
            }
            Coefficient::Spearman => Prepared::Ranks([runs(x), runs(y)]),
            Coefficient::Kendall => Prepared::Whole(x, y),
        })
    }

    fn value(&self, drawn: &[u32], group: &[usize]) -> Option<f64> {
        match self {
            Prepared::Sums(sums) => {
                let mut all = [0.0; 6];
                for (sums, &times) in sums.iter().zip(drawn).filter(|(_, times)| **times > 0) {
                    sums.iter().zip(&mut all).for_each(|(sum, all)| *all += f64::from(times) * sum);
                }
                moments(all)
            }
            Prepared::Ranks(sides) => {
                let [x, y] = sides.each_ref().map(|side| ranks(side, drawn, group));
                let mut all = [0.0; 6];
                for ((&x, &y), &group) in x.iter().zip(&y).zip(group) {
                    let times = f64::from(drawn[group]);
                    [1.0, x, y, x * x, x * y, y * y].iter().zip(&mut all).for_each(|(value, sum)| *sum += times * value);
                }
                moments(all)
            }
            Prepared::Whole(x, y) => {
                let places: Vec<usize> = (0..x.len()).flat_map(|at| std::iter::repeat_n(at, drawn[group[at]] as usize)).collect();
                let some = |values: &[f64]| places.iter().map(|&at| values[at]).collect::<Vec<_>>();
                super::kendall::kendall(&some(x), &some(y))
            }
        }
    }
}

/// The correlation from sums of numbers that are small beside their spread.
fn moments([n, x, y, xx, xy, yy]: [f64; 6]) -> Option<f64> {
    let (a, b) = (xx - x * x / n, yy - y * y / n);
    (a > 1e-12 * xx && b > 1e-12 * yy).then(|| ((xy - x * y / n) / (a * b).sqrt()).clamp(-1.0, 1.0))
}

fn runs(values: &[f64]) -> (Vec<u32>, Vec<u32>) {
    let order = crate::statistics::rank::order(values);
    let mut ends = Vec::new();
    order.chunk_by(|&a, &b| values[a as usize] == values[b as usize]).for_each(|run| {
        ends.push(ends.last().copied().unwrap_or(0) + run.len() as u32);
    });
    (order, ends)
}

/// Average ranks in a sample, over its size and about a half, so that their sums stay small.
fn ranks((order, ends): &(Vec<u32>, Vec<u32>), drawn: &[u32], group: &[usize]) -> Vec<f64> {
    let size: f64 = order.iter().map(|&at| f64::from(drawn[group[at as usize]])).sum();
    let mut ranks = vec![0.0; order.len()];
    let (mut start, mut below) = (0, 0.0);
    for &end in ends {
        let run = &order[start..end as usize];
        let tied: f64 = run.iter().map(|&at| f64::from(drawn[group[at as usize]])).sum();
        let shared = (below + tied / 2.0) / size - 0.5;
        run.iter().for_each(|&at| ranks[at as usize] = shared);
        (start, below) = (end as usize, below + tied);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Coefficient;

    /// A sample by counts is the correlation of rows written out as often as they were drawn.
    #[test]
    fn counting_is_copying() {
        let n = 60;
        let value = |at: usize, by: usize| ((at * by) % 23) as f64 / 4.0; // with ties
        let (x, y): (Vec<f64>, Vec<f64>) = (0..n).map(|at| (value(at, 7), value(at, 11) + value(at, 7))).unzip();
        let labels: Vec<usize> = (0..n).map(|at| 100 - at / 5).collect();
        let (group, count) = numbered(&labels);
        for seed in 0..5 {
            let drawn: Vec<u32> = (0..count).map(|at| ((at * 5 + seed) % 4) as u32).collect();
            let places: Vec<usize> = (0..n).flat_map(|at| std::iter::repeat_n(at, drawn[group[at]] as usize)).collect();
            let some = |values: &[f64]| places.iter().map(|&at| values[at]).collect::<Vec<_>>();
            for which in [Coefficient::Pearson, Coefficient::Spearman, Coefficient::Kendall] {
                let counted = Prepared::of(&x, &y, &group, count, which).and_then(|prepared| prepared.value(&drawn, &group));
                let copied = which.value(&some(&x), &some(&y));
                assert!(counted.zip(copied).is_some_and(|(a, b)| (a - b).abs() < 1e-12), "{which:?}: {counted:?}, {copied:?}");
            }
        }
        // A sample in which one side is constant has no correlation.
        let constant = Prepared::of(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0], &[0, 1, 2], 3, Coefficient::Pearson)
            .and_then(|p| p.value(&[2, 1, 0], &[0, 1, 2]));
        assert_eq!(constant, None);
    }
}
