//! The Hessian of minus the mean objective over a dataset, as products with vectors and as a matrix.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::backward;
use super::operator::{Operator, check_vectors, dense_by_products, mean_by_products};
use super::stream::batch_size;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::model::Operation;
use crate::snapshot::{Of, Snapshot, same};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// `H = −∇² (1/n) Σ_i o(z_i; θ)`, `[p, p]` in meaning.
pub(crate) struct Hessian {
    snapshot: Rc<Snapshot>,
    train: Dataset,
    head: Option<LinearHead>,
}

/// The closed form for a network that is one linear layer: `H = (1/n) Σ_i B_i ⊗ a_i a_iᵀ` with `B_i = −∂²o_i/∂s_i²`.
struct LinearHead {
    /// Inputs of the layer with a 1 appended where it has a bias, `[n, d]`.
    a: Tensor,
    /// `B_i / n`, `[n, classes, classes]`.
    b: Tensor,
    inputs: i64,
    weight: i64,
    bias: Option<i64>,
}

impl Hessian {
    pub fn new(snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Hessian> {
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        let head = guarded(|| LinearHead::detect(snapshot, train))?;
        Ok(Hessian { snapshot: snapshot.clone(), train: train.clone(), head })
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
            Some(head) => Ok(head.product(vectors)),
            None => self.product_by_autograd(vectors),
        })
    }

    fn dense(&self) -> Result<Tensor> {
        guarded(|| match &self.head {
            Some(head) => Ok(head.dense(self.snapshot.p())),
            None => dense_by_products(self),
        })
    }

    /// Exact where the closed form holds.
    fn mean_eigenvalue(&self) -> Result<f64> {
        guarded(|| match &self.head {
            Some(head) => Ok(head.trace() / self.snapshot.p() as f64),
            None => mean_by_products(self),
        })
    }
}

impl Hessian {
    fn product_by_autograd(&self, vectors: &Tensor) -> Result<Tensor> {
        let (n, layout) = (self.train.len() as i64, self.snapshot.layout());
        let total = vectors.zeros_like();
        let size = batch_size(&self.snapshot, &self.train, false)?.at_once;
        for start in (0..n).step_by(size as usize) {
            let (inputs, targets) = self.train.slice(start, (start + size).min(n));
            let outputs = self.snapshot.network().forward(&inputs, &mut crate::model::Tape::off());
            let loss = self.snapshot.measured(Of::Objective, &outputs, &targets)?.sum(None::<Kind>) * (-1.0 / n as f64);
            let gradient = layout.flatten(&self.snapshot.parameter_gradients(&loss, true)?);
            if !gradient.requires_grad() {
                continue; // linear in the parameters: no curvature
            }
            for row in 0..vectors.size()[0] {
                let along = gradient.dot(&vectors.get(row));
                let products = backward(&along, self.snapshot.parameters(), true, false)?;
                let parts = products.into_iter().zip(self.snapshot.parameters());
                let parts: Vec<Tensor> = parts.map(|(h, p)| if h.defined() { h } else { p.zeros_like() }).collect();
                let _ = total.get(row).g_add_(&layout.flatten(&parts).detach());
            }
        }
        Ok(total)
    }
}

impl LinearHead {
    fn detect(snapshot: &Snapshot, train: &Dataset) -> Result<Option<LinearHead>> {
        if !snapshot.taped(&train.slice(0, (train.len() as i64).min(2)).0)? {
            return Ok(None);
        }
        let entries = snapshot.layout().entries();
        let entry = |t: &Tensor| snapshot.parameters().iter().position(|p| same(p, t)).map(|i| &entries[i]);
        let (outputs, records) = snapshot.record(&train.slice(0, 1).0);
        let [record] = records.as_slice() else { return Ok(None) };
        let direct = same(&outputs, &record.output) && record.version == record.output.internal_version();
        if !(matches!(record.operation, Operation::Linear) && record.input.dim() == 2 && direct) {
            return Ok(None);
        }
        let bias = record.bias.as_ref().and_then(&entry).map(|e| e.offset);
        let Some(weight) = entry(&record.weight) else { return Ok(None) };
        if entries.len() != 1 + usize::from(bias.is_some()) {
            return Ok(None);
        }
        let n = train.len() as f64;
        let (outputs, records) = snapshot.record(train.inputs());
        let inputs = records[0].input.shallow_clone();
        let a = match bias {
            Some(_) => Tensor::cat(&[&inputs, &inputs.ones_like().narrow(1, 0, 1)], 1),
            None => inputs.shallow_clone(),
        };
        let outputs = outputs.detach().set_requires_grad(true);
        let classes = outputs.size()[1];
        let loss = snapshot.measured(Of::Objective, &outputs, train.targets())?.sum(None::<Kind>) * (-1.0 / n);
        let first = backward(&loss, &[&outputs], true, true)?.remove(0);
        let rows = (0..classes).map(|c| {
            let zeros = || outputs.detach().zeros_like();
            if !first.requires_grad() {
                return Ok(zeros());
            }
            let row = backward(&first.select(1, c).sum(None::<Kind>), &[&outputs], true, false)?.remove(0);
            Ok(if row.defined() { row.detach() } else { zeros() })
        });
        let b = Tensor::stack(&rows.collect::<Result<Vec<_>>>()?, 1);
        Ok(Some(LinearHead { a, b, inputs: inputs.size()[1], weight: weight.offset, bias }))
    }

