//! Answers: as `Gaussian`, with a matrix that is multiplied fast. Formula, with the p coordinates cut into blocks `x_b` of B:
//! `S Σ_b E_b H D_b x_b / √k`; H `[B, B]` the Walsh-Hadamard matrix of ±1, D_b and E_b diagonals of random signs, S a random choice of
//! k of the B rows; B is the least power of two that is at least k and 64.
//! Unbiased: the expectation over D_b of row r of `H D_b u_b` times that of `v_b` is `Σ_j H_rj² u_j v_j = ⟨u_b, v_b⟩`; different blocks
//! have independent D_b of mean 0; k rows and the factor 1/k leave `Σ_b ⟨u_b, v_b⟩`. E_b keeps blocks from adding up alike.
//! Cost: n · p · 4√B multiplications, in two small matrix products; 4 (p + p k / B) bytes are kept.
//! Misleads: less than `Gaussian`: within a block, the map with k = B turns and loses nothing.
//! Reference: Ailon & Chazelle 2009; Tropp 2011 (arXiv:1011.1595).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::draw::Draw;
use super::random_mask::Mask;
use super::{Part, Projection, Projector, check_dim, check_width};
use crate::error::{Result, guarded};
use crate::gradient::Layout;

/// A subsampled randomised Hadamard transform, in blocks.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::Hadamard { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hadamard {
    /// `k`, length of a projected gradient.
    pub dim: i64,
    /// Another seed gives another map.
    pub seed: u64,
}

impl Default for Hadamard {
    fn default() -> Hadamard {
        Hadamard { dim: 512, seed: 0 }
    }
}

impl Projection for Hadamard {
    fn name(&self) -> String {
        format!("hadamard, dim {}, seed {}", self.dim, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("Hadamard.dim", self.dim, OUTPUT_BYTES)?;
        guarded(|| Ok(Box::new(Fitted::new(layout.p(), self.dim, Draw::new(self.seed, member))) as Box<dyn Projector>))
    }
}

/// Bytes for each output: twice as many numbers are signed, turned and chosen from, and the products take √B times as long.
const OUTPUT_BYTES: i64 = 512;

/// Numbers transformed at once: about what a cache holds.
const AT_ONCE: i64 = 1 << 18;

struct Fitted {
    parts: Vec<Part>,
    p: i64,
    transform: Transform,
    /// D, `[blocks, B]`; the last block is filled up with zeros.
    before: Tensor,
    /// E, `[blocks, B]`
    after: Tensor,
    rows: Mask,
}

impl Fitted {
    fn new(p: i64, k: i64, draw: Draw) -> Fitted {
        let size = (k.max(64) as u64).next_power_of_two() as i64;
        let count = ((p + size - 1) / size).max(1);
        let signs = |index| draw.of(index).signs(0, (count * size) as usize).view([count, size]);
        let (before, after) = (signs(0), signs(1));
        let rows = Mask::new(size, k, draw.of(2));
        // `Mask` multiplies by √(B/k).
        Fitted { parts: Part::all(k), p, transform: Transform::new(size), before, after: after / (size as f64).sqrt(), rows }
    }

    /// `Σ_b E_b H D_b x_b` over some blocks, `[n, blocks, B] → [n, B]`.
    fn mixed(&self, x: &Tensor, first: i64) -> Tensor {
        let count = x.size()[1];
        let turned = self.transform.apply(&(x * self.before.narrow(0, first, count)));
        (turned * self.after.narrow(0, first, count)).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
    }
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.p)?;
        guarded(|| {
            let (n, size) = (rows.size()[0], self.before.size()[1]);
            let mut total = Tensor::zeros([n, size], (Kind::Float, Device::Cpu));
            let (whole, rest) = (self.p / size, self.p % size);
            // Blocks that are added up together are a constant number, so that n changes nothing; rows share a step.
            let step = (AT_ONCE / size).max(1);
            for first in (0..whole).step_by(step as usize) {
                let count = step.min(whole - first);
                let at_once = (AT_ONCE / (count * size)).max(1);
                for row in (0..n).step_by(at_once as usize) {
                    let len = at_once.min(n - row);
                    let x = rows.narrow(0, row, len).narrow(1, first * size, count * size).reshape([len, count, size]);
                    let _ = total.narrow(0, row, len).g_add_(&self.mixed(&x, first));
                }
            }
            if rest > 0 {
                let last = rows.narrow(1, whole * size, rest).constant_pad_nd([0, size - rest]).unsqueeze(1);
                let _ = total.g_add_(&self.mixed(&last, whole));
            }
            Ok(self.rows.apply(&total))
        })
    }
}

/// The Walsh-Hadamard transform of vectors of a power of two, not scaled: `H_a ⊗ H_b` as two products with small matrices.
struct Transform {
    left: Tensor,
    right: Tensor,
}

impl Transform {
    fn new(size: i64) -> Transform {
        let bits = size.trailing_zeros();
        Transform { left: hadamard(1 << (bits / 2)), right: hadamard(1 << (bits - bits / 2)) }
    }

    /// `[.., size] → [.., size]`
    fn apply(&self, x: &Tensor) -> Tensor {
        let (a, b) = (self.left.size()[0], self.right.size()[0]);
        let count = x.numel() as i64 / (a * b);
        let right = x.reshape([-1, b]).matmul(&self.right).view([count, a, b]);
        self.left.expand([count, a, a], false).bmm(&right).view_as(x)
    }
}

/// Sylvester's matrix: entry (i, j) is −1 to the number of bits that i and j share.
fn hadamard(size: i64) -> Tensor {
    let entries: Vec<f32> =
        (0..size * size).map(|at| if ((at / size) & (at % size)).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 }).collect();
    Tensor::from_slice(&entries).view([size, size])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_transform_is_the_dense_matrix() {
        for size in [64, 128, 1024] {
            let dense = hadamard(size);
            assert!(dense.matmul(&dense).equal(&(Tensor::eye(size, (Kind::Float, Device::Cpu)) * size)), "H H = B");
            let x = Tensor::randn([3, 2, size], (Kind::Float, Device::Cpu));
            let apart = (Transform::new(size).apply(&x) - x.matmul(&dense)).abs().max().double_value(&[]);
            assert!(apart < 1e-5 * size as f64, "{size}: {apart:.1e}");
        }
    }

    /// The whole map against its formula, with a block that is cut short, and several steps.
    #[test]
    fn the_map_is_its_formula() {
        for (p, k) in [(300, 20), (100, 100), (AT_ONCE + 130, 60)] {
            let fitted = Fitted::new(p, k, Draw::new(1, 2));
            let (count, size) = fitted.before.size2().unwrap();
            let x = Tensor::randn([3, p], (Kind::Float, Device::Cpu));
            let blocks = x.constant_pad_nd([0, count * size - p]).view([3, count, size]) * &fitted.before;
            let sum =
                (blocks.matmul(&hadamard(size)) * fitted.after.sign()).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            let expected = Draw::new(1, 2).of(2).sample(size, k);
            let expected = sum.index_select(1, &expected) / (k as f64).sqrt();
            let apart = (fitted.rows(&x).unwrap() - &expected).abs().max().double_value(&[]);
            assert!(apart < 1e-5 * expected.abs().max().double_value(&[]), "p {p}, k {k}: {apart:.1e}");
        }
    }
}
