//! The Hessian of a network that is one linear layer, in closed form and in the smaller space where it is not zero.

use tch::{Device, Kind, Tensor};

use super::backward;
use super::operator::{Compressed, Operator, Subspace, check_vectors};
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::model::Operation;
use crate::snapshot::{Of, Snapshot, same};

/// `H = (1/n) Σ_i B_i ⊗ a_i a_iᵀ` with `B_i = −∂²o_i/∂s_i²`.
pub(crate) struct LinearHead {
    /// Inputs of the layer with a 1 appended where it has a bias, `[n, d]`.
    a: Tensor,
    /// `B_i / n`, `[n, classes, classes]`.
    b: Tensor,
    place: Place,
}

/// Where the layer's parameters lie in a flat vector.
#[derive(Clone, Copy)]
struct Place {
    classes: i64,
    inputs: i64,
    weight: i64,
    bias: Option<i64>,
}

impl Place {
    fn p(self) -> i64 {
        self.classes * (self.inputs + i64::from(self.bias.is_some()))
    }

    /// `[k, p]` as `[k, classes, d]`, the bias as last column.
    fn arrange(self, vectors: &Tensor) -> Tensor {
        let (k, classes) = (vectors.size()[0], self.classes);
        let weight = vectors.narrow(1, self.weight, classes * self.inputs).reshape([k, classes, self.inputs]);
        match self.bias {
            Some(bias) => Tensor::cat(&[weight, vectors.narrow(1, bias, classes).unsqueeze(2)], 2),
            None => weight,
        }
    }

    /// `[k, classes, d]` into `[k, p]`.
    fn write(self, arranged: &Tensor, vectors: &Tensor) {
        let k = vectors.size()[0];
        let weight = vectors.narrow(1, self.weight, self.classes * self.inputs).view([k, self.classes, self.inputs]);
        weight.shallow_clone().copy_(&arranged.narrow(2, 0, self.inputs));
        if let Some(bias) = self.bias {
            vectors.narrow(1, bias, self.classes).copy_(&arranged.select(2, self.inputs));
        }
    }
}

/// Bytes that `B` may take; beyond, products go through autograd, batch by batch.
const CURVATURE_BYTES: i64 = 256 << 20;

/// Examples that pass through the network at once.
const AT_ONCE: i64 = 1024;

impl LinearHead {
    /// The closed form, where the network is one linear layer and there are not too many outputs.
    pub fn detect(snapshot: &Snapshot, train: &Dataset) -> Result<Option<LinearHead>> {
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
        let (n, classes, width) = (train.len() as i64, outputs.size()[1], record.input.size()[1]);
        if 4 * n * classes * classes > CURVATURE_BYTES {
            return Ok(None);
        }
        let a = Tensor::ones([n, width + i64::from(bias.is_some())], (Kind::Float, Device::Cpu));
        let b = Tensor::zeros([n, classes, classes], (Kind::Float, Device::Cpu));
        for start in (0..n).step_by(AT_ONCE as usize) {
            let len = AT_ONCE.min(n - start);
            let (inputs, targets) = train.slice(start, start + len);
            let (outputs, records) = snapshot.record(&inputs);
            a.narrow(0, start, len).narrow(1, 0, width).copy_(&records[0].input.detach());
            let outputs = outputs.detach().set_requires_grad(true);
            let loss = snapshot.measured(Of::Objective, &outputs, &targets)?.sum(None::<Kind>) * (-1.0 / n as f64);
            let first = backward(&loss, &[&outputs], true, true)?.remove(0);
            for c in (0..classes).take_while(|_| first.requires_grad()) {
                let row = backward(&first.select(1, c).sum(None::<Kind>), &[&outputs], true, false)?.remove(0);
                if row.defined() {
                    b.narrow(0, start, len).select(1, c).copy_(&row.detach());
                }
            }
        }
        let place = Place { classes, inputs: width, weight: weight.offset, bias };
        Ok(Some(LinearHead { a, b, place }))
    }

