//! The incomplete beta function at b = 1/2, which is the tail of Student's t.

use std::f64::consts::PI;

/// Regularised incomplete beta function `I_x(a, 1/2)` at `x = 1 − y`, by its continued fraction (Abramowitz and Stegun 26.5.8), evaluated
/// from the front by Lentz's method. Both `x` and `y` are asked for, so that neither end loses digits.
pub(crate) fn incomplete_beta_half(a: f64, x: f64, y: f64) -> f64 {
    const B: f64 = 0.5;
    if x <= 0.0 || y <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let ln_x = if y < 0.5 { (-y).ln_1p() } else { x.ln() };
    let front = (a * ln_x).exp() * y.sqrt() / beta_half(a);
    match x < (a + 1.0) / (a + B + 2.0) {
        true => front * fraction(x, a, B) / a,
        false => 1.0 - front * fraction(y, B, a) / B,
    }
}

/// The continued fraction of `I_x(a, b)` without its front factor.
pub(super) fn fraction(x: f64, a: f64, b: f64) -> f64 {
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

/// `B(a, 1/2) = √π Γ(a) / Γ(a + 1/2)`: the asymptotic series of the ratio beyond a = 60, from which `B(a, b) = B(a + 1, b) (a + b) / a` leads
/// down. A difference of two logarithms of Γ would cost as many digits as they have before the point.
pub(super) fn beta_half(a: f64) -> f64 {
    let (mut at, mut factor) = (a, 1.0);
    while at < 60.0 {
        factor *= (at + 0.5) / at;
        at += 1.0;
    }
    let z = 1.0 / at;
    let series = [1.0, -1.0 / 8.0, 1.0 / 128.0, 5.0 / 1024.0, -21.0 / 32_768.0, -399.0 / 262_144.0, 869.0 / 4_194_304.0];
    let ratio = at.sqrt() * series.iter().rev().fold(0.0, |sum, term| sum * z + term);
    factor * PI.sqrt() / ratio
}
