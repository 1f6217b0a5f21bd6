//! Several vectors for each example, sharing what each layer saw: the square roots of Gauss-Newton and Fisher matrices.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::{Block, Columns, Form, Gradients, Layout, Outer};
use crate::error::Result;

/// `r_ic = J_iᵀ w_ic` for `n` examples and `c` covectors each, where `J_i` `[outputs, p]` is the Jacobian of the outputs.
///
/// `Σ_c r_ic r_icᵀ` is example i's part of a curvature matrix. All covectors of an example meet the same inputs, which are
/// kept once.
pub(crate) struct Roots {
    pub n: i64,
    pub c: i64,
    pub layout: Arc<Layout>,
    pub blocks: Vec<RootBlock>,
}

/// One layer's part.
pub(crate) struct RootBlock {
    pub name: String,
    pub columns: Columns,
    pub form: RootForm,
}

pub(crate) enum RootForm {
    /// `a` `[n, g, t, in]`, `δ` `[n, c, g, t, out]`, which positions count `[n, t]`.
    Outer { a: Tensor, delta: Tensor, mask: Option<Tensor> },
    /// Rows `[n, t]` of a table, `δ` `[n, c, t, width]`, which positions count `[n, t]`.
    Lookup { index: Tensor, delta: Tensor, mask: Option<Tensor> },
    /// `[n, c, len]`.
    Dense(Tensor),
}

impl Roots {
    /// Joins the gradients of each covector; all sets come from the same pass, so that their inputs are the same tensors.
    pub fn stack(mut sets: Vec<Gradients>) -> Roots {
        let (n, c, layout) = (sets[0].n, sets.len() as i64, sets[0].layout.clone());
        let mut rest: Vec<_> = sets.drain(..).map(|set| set.blocks.into_iter()).collect();
        let mut blocks = Vec::new();
        loop {
            let uses: Vec<Block> = rest.iter_mut().filter_map(Iterator::next).collect();
            let Some(first) = uses.first() else { break };
            let deltas = uses.iter().filter_map(|block| match &block.form {
                Form::Outer(Outer { delta, .. }) | Form::Lookup { delta, .. } | Form::Dense(delta) => Some(delta),
                Form::Turned(_) => None, // only a preconditioner makes these
            });
            let deltas: Vec<&Tensor> = deltas.collect();
            let delta = if deltas.len() == 1 { deltas[0].unsqueeze(1) } else { Tensor::stack(&deltas, 1) };
            let form = match &first.form {
                Form::Outer(outer) => {
                    RootForm::Outer { a: outer.a.shallow_clone(), delta, mask: outer.mask.as_ref().map(Tensor::shallow_clone) }
                }
                Form::Lookup { index, mask, .. } => {
                    RootForm::Lookup { index: index.shallow_clone(), delta, mask: mask.as_ref().map(Tensor::shallow_clone) }
                }
                Form::Dense(_) | Form::Turned(_) => RootForm::Dense(delta),
            };
            blocks.push(RootBlock { name: first.name.clone(), columns: first.columns.clone(), form });
        }
        Roots { n, c, layout, blocks }
    }

    /// The vectors of one covector as gradients; nothing is copied.
    pub fn set(&self, c: i64) -> Gradients {
        let blocks = self.blocks.iter().map(|block| {
            let form = match &block.form {
                RootForm::Outer { a, delta, .. } => {
                    Form::Outer(Outer { a: a.shallow_clone(), delta: delta.select(1, c), unit: None, mask: None })
                }
                RootForm::Lookup { index, delta, mask } => Form::Lookup {
                    index: index.shallow_clone(),
                    delta: delta.select(1, c),
                    mask: mask.as_ref().map(Tensor::shallow_clone),
                },
                RootForm::Dense(rows) => Form::Dense(rows.select(1, c)),
            };
            Block { name: block.name.clone(), form, columns: block.columns.clone() }
        });
        Gradients::new(self.n, self.layout.clone(), blocks.collect())
    }

    /// `Σ_ic r_ic (r_icᵀ v)` for vectors `[k, p]`, added to `total` `[k, p]`.
    ///
    /// Cost: two passes through each layer's weights for each vector and example, whatever the number of covectors.
    pub fn add_product(&self, vectors: &Tensor, total: &Tensor) -> Result<()> {
        let k = vectors.size()[0];
        let widest = self.blocks.iter().map(|b| b.touched()).max().unwrap_or(1);
        let step = (HELD_AT_ONCE / (self.n * widest).max(1)).clamp(1, k.max(1));
        for start in (0..k).step_by(step as usize) {
            let len = step.min(k - start);
            let (some, sum) = (vectors.narrow(0, start, len), total.narrow(0, start, len));
            let x = Tensor::zeros([self.n, len, self.c], (Kind::Float, Device::Cpu));
            for block in &self.blocks {
                let _ = x.shallow_clone().g_add_(&block.along(&block.columns.columns(&some)));
            }
            for block in &self.blocks {
                block.columns.add_columns(&block.spread(&x), &sum);
            }
        }
        Ok(())
    }

    /// Adds the sums of squared entries to `total` `[1, p]`, float64.
    pub fn add_squares(&self, total: &Tensor) -> Result<()> {
        for (position, block) in self.blocks.iter().enumerate() {
            block.columns.add_columns(&self.block_squares(position, block)?.unsqueeze(0), total);
        }
        Ok(())
    }

