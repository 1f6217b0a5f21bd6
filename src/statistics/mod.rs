//! Pure functions on numbers: ranks, correlations, tests, false discovery rates, power, components of variance, and their intervals.
//! Everything in f64, nothing keeps state.
//!
//! What is not defined is `None`, never NaN: the correlation of a constant, of fewer than two pairs, or of numbers that are not
//! finite; the interval of fewer than four pairs; the t of numbers that are all equal. Functions that work on many pairs at once take and fill
//! slices of f32, and there it is NaN.
//!
//! | question | function |
//! |---|---|
//! | is this mean different from zero? | [`t_test`], [`sign_test`], [`sign_flip_test`]; [`one_sample`] for many pairs |
//! | how many of these findings are false? | [`benjamini_hochberg`], [`storey`], [`holm`] |
//! | how many runs do I need? | [`t_test_power`], [`runs_needed`], [`squared_effect`] |
//! | where does the noise come from? | [`one_way`], [`crossed`], [`variance_components`] |
//! | do two methods agree? | [`correlation_matrix`], [`partial_pearson`], [`within_groups`], [`permutation_test`] |

mod bootstrap;
mod components;
mod correlation;
mod distribution;
mod multiple;
mod rank;
mod ranking;
mod share;
mod significance;

pub use bootstrap::{Estimate, bootstrap_mean};
pub use components::{Component, OneWay, crossed, crossed_pairs, one_way, one_way_pairs, variance_components};
pub use correlation::{
    Coefficient, Correlation, Correlations, Missing, correlation_matrix, kendall, mean_spearman, partial_pearson,
    partial_spearman, pearson, permutation_test, spearman, within_groups,
};
pub(crate) use distribution::{Student, t_quantile, two_sided_normal, two_sided_point};
pub use multiple::{Pi0, Storey, benjamini_hochberg, benjamini_yekutieli, bonferroni, holm, storey};
pub use rank::ranks;
pub use ranking::{RocPoint, auc, average_precision, roc};
pub use share::wilson;
pub use significance::{
    Permuted, SignTest, TTest, Test, one_sample, p_of_correlation, runs_needed, sign_flip_test, sign_test, squared_effect,
    t_test, t_test_power, z_ratio_p,
};

/// The 97.5 % point of the normal distribution: ends of 95 % intervals.
const Z: f64 = 1.959_963_984_540_054;