    fn trace(&self) -> f64 {
        let traces = self.b.diagonal(0, 1, 2).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        let lengths = self.a.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        (traces * lengths).sum(Kind::Double).double_value(&[])
    }

    /// Vectors in the layout's order as `[k, classes, d]`, the bias as last column.
    fn arrange(&self, vectors: &Tensor) -> Tensor {
        let (k, classes) = (vectors.size()[0], self.b.size()[1]);
        let weight = vectors.narrow(1, self.weight, classes * self.inputs).reshape([k, classes, self.inputs]);
        match self.bias {
            Some(bias) => Tensor::cat(&[weight, vectors.narrow(1, bias, classes).unsqueeze(2)], 2),
            None => weight,
        }
    }

    fn product(&self, vectors: &Tensor) -> Tensor {
        let (n, d, classes) = (self.a.size()[0], self.a.size()[1], self.b.size()[1]);
        let result = vectors.zeros_like();
        // A group of vectors whose products with all inputs (two matrices of this many numbers) stay near the cache.
        let step = ((1 << 22) / (n * classes)).max(1);
        for start in (0..vectors.size()[0]).step_by(step as usize) {
            let k = step.min(vectors.size()[0] - start);
            let v = self.arrange(&vectors.narrow(0, start, k)).view([k * classes, d]);
            let s = self.a.matmul(&v.transpose(0, 1)).view([n, k, classes]);
            let t = s.matmul(&self.b).view([n, k * classes]);
            let h = t.transpose(0, 1).matmul(&self.a).view([k, classes, d]);
            let rows = result.narrow(0, start, k);
            rows.narrow(1, self.weight, classes * self.inputs).copy_(&h.narrow(2, 0, self.inputs).reshape([k, -1]));
            if let Some(bias) = self.bias {
                rows.narrow(1, bias, classes).copy_(&h.select(2, self.inputs));
            }
        }
        result
    }

    fn dense(&self, p: i64) -> Tensor {
        let whole = Tensor::zeros([p, p], (Kind::Double, Device::Cpu));
        let (classes, m) = (self.b.size()[1], self.inputs);
        for c in 0..classes {
            for e in c..classes {
                let block = weighted_gram(&self.a, &self.b.select(1, c).select(1, e));
                let mut pairs = vec![(c, e)];
                if c != e {
                    pairs.push((e, c));
                }
                for (row, column) in pairs {
                    let (r, k) = (self.weight + row * m, self.weight + column * m);
                    whole.narrow(0, r, m).narrow(1, k, m).copy_(&block.narrow(0, 0, m).narrow(1, 0, m));
                    if let Some(bias) = self.bias {
                        whole.narrow(0, r, m).select(1, bias + column).copy_(&block.select(1, m).narrow(0, 0, m));
                        whole.select(0, bias + row).narrow(0, k, m).copy_(&block.select(0, m).narrow(0, 0, m));
                        whole.select(0, bias + row).select(0, bias + column).copy_(&block.select(0, m).select(0, m));
                    }
                }
            }
        }
        whole
    }
}

/// `Aᵀ diag(w) A`, symmetric, `[d, d]`: strips above the diagonal only, which saves three eighths of the product.
fn weighted_gram(a: &Tensor, w: &Tensor) -> Tensor {
    let d = a.size()[1];
    let weighted = a * w.unsqueeze(1);
    let result = Tensor::zeros([d, d], CPU);
    let strip = d.div_euclid(4) + 1;
    for start in (0..d).step_by(strip as usize) {
        let width = strip.min(d - start);
        let right = d - start;
        let rows = a.narrow(1, start, width).transpose(0, 1).matmul(&weighted.narrow(1, start, right));
        result.narrow(0, start, width).narrow(1, start, right).copy_(&rows);
        if start + width < d {
            let beyond = right - width;
            let mirror = rows.narrow(1, width, beyond).transpose(0, 1);
            result.narrow(0, start + width, beyond).narrow(1, start, width).copy_(&mirror);
        }
    }
    result
}
