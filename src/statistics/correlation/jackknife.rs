use super::linear::product_moment;
use crate::statistics::{Estimate, ranks, t_quantile};

/// Transformed correlations end here: artanh is infinite at 1.
const NEAREST: f64 = 1.0 - 1e-12;

/// The mean of Spearman's correlations of some pairs of rows, with a 95 % interval over the columns, which all rows share.
///
/// The interval is that of the jackknife (Tukey 1958) of the transformed mean `artanh`: from the means without each column in turn it takes
/// both the spread and the bias of the mean, and Student's t with one less degree of freedom than columns. So it need not lie evenly
/// about the mean; a percentile bootstrap lies too low, as columns tie with their copies. Two rows whose correlation is not defined are left
/// out. `None` for different lengths, where nothing is left, or for fewer than three columns.
///
/// Cost: rows · columns · log(columns) steps.
///
/// ```
/// use ascribe::statistics::mean_spearman;
/// let x = vec![vec![0.1, 0.5, 0.2, 0.9, 0.3, 0.4]];
/// let y = vec![vec![0.2, 0.6, 0.1, 0.8, 0.4, 0.5]];
/// assert!(mean_spearman(&x, &y).is_some_and(|e| (e.mean - 0.942_857).abs() < 1e-6 && e.low < e.mean && e.high < 1.0));
/// ```
pub fn mean_spearman(x: &[Vec<f64>], y: &[Vec<f64>]) -> Option<Estimate> {
    let columns = x.first()?.len();
    if columns < 3 || x.len() != y.len() || x.iter().chain(y).any(|row| row.len() != columns) {
        return None;
    }
    let (mut n, mut sum, mut without) = (0, 0.0, vec![0.0; columns]);
    for (a, b) in x.iter().zip(y).filter(|(a, b)| a.iter().chain(*b).all(|value| value.is_finite())) {
        let (a, b) = (ranks(a), ranks(b));
        if let Some(value) = product_moment(&a, &b) {
            (n, sum) = (n + 1, sum + value);
            add_without_each(&a, &b, &mut without);
        }
    }
    if n == 0 {
        return None;
    }
    let mean = sum / n as f64;
    let transformed: Vec<f64> = without.iter().map(|sum| (sum / n as f64).clamp(-NEAREST, NEAREST).atanh()).collect();
    let m = columns as f64;
    let centre = transformed.iter().sum::<f64>() / m;
    let spread = ((m - 1.0) / m * transformed.iter().map(|z| (z - centre) * (z - centre)).sum::<f64>()).sqrt();
    let corrected = m * mean.clamp(-NEAREST, NEAREST).atanh() - (m - 1.0) * centre;
    let reach = t_quantile(columns - 1) * spread;
    Some(Estimate { mean, low: (corrected - reach).tanh(), high: (corrected + reach).tanh(), n })
}

/// Adds Spearman's correlation without each element in turn, from the ranks of all; nothing where that leaves a side constant.
///
/// Without element `o` the rank `r` of another falls by `L = ½ ([r > r_o] + [r ≥ r_o])`. So
/// `Σ (a − L)(b − M) = Σ ab − Σ Lb − Σ Ma + Σ LM` over the others, where all sums but the first go over those above `o`. Sums of
/// multiples of ¼, so that nothing is rounded.
fn add_without_each(a: &[f64], b: &[f64], sums: &mut [f64]) {
    let m = a.len() as f64 - 1.0;
    let squares = 0.25 * m * (m + 1.0) * (m + 1.0);
    let products: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let (keys_a, keys_b) = (keys(a), keys(b));
    let (spread_a, spread_b) = (spreads(&keys_a), spreads(&keys_b));
    let (lost_a, lost_b) = (above(&keys_a, b), above(&keys_b, a));
    for (out, both) in above_in_both(&keys_a, &keys_b).into_iter().enumerate() {
        let falls = lost_a[out] - 0.5 * b[out] + lost_b[out] - 0.5 * a[out];
        let (aa, bb) = (spread_a[out], spread_b[out]);
        let ab = products - a[out] * b[out] - falls + (both - 0.25) - squares;
        if aa > 0.1 && bb > 0.1 {
            sums[out] += ab / (aa * bb).sqrt();
        }
    }
}

