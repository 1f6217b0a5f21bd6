use super::spearman;
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
/// Cost: rows · columns² steps.
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
    let pairs = || x.iter().zip(y).filter_map(|(a, b)| Some((spearman(a, b)?.value, a, b)));
    let n = pairs().count();
    if n == 0 {
        return None;
    }
    let mean = pairs().map(|(value, ..)| value).sum::<f64>() / n as f64;
    let mut without = vec![0.0; columns];
    pairs().for_each(|(_, a, b)| add_without_each(a, b, &mut without));
    let transformed: Vec<f64> = without.iter().map(|sum| (sum / n as f64).clamp(-NEAREST, NEAREST).atanh()).collect();
    let m = columns as f64;
    let centre = transformed.iter().sum::<f64>() / m;
    let spread = ((m - 1.0) / m * transformed.iter().map(|z| (z - centre) * (z - centre)).sum::<f64>()).sqrt();
    let corrected = m * mean.clamp(-NEAREST, NEAREST).atanh() - (m - 1.0) * centre;
    let reach = t_quantile(columns - 1) * spread;
    Some(Estimate { mean, low: (corrected - reach).tanh(), high: (corrected + reach).tanh(), n })
}

/// Adds Spearman's correlation without each element in turn; nothing where that leaves a side constant.
fn add_without_each(a: &[f64], b: &[f64], sums: &mut [f64]) {
    let (ranks_a, ranks_b) = (ranks(a), ranks(b));
    let centre = a.len() as f64 / 2.0;
    for (out, sum) in sums.iter_mut().enumerate() {
        let (own_a, own_b) = (ranks_a[out], ranks_b[out]);
        let (mut aa, mut ab, mut bb) = (0.0, 0.0, 0.0);
        for (rank_a, rank_b) in ranks_a.iter().zip(&ranks_b) {
            // A rank falls by one where the missing element stood below, by half where it tied.
            let deviation_a = rank_a - below(own_a, *rank_a) - centre;
            let deviation_b = rank_b - below(own_b, *rank_b) - centre;
            aa += deviation_a * deviation_a;
            ab += deviation_a * deviation_b;
            bb += deviation_b * deviation_b;
        }
        // The loop went over the missing element too.
        let (extra_a, extra_b) = (own_a - 0.5 - centre, own_b - 0.5 - centre);
        let (aa, ab, bb) = (aa - extra_a * extra_a, ab - extra_a * extra_b, bb - extra_b * extra_b);
        if aa > 0.1 && bb > 0.1 {
            *sum += ab / (aa * bb).sqrt();
        }
    }
}

fn below(own: f64, other: f64) -> f64 {
    0.5 * (f64::from(u8::from(own < other)) + f64::from(u8::from(own <= other)))
}
