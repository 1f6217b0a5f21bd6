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
    (n >= 3 && r.abs() <= 1.0).then(|| incomplete_beta((1.0 - r) * (1.0 + r), (n as f64 - 2.0) / 2.0))
}

/// The 97.5 % point of Student's t distribution with at least one degree of freedom.
pub(crate) fn t_quantile(freedom: usize) -> f64 {
    let freedom = freedom as f64;
    // The p-value of t is an incomplete beta function of freedom / (freedom + t²), which rises from 0 to 1.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match incomplete_beta(middle, freedom / 2.0) < 0.05 {
            true => low = middle,
            false => high = middle,
        }
    }
    (freedom * (1.0 - low) / low).sqrt()
}

/// Regularised incomplete beta function `I_x(a, 1/2)` by its continued fraction (Abramowitz and Stegun 26.5.8), evaluated from the
/// front by Lentz's method.
fn incomplete_beta(x: f64, a: f64) -> f64 {
    const B: f64 = 0.5;
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (a * x.ln() + B * (1.0 - x).ln() - ln_beta_half(a)).exp();
    match x < (a + 1.0) / (a + B + 2.0) {
        true => front * fraction(x, a, B) / a,
        false => 1.0 - front * fraction(1.0 - x, B, a) / B,
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let tiny = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / tiny(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = d;
    for step in 1..10_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / tiny(1.0 + term * d);
            c = tiny(1.0 + term / c);
            value *= c * d;
        }
        if (value - before).abs() <= 1e-15 * value.abs() {
            break;
        }
    }
    value
}

/// `ln B(a, 1/2)` for whole and half a: upwards from B(1/2, 1/2) = π or B(1, 1/2) = 2 by `B(a + 1, b) = B(a, b) · a / (a + b)`.
fn ln_beta_half(a: f64) -> f64 {
    let (mut at, mut value) = if a.fract() == 0.0 { (1.0, 2f64.ln()) } else { (0.5, std::f64::consts::PI.ln()) };
    while at < a {
        value += (at / (at + 0.5)).ln();
        at += 1.0;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::t_quantile;

    #[test]
    fn quantiles_are_scipys() {
        for (freedom, expected) in
            [(1, 12.706_204_736_432_095), (2, 4.302_652_729_911_275), (19, 2.093_024_054_408_263), (99, 1.984_216_951_508_684)]
        {
            assert!((t_quantile(freedom) - expected).abs() < 1e-9, "{freedom}: {}", t_quantile(freedom));
        }
    }
}