/// Twice each rank, a whole number from 2 to 2n.
fn keys(ranks: &[f64]) -> Vec<usize> {
    ranks.iter().map(|rank| (2.0 * rank) as usize).collect()
}

/// Squared deviations from their mean of the ranks of the others, without each element: `((m³ − m) − Σ (t³ − t)) / 12` over groups of `t`.
fn spreads(keys: &[usize]) -> Vec<f64> {
    let cube = |t: f64| t * t * t - t;
    let mut tied = vec![0.0; 2 * keys.len() + 1];
    keys.iter().for_each(|&key| tied[key] += 1.0);
    let all = cube(keys.len() as f64 - 1.0) - tied.iter().map(|&t| cube(t)).sum::<f64>();
    keys.iter().map(|&key| (all + cube(tied[key]) - cube(tied[key] - 1.0)) / 12.0).collect()
}

/// For each element the sum of `values` over those above it and half of it over those that tie, itself included.
fn above(keys: &[usize], values: &[f64]) -> Vec<f64> {
    let mut from = vec![0.0; 2 * keys.len() + 2];
    keys.iter().zip(values).for_each(|(&key, value)| from[key] += value);
    for key in (0..from.len() - 1).rev() {
        from[key] += from[key + 1];
    }
    keys.iter().map(|&key| 0.5 * (from[key] + from[key + 1])).collect()
}

/// For each element how many are above it in both orders; one that ties in either counts by half there.
fn above_in_both(a: &[usize], b: &[usize]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..a.len()).collect();
    order.sort_unstable_by_key(|&at| std::cmp::Reverse(a[at]));
    let (mut seen, mut counts) = (Counts::new(2 * b.len() + 1), vec![0.0; a.len()]);
    for tied in order.chunk_by(|&i, &j| a[i] == a[j]) {
        let add =
            |seen: &Counts, counts: &mut [f64]| tied.iter().for_each(|&at| counts[at] += seen.twice_above(b[at]) as f64 / 4.0);
        add(&seen, &mut counts);
        tied.iter().for_each(|&at| seen.insert(b[at]));
        add(&seen, &mut counts);
    }
    counts
}

/// How many keys are above another (Fenwick 1994).
struct Counts {
    tree: Vec<usize>,
    total: usize,
}

impl Counts {
    fn new(largest: usize) -> Counts {
        Counts { tree: vec![0; largest + 1], total: 0 }
    }

    fn insert(&mut self, key: usize) {
        let mut at = key;
        while at < self.tree.len() {
            self.tree[at] += 1;
            at += at & at.wrapping_neg();
        }
        self.total += 1;
    }

    /// Those above twice, those equal once.
    fn twice_above(&self, key: usize) -> usize {
        2 * self.total - self.up_to(key) - self.up_to(key - 1)
    }

    fn up_to(&self, key: usize) -> usize {
        let (mut at, mut count) = (key, 0);
        while at > 0 {
            count += self.tree[at];
            at -= at & at.wrapping_neg();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::add_without_each;
    use crate::statistics::{ranks, spearman};

    /// Against ranking what is left anew, with ties of all kinds.
    #[test]
    fn without_each_is_spearmans_correlation_of_the_rest() {
        let mut state = 1u64;
        let mut draw = |values: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % values) as f64
        };
        for (n, values) in [(3, 2), (4, 2), (5, 3), (12, 4), (40, 1_000_000), (101, 30)] {
            for _ in 0..20 {
                let a: Vec<f64> = (0..n).map(|_| draw(values)).collect();
                let b: Vec<f64> = (0..n).map(|_| draw(values)).collect();
                let mut fast = vec![0.0; n];
                add_without_each(&ranks(&a), &ranks(&b), &mut fast);
                for (out, fast) in fast.iter().enumerate() {
                    let rest = |x: &[f64]| [&x[..out], &x[out + 1..]].concat();
                    let slow = spearman(&rest(&a), &rest(&b)).map_or(0.0, |c| c.value);
                    assert!((fast - slow).abs() < 1e-12, "{fast} against {slow} without {out} of {a:?} and {b:?}");
                }
            }
        }
    }
}
