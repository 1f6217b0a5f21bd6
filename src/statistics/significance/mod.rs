//! How likely chance alone would make a number as far from zero.

mod correlation;
mod flip;
mod pairs;
mod power;
mod sign;
mod t;

pub use correlation::p_of_correlation;
pub use flip::{Permuted, sign_flip_test};
pub use pairs::{Test, one_sample};
pub use power::{runs_needed, squared_effect, t_test_power};
pub use sign::{SignTest, sign_test};
pub use t::{TTest, t_test, z_ratio_p};
