//! Is the attribution right? One metric per file; each gives a `DataFrame`.

mod detection;

pub use detection::detection;