    /// Sums of squared entries over examples and covectors, `[len]`, float64.
    fn block_squares(&self, position: usize, block: &RootBlock) -> Result<Tensor> {
        let over = |x: &Tensor, dim: i64, kind: Option<Kind>| x.sum_dim_intlist([dim].as_slice(), false, kind);
        if let RootForm::Outer { a, delta, .. } = &block.form
            && a.size()[2] == 1
        {
            // One outer product: its squares are the outer product of squares.
            let delta = over(&delta.square(), 1, None).squeeze_dim(2); // [n, g, out]
            let weight = delta.permute([1, 2, 0]).matmul(&a.squeeze_dim(2).square().transpose(0, 1)).reshape([-1]);
            let weight = weight.to_kind(Kind::Double);
            return Ok(match &block.columns.bias {
                Some(_) => Tensor::cat(&[weight, over(&delta, 0, Some(Kind::Double)).reshape([-1])], 0),
                None => weight,
            });
        }
        let mut total = Tensor::zeros([block.columns.len()], (Kind::Double, Device::Cpu));
        let step = (HELD_AT_ONCE / block.columns.len()).max(1);
        for c in 0..self.c {
            let set = self.set(c);
            for start in (0..self.n).step_by(step as usize) {
                let rows = set.blocks()[position].narrow(start, step.min(self.n - start)).dense()?;
                let _ = total.g_add_(&over(&rows.square(), 0, Some(Kind::Double)));
            }
        }
        Ok(total)
    }

    /// Sum of all squared lengths.
    pub fn squares(&self) -> Result<f64> {
        let mut total = 0.0;
        for c in 0..self.c {
            total += self.set(c).norms()?.square().sum(Kind::Double).double_value(&[]);
        }
        Ok(total)
    }
}

/// Numbers that the layers' outputs along a group of vectors may take at once.
const HELD_AT_ONCE: i64 = 1 << 23;

impl RootBlock {
    /// Numbers that the covectors of the block take.
    pub fn numbers(&self) -> i64 {
        match &self.form {
            RootForm::Outer { delta, .. } | RootForm::Lookup { delta, .. } | RootForm::Dense(delta) => delta.numel() as i64,
        }
    }

    fn touched(&self) -> i64 {
        match &self.form {
            RootForm::Outer { delta, .. } | RootForm::Lookup { delta, .. } => delta.size()[2..].iter().product(),
            RootForm::Dense(_) => 1,
        }
    }

    /// `r_icᵀ v` for directions `[k, len]`: `[n, k, c]`.
    fn along(&self, directions: &Tensor) -> Tensor {
        let k = directions.size()[0];
        let by_covector = |along: Tensor, delta: &Tensor| {
            let (n, c) = (delta.size()[0], delta.size()[1]);
            along.view([n, k, -1]).matmul(&delta.reshape([n, c, -1]).transpose(1, 2))
        };
        match &self.form {
            RootForm::Outer { a, delta, .. } => {
                let along = Outer { a: a.shallow_clone(), delta: delta.select(1, 0), unit: None, mask: None };
                by_covector(along.along(directions, self.columns.bias.is_some()), delta)
            }
            RootForm::Lookup { index, delta, .. } => {
                let (rows, width) = (self.columns.weight.shape[0], self.columns.weight.shape[1]);
                let (n, t) = (index.size()[0], index.size()[1]);
                let along = directions.view([k, rows, width]).index_select(1, &index.reshape([n * t])); // [k, n·t, width]
                by_covector(along.view([k, n, t * width]).transpose(0, 1).contiguous(), delta)
            }
            RootForm::Dense(rows) => rows.matmul(&directions.transpose(0, 1)).transpose(1, 2),
        }
    }

    /// `Σ_ic x_ikc r_ic`: `[n, k, c] → [k, len]`.
    fn spread(&self, x: &Tensor) -> Tensor {
        let (n, k) = (x.size()[0], x.size()[1]);
        match &self.form {
            RootForm::Outer { a, delta, .. } => {
                let (g, t, out) = (delta.size()[2], delta.size()[3], delta.size()[4]);
                let mixed = x.matmul(&delta.reshape([n, delta.size()[1], -1])).view([n, k, g, t, out]);
                let outer = Outer { a: a.shallow_clone(), delta: delta.select(1, 0), unit: None, mask: None };
                outer.spread(&mixed, self.columns.bias.is_some())
            }
            RootForm::Lookup { index, delta, .. } => {
                let (rows, width) = (self.columns.weight.shape[0], self.columns.weight.shape[1]);
                let t = index.size()[1];
                let mixed = x.matmul(&delta.reshape([n, delta.size()[1], -1])); // [n, k, t·width]
                let mixed = mixed.view([n, k, t, width]).transpose(0, 1).reshape([k, n * t, width]);
                let table = Tensor::zeros([k, rows, width], (Kind::Float, Device::Cpu));
                let _ = table.shallow_clone().index_add_(1, &index.reshape([n * t]), &mixed);
                table.view([k, rows * width])
            }
            RootForm::Dense(rows) => {
                let (c, len) = (rows.size()[1], rows.size()[2]);
                x.transpose(0, 1).reshape([k, n * c]).matmul(&rows.reshape([n * c, len]))
            }
        }
    }
}
