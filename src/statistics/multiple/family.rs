use super::sorted;

/// Bonferroni's adjusted p-values, `min(1, m p)`: calling every test below 0.05 keeps the chance of a single false discovery below 0.05.
///
/// [`holm`] promises the same and finds at least as much.
///
/// ```
/// assert_eq!(ascribe::statistics::bonferroni(&[Some(0.01), None, Some(0.5)]), [Some(0.02), None, Some(1.0)]);
/// ```
pub fn bonferroni(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let sorted = sorted(p);
    let mut adjusted = vec![None; p.len()];
    sorted.iter().for_each(|&(p, at)| adjusted[at] = Some((p * sorted.len() as f64).min(1.0)));
    adjusted
}

/// Holm's adjusted p-values (1979): `max over j ≤ i of (m − j + 1) p_(j)`, at most 1. The promise is [`bonferroni`]'s, whatever the
/// dependence among tests.
///
/// ```
/// assert_eq!(ascribe::statistics::holm(&[Some(0.01), Some(0.02), Some(0.5)]), [Some(0.03), Some(0.04), Some(0.5)]);
/// ```
pub fn holm(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let sorted = sorted(p);
    let (m, mut most) = (sorted.len(), 0.0f64);
    let mut adjusted = vec![None; p.len()];
    for (rank, &(p, at)) in sorted.iter().enumerate() {
        most = most.max((p * (m - rank) as f64).min(1.0));
        adjusted[at] = Some(most);
    }
    adjusted
}