    /// The mean over some of the examples.
    pub fn select(&self, positions: &[usize]) -> Result<LinearHead> {
        let index = Tensor::from_slice(&positions.iter().map(|&i| i as i64).collect::<Vec<_>>());
        let scale = self.a.size()[0] as f64 / positions.len() as f64;
        Ok(LinearHead { a: self.a.index_select(0, &index), b: self.b.index_select(0, &index) * scale, place: self.place })
    }
}

impl Operator for LinearHead {
    fn p(&self) -> i64 {
        self.place.p()
    }

    fn product(&self, vectors: &Tensor) -> Result<Tensor> {
        check_vectors(vectors, self.p())?;
        guarded(|| {
            let (n, d, classes) = (self.a.size()[0], self.a.size()[1], self.place.classes);
            let result = Tensor::empty(vectors.size(), (Kind::Float, Device::Cpu));
            // A group of vectors whose products with all inputs (two matrices of this many numbers) stay near the cache.
            let step = ((1 << 22) / (n * classes)).max(1);
            for start in (0..vectors.size()[0]).step_by(step as usize) {
                let k = step.min(vectors.size()[0] - start);
                let v = self.place.arrange(&vectors.narrow(0, start, k)).view([k * classes, d]);
                let s = self.a.matmul(&v.transpose(0, 1)).view([n, k, classes]);
                let t = s.matmul(&self.b).view([n, k * classes]);
                let h = t.transpose(0, 1).matmul(&self.a).view([k, classes, d]);
                self.place.write(&h, &result.narrow(0, start, k));
            }
            Ok(result)
        })
    }

    fn dense(&self) -> Result<Tensor> {
        guarded(|| {
            let (p, classes, m) = (self.p(), self.place.classes, self.place.inputs);
            let whole = Tensor::empty([p, p], (Kind::Double, Device::Cpu));
            let mut weighted = self.a.empty_like();
            for c in 0..classes {
                for e in c..classes {
                    let block = weighted_gram(&self.a, &self.b.select(1, c).select(1, e), &mut weighted);
                    for (row, column) in if c == e { vec![(c, e)] } else { vec![(c, e), (e, c)] } {
                        let (r, k) = (self.place.weight + row * m, self.place.weight + column * m);
                        whole.narrow(0, r, m).narrow(1, k, m).copy_(&block.narrow(0, 0, m).narrow(1, 0, m));
                        if let Some(bias) = self.place.bias {
                            whole.narrow(0, r, m).select(1, bias + column).copy_(&block.select(1, m).narrow(0, 0, m));
                            whole.select(0, bias + row).narrow(0, k, m).copy_(&block.select(0, m).narrow(0, 0, m));
                            whole.select(0, bias + row).select(0, bias + column).copy_(&block.select(0, m).select(0, m));
                        }
                    }
                }
            }
            Ok(whole)
        })
    }

    fn estimate_mean_eigenvalue(&self) -> Result<(f64, f64)> {
        Ok((self.diagonal()?.mean(Kind::Double).double_value(&[]), 0.0))
    }

    /// `Σ_i B_i[c, c] a_ij²`.
    fn diagonal(&self) -> Result<Tensor> {
        guarded(|| {
            let own = self.b.diagonal(0, 1, 2).to_kind(Kind::Double); // [n, classes]
            let energy = own.transpose(0, 1).matmul(&self.a.to_kind(Kind::Double).square());
            let result = Tensor::zeros([1, self.p()], (Kind::Double, Device::Cpu));
            self.place.write(&energy.unsqueeze(0), &result);
            Ok(result.squeeze_dim(0))
        })
    }

    /// Without directions of the outputs along which no example has curvature (the softmax: one number added to all), and
    /// without inputs that are the same in all examples but for one direction of them.
    fn compressed(&self) -> Result<Option<Compressed>> {
        guarded(|| {
            let space = Space::of(self);
            if space.rank() == self.p() || space.rank() == 0 {
                return Ok(None);
            }
            let b = space.outputs.transpose(0, 1).matmul(&self.b).matmul(&space.outputs);
            let a = space.reduce(&self.a);
            let place = Place { classes: b.size()[1], inputs: a.size()[1], weight: 0, bias: None };
            Ok(Some(Compressed { matrix: Box::new(LinearHead { a, b, place }), space: Box::new(space) }))
        })
    }
}

