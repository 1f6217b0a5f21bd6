//! Is the attribution right? One metric per file; each gives a `DataFrame`.
//!
//! [`evaluate`] runs many methods and judges each by many metrics; a [`Metric`] of one's own joins in by one number with its interval.

mod accuracy;
mod brittleness;
mod choose;
mod correlation;
mod detection;
mod each;
mod evaluate;
mod lds;
mod leave_one_out;
mod mislabel;
mod routes;

pub use accuracy::accuracy;
pub use brittleness::{Brittleness, Change, support_curve};
pub use choose::choose;
pub use correlation::{agreement, mean_agreement, pairs};
pub use detection::{detection, detections};
pub use evaluate::{Metric, Trial, evaluate, of};
pub use lds::{Lds, lds, mean_lds};
pub use leave_one_out::LooCorrelation;
pub use mislabel::{MislabelDetection, roc};
pub use routes::routes;
