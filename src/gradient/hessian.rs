//! The Hessian of minus the mean objective over a dataset, as products with vectors and as a matrix.

use std::rc::Rc;

use tch::{Kind, Tensor};

use super::linear_head::LinearHead;
use super::operator::{Compressed, Operator, check_vectors, dense_by_products, diagonal_by_products, mean_by_products};
use super::stream::batch_size;
use super::{backward, replicate, states};
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::random;
use crate::snapshot::{Of, Snapshot};

/// `H = −∇² (1/n) Σ_i o(z_i; θ)`, `[p, p]` in meaning.
pub(crate) struct Hessian {
    snapshot: Rc<Snapshot>,
    train: Dataset,
    head: Option<LinearHead>,
}

impl Hessian {
    pub fn new(snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Hessian> {
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        let head = guarded(|| LinearHead::detect(snapshot, train))?;
        Ok(Hessian { snapshot: snapshot.clone(), train: train.clone(), head })
    }

    /// Whether the network is one linear layer.
    pub fn is_closed_form(&self) -> bool {
        self.head.is_some()
    }
}

impl Operator for Hessian {
    fn p(&self) -> i64 {
        self.snapshot.p()
    }

    /// Cost per row: about two passes forward and backward over the data, or two matrix products with the inputs where the
    /// closed form holds.
    fn product(&self, vectors: &Tensor) -> Result<Tensor> {
        check_vectors(vectors, self.p())?;
        guarded(|| match &self.head {
            Some(head) => head.product(vectors),
            None => self.product_by_autograd(vectors),
        })
    }

    fn dense(&self) -> Result<Tensor> {
        guarded(|| match &self.head {
            Some(head) => head.dense(),
            None => match states::dense(&self.snapshot, &self.train)? {
                Some(dense) => Ok(dense),
                None => dense_by_products(self),
            },
        })
    }

    /// Exact where the closed form holds.
    fn estimate_mean_eigenvalue(&self) -> Result<(f64, f64)> {
        guarded(|| match &self.head {
            Some(head) => head.estimate_mean_eigenvalue(),
            None => mean_by_products(self),
        })
    }

    /// Exact where the closed form holds.
    fn diagonal(&self) -> Result<Tensor> {
        match &self.head {
            Some(head) => head.diagonal(),
            None => diagonal_by_products(self),
        }
    }

    fn compressed(&self) -> Result<Option<Compressed>> {
        match &self.head {
            Some(head) => head.compressed(),
            None => Ok(None),
        }
    }

    fn minibatch(&self, examples: usize, seed: u64, step: u64) -> Result<Option<Box<dyn Operator>>> {
        let positions = random::sample(self.train.len(), examples, seed, random::Purpose::Minibatch, step);
        Ok(Some(match &self.head {
            Some(head) => Box::new(guarded(|| head.select(&positions))?),
            None => {
                let train = self.train.select(&positions)?;
                Box::new(Hessian { snapshot: self.snapshot.clone(), train, head: None })
            }
        }))
    }
}

impl Hessian {
    /// Many rows at once by replicating the batch where passes are small, else row by row.
    fn product_by_autograd(&self, vectors: &Tensor) -> Result<Tensor> {
        let n = self.train.len() as i64;
        let total = vectors.zeros_like();
        let at_once = batch_size(&self.snapshot, &self.train, false)?.at_once;
        let copies = replicate::copies(&self.snapshot, &self.train, vectors.size()[0])?;
        let size = if copies > 1 { at_once.min(replicate::ROWS) } else { at_once };
        for start in (0..n).step_by(size as usize) {
            let (inputs, targets) = self.train.slice(start, (start + size).min(n));
            if copies > 1 {
                for first in (0..vectors.size()[0]).step_by(copies as usize) {
                    let rows = copies.min(vectors.size()[0] - first);
                    let (some, sum) = (vectors.narrow(0, first, rows), total.narrow(0, first, rows));
                    replicate::add_products(&self.snapshot, &inputs, &targets, &some, n, &sum)?;
                }
            } else {
                self.add_by_loop(&inputs, &targets, vectors, &total)?;
            }
        }
        Ok(total)
    }

    /// One backward pass through the gradient for each row.
    fn add_by_loop(&self, inputs: &Tensor, targets: &Tensor, vectors: &Tensor, total: &Tensor) -> Result<()> {
        let (n, layout) = (self.train.len() as f64, self.snapshot.layout());
        let outputs = self.snapshot.forward(inputs);
        let loss = self.snapshot.measured(Of::Objective, &outputs, targets)?.sum(None::<Kind>) * (-1.0 / n);
        let gradient = layout.flatten(&self.snapshot.parameter_gradients(&loss, true)?);
        if !gradient.requires_grad() {
            return Ok(()); // linear in the parameters: no curvature
        }
        for row in 0..vectors.size()[0] {
            let along = gradient.dot(&vectors.get(row));
            let products = backward(&along, self.snapshot.parameters(), true, false)?;
            let parts = products.into_iter().zip(self.snapshot.parameters());
            let parts: Vec<Tensor> = parts.map(|(h, p)| if h.defined() { h } else { p.zeros_like() }).collect();
            let _ = total.get(row).g_add_(&layout.flatten(&parts).detach());
        }
        Ok(())
    }
}
