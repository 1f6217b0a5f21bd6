use crate::statistics::distribution::{two_sided_normal, two_sided_point};

/// Most runs that [`runs_needed`] looks at.
const MOST: usize = 1 << 30;

/// The chance that a two-sided one-sample t-test at level `alpha` over `n` runs finds an effect of size `d = μ / σ` (the true signal-to-noise ratio
/// of one run): `P(|T| > t)` of the noncentral t distribution with n − 1 degrees of freedom and noncentrality `d √n`.
///
/// By the trapezoidal rule over the logarithm of the estimated σ, whose error is below 1e-10. `None` for fewer than two runs, a level
/// outside 0 to 1, or a `d` that is not finite.
///
/// ```
/// // With 10 runs an effect as large as the noise of a run is found in 80 of 100 experiments, one of half that size in 29.
/// let found = |d: f64| ascribe::statistics::t_test_power(d, 10, 0.05);
/// assert!(found(1.0).is_some_and(|p| (p - 0.803).abs() < 1e-3) && found(0.5).is_some_and(|p| (p - 0.293).abs() < 1e-3));
/// assert!(found(0.0).is_some_and(|p| (p - 0.05).abs() < 1e-9));
/// ```
pub fn t_test_power(d: f64, n: usize, alpha: f64) -> Option<f64> {
    let sound = n >= 2 && alpha > 0.0 && alpha < 1.0 && d.is_finite();
    sound.then(|| power(d.abs() * (n as f64).sqrt(), n - 1, two_sided_point(alpha, n - 1)))
}

/// The fewest runs with which a two-sided one-sample t-test at level `alpha` finds an effect of size `d = μ / σ` with chance `power`.
///
/// `None` for an effect of 0, one so small that 2³⁰ runs do not do, or a level or chance outside 0 to 1.
///
/// ```
/// use ascribe::statistics::runs_needed;
/// assert_eq!(runs_needed(1.0, 0.05, 0.8), Some(10));
/// assert_eq!(runs_needed(0.5, 0.05, 0.8), Some(34));
/// assert_eq!(runs_needed(0.0, 0.05, 0.8), None);
/// ```
pub fn runs_needed(d: f64, alpha: f64, power: f64) -> Option<usize> {
    if !(power > 0.0 && power < 1.0) || d == 0.0 {
        return None;
    }
    let enough = |n: usize| t_test_power(d, n, alpha).map(|found| found >= power);
    let mut most = 2;
    while !enough(most)? {
        if most >= MOST {
            return None;
        }
        most *= 2;
    }
    // Enough at `most`, not at `least`.
    let mut least = if most == 2 { 1 } else { most / 2 };
    while most - least > 1 {
        let middle = least + (most - least) / 2;
        match enough(middle)? {
            true => most = middle,
            false => least = middle,
        }
    }
    Some(most)
}

/// An estimate of the squared effect `(μ / σ)²` from the t of `n` runs: `(t² (n − 3) / (n − 1) − 1) / n`, unbiased for normal runs.
///
/// The measured signal-to-noise ratio itself is too large: with nothing but noise `(mean / std)²` is `(n − 1) / (n − 3) / n` on average, which
/// for 10 runs looks like a ratio of 0.36. This takes it off, so a single estimate may lie below 0; the mean over many pairs is about the mean of
/// their true squared effects. `None` for fewer than four runs, whose t has no second moment, or a t that is not finite.
///
/// ```
/// let found = ascribe::statistics::squared_effect(2.0, 10);
/// assert!(found.is_some_and(|d| (d - (4.0 * 7.0 / 9.0 - 1.0) / 10.0).abs() < 1e-15)); // a ratio of 0.46, measured 0.63
/// ```
pub fn squared_effect(t: f64, n: usize) -> Option<f64> {
    let runs = n as f64;
    (n >= 4 && t.is_finite()).then(|| (t * t * (runs - 3.0) / (runs - 1.0) - 1.0) / runs)
}

/// `P(|T| > point)` with the given noncentrality.
fn power(shift: f64, freedom: usize, point: f64) -> f64 {
    const STEPS: i32 = 1_200;
    let nu = freedom as f64;
    // The logarithm of the density of u = ln(s / σ) beside its top at 0: ν (u − (e^2u − 1) / 2).
    let height = |u: f64| nu * (u - 0.5 * (2.0 * u).exp_m1());
    let edge = |mut out: f64, mut inside: f64| {
        for _ in 0..60 {
            let middle = 0.5 * (inside + out);
            match height(middle) < -46.0 {
                true => out = middle,
                false => inside = middle,
            }
        }
        out
    };
    let (low, high) = (edge(-100.0, 0.0), edge(10.0, 0.0));
    let (mut all, mut found) = (0.0, 0.0);
    for step in 0..=STEPS {
        let u = low + (high - low) * f64::from(step) / f64::from(STEPS);
        let weight = height(u).exp();
        let bar = point * u.exp();
        all += weight;
        found += weight * (above(bar - shift) + above(bar + shift));
    }
    (found / all).min(1.0)
}

/// The chance that a standard normal number is above `z`.
fn above(z: f64) -> f64 {
    let tail = 0.5 * two_sided_normal(z);
    if z >= 0.0 { tail } else { 1.0 - tail }
}
