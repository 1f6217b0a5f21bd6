//! The per-example gradients of one layer, and their inner products by the cheaper of two routes.

use tch::{Device, Kind, Tensor};

use super::Entry;
use crate::error::Result;

/// Gradients of one layer's weight and bias for `n` examples.
pub(crate) struct Block {
    pub name: String,
    pub form: Form,
    pub weight: Entry,
    pub bias: Option<Entry>,
}

pub(crate) enum Form {
    /// `Σ_t δ_t ⊗ a_t` for each group: `a` `[n, g, t, in]`, `δ` `[n, g, t, out]`; the bias's gradient is `Σ_t δ_t`.
    Outer { a: Tensor, delta: Tensor },
    /// Rows `index` `[n, t]` of a table receive `δ` `[n, t, width]`.
    Lookup { index: Tensor, delta: Tensor },
    /// Formed: `[n, len]`, weight then bias.
    Dense(Tensor),
}

impl Form {
    pub fn describe(&self) -> String {
        match self {
            Form::Outer { a, .. } => match a.size()[2] {
                1 => "outer product at 1 position".into(),
                t => format!("outer products at {t} positions"),
            },
            Form::Lookup { index, .. } => format!("{} table rows", index.size()[1]),
            Form::Dense(_) => "formed".into(),
        }
    }
}

/// A multiplication of a matrix product costs about this share of touching one number in memory.
const FLOPS_PER_TOUCH: i64 = 16;

impl Block {
    /// Number of parameters in the block.
    pub fn len(&self) -> i64 {
        self.weight.len + self.bias.as_ref().map_or(0, |b| b.len)
    }

    /// `[n, len]`, weight then bias.
    pub fn dense(&self) -> Result<Tensor> {
        Ok(match &self.form {
            Form::Dense(rows) => rows.shallow_clone(),
            Form::Outer { a, delta } => {
                let n = a.size()[0];
                let weight = outer(a, delta).reshape([n, -1]);
                match &self.bias {
                    Some(_) => Tensor::cat(&[weight, over_positions(delta)], 1),
                    None => weight,
                }
            }
            Form::Lookup { index, delta } => {
                let (n, t) = index.size2()?;
                let (rows, width) = (self.weight.shape[0], self.weight.shape[1]);
                let mut table = Tensor::zeros([n * rows, width], (Kind::Float, Device::Cpu));
                let start = Tensor::arange_start_step(0, n * rows, rows, (Kind::Int64, Device::Cpu)).unsqueeze(1);
                let _ = table.index_add_(0, &(index + start).reshape([n * t]), &delta.reshape([n * t, width]));
                table.view([n, rows * width])
            }
        })
    }

    /// Writes the block into its columns of `[n, p]`.
    pub fn write(&self, dense: &Tensor) -> Result<()> {
        let rows = self.dense()?;
        dense.narrow(1, self.weight.offset, self.weight.len).copy_(&rows.narrow(1, 0, self.weight.len));
        if let Some(bias) = &self.bias {
            dense.narrow(1, bias.offset, bias.len).copy_(&rows.narrow(1, self.weight.len, bias.len));
        }
        Ok(())
    }

    /// The columns of `[k, p]` that belong to the block, `[k, len]`.
    fn columns(&self, vectors: &Tensor) -> Tensor {
        let weight = vectors.narrow(1, self.weight.offset, self.weight.len);
        match &self.bias {
            Some(bias) => Tensor::cat(&[weight, vectors.narrow(1, bias.offset, bias.len)], 1),
            None => weight,
        }
    }

    /// Adds the inner products with `[k, p]` to `total` `[n, k]`.
    pub fn dot(&self, vectors: &Tensor, total: &Tensor) -> Result<()> {
        let _ = total.shallow_clone().addmm_(&self.dense()?, &self.columns(vectors).transpose(0, 1));
        Ok(())
    }

    /// Inner products with the same layer's block of other gradients, `[n, m]`.
    pub fn gram(&self, other: &Block) -> Result<Tensor> {
        Ok(match (&self.form, &other.form) {
            (Form::Outer { a, delta }, Form::Outer { a: b, delta: epsilon }) if !self.cheaper_dense(b.size()[0], a.size()[0]) => {
                outer_gram(a, delta, b, epsilon, self.bias.is_some())
            }
            (Form::Lookup { index, delta }, Form::Lookup { index: other_index, delta: epsilon }) => {
                lookup_gram(index, delta, other_index, epsilon)
            }
            _ => self.dense()?.matmul(&other.dense()?.transpose(0, 1)),
        })
    }

