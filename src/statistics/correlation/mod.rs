//! How two columns of numbers go together.

mod coefficient;
mod group;
mod jackknife;
mod kendall;
mod linear;
mod matrix;
mod partial;
mod permutation;
mod resample;
mod within;

pub use coefficient::{Coefficient, Correlation};
pub use jackknife::mean_spearman;
pub use kendall::kendall;
pub use linear::{pearson, spearman};
pub use matrix::{Correlations, Missing, correlation_matrix};
pub use partial::{partial_pearson, partial_spearman};
pub use permutation::permutation_test;
pub use within::within_groups;
