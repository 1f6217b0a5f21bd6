//! Is the attribution right? One metric per file; each gives a `DataFrame`.

mod accuracy;
mod correlation;
mod detection;
mod routes;

pub use accuracy::accuracy;
pub use correlation::{agreement, mean_agreement, pairs};
pub use detection::{detection, detections};
pub use routes::routes;
