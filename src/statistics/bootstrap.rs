use rand::Rng;

use crate::random::{self, Purpose};

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// 2.5 % point.
    pub low: f64,
    /// 97.5 % point.
    pub high: f64,
    /// Number of items.
    pub n: usize,
}

/// The mean of some items with a 95 % percentile bootstrap interval (Efron & Tibshirani 1993, section 13.3).
///
/// Draws `resamples` sets of n items with replacement, as a function of `seed`, and takes the 2.5 % and 97.5 % points of their
/// means. `None` without items, without resamples, or where an item is not finite. One item gives an interval of width zero, which
/// says nothing: look at `n`.
///
/// ```
/// let items: Vec<f64> = (0..100).map(f64::from).collect();
/// let found = ascribe::statistics::bootstrap_mean(&items, 2_000, 0);
/// // The normal interval is 49.5 ± 1.96 · 29.0 / 10.
/// assert!(found.is_some_and(|e| e.mean == 49.5 && (e.low - 43.8).abs() < 0.6 && (e.high - 55.2).abs() < 0.6));
/// ```
pub fn bootstrap_mean(items: &[f64], resamples: usize, seed: u64) -> Option<Estimate> {
    let n = items.len();
    if n == 0 || resamples == 0 || items.iter().any(|item| !item.is_finite()) {
        return None;
    }
    let mut means: Vec<f64> = (0..resamples as u64)
        .map(|resample| {
            let mut stream = random::generator(seed, Purpose::Bootstrap, resample);
            (0..n).map(|_| items[stream.gen_range(0..n)]).sum::<f64>() / n as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let mean = items.iter().sum::<f64>() / n as f64;
    Some(Estimate { mean, low: quantile(&means, 0.025), high: quantile(&means, 0.975), n })
}

/// Linear between the order statistics, as numpy's default; `sorted` holds at least one number.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_numpys() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.25), 1.5);
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
    }
}
