use crate::statistics::distribution::{Student, two_sided_normal};

/// What a one-sample t-test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TTest {
    /// Mean over its standard error.
    pub t: f64,
    /// Degrees of freedom, n − 1.
    pub freedom: usize,
    /// Two-sided p-value.
    pub p: f64,
}

/// Student's t-test of a mean of zero, from the mean and the standard deviation (divisor n − 1) of `n` numbers:
/// `t = mean √n / std` with n − 1 degrees of freedom.
///
/// It supposes independent numbers. Checkpoints of one run are not: a test over runs × checkpoints as if each were a run of its own
/// finds too much. `None` for fewer than two numbers, where the numbers are all equal (`std` is 0, so that there is no noise to measure
/// the mean by), where a number is not finite, or where t is beyond what a float holds.
///
/// ```
/// let found = ascribe::statistics::t_test(1.0, 2.0, 16);
/// // scipy.stats.t.sf(2, 15) * 2
/// assert!(found.is_some_and(|f| f.t == 2.0 && f.freedom == 15 && (f.p - 0.063_945_007_284_720_15).abs() < 1e-14));
/// assert_eq!(ascribe::statistics::t_test(1.0, 0.0, 16), None);
/// ```
pub fn t_test(mean: f64, std: f64, n: usize) -> Option<TTest> {
    let t = mean / std * (n as f64).sqrt();
    (n >= 2 && std > 0.0 && std.is_finite() && t.is_finite()).then(|| TTest { t, freedom: n - 1, p: Student::new(n - 1).p(t) })
}

/// `2 (1 − Φ(|mean / std|))`: the chance that a single draw from the normal distribution with this standard deviation about zero is as
/// far out as the mean is.
///
/// What the code of Nguyen, Seo and Oh (2023) calls a p-value. It is none for the mean of n draws, whose standard error is `std / √n`: it
/// stays put where more draws are made. It says how often one draw has the wrong sign, about. Prefer [`t_test`]. `None` where `std` is
/// not above 0 or a number is not finite.
///
/// ```
/// let p = ascribe::statistics::z_ratio_p(1.959_963_984_540_054, 1.0);
/// assert!(p.is_some_and(|p| (p - 0.05).abs() < 1e-14));
/// ```
pub fn z_ratio_p(mean: f64, std: f64) -> Option<f64> {
    let z = mean / std;
    (std > 0.0 && std.is_finite() && z.is_finite()).then(|| two_sided_normal(z))
}
