use super::Correlation;
use crate::statistics::{Z, p_of_correlation, ranks};

/// Pearson's correlation with Fisher's interval: `tanh(artanh r ± 1.96 / √(n − 3))`.
///
/// `None` where it is not defined: different lengths, fewer than two pairs, a number that is not finite, or one side constant
/// (its spread is within rounding of its size). Two pairs give 1 or −1; of fewer than four there is no interval. The interval
/// assumes pairs drawn independently from something like a bivariate normal distribution.
///
/// ```
/// use ascribe::statistics::pearson;
/// let x: Vec<f64> = (0..20).map(f64::from).collect();
/// let y: Vec<f64> = x.iter().map(|x| 3.0 - x).collect();
/// assert!(pearson(&x, &y).is_some_and(|r| (r.value + 1.0).abs() < 1e-12 && r.interval.is_some_and(|i| i.1 < -0.999)));
/// assert_eq!(pearson(&x, &[1.0; 20]), None);
/// ```
pub fn pearson(x: &[f64], y: &[f64]) -> Option<Correlation> {
    let value = product_moment(x, y)?;
    Some(linear(value, x.len(), 0))
}

/// Spearman's correlation of average ranks with the interval of Bonett and Wright (2000): as Fisher's, with the standard error
/// `√((1 + ρ²/2) / (n − 3))`.
///
/// `None` where [`pearson`] is.
///
/// ```
/// use ascribe::statistics::spearman;
/// let x: Vec<f64> = (0..20).map(f64::from).collect();
/// let y: Vec<f64> = x.iter().map(|x| x.exp()).collect();
/// assert!(spearman(&x, &y).is_some_and(|rho| (rho.value - 1.0).abs() < 1e-12));
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> Option<Correlation> {
    if x.iter().chain(y).any(|value| !value.is_finite()) {
        return None;
    }
    let value = product_moment(&ranks(x), &ranks(y))?;
    Some(ranked(value, x.len(), 0))
}

/// Interval and p-value of a linear correlation of `n` pairs after `given` other columns were taken out.
pub(super) fn linear(value: f64, n: usize, given: usize) -> Correlation {
    let left = n.saturating_sub(given);
    Correlation { value, interval: interval(value, left, 1.0), p: p_of_correlation(value, left), n }
}

/// The same for a correlation of ranks.
pub(super) fn ranked(value: f64, n: usize, given: usize) -> Correlation {
    let left = n.saturating_sub(given);
    Correlation { value, interval: interval(value, left, 1.0 + value * value / 2.0), p: p_of_correlation(value, left), n }
}

/// Pearson's correlation; `None` where it is not defined.
pub(super) fn product_moment(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let (a, b) = (centred(x)?, centred(y)?);
    Some(dot(&a, &b).clamp(-1.0, 1.0))
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Deviations from the mean, divided by their length; `None` for a constant, or where a number is not finite.
pub(super) fn centred(values: &[f64]) -> Option<Vec<f64>> {
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if values.iter().any(|value| !value.is_finite()) || largest == 0.0 {
        return None;
    }
    // Scaled first, so that squares neither overflow nor vanish.
    let scaled: Vec<f64> = values.iter().map(|value| value / largest).collect();
    let mean = scaled.iter().sum::<f64>() / scaled.len() as f64;
    let deviations: Vec<f64> = scaled.iter().map(|value| value - mean).collect();
    let length = deviations.iter().map(|d| d * d).sum::<f64>().sqrt();
    match length > 1e-13 * (values.len() as f64).sqrt() {
        true => Some(deviations.into_iter().map(|d| d / length).collect()),
        false => None,
    }
}

fn interval(value: f64, n: usize, variance: f64) -> Option<(f64, f64)> {
    (n >= 4).then(|| about(value, Z * (variance / (n as f64 - 3.0)).sqrt()))
}

/// Ends that lie evenly about a correlation on the scale of artanh; at 1, where artanh is infinite and stays so, both are 1.
pub(super) fn about(value: f64, reach: f64) -> (f64, f64) {
    ((value.atanh() - reach).tanh(), (value.atanh() + reach).tanh())
}
