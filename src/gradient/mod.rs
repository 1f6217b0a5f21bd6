//! Gradients of one number per example, a block per layer, factored where the tape allows.

mod at;
mod block;
mod compute;
mod function;
mod gram;
pub(crate) mod hessian;
mod layout;
mod linear_head;
pub(crate) mod mean_square;
mod operator;
mod outer;
mod replicate;
pub(crate) mod roots;
mod seen;
mod states;
pub(crate) mod stream;

pub(crate) use block::{Block, Form};
pub use function::{Function, ggn_vp, hvp};
pub(crate) use layout::Columns;
pub use layout::{Entry, Layout};
pub use operator::{Compressed, Operator, Subspace};
pub(crate) use outer::{Outer, Turned};

use std::borrow::Borrow;
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::error::{Error, Result, guarded};

/// Gradients of a scalar in some tensors; an undefined tensor where it does not depend on one.
///
/// The one door to libtorch's backward pass, which crashes on a scalar without a graph.
pub(crate) fn backward(scalar: &Tensor, inputs: &[impl Borrow<Tensor>], keep: bool, create: bool) -> Result<Vec<Tensor>> {
    if !scalar.requires_grad() {
        let reason = "the number to explain does not depend on the parameters (a constant, or detached from the graph)";
        return Err(Error::layer("model", reason));
    }
    Ok(Tensor::f_run_backward(&[scalar], inputs, keep, create)?)
}

/// Per-example gradients, `[n, p]` in meaning, held as one block per layer.
///
/// A linear layer's block is kept as its factors: the input `a` `[n, t, in]` and the output gradient `δ` `[n, t, out]`, whose
/// outer product summed over positions `t` is the gradient. Inner products use the factors where that is cheaper.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(20)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let g = task.snapshot(0)?.gradients(Of::Objective, &data)?;
/// let dense = g.dense()?;
/// let error = (g.gram(&g)? - dense.matmul(&dense.transpose(0, 1))).abs().max().double_value(&[]);
/// assert!(error < 1e-4);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Gradients {
    n: i64,
    layout: Arc<Layout>,
    blocks: Vec<Block>,
}

impl Gradients {
    pub(crate) fn new(n: i64, layout: Arc<Layout>, blocks: Vec<Block>) -> Gradients {
        Gradients { n, layout, blocks }
    }

    /// Rows `[n, p]` in the layout's order as gradients.
    pub(crate) fn of_rows(rows: Tensor, layout: &Arc<Layout>) -> Gradients {
        let all = Entry { name: "all".into(), shape: vec![layout.p()], offset: 0, len: layout.p() };
        let block =
            Block { name: "all".into(), form: Form::Dense(rows.shallow_clone()), columns: Columns { weight: all, bias: None } };
        Gradients::new(rows.size()[0], layout.clone(), vec![block])
    }

    /// Rows `[n, p]` as formed blocks like those of other gradients, so that they meet layer by layer.
    pub(crate) fn of_rows_like(rows: &Tensor, like: &Gradients) -> Gradients {
        let blocks = like.blocks.iter().map(|block| Block {
            name: block.name.clone(),
            form: Form::Dense(block.columns.columns(rows)),
            columns: block.columns.clone(),
        });
        Gradients::new(rows.size()[0], like.layout.clone(), blocks.collect())
    }

    /// Several batches of the same network, in the same forms, as one.
    pub(crate) fn join(mut parts: Vec<Gradients>) -> Result<Gradients> {
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        guarded(|| {
            let (n, layout) = (parts.iter().map(|g| g.n).sum(), parts[0].layout.clone());
            let count = parts[0].blocks.len();
            let blocks = (0..count).map(|i| Block::join(&parts.iter().map(|g| &g.blocks[i]).collect::<Vec<_>>()));
            Ok(Gradients::new(n, layout, blocks.collect::<Result<Vec<_>>>()?))
        })
    }

    /// The first examples.
    pub(crate) fn head(&self, count: i64) -> Gradients {
        let n = count.min(self.n);
        Gradients::new(n, self.layout.clone(), self.blocks.iter().map(|block| block.narrow(0, n)).collect())
    }

