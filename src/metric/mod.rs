//! Is the attribution right? One metric per file; each gives a `DataFrame`.

mod accuracy;
mod choose;
mod correlation;
mod detection;
mod lds;
mod routes;

pub use accuracy::accuracy;
pub use choose::choose;
pub use correlation::{agreement, mean_agreement, pairs};
pub use detection::{detection, detections};
pub use lds::{lds, mean_lds};
pub use routes::routes;
