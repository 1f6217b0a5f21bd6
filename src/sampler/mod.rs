//! More networks from those there are: approximations of what training again would give, for [`Posterior`](crate::posterior::Posterior).
//!
//! The measure of all of them is a deep ensemble, [`Task::train`] with one run after another, and its cheapest rival the last checkpoints of
//! one run ([`Keep::LastEpochs`](crate::train::Keep)). A [`Sampler`] takes a task and returns one whose checkpoints are draws; those drawn
//! from one run keep its number, so that a posterior knows that they are not independent.

mod laplace;
mod swag;
mod thinned;

pub use laplace::Laplace;
pub use swag::Swag;
pub use thinned::Thinned;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::task::Task;

/// A way to draw networks from an approximate posterior.
pub trait Sampler {
    /// Name for tables: `SWAG`.
    fn name(&self) -> String;

    /// The task with drawn checkpoints in place of its own.
    fn sample(&self, task: &Task, train: &Dataset) -> Result<Task>;
}

/// Every sampler with its default options: add a line, and the laws include it.
pub fn all() -> Vec<Box<dyn Sampler>> {
    vec![Box::new(Swag::default()), Box::new(Laplace::default()), Box::new(Thinned::default())]
}
