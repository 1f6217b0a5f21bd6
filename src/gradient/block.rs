//! The per-example gradients of one layer, and their inner products by the cheaper of two routes.

use tch::{Device, Kind, Tensor};

use super::Columns;
use super::gram::{lookup_gram, outer_gram};
use super::outer::{Outer, Turned, cheaper_dense};
use crate::error::Result;

/// Gradients of one layer's weight and bias for `n` examples.
pub(crate) struct Block {
    pub name: String,
    pub form: Form,
    pub columns: Columns,
}

pub(crate) enum Form {
    /// Sums of outer products.
    Outer(Outer),
    /// Rows `index` `[n, t]` of a table receive `δ` `[n, t, width]`; which positions count, `[n, t]`.
    Lookup { index: Tensor, delta: Tensor, mask: Option<Tensor> },
    /// Formed: `[n, len]`, weight then bias.
    Dense(Tensor),
    /// Formed in other coordinates.
    Turned(Turned),
}

impl Form {
    pub fn describe(&self) -> String {
        match self {
            Form::Outer(outer) => match outer.t() {
                1 => "outer product at 1 position".into(),
                t => format!("outer products at {t} positions"),
            },
            Form::Lookup { index, .. } => format!("{} table rows", index.size()[1]),
            Form::Dense(_) | Form::Turned(_) => "formed".into(),
        }
    }
}

/// A multiplication of a matrix product costs about this share of touching one number in memory.
pub(super) const FLOPS_PER_TOUCH: i64 = 16;

impl Block {
    /// Number of examples.
    pub fn n(&self) -> i64 {
        match &self.form {
            Form::Outer(outer) => outer.a.size()[0],
            Form::Lookup { index, .. } => index.size()[0],
            Form::Dense(rows) => rows.size()[0],
            Form::Turned(turned) => turned.rows.size()[0],
        }
    }

    /// Number of parameters in the block.
    pub fn len(&self) -> i64 {
        self.columns.len()
    }

    fn has_bias(&self) -> bool {
        self.columns.bias.is_some()
    }

    /// Some of the examples.
    pub fn narrow(&self, start: i64, len: i64) -> Block {
        let part = |x: &Tensor| x.narrow(0, start, len);
        let form = match &self.form {
            Form::Outer(outer) => Form::Outer(outer.narrow(start, len)),
            Form::Lookup { index, delta, mask } => {
                Form::Lookup { index: part(index), delta: part(delta), mask: mask.as_ref().map(part) }
            }
            Form::Dense(rows) => Form::Dense(part(rows)),
            Form::Turned(turned) => {
                Form::Turned(Turned { rows: part(&turned.rows), qa: turned.qa.shallow_clone(), qs: turned.qs.shallow_clone() })
            }
        };
        Block { name: self.name.clone(), form, columns: self.columns.clone() }
    }

    /// The same layer's blocks of several batches as one.
    pub fn join(parts: &[&Block]) -> Result<Block> {
        let cat = |pick: &dyn Fn(&Form) -> Option<Tensor>| -> Option<Tensor> {
            let tensors: Option<Vec<Tensor>> = parts.iter().map(|b| pick(&b.form)).collect();
            Some(Tensor::cat(&tensors?, 0))
        };
        let outer = |pick: fn(&Outer) -> Option<&Tensor>| {
            cat(&|form| if let Form::Outer(outer) = form { pick(outer).map(Tensor::shallow_clone) } else { None })
        };
        let form = match &parts[0].form {
            Form::Outer(_) => match (outer(|o| Some(&o.a)), outer(|o| Some(&o.delta))) {
                (Some(a), Some(delta)) => {
                    Some(Form::Outer(Outer { a, delta, unit: outer(|o| o.unit.as_ref()), mask: outer(|o| o.mask.as_ref()) }))
                }
                _ => None,
            },
            Form::Turned(first) => cat(&|form| if let Form::Turned(t) = form { Some(t.rows.shallow_clone()) } else { None })
                .map(|rows| Form::Turned(Turned { rows, qa: first.qa.shallow_clone(), qs: first.qs.shallow_clone() })),
            Form::Lookup { .. } | Form::Dense(_) => None,
        };
        let form = match form {
            Some(form) => form,
            None => Form::Dense(Tensor::cat(&parts.iter().map(|b| b.dense()).collect::<Result<Vec<_>>>()?, 0)),
        };
        Ok(Block { name: parts[0].name.clone(), form, columns: parts[0].columns.clone() })
    }

