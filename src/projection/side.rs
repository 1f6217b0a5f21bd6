//! Maps of one side of a layer's weight: of what goes in, or of what comes out.

use tch::{Device, Kind, Tensor};

use super::draw::Draw;
use super::random_mask::Mask;

/// `[.., d] → [.., k]`, unbiased.
pub(super) enum Side {
    /// As it is.
    Whole(i64),
    /// A dense matrix `[d, k]`.
    Matrix(Tensor),
    /// Some coordinates.
    Mask(Mask),
}

impl Side {
    /// Independent normal numbers; a side that has no more than `k` stays whole.
    pub fn gaussian(d: i64, k: i64, draw: Draw) -> Side {
        match d <= k {
            true => Side::Whole(d),
            false => Side::normals(d, k, draw),
        }
    }

    /// Independent normal numbers, however many `d` are.
    pub fn normals(d: i64, k: i64, draw: Draw) -> Side {
        Side::Matrix(draw.normals(0, (d * k) as usize).view([d, k]) / (k as f64).sqrt())
    }

    /// Some of the coordinates; a side that has no more than `k` stays whole.
    pub fn mask(d: i64, k: i64, draw: Draw) -> Side {
        match d <= k {
            true => Side::Whole(d),
            false => Side::Mask(Mask::new(d, k, draw)),
        }
    }

    pub fn k(&self) -> i64 {
        match self {
            Side::Whole(d) => *d,
            Side::Matrix(matrix) => matrix.size()[1],
            Side::Mask(mask) => mask.k(),
        }
    }

    pub fn apply(&self, x: &Tensor) -> Tensor {
        match self {
            Side::Whole(_) => x.shallow_clone(),
            Side::Matrix(matrix) => x.matmul(matrix),
            Side::Mask(mask) => mask.apply(x),
        }
    }

    /// The matrix `[d, k]` of the map.
    pub fn matrix(&self) -> Tensor {
        match self {
            Side::Whole(d) => Tensor::eye(*d, (Kind::Float, Device::Cpu)),
            Side::Matrix(matrix) => matrix.shallow_clone(),
            Side::Mask(mask) => mask.matrix(),
        }
    }

    /// Multiplications for one vector of `d`.
    pub fn cost(&self, d: i64) -> i64 {
        match self {
            Side::Matrix(matrix) => d * matrix.size()[1],
            Side::Whole(_) | Side::Mask(_) => 0,
        }
    }
}