    pub(crate) fn layout_handle(&self) -> Arc<Layout> {
        self.layout.clone()
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// All parameters as rows `[n, p]`, if that is how the gradients are held.
    fn whole(&self) -> Option<&Tensor> {
        match self.blocks.as_slice() {
            [Block { form: Form::Dense(rows), columns, .. }] if columns.len() == self.layout.p() && columns.bias.is_none() => {
                Some(rows)
            }
            _ => None,
        }
    }

    /// Number of examples.
    pub fn n(&self) -> i64 {
        self.n
    }

    /// Where each parameter lies in a dense row.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// `[n, p]`, rows in the layout's order. Memory: n · p floats.
    pub fn dense(&self) -> Result<Tensor> {
        guarded(|| {
            let dense = Tensor::empty([self.n, self.layout.p()], (Kind::Float, tch::Device::Cpu));
            self.write(&dense)?;
            Ok(dense)
        })
    }

    /// Writes the rows into `[n, p]`.
    pub(crate) fn write(&self, dense: &Tensor) -> Result<()> {
        guarded(|| self.blocks.iter().try_for_each(|block| block.write(dense)))
    }

    /// Inner products with given vectors: `[n, p] · [k, p]ᵀ → [n, k]`.
    ///
    /// Cost: n · p · k multiplications; memory: the largest block's n · p_block floats.
    pub fn dot(&self, vectors: &Tensor) -> Result<Tensor> {
        let p = self.layout.p();
        if vectors.dim() != 2 || vectors.size()[1] != p {
            return Err(Error::shape("vectors", format!("[k, {p}]"), format!("{:?}", vectors.size())));
        }
        guarded(|| {
            let total = Tensor::zeros([self.n, vectors.size()[0]], (Kind::Float, tch::Device::Cpu));
            for block in &self.blocks {
                block.dot(vectors, &total)?;
            }
            Ok(total)
        })
    }

    /// Weighted sums `Σ_i c_ik g_i`: coefficients `[n, k]` → `[k, p]`, the transpose of [`dot`](Gradients::dot).
    ///
    /// Cost and memory as for `dot`.
    pub fn combine(&self, coefficients: &Tensor) -> Result<Tensor> {
        if coefficients.dim() != 2 || coefficients.size()[0] != self.n {
            return Err(Error::shape("coefficients", format!("[{}, k]", self.n), format!("{:?}", coefficients.size())));
        }
        guarded(|| {
            let total = Tensor::zeros([coefficients.size()[1], self.layout.p()], (Kind::Float, tch::Device::Cpu));
            for block in &self.blocks {
                block.combine(coefficients, &total)?;
            }
            Ok(total)
        })
    }

    /// Inner products with other gradients of the same network: `[n, m]`.
    ///
    /// For a layer used at one position the block is `(A A'ᵀ + 1) ∘ (Δ Δ'ᵀ)`: `n·m·(in + out)` multiplications instead of
    /// `n·m·in·out`, and no gradient is formed.
    pub fn gram(&self, other: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", &other.layout)?;
        // One side may be formed whole, as rows of all parameters.
        match (self.whole(), other.whole()) {
            (_, Some(rows)) => return self.dot(rows),
            (Some(rows), None) => return guarded(|| Ok(other.dot(rows)?.transpose(0, 1).contiguous())),
            (None, None) => {}
        }
        if self.blocks.len() != other.blocks.len() {
            let (expected, got) = (self.blocks.len(), format!("{} blocks", other.blocks.len()));
            return Err(Error::shape("gradients", format!("gradients of the same network ({expected} blocks)"), got));
        }
        guarded(|| {
            let mut total = Tensor::zeros([self.n, other.n], (Kind::Float, tch::Device::Cpu));
            for (mine, theirs) in self.blocks.iter().zip(&other.blocks) {
                let _ = total.g_add_(&mine.gram(theirs)?);
            }
            Ok(total)
        })
    }

    /// Euclidean lengths, `[n]`.
    pub fn norms(&self) -> Result<Tensor> {
        guarded(|| {
            let mut total = Tensor::zeros([self.n], (Kind::Float, tch::Device::Cpu));
            for block in &self.blocks {
                let _ = total.g_add_(&block.squared_norms()?);
            }
            Ok(total.sqrt())
        })
    }

    /// For each block whether it stayed factored: `("fc1", "outer product, 1 position")`.
    pub fn describe(&self) -> Vec<(String, String)> {
        self.blocks.iter().map(|b| (b.name.clone(), b.form.describe())).collect()
    }

    /// Forms the blocks of a side that is met again and again, where forming them once is cheaper than their factors are.
    ///
    /// `partners` is how many gradients of the other side each will meet, `budget` the bytes that may be used.
    pub(crate) fn prepare(mut self, partners: i64, budget: i64) -> Result<Gradients> {
        guarded(move || {
            let mut left = budget;
            for block in &mut self.blocks {
                let bytes = 4 * self.n * block.len();
                if bytes <= left && block.cheaper_dense(self.n, partners) {
                    block.form = Form::Dense(block.dense()?);
                    left -= bytes;
                }
            }
            Ok(self)
        })
    }
}
