use super::{kendall, linear};

/// A correlation, its 95 % interval and its p-value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correlation {
    /// Between −1 and 1.
    pub value: f64,
    /// Lower and upper end; `None` for fewer than four pairs (five for Kendall's).
    pub interval: Option<(f64, f64)>,
    /// Two-sided p-value of there being none; `None` for fewer than three pairs (never for Kendall's).
    pub p: Option<f64>,
    /// Number of pairs.
    pub n: usize,
}

/// Which correlation.
///
/// ```
/// use ascribe::statistics::Coefficient;
/// let (x, y) = ([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 100.0]);
/// let of = |which: Coefficient| which.of(&x, &y).map(|c| c.value);
/// assert!(of(Coefficient::Pearson) < Some(0.9) && of(Coefficient::Spearman) > Some(0.999) && of(Coefficient::Kendall) > Some(0.999));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coefficient {
    /// Of the numbers themselves: see [`pearson`](super::pearson).
    #[default]
    Pearson,
    /// Of their ranks: see [`spearman`](super::spearman).
    Spearman,
    /// Of the order of all pairs of pairs: see [`kendall`](super::kendall).
    Kendall,
}

impl Coefficient {
    /// `pearson`, `spearman` or `kendall`.
    pub fn name(self) -> &'static str {
        match self {
            Coefficient::Pearson => "pearson",
            Coefficient::Spearman => "spearman",
            Coefficient::Kendall => "kendall",
        }
    }

    /// The correlation with its interval and p-value: Student's t for Pearson and Spearman, with the intervals of Fisher and of Bonett and
    /// Wright (2000); for Kendall's τ-b the exact distribution where there are no ties and at most 33 pairs (or at most one pair out of
    /// order), else the normal distribution with the variance corrected for ties, and Bonett and Wright's interval with the variance
    /// `0.437 / (n − 4)`.
    ///
    /// `None` where it is not defined: see [`pearson`](super::pearson).
    ///
    /// ```
    /// use ascribe::statistics::Coefficient;
    /// let found = Coefficient::Kendall.of(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 3.0, 2.0, 4.0, 5.0]);
    /// // 5 of 120 orders have at most one pair out of order, and as many at most one in order.
    /// assert!(found.is_some_and(|c| c.value == 0.8 && c.p.is_some_and(|p| (p - 10.0 / 120.0).abs() < 1e-12)));
    /// ```
    pub fn of(self, x: &[f64], y: &[f64]) -> Option<Correlation> {
        match self {
            Coefficient::Pearson => linear::pearson(x, y),
            Coefficient::Spearman => linear::spearman(x, y),
            Coefficient::Kendall => kendall::judged(x, y),
        }
    }

    /// The value alone.
    pub(super) fn value(self, x: &[f64], y: &[f64]) -> Option<f64> {
        match self {
            Coefficient::Pearson | Coefficient::Spearman => Some(self.of(x, y)?.value),
            Coefficient::Kendall => kendall::kendall(x, y),
        }
    }
}