    /// Multiplications, or what takes as long, of one inner product with a like block, in the cheaper form.
    pub fn cost_of_pair(&self) -> i64 {
        match &self.form {
            Form::Outer(outer) => {
                let (g, t, (input, output)) = (outer.g(), outer.t(), outer.widths());
                (g * t * t * (input + output + 3 * FLOPS_PER_TOUCH)).min(self.len())
            }
            Form::Lookup { index, delta, .. } => {
                (index.size()[1].pow(2) * (delta.size()[2] + 3 * FLOPS_PER_TOUCH)).min(self.len())
            }
            Form::Dense(_) | Form::Turned(_) => self.len(),
        }
    }

    /// `[n, len]`, weight then bias.
    pub fn dense(&self) -> Result<Tensor> {
        Ok(match &self.form {
            Form::Dense(rows) => rows.shallow_clone(),
            Form::Turned(turned) => turned.dense(self.has_bias()),
            Form::Outer(outer) => match self.has_bias() {
                true => Tensor::cat(&[outer.weight(), outer.bias()], 1),
                false => outer.weight(),
            },
            Form::Lookup { index, delta, .. } => {
                let (n, t) = index.size2()?;
                let (rows, width) = (self.columns.weight.shape[0], self.columns.weight.shape[1]);
                let mut table = Tensor::zeros([n * rows, width], (Kind::Float, Device::Cpu));
                let start = Tensor::arange_start_step(0, n * rows, rows, (Kind::Int64, Device::Cpu)).unsqueeze(1);
                let _ = table.index_add_(0, &(index + start).reshape([n * t]), &delta.reshape([n * t, width]));
                table.view([n, rows * width])
            }
        })
    }

    /// Writes the block into its columns of `[n, p]`.
    pub fn write(&self, dense: &Tensor) -> Result<()> {
        self.columns.write(&self.dense()?, dense);
        Ok(())
    }

    /// Adds the inner products with `[k, p]` to `total` `[n, k]`.
    pub fn dot(&self, vectors: &Tensor, total: &Tensor) -> Result<()> {
        let columns = self.columns.columns(vectors);
        match &self.form {
            Form::Outer(outer) => {
                let _ = total.shallow_clone().g_add_(&outer.meet(&columns, self.has_bias()));
            }
            _ => {
                let _ = total.shallow_clone().addmm_(&self.dense()?, &columns.transpose(0, 1));
            }
        }
        Ok(())
    }

    /// Adds `Σ_i c_ik g_i` for coefficients `[n, k]` to the block's columns of `total` `[k, p]`.
    pub fn combine(&self, coefficients: &Tensor, total: &Tensor) -> Result<()> {
        let rows = match &self.form {
            Form::Outer(outer) if 4 * coefficients.size()[1] * outer.t() < outer.widths().0 => {
                outer.spread(&outer.weighted(coefficients), self.has_bias())
            }
            _ => coefficients.transpose(0, 1).matmul(&self.dense()?),
        };
        self.columns.add_columns(&rows, total);
        Ok(())
    }

