//! What retraining really does: the truth that scores are compared with.
//!
//! For a convex objective with a penalty there is one minimum, so "without this example" has one answer and no noise of
//! training stands in its way. [`Newton`] finds the minimum, [`LeaveOneOut`] finds it again without each of many examples, and
//! [`OneStep`] is the closed form in between: the first Newton step towards it. For any other training, [`TrajectoryLeaveOneOut`] repeats the same run,
//! the same batches in the same order, without an example.

mod descent;
mod double;
mod leave_one_out;
mod newton;
mod one_step;
mod trajectory;

pub use leave_one_out::LeaveOneOut;
pub use newton::Newton;
pub use one_step::OneStep;
pub use trajectory::TrajectoryLeaveOneOut;
