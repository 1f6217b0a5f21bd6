//! Many tests at once: p-values that allow for how many there are.
//!
//! A p-value that is missing, NaN or outside 0 to 1 is no test: it stays `None` and is not counted. Equal p-values get equal results, and
//! the order of the tests changes nothing.

mod false_discovery;
mod family;
mod storey;

pub use false_discovery::{benjamini_hochberg, benjamini_yekutieli};
pub use family::{bonferroni, holm};
pub use storey::{Pi0, Storey, storey};

/// Known p-values with their places, smallest first.
fn sorted(p: &[Option<f64>]) -> Vec<(f64, usize)> {
    let known = p.iter().enumerate().filter_map(|(at, p)| p.filter(|p| (0.0..=1.0).contains(p)).map(|p| (p, at)));
    let mut sorted: Vec<(f64, usize)> = known.collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    sorted
}
