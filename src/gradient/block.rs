//! The per-example gradients of one layer, and their inner products by the cheaper of two routes.

use tch::{Device, Kind, Tensor};

use super::Columns;
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
    /// Rows `index` `[n, t]` of a table receive `δ` `[n, t, width]`.
    Lookup { index: Tensor, delta: Tensor },
    /// Formed: `[n, len]`, weight then bias.
    Dense(Tensor),
    /// Formed in other coordinates.
    Turned(Turned),
}

/// Gradients `G` of one linear layer at one position as `Q_Sᵀ G Q_A`, weight and bias together.
pub(crate) struct Turned {
    /// `[n, out · (in + 1)]`, or `[n, out · in]` without a bias.
    pub rows: Tensor,
    /// `[in + 1, in + 1]` with orthonormal columns.
    pub qa: Tensor,
    /// `[out, out]` with orthonormal columns.
    pub qs: Tensor,
}

impl Turned {
    /// The factors in these coordinates; the bias is one more input.
    fn turn(&self, outer: &Outer, bias: bool) -> Outer {
        let a = match bias {
            true => {
                let inputs = self.qa.size()[0] - 1;
                let last = self.qa.narrow(0, inputs, 1);
                let shift = outer.unit.as_ref().map_or_else(|| last.shallow_clone(), |unit| unit.unsqueeze(-1) * &last);
                outer.a.matmul(&self.qa.narrow(0, 0, inputs)) + shift
            }
            false => outer.a.matmul(&self.qa),
        };
        Outer { a, delta: outer.delta.matmul(&self.qs), unit: None, mask: None }
    }

    /// `[n, len]`, weight then bias, in the coordinates of the parameters.
    fn dense(&self, bias: bool) -> Tensor {
        let (n, input, output) = (self.rows.size()[0], self.qa.size()[0], self.qs.size()[0]);
        let whole = self.qs.matmul(&self.rows.view([n, output, input])).matmul(&self.qa.transpose(0, 1));
        match bias {
            true => Tensor::cat(&[whole.narrow(2, 0, input - 1).reshape([n, -1]), whole.select(2, input - 1)], 1),
            false => whole.reshape([n, -1]),
        }
    }
}

/// `Σ_t δ_t ⊗ a_t` for each of `g` groups; the bias's gradient is `Σ_t u_t δ_t`.
pub(crate) struct Outer {
    /// `[n, g, t, in]`
    pub a: Tensor,
    /// `[n, g, t, out]`
    pub delta: Tensor,
    /// `u`, the bias's own input, `[n, g, t]`; 1 everywhere unless a preconditioner has mapped it.
    pub unit: Option<Tensor>,
    /// Which positions count, `[n, t]`; the statistics of Kronecker factors leave out the rest, such as padding.
    pub mask: Option<Tensor>,
}

impl Outer {
    fn g(&self) -> i64 {
        self.a.size()[1]
    }

    fn t(&self) -> i64 {
        self.a.size()[2]
    }

    fn widths(&self) -> (i64, i64) {
        (self.a.size()[3], self.delta.size()[3])
    }

    /// Some of the examples.
    fn narrow(&self, start: i64, len: i64) -> Outer {
        let part = |x: &Tensor| x.narrow(0, start, len);
        Outer {
            a: part(&self.a),
            delta: part(&self.delta),
            unit: self.unit.as_ref().map(part),
            mask: self.mask.as_ref().map(part),
        }
    }

    /// Derivatives of the layer's outputs along `k` directions `[k, len]`, one for each position: `[n, k, g, t, out]`.
    pub fn along(&self, directions: &Tensor, bias: bool) -> Tensor {
        let (n, k, g, t, (input, output)) = (self.a.size()[0], directions.size()[0], self.g(), self.t(), self.widths());
        let weight = directions.narrow(1, 0, g * output * input).reshape([k, g, output, input]);
        let along = match (g, t) {
            (1, 1) => {
                self.a.reshape([n, input]).matmul(&weight.reshape([k * output, input]).transpose(0, 1)).view([n, k, 1, 1, output])
            }
            _ => Tensor::empty([n, k, g, t, output], (Kind::Float, Device::Cpu)),
        };
        for group in (0..g).filter(|_| g * t > 1) {
            let flat = weight.select(1, group).flatten(0, 1); // [k·out, in]
            let products = self.a.select(1, group).flatten(0, 1).matmul(&flat.transpose(0, 1)); // [n·t, k·out]
            along.select(2, group).copy_(&products.view([n, t, k, output]).transpose(1, 2));
        }
        if bias {
            let shift = directions.narrow(1, g * output * input, g * output).reshape([1, k, g, 1, output]);
            let _ = match &self.unit {
                Some(unit) => along.shallow_clone().g_add_(&(shift * unit.view([n, 1, g, t, 1]))),
                None => along.shallow_clone().g_add_(&shift),
            };
        }
        along
    }

    /// Inner products with formed vectors `[k, len]`: `[n, k]`.
    pub fn meet(&self, rows: &Tensor, bias: bool) -> Tensor {
        let (n, k) = (self.a.size()[0], rows.size()[0]);
        if !few(k, self) {
            let formed = if bias { Tensor::cat(&[self.weight(), self.bias()], 1) } else { self.weight() };
            return formed.matmul(&rows.transpose(0, 1));
        }
        let step = (ALONG / (self.delta.numel() as i64).max(1)).clamp(1, k.max(1));
        let parts: Vec<Tensor> = (0..k)
            .step_by(step as usize)
            .map(|start| self.contract(&self.along(&rows.narrow(0, start, step.min(k - start)), bias)))
            .collect();
        match parts.len() {
            0 => Tensor::zeros([n, 0], (Kind::Float, Device::Cpu)),
            _ => Tensor::cat(&parts, 1),
        }
    }

