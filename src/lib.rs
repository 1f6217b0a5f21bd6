//! Training-data attribution: which training examples made a model say this, and can the answer be trusted?
//!
//! ```
//! use ascribe::prelude::*;
//! let (train, test) = dataset::digits()?.split(1_000, 100, 0)?;
//! let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer::default(), &train)?;
//! let scores = GradDot::default().fit(&task, &train)?.score(&test)?;
//! let table = scores.proponents(0, 5)?;
//! assert_eq!(table.height(), 5);
//! # Ok::<(), ascribe::Error>(())
//! ```

#![warn(missing_docs)]

pub mod checkpoint;
pub mod curvature;
pub mod dataset;
mod digest;
pub mod display;
pub mod error;
mod file;
mod frame;
pub mod gradient;
mod kernel;
pub mod measurement;
pub mod method;
pub mod metric;
pub mod model;
mod names;
pub mod plan;
pub mod plot;
pub mod posterior;
pub mod prelude;
mod process;
mod progress;
pub mod projection;
mod random;
pub mod read;
pub mod retrain;
pub mod sampler;
pub mod scores;
pub mod snapshot;
pub mod statistics;
pub mod store;
pub mod task;
pub mod train;

pub use error::{Error, Result};
pub use polars;
pub use tch;

/// A type's default value, for `Trainer { epochs: 5, ..default() }`.
pub fn default<T: Default>() -> T {
    T::default()
}
