//! A matrix of numbers as a short sum of outer products, with the error that matters for scores.

use tch::{Device, Kind, Tensor};

/// `M ≈ Σ_r u_r v_rᵀ`.
pub(crate) struct Separable {
    /// `[r, rows]`, float32
    pub u: Tensor,
    /// `[r, columns]`, float32
    pub v: Tensor,
    /// What is left out: root of the weighted squares, relative to those of M.
    pub error: f64,
}

/// The shortest sum with a weighted relative error of at most `tolerance`, if it needs at most `most` terms.
///
/// `M` is `[rows, columns]` in float64 and its entry (i, j) weighs `x_i y_j`. With `M = 1/(Λ+λ)` in the eigenbasis of Kronecker
/// factors and their eigenvalues for weights, entry (i, j) contributes to scores with standard deviation `x_i y_j M_ij`, so the
/// error is that of scores, as a root mean square relative to their own. It comes from the eigenvalues of the weighted
/// `[rows, rows]` Gram matrix, by Eckart and Young the least that any sum of this length can reach.
pub(crate) fn separate(m: &Tensor, x: &Tensor, y: &Tensor, tolerance: f64, most: i64) -> Option<Separable> {
    // A direction without any weight contributes nothing; the floor keeps the division below finite.
    let floored = |w: &Tensor| {
        let largest = w.max().double_value(&[]).max(f64::MIN_POSITIVE);
        (w / largest).clamp_min(1e-7)
    };
    let (x, y) = (floored(x).unsqueeze(1), floored(y).unsqueeze(0));
    let weighted = m * &x * &y;
    let (rows, columns) = (m.size()[0], m.size()[1]);
    let wide = rows <= columns;
    let oriented = if wide { weighted } else { weighted.transpose(0, 1).contiguous() };
    let (values, vectors) = oriented.matmul(&oriented.transpose(0, 1)).linalg_eigh("L");
    let squares: Vec<f64> = Vec::try_from(values.clamp_min(0.0).flip([0])).ok()?;
    let total: f64 = squares.iter().sum();
    let mut left = total;
    let mut rank = 0;
    while rank < squares.len() && (left.max(0.0) / total).sqrt() > tolerance {
        left -= squares[rank];
        rank += 1;
    }
    let rank = (rank as i64).max(1);
    if rank > most {
        return None;
    }
    let basis = vectors.narrow(1, vectors.size()[1] - rank, rank).transpose(0, 1).contiguous(); // [r, short side]
    let other = basis.matmul(&oriented); // [r, long side]
    let (u, v) = if wide { (basis, other) } else { (other, basis) };
    let scale = |t: Tensor, w: &Tensor| (t / w.reshape([1, -1])).to_kind(Kind::Float);
    Some(Separable { u: scale(u, &x), v: scale(v, &y), error: (left.max(0.0) / total).sqrt() })
}

impl Separable {
    /// One term: `u vᵀ` exactly.
    pub fn product(u: &Tensor, v: &Tensor) -> Separable {
        let row = |t: &Tensor| t.to_kind(Kind::Float).to_device(Device::Cpu).unsqueeze(0);
        Separable { u: row(u), v: row(v), error: 0.0 }
    }
}
