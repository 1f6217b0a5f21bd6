use super::design::Design;
use crate::statistics::distribution::{f_quantile, f_tail};

/// Variance between and within groups, such as runs and the checkpoints of each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneWay {
    /// Estimated variance of groups' true means; below zero where groups differ less than chance within them explains.
    pub between: f64,
    /// Variance within groups.
    pub within: f64,
    /// Intraclass correlation: the share of the variance that lies between groups, `between / (between + within)`.
    pub icc: f64,
    /// The exact 95 % interval of its true value, for normal numbers.
    pub interval: (f64, f64),
    /// p-value of groups that do not differ.
    pub p: f64,
    /// Number of groups.
    pub groups: usize,
    /// Numbers in each.
    pub each: usize,
}

/// The one-way random effects analysis of `groups` equally large groups, which stand one after the other in `values`.
///
/// With mean squares B between and W within groups of n: `between = (B − W) / n`, `within = W`; the interval of the intraclass correlation
/// follows from `F = B / W` by `(F/F₁ − 1) / (F/F₁ + n − 1)` with F₁ the 97.5 % and 2.5 % points of Fisher's distribution (Searle 1971).
/// Where all lies between groups, both ends are 1.
///
/// A correlation near 1 says that checkpoints of a run add nothing: n runs are worth n draws. `None` for fewer than two groups or two
/// numbers in each, groups of different sizes, numbers that are not finite, or all equal.
///
/// ```
/// // Three runs of two checkpoints.
/// let found = ascribe::statistics::one_way(&[1.0, 1.2, 3.0, 3.2, 5.0, 5.2], 3);
/// assert!(found.is_some_and(|f| (f.within - 0.02).abs() < 1e-12 && (f.between - 3.99).abs() < 1e-12 && f.icc > 0.99));
/// ```
pub fn one_way(values: &[f64], groups: usize) -> Option<OneWay> {
    let design = Design::new(&[groups], values.len())?;
    let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    if values.iter().any(|value| !value.is_finite()) || values.iter().all(|value| *value == values[0]) {
        return None;
    }
    let scaled: Vec<f64> = values.iter().map(|value| value / largest).collect();
    let squares = design.mean_squares(&scaled, &mut Vec::new());
    let (b, w, each) = (squares[1], squares[0], design.repeats);
    let n = each as f64;
    let (above, below) = (design.freedom(1) as f64, design.freedom(0) as f64);
    let end = |f: f64| if w > 0.0 { (b / w / f - 1.0) / (b / w / f + n - 1.0) } else { 1.0 };
    let unit = largest * largest;
    let between = (b - w) / n;
    Some(OneWay {
        between: between * unit,
        within: w * unit,
        icc: between / (between + w),
        interval: (end(f_quantile(0.975, above, below)), end(f_quantile(0.025, above, below))),
        p: if w > 0.0 { f_tail(b / w, above, below) } else { 0.0 },
        groups,
        each,
    })
}
