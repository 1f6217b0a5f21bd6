//! Random maps that shorten gradients and keep inner products: one kind a file, and one line in [`all`].

mod dense;
mod draw;
mod elementwise;
mod factored_sparse;
mod gaussian;
mod grass;
mod hadamard;
mod identity;
mod kronecker;
mod per_layer;
mod rademacher;
mod random_mask;
mod side;
mod sparse;
mod tensor_sketch;

pub use elementwise::Elementwise;
pub use factored_sparse::FactoredSparse;
pub use gaussian::Gaussian;
pub use grass::Grass;
pub use hadamard::Hadamard;
pub use identity::Identity;
pub use kronecker::{Factor, Kronecker};
pub use rademacher::Rademacher;
pub use random_mask::RandomMask;
pub use sparse::SparseJl;
pub use tensor_sketch::TensorSketch;

use std::fmt::Debug;
use std::sync::Arc;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::gradient::{Gradients, Layout};

/// A kind of projection and its options, before it knows the network: `p` numbers of a gradient become `k`.
///
/// Projections are scaled so that inner products are unbiased, `E⟨Pu, Pv⟩ = ⟨u, v⟩`, and drawn from `seed` alone: batch size, order
/// and threads change nothing.
pub trait Projection: Debug + Send + Sync {
    /// Name with every option that changes a number, for tables and for the note beside stored features.
    fn name(&self) -> String;

    /// Checks the options against a network and draws what can be drawn once. Members of an ensemble (checkpoints) have maps of their
    /// own: `member` tells them apart ([`Task::member`](crate::task::Task::member)).
    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>>;
}

/// A projection for one network and one member of an ensemble.
pub trait Projector {
    /// The parts of a projected gradient, in order: one of all parameters, or one for each layer.
    fn parts(&self) -> &[Part];

    /// Length of a projected gradient.
    fn k(&self) -> i64 {
        self.parts().iter().map(|part| part.len).sum()
    }

    /// `[n, p] → [n, k]`, float32; columns of the input in the layout's order.
    fn rows(&self, rows: &Tensor) -> Result<Tensor>;

    /// The same of gradients in any form, without forming them where their factors suffice.
    fn project(&self, gradients: &Gradients) -> Result<Tensor> {
        self.rows(&gradients.dense()?)
    }
}

/// Consecutive numbers of a projected gradient that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `all`, or the layer: `fc1`.
    pub name: String,
    /// First position in the projected gradient.
    pub offset: i64,
    /// How many.
    pub len: i64,
}

impl Part {
    /// One part of `k` numbers.
    pub(crate) fn all(k: i64) -> Vec<Part> {
        vec![Part { name: "all".into(), offset: 0, len: k }]
    }
}

/// An error unless rows are `[n, p]`.
pub(crate) fn check_width(rows: &Tensor, p: i64) -> Result<()> {
    match rows.size().as_slice() {
        [_, width] if *width == p => Ok(()),
        size => Err(Error::shape("gradients", format!("[n, {p}]"), format!("{size:?}"))),
    }
}

/// Bytes that a projection may take at once, beside gradients and features.
const LARGEST_BYTES: i64 = 4 << 30;

/// An error unless a map has at least one output, so few that a place among them fits 31 bits, and memory for them: what is formed at once
/// takes `bytes` for each.
pub(crate) fn check_dim(name: &str, dim: i64, bytes: i64) -> Result<()> {
    let most = (LARGEST_BYTES / bytes.max(1)).clamp(1, 0x7FFF_FFFF);
    match (1..=most).contains(&dim) {
        true => Ok(()),
        false => Err(Error::option(name, format!("1 to {most} (each takes {bytes} bytes, {LARGEST_BYTES} are allowed)"), dim)),
    }
}

/// Every projection with its default options.
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Identity::default()),
        Arc::new(Gaussian::default()),
        Arc::new(Rademacher::default()),
        Arc::new(SparseJl::default()),
        Arc::new(Hadamard::default()),
        Arc::new(RandomMask::default()),
        Arc::new(Grass::default()),
        Arc::new(Kronecker::default()),
        Arc::new(FactoredSparse::default()),
        Arc::new(Elementwise::default()),
        Arc::new(TensorSketch::default()),
    ]
}
