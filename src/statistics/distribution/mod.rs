//! Tails and quantiles of the distributions that tests and intervals stand on.

mod beta;
mod normal;
mod student;

pub(crate) use beta::incomplete_beta_half;
pub(crate) use normal::two_sided_normal;
pub(crate) use student::{Student, t_quantile};
