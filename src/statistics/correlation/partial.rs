use super::Correlation;
use super::linear::{centred, dot, linear, ranked};
use crate::statistics::ranks;

/// A column whose rest is shorter than this share of it is explained by the others.
const SPARE: f64 = 1e-10;

/// Pearson's correlation of what the columns `given` leave of `x` and `y`: both less their least-squares fits, with an intercept.
///
/// `r = ⟨x̃, ỹ⟩ / (|x̃| |ỹ|)`. Interval and p-value are [`pearson`](super::pearson)'s with one pair less for each given column, of which
/// those that follow from the ones before are not counted; `n` is the number of pairs. It answers whether two scores agree beyond what
/// both share with a third; what is not linear in the third stays. Cost: n · given². `None` where `pearson` is, and where the given columns
/// explain a side wholly or are not finite.
///
/// ```
/// use ascribe::statistics::{partial_pearson, pearson};
/// let z: Vec<f64> = (0..50).map(f64::from).collect();
/// let x: Vec<f64> = z.iter().map(|z| z + (z * 1.3).sin()).collect();
/// let y: Vec<f64> = z.iter().map(|z| z + (z * 2.1).cos()).collect();
/// assert!(pearson(&x, &y).is_some_and(|r| r.value > 0.99)); // both follow z
/// assert!(partial_pearson(&x, &y, &[&z]).is_some_and(|r| r.value.abs() < 0.2)); // and nothing else
/// ```
pub fn partial_pearson(x: &[f64], y: &[f64], given: &[&[f64]]) -> Option<Correlation> {
    let (value, taken) = residual(x, y, given)?;
    Some(linear(value, x.len(), taken))
}

/// [`partial_pearson`] of average ranks, with [`spearman`](super::spearman)'s interval.
///
/// ```
/// use ascribe::statistics::partial_spearman;
/// let z = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let (x, y) = ([1.0, 3.0, 2.0, 5.0, 4.0, 6.0], [2.0, 1.0, 3.0, 4.0, 6.0, 5.0]);
/// // From the three correlations of ranks: (0.77 − 0.89 · 0.89) / (1 − 0.89²).
/// assert!(partial_spearman(&x, &y, &[&z]).is_some_and(|r| r.value < 0.0));
/// ```
pub fn partial_spearman(x: &[f64], y: &[f64], given: &[&[f64]]) -> Option<Correlation> {
    if [x, y].iter().chain(given).any(|column| column.iter().any(|value| !value.is_finite())) {
        return None;
    }
    let given: Vec<Vec<f64>> = given.iter().map(|column| ranks(column)).collect();
    let (value, taken) = residual(&ranks(x), &ranks(y), &given.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    Some(ranked(value, x.len(), taken))
}

/// The correlation of the rests and how many independent columns were taken out.
fn residual(x: &[f64], y: &[f64], given: &[&[f64]]) -> Option<(f64, usize)> {
    if x.len() != y.len() || x.len() < 2 || given.iter().any(|column| column.len() != x.len()) {
        return None;
    }
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for column in given {
        if column.iter().any(|value| !value.is_finite()) {
            return None;
        }
        // A constant column is the intercept, which is there anyway.
        basis.extend(centred(column).and_then(|column| rest(column, &basis)));
    }
    let (x, y) = (rest(centred(x)?, &basis)?, rest(centred(y)?, &basis)?);
    Some((dot(&x, &y).clamp(-1.0, 1.0), basis.len()))
}

/// What is left of a column of length 1 beside an orthonormal basis, at length 1; twice, since rounding leaves a share.
fn rest(mut column: Vec<f64>, basis: &[Vec<f64>]) -> Option<Vec<f64>> {
    for _ in 0..2 {
        for axis in basis {
            let share = dot(&column, axis);
            column.iter_mut().zip(axis).for_each(|(value, axis)| *value -= share * axis);
        }
    }
    let length = dot(&column, &column).sqrt();
    column.iter_mut().for_each(|value| *value /= length);
    (length > SPARE).then_some(column)
}
