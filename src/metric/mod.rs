//! Is the attribution right? One metric per file; each gives a `DataFrame`.

mod accuracy;
mod detection;

pub use accuracy::accuracy;
pub use detection::{detection, detections};
