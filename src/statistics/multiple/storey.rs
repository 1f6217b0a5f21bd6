use super::false_discovery::step_up;
use super::sorted;

/// From which p-values on the true null hypotheses are counted: these are uniform, so `#{p > λ} / (m (1 − λ))` is about their share.
///
/// ```
/// use ascribe::statistics::{Pi0, storey};
/// // Half of the tests are uniform, half tiny.
/// let p: Vec<Option<f64>> = (0..2_000).map(|i| Some(if i % 2 == 0 { (f64::from(i) + 0.5) / 2_000.0 } else { 1e-6 })).collect();
/// assert!(storey(&p, Pi0::Bootstrap).is_some_and(|found| (found.pi0 - 0.5).abs() < 0.02));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pi0 {
    /// Beyond this λ, with the correction for finite samples of Storey, Taylor and Siegmund (2004): `(1 + #{p > λ}) / (m (1 − λ))`.
    Beyond(f64),
    /// The λ among 0.05, 0.10, …, 0.95 whose estimated mean squared error is smallest (Storey, Taylor and Siegmund 2004, section 6), in the
    /// closed form that their bootstrap tends to: variance of `#{p ≥ λ} / (m (1 − λ))` plus its squared distance from the 10 % point of
    /// all of them. No draws, no spline whose stiffness would have to be chosen.
    Bootstrap,
}

impl Default for Pi0 {
    /// Beyond 0.5.
    fn default() -> Pi0 {
        Pi0::Beyond(0.5)
    }
}

/// What [`storey`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Storey {
    /// Estimated share of tests with nothing to find, from 1/m to 1.
    pub pi0: f64,
    /// A q-value for each test.
    pub q: Vec<Option<f64>>,
}

/// Storey's q-values (2002): [`benjamini_hochberg`](super::benjamini_hochberg)'s times the estimated share π₀ of true null hypotheses.
///
/// With few tests π₀ is a guess, and it supposes that p-values of true nulls are uniform: discrete ones (sign tests of few draws)
/// pile up at 1 and make it too large, dependent ones make it jump about. `None` without a known p-value, or for a λ outside 0 (with) to
/// 1 (without).
///
/// ```
/// use ascribe::statistics::{Pi0, storey};
/// let found = storey(&[Some(0.001), Some(0.01), Some(0.2), Some(0.9)], Pi0::Beyond(0.5));
/// // One of four is beyond a half: π₀ = 2 / (4 · 0.5), which is at most 1.
/// assert!(found.is_some_and(|f| f.pi0 == 1.0 && f.q == [Some(0.004), Some(0.02), Some(0.8 / 3.0), Some(0.9)]));
/// ```
pub fn storey(p: &[Option<f64>], from: Pi0) -> Option<Storey> {
    let known = sorted(p);
    let m = known.len() as f64;
    let above = |lambda: f64| (known.len() - known.partition_point(|&(p, _)| p <= lambda)) as f64;
    let pi0 = match from {
        _ if known.is_empty() => return None,
        Pi0::Beyond(lambda) if !(0.0..1.0).contains(&lambda) => return None,
        Pi0::Beyond(lambda) => (above(lambda) + 1.0) / (m * (1.0 - lambda)),
        Pi0::Bootstrap => {
            let lambdas = || (1..20).map(|step| f64::from(step) / 20.0);
            let from = |lambda: f64| (known.len() - known.partition_point(|&(p, _)| p < lambda)) as f64;
            let found: Vec<f64> = lambdas().map(|lambda| from(lambda) / (m * (1.0 - lambda))).collect();
            let mut ordered = found.clone();
            ordered.sort_unstable_by(f64::total_cmp);
            // The 10 % point of 19 numbers, linear between the second and the third: 0.1 · 18 = 1.8.
            let least = ordered[1] + 0.8 * (ordered[2] - ordered[1]);
            let error = |(lambda, found): (f64, &f64)| {
                let count = from(lambda);
                count / (m * m * (1.0 - lambda).powi(2)) * (1.0 - count / m) + (found - least).powi(2)
            };
            let errors: Vec<f64> = lambdas().zip(&found).map(error).collect();
            let best = (0..errors.len())
                .min_by(|&a, &b| errors[a].total_cmp(&errors[b]).then(found[a].total_cmp(&found[b])))
                .unwrap_or(0);
            found[best]
        }
    };
    let pi0 = pi0.clamp(1.0 / m, 1.0);
    Some(Storey { pi0, q: step_up(p, pi0) })
}
