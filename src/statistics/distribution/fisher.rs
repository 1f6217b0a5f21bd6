//! Fisher's F and chi-squared: what intervals of variances stand on.

use statrs::distribution::{ContinuousCDF, FisherSnedecor};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::gamma_lr;

/// The chance of a value above `f` with `above` and `below` degrees of freedom.
pub(crate) fn f_tail(f: f64, above: f64, below: f64) -> f64 {
    beta_reg(below / 2.0, above / 2.0, below / (below + above * f))
}

/// The point below which F with `above` and `below` degrees of freedom lies with chance `share`; NaN for a freedom not above 0.
pub(crate) fn f_quantile(share: f64, above: f64, below: f64) -> f64 {
    FisherSnedecor::new(above, below).map_or(f64::NAN, |f| f.inverse_cdf(share))
}

/// The point below which chi-squared with this many degrees of freedom lies with chance `share`.
///
/// By halving on a logarithmic scale: the quantile of `statrs` 0.18 is NaN at the lower tail of one degree of freedom.
pub(crate) fn chi_square_quantile(share: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (-700.0, (freedom + 2_000.0).ln());
    for _ in 0..70 {
        let middle: f64 = 0.5 * (low + high);
        match gamma_lr(freedom / 2.0, middle.exp() / 2.0) < share {
            true => low = middle,
            false => high = middle,
        }
    }
    low.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By scipy 1.17: `chi2.ppf`, `f.ppf`, `f.sf`.
    #[test]
    fn quantiles_are_scipys() {
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-10 * expected, "{found} against {expected}");
        close(chi_square_quantile(0.025, 1.0), 0.000_982_069_117_175_255_5);
        close(chi_square_quantile(0.975, 1.0), 5.023_886_187_314_888);
        close(chi_square_quantile(0.025, 9.0), 2.700_389_499_980_357_6);
        close(chi_square_quantile(0.975, 100.0), 129.561_197_185_836_6);
        close(f_quantile(0.975, 9.0, 40.0), 2.451_939_217_029_925);
        close(f_quantile(0.025, 2.0, 8.0), 0.025_398_101_224_109_14);
        close(f_tail(2.5, 3.0, 12.0), 0.109_154_712_395_006_21);
        close(f_tail(80.0, 9.0, 40.0), 9.893_307_889_441_1e-23);
    }
}