    /// Whether meeting `partners` gradients is cheaper with formed gradients than with the factors, for a side of `m`.
    ///
    /// Counted per pair, in multiplications: factors cost `g·t²·(in + out)` and touch `g·t²` numbers three times; formed
    /// gradients cost `g·in·out` plus the share of forming both sides.
    pub fn cheaper_dense(&self, m: i64, partners: i64) -> bool {
        match &self.form {
            Form::Dense(_) => false,
            Form::Lookup { .. } => false,
            Form::Outer { a, delta } => {
                let (g, t, input, output) = (a.size()[1], a.size()[2], a.size()[3], delta.size()[3]);
                let factored = g * t * t * (input + output + 3 * FLOPS_PER_TOUCH);
                let forming = g * input * output * (t + FLOPS_PER_TOUCH);
                let formed = g * input * output + forming / m.max(1) + forming / partners.max(1);
                formed < factored
            }
        }
    }

    /// Squared lengths, `[n]`.
    pub fn squared_norms(&self) -> Result<Tensor> {
        Ok(match &self.form {
            Form::Outer { a, delta } => {
                let (t, input, output) = (a.size()[2], a.size()[3], delta.size()[3]);
                let bias = self.bias.is_some();
                if t == 1 {
                    let lengths = squares(delta, 2) * (squares(a, 2) + i64::from(bias));
                    lengths.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
                } else if t * (input + output) < input * output {
                    let products = a.matmul(&a.transpose(2, 3)) + i64::from(bias);
                    squares_of(&(products * delta.matmul(&delta.transpose(2, 3))))
                } else {
                    let weight = outer(a, delta).square().flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
                    match bias {
                        true => weight + over_positions(delta).square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>),
                        false => weight,
                    }
                }
            }
            Form::Lookup { index, delta } => {
                let equal = index.unsqueeze(1).eq_tensor(&index.unsqueeze(2)).to_kind(Kind::Float);
                squares_of(&(equal * delta.matmul(&delta.transpose(1, 2))))
            }
            Form::Dense(rows) => squares(rows, 1),
        })
    }
}

/// `[n, g, t, in]`, `[n, g, t, out]` → `[n, g, out, in]`.
fn outer(a: &Tensor, delta: &Tensor) -> Tensor {
    delta.transpose(2, 3).matmul(a)
}

/// `Σ_t δ`: `[n, g, t, out]` → `[n, g·out]`.
fn over_positions(delta: &Tensor) -> Tensor {
    delta.sum_dim_intlist([2i64].as_slice(), false, None::<Kind>).flatten(1, -1)
}

/// Sum of squares over the last dimension, and over one more if `dims` is 2.
fn squares(x: &Tensor, dims: i64) -> Tensor {
    let last: Vec<i64> = (1..=dims).map(|d| -d).collect();
    x.square().sum_dim_intlist(last.as_slice(), false, None::<Kind>)
}

/// Sum over all but the first dimension.
fn squares_of(x: &Tensor) -> Tensor {
    x.flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
}

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

fn outer_gram(a: &Tensor, delta: &Tensor, b: &Tensor, epsilon: &Tensor, bias: bool) -> Tensor {
    tiled(a.size()[0], b.size()[0], a.size()[2] * b.size()[2], |row, rows, column, columns| {
        let (left, right) = (|x: &Tensor| x.narrow(0, row, rows), |x: &Tensor| x.narrow(0, column, columns));
        outer_tile(&left(a), &left(delta), &right(b), &right(epsilon), bias)
    })
}

fn outer_tile(a: &Tensor, delta: &Tensor, b: &Tensor, epsilon: &Tensor, bias: bool) -> Tensor {
    let (n, m) = (a.size()[0], b.size()[0]);
    let (g, t, u) = (a.size()[1], a.size()[2], b.size()[2]);
    let mut total: Option<Tensor> = None;
    for group in 0..g {
        let rows = |x: &Tensor| x.select(1, group).flatten(0, 1);
        let mut inputs = rows(a).matmul(&rows(b).transpose(0, 1));
        if bias {
            let _ = inputs.g_add_scalar_(1.0);
        }
        let mut products = rows(delta).matmul(&rows(epsilon).transpose(0, 1));
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

fn lookup_gram(index: &Tensor, delta: &Tensor, other: &Tensor, epsilon: &Tensor) -> Tensor {
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
