//! Student's t.

use std::f64::consts::PI;

use super::beta::{beta_half, fraction, incomplete_beta_half};

/// Finite sums serve up to here; beyond, a continued fraction is shorter.
const MOST_TERMS: usize = 1_000;

/// The two-sided tail of Student's t with whole degrees of freedom ν, what depends on ν alone computed once.
///
/// With `y = (1 − t / √(ν + t²)) / 2`, `z = y / (1 − y)` and `x = 4 y (1 − y) = ν / (ν + t²)` the tail for even ν = 2m is the
/// finite sum `2 y x^(m−1) Σ_i C(2m − 1, m + i) 4^(1−m) z^i` of positive terms, exact in its relative error however far out. For odd ν it is an
/// angle less a finite sum (Abramowitz and Stegun 26.7.3), which cancels far out, where the continued fraction takes over.
pub(crate) struct Student {
    freedom: usize,
    coefficients: Vec<f64>,
    /// `1 / (a B(a, 1/2))` with `a = ν / 2`.
    front: f64,
}

impl Student {
    /// With at least one degree of freedom.
    pub(crate) fn new(freedom: usize) -> Student {
        let nu = freedom as f64;
        let m = freedom / 2;
        let coefficients = match freedom.is_multiple_of(2) {
            _ if freedom > MOST_TERMS => Vec::new(),
            // C(2m − 1, m + i) / 4^(m − 1): the first as a product that stays near 1, the others from one to the next.
            true => {
                let first = (1..m).fold(1.0, |c, k| c * (k as f64 + 0.5) / (k as f64 + 1.0));
                let next = |c: &f64, i: usize| c * (m - 1 - i) as f64 / (m + i + 1) as f64;
                (0..m).scan(first, |c, i| Some(std::mem::replace(c, next(c, i)))).collect()
            }
            // (2k)!! / (2k + 1)!!
            false => (0..m).scan(1.0, |d, k| Some(std::mem::replace(d, *d * (2 * k + 2) as f64 / (2 * k + 3) as f64))).collect(),
        };
        Student { freedom, coefficients, front: 1.0 / (nu / 2.0 * beta_half(nu / 2.0)) }
    }

    /// The chance of a value at least as far from zero as `t`, which is not NaN.
    pub(crate) fn p(&self, t: f64) -> f64 {
        let (nu, t) = (self.freedom as f64, t.abs());
        let root = t.hypot(nu.sqrt());
        let (sine, cosine) = if t < f64::INFINITY { (t / root, nu.sqrt() / root) } else { (1.0, 0.0) };
        let x = cosine * cosine;
        if self.freedom > MOST_TERMS {
            return incomplete_beta_half(nu / 2.0, x, sine * sine);
        }
        let sum = |at: f64| self.coefficients.iter().rev().fold(0.0, |sum, c| sum * at + c);
        let m = (self.freedom / 2) as i32;
        if self.freedom.is_multiple_of(2) {
            let y = 0.5 * x / (1.0 + sine);
            return 2.0 * y * x.powi(m - 1) * sum(y / (1.0 - y));
        }
        let angle = cosine.atan2(sine);
        let p = 2.0 / PI * (angle - sine * cosine * sum(x));
        match self.freedom == 1 || p > 1e-3 * angle {
            true => p,
            false => x.powi(m) * cosine * sine * self.front * fraction(x, nu / 2.0, 0.5),
        }
    }
}

/// The 97.5 % point of Student's t distribution with at least one degree of freedom.
pub(crate) fn t_quantile(freedom: usize) -> f64 {
    two_sided_point(0.05, freedom)
}

/// The number beyond which, on both sides together, Student's t with at least one degree of freedom lies with chance `share`, above 0 and
/// below 1.
pub(crate) fn two_sided_point(share: f64, freedom: usize) -> f64 {
    let student = Student::new(freedom);
    // In s = t / (1 + t), which rises from 0 to 1.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        match student.p(middle / (1.0 - middle)) > share {
            true => low = middle,
            false => high = middle,
        }
    }
    low / (1.0 - low)
}

#[cfg(test)]
mod tests {
    use super::{Student, t_quantile};

    #[test]
    fn tails_are_mpmaths() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/statistics.json")).expect("a golden file");
        let rows = golden["tails"]["student"].as_array().expect("rows");
        assert!(rows.len() > 150);
        for row in rows {
            let [freedom, t, p] = [0, 1, 2].map(|at| row[at].as_f64().expect("a number"));
            let found = Student::new(freedom as usize).p(-t);
            let bound = if freedom > 1e6 { 2e-10 } else { 4e-13 };
            assert!((found - p).abs() <= bound * p, "{t} of {freedom}: {found} against {p}");
        }
        let one = Student::new(3);
        assert_eq!([one.p(f64::INFINITY), one.p(0.0)], [0.0, 1.0]);
    }

    #[test]
    fn quantiles_are_scipys() {
        for (freedom, expected) in
            [(1, 12.706_204_736_432_095), (2, 4.302_652_729_911_275), (19, 2.093_024_054_408_263), (99, 1.984_216_951_508_684)]
        {
            assert!((t_quantile(freedom) - expected).abs() < 1e-9, "{freedom}: {}", t_quantile(freedom));
        }
    }
}
