//! What retraining really does: the truth that scores are compared with.
//!
//! For a convex objective with a penalty there is one minimum, so "without this example" has one answer and no noise of
//! training stands in its way. [`Newton`] finds the minimum, [`LeaveOneOut`] finds it again without each of many examples, and
//! [`OneStep`] is the closed form in between: the first Newton step towards it.
//! For any other training, [`TrajectoryLeaveOneOut`] repeats the same run, the same batches in the same order, without an example.
//!
//! For everything else there is training again: [`Subsets`] says on which examples, [`Retraining`] trains many networks side by
//! side, and [`Retrained`] is what they then say about the test examples. From it follow, without further training, what an example
//! adds ([`EmpiricalInfluence`], [`Banzhaf`], [`Datamodel`]) and what it is worth where it was left out ([`DataOob`]).
//! [`DataShapley`] trains on subsets of its own choice.

mod banzhaf;
mod cache;
mod contrast;
mod data_oob;
mod data_shapley;
mod datamodel;
mod descent;
mod double;
mod empirical_influence;
mod estimated;
mod leave_one_out;
mod newton;
mod one_step;
mod permutations;
mod plan;
mod probe;
mod retrained;
mod retraining;
mod semivalue;
mod subsets;
mod threads;
mod trajectory;
mod valuation;

pub use banzhaf::Banzhaf;
pub use data_oob::DataOob;
pub use data_shapley::{DataShapley, Played, Shapley};
pub use datamodel::{Datamodel, FittedDatamodel, Penalty, Strength};
pub use empirical_influence::EmpiricalInfluence;
pub use estimated::Estimated;
pub use leave_one_out::LeaveOneOut;
pub use newton::Newton;
pub use one_step::OneStep;
pub use retrained::Retrained;
pub use retraining::Retraining;
pub use semivalue::Semivalue;
pub use subsets::Subsets;
pub use trajectory::TrajectoryLeaveOneOut;
pub use valuation::Valuation;
