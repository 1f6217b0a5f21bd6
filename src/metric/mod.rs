//! Is the attribution right? One metric per file; each gives a `DataFrame`.
//!
//! [`evaluate()`] runs many methods and judges each by many metrics; a [`Metric`] of one's own joins in by one number with its interval.

mod accuracy;
mod brittleness;
mod cardinality;
mod ceiling;
mod choose;
mod class_detection;
mod correlation;
mod counterfactual;
mod detection;
mod each;
mod evaluate;
mod grid;
mod lds;
mod leave_one_out;
mod mislabel;
mod planted;
mod published;
mod randomisation;
mod routes;
mod similarity;

pub use accuracy::accuracy;
pub use brittleness::{Brittleness, Change, support_curve};
pub use cardinality::TopCardinality;
pub use ceiling::ceiling;
pub use choose::choose;
pub use class_detection::ClassDetection;
pub use correlation::{agreement, mean_agreement, pairs};
pub use counterfactual::{Scale, counterfactual, verify};
pub use detection::{detection, detections};
pub use evaluate::{Metric, Trial, evaluate, of};
pub use grid::grid;
pub use lds::{Lds, lds, mean_lds};
pub use leave_one_out::LooCorrelation;
pub use mislabel::{MislabelDetection, roc};
pub use planted::{MixedDatasets, ShortcutDetection};
pub use published::published;
pub use randomisation::ModelRandomisation;
pub use routes::routes;
pub use similarity::{mean_similarity, similarity};