    /// Inner products with the same layer's block of other gradients, `[n, m]`.
    pub fn gram(&self, other: &Block) -> Result<Tensor> {
        Ok(match (&self.form, &other.form) {
            (Form::Outer(mine), Form::Outer(theirs))
                if !cheaper_dense(mine, theirs.t(), theirs.a.size()[0], mine.a.size()[0]) =>
            {
                outer_gram(mine, theirs, self.has_bias())
            }
            (Form::Lookup { index, delta, .. }, Form::Lookup { index: other_index, delta: epsilon, .. })
                if !self.table_cheaper_dense(other_index.size()[1], other_index.size()[0], index.size()[0]) =>
            {
                lookup_gram(index, delta, other_index, epsilon)
            }
            (Form::Turned(mine), Form::Turned(theirs)) if mine.qa.data_ptr() == theirs.qa.data_ptr() => {
                mine.rows.matmul(&theirs.rows.transpose(0, 1))
            }
            (Form::Outer(mine), Form::Turned(theirs)) => theirs.turn(mine, self.has_bias()).meet(&theirs.rows, false),
            (Form::Turned(mine), Form::Outer(theirs)) => {
                mine.turn(theirs, self.has_bias()).meet(&mine.rows, false).transpose(0, 1).contiguous()
            }
            (Form::Outer(mine), Form::Dense(rows)) => mine.meet(rows, self.has_bias()),
            _ => self.dense()?.matmul(&other.dense()?.transpose(0, 1)),
        })
    }

    /// Whether meeting `partners` gradients like these is cheaper with formed gradients than with the factors, for a side of `m`.
    pub fn cheaper_dense(&self, m: i64, partners: i64) -> bool {
        match &self.form {
            Form::Dense(_) | Form::Turned(_) => false,
            Form::Lookup { index, .. } => self.table_cheaper_dense(index.size()[1], m, partners),
            Form::Outer(outer) => cheaper_dense(outer, outer.t(), m, partners),
        }
    }

    /// The same for rows of a table: all positions with all `u` positions, against the whole table.
    fn table_cheaper_dense(&self, u: i64, m: i64, partners: i64) -> bool {
        let Form::Lookup { index, delta, .. } = &self.form else { return false };
        let (t, width, len) = (index.size()[1], delta.size()[2], self.len());
        let factored = t * u * (width + 3 * FLOPS_PER_TOUCH);
        let forming = |positions: i64| FLOPS_PER_TOUCH * (len + positions * width);
        len + forming(t) / m.max(1) + forming(u) / partners.max(1) < factored
    }

    /// Squared lengths, `[n]`.
    pub fn squared_norms(&self) -> Result<Tensor> {
        Ok(match &self.form {
            Form::Outer(outer) => {
                let (t, (input, output)) = (outer.t(), outer.widths());
                let bias = self.has_bias();
                let unit = || outer.unit.as_ref().map_or_else(|| Tensor::from(1.0f32), Tensor::shallow_clone);
                if t == 1 {
                    let inputs = squares(&outer.a, 2) + if bias { unit().square().squeeze_dim(-1) } else { Tensor::from(0.0f32) };
                    let lengths = squares(&outer.delta, 2) * inputs;
                    lengths.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
                } else if t * (input + output) < input * output {
                    let mut products = outer.a.matmul(&outer.a.transpose(2, 3));
                    if bias {
                        products += match &outer.unit {
                            Some(u) => u.unsqueeze(-1) * u.unsqueeze(-2),
                            None => Tensor::from(1.0f32),
                        };
                    }
                    squares_of(&(products * outer.delta.matmul(&outer.delta.transpose(2, 3))))
                } else {
                    let weight = squares(&outer.weight(), 1);
                    if bias { weight + squares(&outer.bias(), 1) } else { weight }
                }
            }
            Form::Lookup { index, delta, .. } => {
                let equal = index.unsqueeze(1).eq_tensor(&index.unsqueeze(2)).to_kind(Kind::Float);
                squares_of(&(equal * delta.matmul(&delta.transpose(1, 2))))
            }
            Form::Dense(rows) => squares(rows, 1),
            Form::Turned(turned) => squares(&turned.rows, 1), // lengths do not turn
        })
    }
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