/// `Aᵀ diag(w) A`, symmetric, `[d, d]`: strips above the diagonal only, which saves three eighths of the product.
fn weighted_gram(a: &Tensor, w: &Tensor, weighted: &mut Tensor) -> Tensor {
    let d = a.size()[1];
    let weighted = a.f_mul_out(weighted, &w.unsqueeze(1)).unwrap_or_else(|_| a * w.unsqueeze(1));
    let result = Tensor::empty([d, d], (Kind::Float, Device::Cpu));
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

/// The product of a space of outputs and a space of inputs.
struct Space {
    place: Place,
    /// Orthonormal directions of the outputs, `[classes, kept]`.
    outputs: Tensor,
    /// Positions of the inputs that differ between examples.
    varying: Tensor,
    /// Positions of the others, and the unit vector of their values; none if these are all zero.
    constant: Option<(Tensor, Tensor)>,
}

/// A direction with less than this share of the largest squared curvature has none: float32 cannot tell it from rounding.
const ROUNDING: f64 = 1e-13;

impl Space {
    fn of(head: &LinearHead) -> Space {
        let flat = head.b.to_kind(Kind::Double).reshape([-1, head.place.classes]);
        let (energy, directions) = flat.transpose(0, 1).matmul(&flat).linalg_eigh("L");
        let kept = energy.gt(energy.max().double_value(&[]) * ROUNDING).nonzero().squeeze_dim(1);
        let outputs = directions.index_select(1, &kept).to_kind(Kind::Float);
        let varies = head.a.amax([0i64].as_slice(), false).ne_tensor(&head.a.amin([0i64].as_slice(), false));
        let fixed = varies.logical_not().nonzero().squeeze_dim(1);
        let values = head.a.get(0).index_select(0, &fixed);
        let length = values.square().sum(Kind::Double).sqrt().double_value(&[]);
        let constant = (length > 0.0).then(|| (fixed, values / length));
        Space { place: head.place, outputs, varying: varies.nonzero().squeeze_dim(1), constant }
    }

    fn rank(&self) -> i64 {
        self.outputs.size()[1] * (self.varying.size()[0] + i64::from(self.constant.is_some()))
    }

    /// Coordinates in the space of inputs, `[..., d] → [..., kept]`.
    fn reduce(&self, x: &Tensor) -> Tensor {
        let varying = x.index_select(-1, &self.varying);
        match &self.constant {
            Some((at, unit)) => Tensor::cat(&[varying, x.index_select(-1, at).matmul(unit).unsqueeze(-1)], -1),
            None => varying,
        }
    }
}

impl Subspace for Space {
    fn coordinates(&self, vectors: &Tensor) -> Result<Tensor> {
        check_vectors(vectors, self.place.p())?;
        guarded(|| {
            let inside = self.reduce(&self.place.arrange(vectors)); // [k, classes, kept inputs]
            Ok(self.outputs.transpose(0, 1).matmul(&inside).flatten(1, -1))
        })
    }

    fn vectors(&self, coordinates: &Tensor) -> Result<Tensor> {
        check_vectors(coordinates, self.rank())?;
        guarded(|| {
            let (k, kept) = (coordinates.size()[0], self.outputs.size()[1]);
            let inside = self.outputs.matmul(&coordinates.view([k, kept, self.rank() / kept])); // [k, classes, kept inputs]
            let varying = self.varying.size()[0];
            let d = self.place.p() / self.place.classes;
            let mut whole = Tensor::zeros([k, self.place.classes, d], (Kind::Float, Device::Cpu));
            let _ = whole.index_copy_(2, &self.varying, &inside.narrow(2, 0, varying));
            if let Some((at, unit)) = &self.constant {
                let _ = whole.index_copy_(2, at, &(inside.narrow(2, varying, 1) * unit));
            }
            let result = Tensor::empty([k, self.place.p()], (Kind::Float, Device::Cpu));
            self.place.write(&whole, &result);
            Ok(result)
        })
    }
}
