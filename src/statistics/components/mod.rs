//! How much of the variance of a score each source of randomness makes.
//!
//! Sources are factors of a balanced design whose levels are drawn at random: runs, the initialisation, the order of batches, the subset
//! trained on. What is drawn once for each combination, such as checkpoints of a run, is the residual.

mod crossed;
mod design;
mod interval;
mod one_way;
mod pairs;
mod pooled;

pub use crossed::{Component, crossed};
pub use one_way::{OneWay, one_way};
pub use pairs::{crossed_pairs, one_way_pairs};
pub use pooled::variance_components;
