use super::Coefficient;
use super::group::{members, pick};
use crate::statistics::{Estimate, t_quantile};

/// Transformed correlations end here: artanh is infinite at 1.
const NEAREST: f64 = 1.0 - 1e-12;

/// The mean correlation within groups, such as the train examples of each test example: `tanh` of the mean over groups of `artanh r`, each
/// group counting the same, with a 95 % interval by Student's t over groups.
///
/// Over all pairs at once a correlation mixes two questions: whether two methods agree on which test examples have large scores, and
/// whether they agree on the order of the train examples of one. This answers the second; whole groups are its sample, so dependence
/// within a group does not narrow the interval. Correlations of groups of very different sizes are not equally certain; here they count
/// equally, as test examples do. Groups of fewer than four pairs or without a correlation are left out; `n` is how many are in. With a
/// single group the interval is all of −1 to 1. `None` for different lengths or where no group is left.
///
/// ```
/// use ascribe::statistics::{Coefficient, pearson, within_groups};
/// // Two test examples: one with large scores, one with small; within each the methods order the train examples oppositely.
/// let (x, y) = ([1.0, 2.0, 3.0, 4.0, 11.0, 12.0, 13.0, 14.0], [4.0, 3.0, 2.0, 1.1, 14.0, 13.0, 12.0, 11.1]);
/// assert!(pearson(&x, &y).is_some_and(|r| r.value > 0.8));
/// assert!(within_groups(&x, &y, &[0, 0, 0, 0, 1, 1, 1, 1], Coefficient::Pearson).is_some_and(|r| r.mean < -0.99 && r.n == 2));
/// ```
pub fn within_groups(x: &[f64], y: &[f64], groups: &[usize], coefficient: Coefficient) -> Option<Estimate> {
    if x.len() != y.len() || x.len() != groups.len() {
        return None;
    }
    let groups = members(groups);
    let found =
        groups.iter().filter(|group| group.len() >= 4).filter_map(|group| coefficient.value(&pick(x, group), &pick(y, group)));
    let transformed: Vec<f64> = found.map(|r| r.clamp(-NEAREST, NEAREST).atanh()).collect();
    let n = transformed.len();
    if n == 0 {
        return None;
    }
    let mean = transformed.iter().sum::<f64>() / n as f64;
    let reach = match n {
        1 => f64::INFINITY,
        _ => {
            let squares: f64 = transformed.iter().map(|z| (z - mean) * (z - mean)).sum();
            t_quantile(n - 1) * (squares / (n as f64 - 1.0) / n as f64).sqrt()
        }
    };
    Some(Estimate { mean: mean.tanh(), low: (mean - reach).tanh(), high: (mean + reach).tanh(), n })
}