    /// `Σ δ ∘ x` over groups, positions and outputs: `[n, k, g, t, out] → [n, k]`.
    pub fn contract(&self, along: &Tensor) -> Tensor {
        let (n, k) = (along.size()[0], along.size()[1]);
        along.view([n, k, -1]).matmul(&self.delta.reshape([n, -1, 1])).squeeze_dim(-1)
    }

    /// `c ∘ δ` for coefficients `[n, k]`: `[n, k, g, t, out]`.
    pub fn weighted(&self, coefficients: &Tensor) -> Tensor {
        let (n, k) = (coefficients.size()[0], coefficients.size()[1]);
        self.delta.unsqueeze(1) * coefficients.reshape([n, k, 1, 1, 1])
    }

    /// `Σ_i Σ_t x_ikt ⊗ a_it`: `[n, k, g, t, out] → [k, len]`.
    pub fn spread(&self, x: &Tensor, bias: bool) -> Tensor {
        let (n, k, g, t, (input, output)) = (x.size()[0], x.size()[1], self.g(), self.t(), self.widths());
        let parts: Vec<Tensor> = (0..g)
            .map(|group| {
                let flat = x.select(2, group).transpose(1, 2).reshape([n * t, k * output]);
                flat.transpose(0, 1).matmul(&self.a.select(1, group).flatten(0, 1)).view([k, output * input])
            })
            .collect();
        let weight = Tensor::cat(&parts, 1);
        if !bias {
            return weight;
        }
        let x = match &self.unit {
            Some(unit) => x * unit.view([n, 1, g, t, 1]),
            None => x.shallow_clone(),
        };
        Tensor::cat(&[weight, x.sum_dim_intlist([0i64, 3].as_slice(), false, None::<Kind>).reshape([k, g * output])], 1)
    }

    /// One group, positions flattened into examples: `[n·t, in]`, `[n·t, out]`, `[n·t, 1]`.
    fn group(&self, group: i64) -> (Tensor, Tensor, Option<Tensor>) {
        let rows = |x: &Tensor| x.select(1, group).flatten(0, 1);
        (rows(&self.a), rows(&self.delta), self.unit.as_ref().map(|u| rows(u).unsqueeze(1)))
    }

    /// `[n, g·out·in]`
    fn weight(&self) -> Tensor {
        self.delta.transpose(2, 3).matmul(&self.a).flatten(1, -1)
    }

    /// `[n, g·out]`
    fn bias(&self) -> Tensor {
        let delta = match &self.unit {
            Some(unit) => &self.delta * unit.unsqueeze(-1),
            None => self.delta.shallow_clone(),
        };
        delta.sum_dim_intlist([2i64].as_slice(), false, None::<Kind>).flatten(1, -1)
    }
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
const FLOPS_PER_TOUCH: i64 = 16;

impl Block {
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
            Form::Lookup { index, delta } => Form::Lookup { index: part(index), delta: part(delta) },
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
            Form::Lookup { index, delta } => (index.size()[1].pow(2) * (delta.size()[2] + 3 * FLOPS_PER_TOUCH)).min(self.len()),
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
            Form::Lookup { index, delta } => {
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
            (Form::Lookup { index, delta }, Form::Lookup { index: other_index, delta: epsilon })
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
        let Form::Lookup { index, delta } = &self.form else { return false };
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
            Form::Lookup { index, delta } => {
                let equal = index.unsqueeze(1).eq_tensor(&index.unsqueeze(2)).to_kind(Kind::Float);
                squares_of(&(equal * delta.matmul(&delta.transpose(1, 2))))
            }
            Form::Dense(rows) => squares(rows, 1),
            Form::Turned(turned) => squares(&turned.rows, 1), // lengths do not turn
        })
    }
}

/// Numbers of a layer's outputs along some vectors that are held at once: about what a cache holds.
const ALONG: i64 = 1 << 21;

/// Whether `k` vectors are so few that to go through the layer's outputs touches less memory than to form the gradients.
fn few(k: i64, outer: &Outer) -> bool {
    k * outer.t() < 2 * outer.widths().0
}

/// Whether formed gradients are cheaper, for a side of `m` with `u` positions that each of `partners` gradients meets.
///
/// Counted per pair, in multiplications: factors cost `g·t·u·(in + out)` and touch `g·t·u` numbers three times; formed gradients
/// cost `g·in·out` plus the share of forming both sides.
fn cheaper_dense(outer: &Outer, u: i64, m: i64, partners: i64) -> bool {
    let (g, t, (input, output)) = (outer.g(), outer.t(), outer.widths());
    let factored = g * t * u * (input + output + 3 * FLOPS_PER_TOUCH);
    let forming = |positions: i64| g * input * output * (positions + FLOPS_PER_TOUCH);
    g * input * output + forming(t) / m.max(1) + forming(u) / partners.max(1) < factored
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

fn outer_gram(mine: &Outer, theirs: &Outer, bias: bool) -> Tensor {
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
