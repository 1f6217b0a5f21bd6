//! Figures that show themselves in a notebook; each is an SVG and can be saved.

mod axes;
mod curve;
mod diverging;
mod figure;
mod gallery;
mod heatmap;
mod histogram;
mod intervals;
mod matrix;
mod pareto;
mod picture;
mod png;
mod roc;
mod scatter;
mod similarity;
mod svg;

pub use curve::{Curve, curve};
pub use figure::Figure;
pub use gallery::{Gallery, gallery};
pub use heatmap::heatmap;
pub use histogram::histogram;
pub use intervals::{Intervals, intervals};
pub(crate) use intervals::{end, finite};
pub use matrix::matrix;
pub use pareto::pareto;
pub use roc::roc;
pub use scatter::{Scatter, scatter};
pub use similarity::similarity;
