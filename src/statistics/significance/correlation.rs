use crate::statistics::distribution::incomplete_beta_half;

/// Two-sided p-value of a correlation `r` of `n` pairs, were there none: Student's t with n − 2 degrees of freedom.
///
/// What scipy reports for Pearson and Spearman. `None` for fewer than three pairs or a number outside −1 to 1.
///
/// ```
/// let p = ascribe::statistics::p_of_correlation(0.5, 10);
/// assert!(p.is_some_and(|p| (p - 0.141_113_281_25).abs() < 1e-12));
/// ```
pub fn p_of_correlation(r: f64, n: usize) -> Option<f64> {
    // t² / (n − 2 + t²) = r², so the tail of t is an incomplete beta function of 1 − r².
    (n >= 3 && r.abs() <= 1.0).then(|| incomplete_beta_half((n as f64 - 2.0) / 2.0, (1.0 - r) * (1.0 + r), r * r))
}
