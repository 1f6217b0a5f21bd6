use super::sorted;

/// The q-values of Benjamini and Hochberg (1995): calling every test with `q ≤ 0.05` a discovery keeps the expected share of false ones
/// among them below 0.05. `q_(i) = min over j ≥ i of m p_(j) / j`.
///
/// It holds for independent tests and for tests that depend positively on each other; scores that share a network or an example do
/// depend. [`benjamini_yekutieli`] holds whatever the dependence.
///
/// ```
/// let q = ascribe::statistics::benjamini_hochberg(&[Some(0.01), None, Some(0.04), Some(0.5)]);
/// assert_eq!(q, [Some(0.03), None, Some(0.06), Some(0.5)]);
/// ```
pub fn benjamini_hochberg(p: &[Option<f64>]) -> Vec<Option<f64>> {
    step_up(p, 1.0)
}

/// [`benjamini_hochberg`]'s q-values times `1 + 1/2 + … + 1/m` (Benjamini and Yekutieli 2001): valid whatever the dependence among tests.
///
/// For two million tests the factor is 15, so little is found.
///
/// ```
/// let q = ascribe::statistics::benjamini_yekutieli(&[Some(0.25), Some(0.5)]);
/// assert_eq!(q, [Some(0.75), Some(0.75)]);
/// ```
pub fn benjamini_yekutieli(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let m = sorted(p).len();
    step_up(p, (1..=m).rev().map(|i| 1.0 / i as f64).sum())
}

/// `min over j ≥ i of factor · m p_(j) / j`, at most 1.
pub(super) fn step_up(p: &[Option<f64>], factor: f64) -> Vec<Option<f64>> {
    let sorted = sorted(p);
    let (m, mut least) = (sorted.len() as f64, 1.0f64);
    let mut q = vec![None; p.len()];
    for (rank, &(p, at)) in sorted.iter().enumerate().rev() {
        least = least.min(factor * p * m / (rank + 1) as f64);
        q[at] = Some(least);
    }
    q
}
