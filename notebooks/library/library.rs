//! All of `ascribe`, under its own name in every cell.

pub use ascribe::*;
