//! Tails and quantiles of the distributions that tests and intervals stand on.

mod beta;
mod fisher;
mod normal;
mod student;

pub(crate) use beta::incomplete_beta_half;
pub(crate) use fisher::{chi_square_quantile, f_quantile, f_tail};
pub(crate) use normal::two_sided_normal;
pub(crate) use student::{Student, t_quantile, two_sided_point};
