//! Inner products of all with all, from factors, in tiles.

use tch::{Device, Kind, Tensor};

use super::outer::Outer;

/// Numbers that the products of all positions with all positions may take at once.
const PRODUCTS: i64 = 1 << 24;

/// `[n, m]` in tiles, such that `t · u` numbers for each entry stay within bounds.
fn tiled(n: i64, m: i64, per_entry: i64, tile: impl Fn(i64, i64, i64, i64) -> Tensor) -> Tensor {
    let width = (PRODUCTS / per_entry).clamp(1, m.max(1));
    let height = (PRODUCTS / (per_entry * width)).clamp(1, n.max(1));
    if (height, width) == (n, m) {
        return tile(0, n, 0, m);
    }
    let whole = Tensor::zeros([n, m], (Kind::Float, Device::Cpu));
    for row in (0..n).step_by(height as usize) {
        for column in (0..m).step_by(width as usize) {
            let (rows, columns) = (height.min(n - row), width.min(m - column));
            whole.narrow(0, row, rows).narrow(1, column, columns).copy_(&tile(row, rows, column, columns));
        }
    }
    whole
}

pub(super) fn outer_gram(mine: &Outer, theirs: &Outer, bias: bool) -> Tensor {
    let (n, m) = (mine.a.size()[0], theirs.a.size()[0]);
    tiled(n, m, mine.t() * theirs.t(), |row, rows, column, columns| {
        outer_tile(&mine.narrow(row, rows), &theirs.narrow(column, columns), bias)
    })
}

fn outer_tile(mine: &Outer, theirs: &Outer, bias: bool) -> Tensor {
    let (n, m) = (mine.a.size()[0], theirs.a.size()[0]);
    let (t, u) = (mine.t(), theirs.t());
    let mut total: Option<Tensor> = None;
    for group in 0..mine.g() {
        let (a, delta, one) = mine.group(group);
        let (b, epsilon, other) = theirs.group(group);
        let mut inputs = a.matmul(&b.transpose(0, 1));
        if bias {
            let _ = match (one, other) {
                (None, None) => inputs.g_add_scalar_(1.0),
                (Some(one), None) => inputs.g_add_(&one),
                (None, Some(other)) => inputs.g_add_(&other.transpose(0, 1)),
                (Some(one), Some(other)) => inputs.addmm_(&one, &other.transpose(0, 1)),
            };
        }
        let mut products = delta.matmul(&epsilon.transpose(0, 1));
        let _ = products.g_mul_(&inputs);
        let summed = match (t, u) {
            (1, 1) => products,
            _ => products.view([n, t, m, u]).sum_dim_intlist([1i64, 3].as_slice(), false, None::<Kind>),
        };
        total = Some(match total {
            Some(sum) => sum + summed,
            None => summed,
        });
    }
    total.unwrap_or_else(|| Tensor::zeros([n, m], (Kind::Float, Device::Cpu)))
}

pub(super) fn lookup_gram(index: &Tensor, delta: &Tensor, other: &Tensor, epsilon: &Tensor) -> Tensor {
    tiled(index.size()[0], other.size()[0], index.size()[1] * other.size()[1], |row, rows, column, columns| {
        let (left, right) = (|x: &Tensor| x.narrow(0, row, rows), |x: &Tensor| x.narrow(0, column, columns));
        lookup_tile(&left(index), &left(delta), &right(other), &right(epsilon))
    })
}

fn lookup_tile(index: &Tensor, delta: &Tensor, other: &Tensor, epsilon: &Tensor) -> Tensor {
    let (n, t) = (index.size()[0], index.size()[1]);
    let (m, u) = (other.size()[0], other.size()[1]);
    let equal = index.reshape([n * t, 1]).eq_tensor(&other.reshape([1, m * u]));
    let mut products = delta.flatten(0, 1).matmul(&epsilon.flatten(0, 1).transpose(0, 1));
    let _ = products.g_mul_(&equal);
    products.view([n, t, m, u]).sum_dim_intlist([1i64, 3].as_slice(), false, None::<Kind>)
}
