use super::{Estimate, Z, ranks, wilson};

/// One point of a receiver operating characteristic: what is found where everything at or above a threshold is called positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RocPoint {
    /// Smallest score that is called positive; infinite at the first point, where none is.
    pub threshold: f64,
    /// Share of the negatives called positive.
    pub false_positives: f64,
    /// Share of the positives called positive.
    pub true_positives: f64,
}

/// The receiver operating characteristic: one point for none, then one for each distinct score, largest first, so that tied scores are
/// one slanted step.
///
/// `None` for different lengths, a score that is NaN, or where all or none are positive.
///
/// ```
/// let curve = ascribe::statistics::roc(&[3.0, 2.0, 2.0, 1.0], &[true, true, false, false]).unwrap_or_default();
/// assert_eq!(curve.iter().map(|p| (p.false_positives, p.true_positives)).collect::<Vec<_>>(), [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
/// ```
pub fn roc(scores: &[f64], positive: &[bool]) -> Option<Vec<RocPoint>> {
    let (hits, misses) = counts(scores, positive)?;
    let mut points = vec![RocPoint { threshold: f64::INFINITY, false_positives: 0.0, true_positives: 0.0 }];
    let (mut found, mut wrong) = (0, 0);
    for tied in falling(scores).chunk_by(|&a, &b| scores[a] == scores[b]) {
        found += tied.iter().filter(|&&at| positive[at]).count();
        wrong += tied.iter().filter(|&&at| !positive[at]).count();
        let (false_positives, true_positives) = (wrong as f64 / misses as f64, found as f64 / hits as f64);
        points.push(RocPoint { threshold: scores[tied[0]], false_positives, true_positives });
    }
    Some(points)
}

/// Area under the [`roc`]: the chance that a positive scores above a negative, ties counting half (Mann and Whitney), with the 95 %
/// interval of DeLong, DeLong and Clarke-Pearson (1988) on the logit scale.
///
/// Where the two are wholly apart their spread is zero; the interval is then Wilson's for `k` of `k`, with `k` the smaller of the counts.
/// `n` is the number of scores. `None` where [`roc`] is.
///
/// ```
/// let found = ascribe::statistics::auc(&[3.0, 2.0, 2.0, 1.0], &[true, true, false, false]);
/// assert!(found.is_some_and(|e| e.mean == 0.875 && e.low < 0.875 && e.high < 1.0));
/// ```
pub fn auc(scores: &[f64], positive: &[bool]) -> Option<Estimate> {
    let (hits, misses) = counts(scores, positive)?;
    let (all, n) = (ranks(scores), scores.len());
    // For each example, the share of the other side that it stands on the right side of.
    let shares = |side: bool, others: usize| -> Vec<f64> {
        let own: Vec<usize> = (0..n).filter(|&at| positive[at] == side).collect();
        let among = ranks(&own.iter().map(|&at| scores[at]).collect::<Vec<_>>());
        own.iter().zip(among).map(|(&at, rank)| (all[at] - rank) / others as f64).collect()
    };
    let (above, below) = (shares(true, misses), shares(false, hits));
    let mean = above.iter().sum::<f64>() / hits as f64;
    let variance = variance_of_mean(&above) + variance_of_mean(&below);
    let (low, high) = match mean <= 0.0 || mean >= 1.0 || variance <= 0.0 {
        true => {
            let k = hits.min(misses) as f64;
            wilson(mean * k, k)
        }
        false => {
            let (logit, reach) = ((mean / (1.0 - mean)).ln(), Z * variance.sqrt() / (mean * (1.0 - mean)));
            let back = |logit: f64| 1.0 / (1.0 + (-logit).exp());
            (back(logit - reach), back(logit + reach))
        }
    };
    Some(Estimate { mean, low, high, n })
}

/// Average precision: precision at each threshold, weighted by the positives found there; tied scores are one threshold.
///
/// A random order gives about the share of positives. `None` where [`roc`] is.
///
/// ```
/// let found = ascribe::statistics::average_precision(&[3.0, 2.0, 1.0], &[true, false, true]);
/// assert!(found.is_some_and(|ap| (ap - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12));
/// ```
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Option<f64> {
    let (hits, _) = counts(scores, positive)?;
    let (mut found, mut seen, mut sum) = (0, 0, 0.0);
    for tied in falling(scores).chunk_by(|&a, &b| scores[a] == scores[b]) {
        let new = tied.iter().filter(|&&at| positive[at]).count();
        (found, seen) = (found + new, seen + tied.len());
        sum += new as f64 * found as f64 / seen as f64;
    }
    Some(sum / hits as f64)
}

/// How many positives and negatives.
fn counts(scores: &[f64], positive: &[bool]) -> Option<(usize, usize)> {
    let hits = positive.iter().filter(|&&p| p).count();
    let sound = scores.len() == positive.len() && scores.iter().all(|score| !score.is_nan());
    (sound && hits > 0 && hits < positive.len()).then(|| (hits, positive.len() - hits))
}

/// Places from the largest score down.
fn falling(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap_or(std::cmp::Ordering::Equal));
    order
}

/// Zero for a single number, about which nothing is known.
fn variance_of_mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0).max(1.0) / n
}
