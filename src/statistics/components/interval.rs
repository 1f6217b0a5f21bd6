use crate::statistics::distribution::{chi_square_quantile, f_quantile};

/// Each tail of a 95 % interval.
const TAIL: f64 = 0.025;

/// One mean square with its weight and degrees of freedom.
#[derive(Clone, Copy)]
pub(super) struct Term {
    pub(super) weight: f64,
    pub(super) square: f64,
    pub(super) freedom: f64,
}

/// The 95 % interval of a weighted sum of independent mean squares by the modified large-sample method (Ting, Burdick, Graybill, Jeyaratnam and
/// Lu 1990): as the normal interval, but with the weights of squares and products chosen so that it is exact where one term rules.
pub(super) fn modified_large_sample(terms: &[Term]) -> (f64, f64) {
    let estimate: f64 = terms.iter().map(|term| term.weight * term.square).sum();
    let side = |sign: f64| -> Vec<Term> {
        terms
            .iter()
            .filter(|term| term.weight * sign > 0.0 && term.square > 0.0)
            .map(|term| Term { weight: term.weight.abs(), ..*term })
            .collect()
    };
    let (plus, minus) = (side(1.0), side(-1.0));
    (estimate - reach(&plus, &minus), estimate + reach(&minus, &plus))
}

/// How far the lower end lies below `Σ plus − Σ minus`; for the upper end the two change places.
fn reach(plus: &[Term], minus: &[Term]) -> f64 {
    let size = |term: &Term| term.weight * term.square;
    let (g, h): (Vec<f64>, Vec<f64>) =
        (plus.iter().map(|t| below(t.freedom)).collect(), minus.iter().map(|t| above(t.freedom)).collect());
    let mut sum = 0.0;
    plus.iter().zip(&g).for_each(|(term, g)| sum += (g * size(term)).powi(2));
    minus.iter().zip(&h).for_each(|(term, h)| sum += (h * size(term)).powi(2));
    for (p, g) in plus.iter().zip(&g) {
        for (m, h) in minus.iter().zip(&h) {
            let f = f_quantile(1.0 - TAIL, p.freedom, m.freedom);
            sum += ((f - 1.0).powi(2) - g * g * f * f - h * h) / f * size(p) * size(m);
        }
    }
    for (at, a) in plus.iter().enumerate() {
        for (other, b) in plus.iter().enumerate().skip(at + 1) {
            let (n, m) = (a.freedom, b.freedom);
            let both = (below(n + m) * (n + m)).powi(2) / (n * m) - g[at] * g[at] * n / m - g[other] * g[other] * m / n;
            sum += both / (plus.len() as f64 - 1.0) * size(a) * size(b);
        }
    }
    sum.max(0.0).sqrt()
}

/// `1 − 1 / F(n, ∞)` at the upper tail.
fn below(freedom: f64) -> f64 {
    1.0 - freedom / chi_square_quantile(1.0 - TAIL, freedom)
}

/// `1 / F(n, ∞) − 1` at the lower tail.
fn above(freedom: f64) -> f64 {
    freedom / chi_square_quantile(TAIL, freedom) - 1.0
}
