//! What retraining really does: the truth that scores are compared with.
//!
//! For a convex objective with a penalty there is one minimum, so "without this example" has one answer and no noise of
//! training stands in its way. [`Newton`] finds the minimum, [`LeaveOneOut`] finds it again without each of many examples, and
//! [`OneStep`] is the closed form in between: the first Newton step towards it.
//! For any other training, [`TrajectoryLeaveOneOut`] repeats the same run, the same batches in the same order, without an example.
//!
//! For everything else there is training again: [`Subsets`] says on which examples, [`Retraining`] trains many networks side by
//! side, and [`Retrained`] is what they then say about the test examples.

mod cache;
mod descent;
mod double;
mod leave_one_out;
mod newton;
mod one_step;
mod probe;
mod retrained;
mod retraining;
mod subsets;
mod threads;
mod trajectory;

pub use leave_one_out::LeaveOneOut;
pub use newton::Newton;
pub use one_step::OneStep;
pub use retrained::Retrained;
pub use retraining::Retraining;
pub use subsets::Subsets;
pub use trajectory::TrajectoryLeaveOneOut;
