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
    /// Rows `[n, t]` of a table, `δ` `[n, c, t, width]`.
    Lookup { index: Tensor, delta: Tensor },
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
            let stack = |pick: fn(&Form) -> &Tensor| Tensor::stack(&uses.iter().map(|b| pick(&b.form)).collect::<Vec<_>>(), 1);
            let delta = stack(|form| match form {
                Form::Outer(Outer { delta, .. }) | Form::Lookup { delta, .. } | Form::Dense(delta) => delta,
            });
            let form = match &first.form {
                Form::Outer(outer) => {
                    RootForm::Outer { a: outer.a.shallow_clone(), delta, mask: outer.mask.as_ref().map(Tensor::shallow_clone) }
                }
                Form::Lookup { index, .. } => RootForm::Lookup { index: index.shallow_clone(), delta },
                Form::Dense(_) => RootForm::Dense(delta),
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
                RootForm::Lookup { index, delta } => Form::Lookup { index: index.shallow_clone(), delta: delta.select(1, c) },
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
            RootForm::Lookup { index, delta } => {
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
            RootForm::Lookup { index, delta } => {
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
