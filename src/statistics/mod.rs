//! Pure functions on numbers: shares, ranks, correlations and their intervals. Everything in f64, nothing keeps state.
//!
//! What is not defined is `None`, never NaN: the correlation of a constant, of fewer than two pairs, or of numbers that are not
//! finite; the interval of fewer than four pairs.

mod bootstrap;
mod correlation;
mod jackknife;
mod kendall;
mod rank;
mod ranking;
mod share;
mod significance;

pub use bootstrap::{Estimate, bootstrap_mean};
pub use correlation::{Correlation, pearson, spearman};
pub use jackknife::mean_spearman;
pub use kendall::kendall;
pub use rank::ranks;
pub use ranking::{RocPoint, auc, average_precision, roc};
pub use share::wilson;
pub use significance::p_of_correlation;
pub(crate) use significance::t_quantile;

/// The 97.5 % point of the normal distribution: ends of 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;
