use rand::seq::SliceRandom;

use super::Coefficient;
use super::group::{members, pick};
use super::kendall::counts_difference;
use super::linear::dot;
use crate::random::{self, Purpose};
use crate::statistics::{Permuted, ranks};

/// The permutation test of a correlation: how often shuffling `y` against `x` brings the two as close as they are.
///
/// With `groups` only the numbers of one group are shuffled among each other, so that what differs between groups is left in
/// place: the question is then whether the two go together within groups. What is compared is the covariance within groups (of the numbers,
/// or of their ranks among all), which orders arrangements as the correlation does and is symmetric about zero; for Kendall's the pairs in
/// the same order less those in the other, within groups. `resamples` arrangements are drawn as a function of `seed`, and
/// `p = (1 + hits) / (1 + resamples)`, two-sided.
///
/// Pairs must be exchangeable (within groups): of scores that share a train example, no shuffle within a test example's group breaks
/// that tie. Cost: resamples · n, for Kendall's resamples · n log n. `None` for different lengths, fewer than two pairs, numbers that are not
/// finite, no resamples, or where no group has two different numbers on both sides.
///
/// ```
/// use ascribe::statistics::{Coefficient, permutation_test};
/// let x: Vec<f64> = (0..20).map(f64::from).collect();
/// let found = permutation_test(&x, &x, None, Coefficient::Spearman, 999, 0);
/// assert!(found.is_some_and(|f| f.p == 1.0 / 1_000.0));
/// ```
pub fn permutation_test(
    x: &[f64],
    y: &[f64],
    groups: Option<&[usize]>,
    coefficient: Coefficient,
    resamples: usize,
    seed: u64,
) -> Option<Permuted> {
    let n = x.len();
    let sound = y.len() == n && n >= 2 && resamples > 0 && groups.is_none_or(|groups| groups.len() == n);
    if !sound || x.iter().chain(y).any(|value| !value.is_finite()) {
        return None;
    }
    let groups = groups.map_or_else(|| vec![(0..n).collect()], members);
    let (x, y) = if coefficient == Coefficient::Spearman { (ranks(x), ranks(y)) } else { (scaled(x), scaled(y)) };
    let parts =
        |values: &[f64]| -> Vec<Vec<f64>> { groups.iter().map(|group| part(&pick(values, group), coefficient)).collect() };
    let (x, mut y) = (parts(&x), parts(&y));
    // A group that is constant on one side says nothing, in any arrangement.
    let varied = |values: &[f64]| values.iter().any(|value| *value != values[0]);
    let telling: Vec<usize> = (0..groups.len()).filter(|&at| varied(&x[at]) && varied(&y[at])).collect();
    if telling.is_empty() {
        return None;
    }
    let together = |y: &[Vec<f64>]| -> f64 {
        let one = |at: &usize| match coefficient {
            Coefficient::Kendall => counts_difference(&x[*at], &y[*at]).unwrap_or(0.0),
            Coefficient::Pearson | Coefficient::Spearman => dot(&x[*at], &y[*at]),
        };
        telling.iter().map(one).sum()
    };
    // Arrangements that are equal but for rounding count as equal; Kendall's numbers are whole.
    let size = |values: &[Vec<f64>]| telling.iter().map(|&at| dot(&values[at], &values[at])).sum::<f64>().sqrt();
    let slack = if coefficient == Coefficient::Kendall { 0.5 } else { 1e-12 * size(&x) * size(&y) };
    let bound = together(&y).abs() - slack;
    let mut stream = random::generator(seed, Purpose::Shuffle, 0);
    let mut hits = 0;
    for _ in 0..resamples {
        telling.iter().for_each(|&at| y[at].shuffle(&mut stream));
        hits += usize::from(together(&y).abs() >= bound);
    }
    Some(Permuted { p: (hits + 1) as f64 / (resamples + 1) as f64, arrangements: resamples + 1, exact: false })
}

/// The numbers of one group about their mean; Kendall's needs their order alone.
fn part(values: &[f64], coefficient: Coefficient) -> Vec<f64> {
    if coefficient == Coefficient::Kendall {
        return values.to_vec();
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

/// Divided by the largest, so that no square overflows or vanishes.
fn scaled(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    values.iter().map(|value| if largest > 0.0 { value / largest } else { 0.0 }).collect()
}
