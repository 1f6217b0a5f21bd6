//! Second moments of a layer's inputs and output gradients, their eigenbasis, and the eigenvalues in it.

use tch::{Device, Kind, Tensor};

use super::Damping;
use super::kronecker::{Basis, Eigenvalues};
use super::separable::{Separable, separate};
use crate::error::{Error, Result};
use crate::gradient::roots::{RootBlock, RootForm, Roots};
use crate::gradient::{Block, Form};

/// Largest block that keeps all its entries where it has no Kronecker form.
const WHOLE: i64 = 2048;

/// Second moments of one layer, in float64.
pub(super) enum Moments {
    Outer { a: Tensor, s: Tensor, positions: f64 },
    Lookup { rows: Tensor, s: Tensor, positions: f64 },
    Whole(Tensor),
    Diagonal(Tensor),
}

const WIDE: (Kind, Device) = (Kind::Double, Device::Cpu);

/// `Σ_i a_iᵀ a_i` in float64 of `a` `[n, t, width]` in float32; views with positions last are not copied.
fn second_moment(a: &Tensor) -> Tensor {
    match a.size()[1] {
        1 => a.squeeze_dim(1).transpose(0, 1).matmul(&a.squeeze_dim(1)).to_kind(Kind::Double),
        _ => a.transpose(1, 2).matmul(a).sum_dim_intlist([0i64].as_slice(), false, Kind::Double),
    }
}

/// The same of rows with weights `w` `[n, t, 1]` (1 or 0) behind each: `[aᵀa, aᵀw; wᵀa, wᵀw]`, without appending them.
fn bordered(a: &Tensor, weights: Option<&Tensor>, bias: bool) -> Tensor {
    let moment = second_moment(a);
    if !bias {
        return moment;
    }
    // Rows with weight 0 are zero already.
    let sums = a.sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Double).unsqueeze(1);
    let count = weights.map_or((a.size()[0] * a.size()[1]) as f64, |w| w.sum(Kind::Double).double_value(&[]));
    let corner = Tensor::from_slice(&[count]).view([1, 1]);
    Tensor::cat(&[Tensor::cat(&[moment, sums.shallow_clone()], 1), Tensor::cat(&[sums.transpose(0, 1), corner], 1)], 0)
}

/// `[n, g, t, in]` with a 1 appended where there is a bias.
pub(super) fn extended(a: &Tensor, unit: Option<&Tensor>, bias: bool) -> Tensor {
    match (bias, unit) {
        (false, _) => a.shallow_clone(),
        (true, Some(unit)) => Tensor::cat(&[a, &unit.unsqueeze(-1)], 3),
        (true, None) => Tensor::cat(&[a, &a.ones_like().narrow(3, 0, 1)], 3),
    }
}

/// `ã Q` for `a` `[n, g, t, in]` and a 1 for the bias.
fn turned(a: &Tensor, q: &Tensor, bias: bool) -> Tensor {
    let inputs = a.size()[3];
    let product = a.matmul(&q.narrow(1, 0, inputs).unsqueeze(0));
    match bias {
        true => product + q.narrow(1, inputs, 1).unsqueeze(0),
        false => product,
    }
}

impl Moments {
    pub fn new(block: &RootBlock) -> Moments {
        match &block.form {
            RootForm::Outer { a, delta, .. } => {
                let (g, input, output) = (a.size()[1], a.size()[3] + i64::from(block.columns.bias.is_some()), delta.size()[4]);
                let (a, s) = (Tensor::zeros([g, input, input], WIDE), Tensor::zeros([g, output, output], WIDE));
                Moments::Outer { a, s, positions: 0.0 }
            }
            RootForm::Lookup { .. } => {
                let (rows, width) = (block.columns.weight.shape[0], block.columns.weight.shape[1]);
                Moments::Lookup { rows: Tensor::zeros([rows], WIDE), s: Tensor::zeros([width, width], WIDE), positions: 0.0 }
            }
            RootForm::Dense(_) if block.columns.len() <= WHOLE => {
                Moments::Whole(Tensor::zeros([block.columns.len(), block.columns.len()], WIDE))
            }
            RootForm::Dense(_) => Moments::Diagonal(Tensor::zeros([block.columns.len()], WIDE)),
        }
    }

    /// Whether no position counted.
    pub fn is_empty(&self) -> bool {
        match self {
            Moments::Outer { positions, .. } | Moments::Lookup { positions, .. } => *positions == 0.0,
            Moments::Whole(_) | Moments::Diagonal(_) => false,
        }
    }

    pub fn add(&mut self, block: &RootBlock) {
        match (self, &block.form) {
            (Moments::Outer { a, s, positions }, RootForm::Outer { a: inputs, delta, mask }) => {
                let (n, g, t) = (inputs.size()[0], inputs.size()[1], inputs.size()[2]);
                let weights = mask.as_ref().map(|mask| mask.to_kind(Kind::Float).reshape([n, t, 1]));
                for group in 0..g {
                    let rows = inputs.select(1, group); // [n, t, in]
                    let rows = weights.as_ref().map_or_else(|| rows.shallow_clone(), |weights| &rows * weights);
                    let _ = a.get(group).g_add_(&bordered(&rows, weights.as_ref(), block.columns.bias.is_some()));
                    let _ = s.get(group).g_add_(&second_moment(&delta.select(2, group).flatten(0, 1)));
                }
                let counted = weights.map_or((n * t) as f64, |w| w.sum(Kind::Double).double_value(&[]));
                *positions += counted;
            }
            (Moments::Lookup { rows, s, positions }, RootForm::Lookup { index, delta, mask }) => {
                let weights = mask.as_ref().map(|mask| mask.to_kind(Kind::Double).reshape([-1]));
                let counts = index.reshape([-1]).bincount(weights.as_ref(), rows.size()[0]).to_kind(Kind::Double);
                let _ = rows.g_add_(&counts);
                let _ = s.g_add_(&second_moment(&delta.flatten(0, 1)));
                *positions += weights.map_or(index.numel() as f64, |w| w.sum(Kind::Double).double_value(&[]));
            }
            (Moments::Whole(sum), RootForm::Dense(rows)) => {
                let _ = sum.g_add_(&second_moment(&rows.flatten(0, 1).unsqueeze(1)));
            }
            (Moments::Diagonal(sum), RootForm::Dense(rows)) => {
                let _ = sum.g_add_(&rows.square().sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Double));
            }
            _ => {}
        }
    }
}

/// A layer's eigenbasis before damping; eigenvalues in float64.
pub(super) enum Eigenbasis {
    Outer { qa: Tensor, la: Tensor, qs: Tensor, ls: Tensor },
    Lookup { la: Tensor, qs: Tensor, ls: Tensor },
    Whole { q: Option<Tensor>, l: Tensor },
}

/// Eigenvalues, none negative, and eigenvectors in float32.
fn eigen(matrix: &Tensor) -> (Tensor, Tensor) {
    let (values, vectors) = matrix.linalg_eigh("L");
    (values.clamp_min(0.0), vectors.to_kind(Kind::Float).contiguous())
}

impl Eigenbasis {
    pub fn new(moments: Moments, n: f64) -> Result<Eigenbasis> {
        Ok(match moments {
            Moments::Outer { a, s, positions } => {
                let ((la, qa), (ls, qs)) = (eigen(&(a / n)), eigen(&(s / positions)));
                Eigenbasis::Outer { qa, la, qs, ls }
            }
            Moments::Lookup { rows, s, positions } => {
                let (ls, qs) = eigen(&(s / positions));
                Eigenbasis::Lookup { la: rows / n, qs, ls }
            }
            Moments::Whole(sum) => {
                let (l, q) = eigen(&(sum / n));
                Eigenbasis::Whole { q: Some(q), l }
            }
            Moments::Diagonal(sum) => Eigenbasis::Whole { q: None, l: sum / n },
        })
    }

    /// Sums of squares of the vectors in the basis, float64; `None` where the eigenvalues are exact already.
    pub fn squares(&self, roots: &Roots, block: &RootBlock) -> Result<Option<Tensor>> {
        Ok(match (self, &block.form) {
            (Eigenbasis::Outer { qa, qs, .. }, RootForm::Outer { a, delta, .. }) => {
                let bias = block.columns.bias.is_some();
                let (n, c, g, t) = (a.size()[0], delta.size()[1], a.size()[1], a.size()[2]);
                let (input, output) = (qa.size()[1], qs.size()[1]);
                if t == 1 {
                    // One outer product: its squares are the outer product of squares.
                    let a = turned(a, qa, bias); // [n, g, 1, in]
                    let delta = delta.matmul(&qs.view([1, 1, g, output, output]));
                    let squares = delta.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>); // [n, g, 1, out]
                    let products = squares.squeeze_dim(2).permute([1, 2, 0]).matmul(&a.square().squeeze_dim(2).transpose(0, 1));
                    return Ok(Some(products.to_kind(Kind::Double)));
                }
                // Turn the factors at every position, or each gradient once it is formed: whichever multiplies less.
                let late = output * input * (output + input) < t * (input * input + output * output);
                let sum = Tensor::zeros([g, output, input], WIDE);
                let step = ((1 << 22) / (g * c * output * input)).max(1);
                for start in (0..n).step_by(step as usize) {
                    let len = step.min(n - start);
                    let (a, delta) = (a.narrow(0, start, len), delta.narrow(0, start, len));
                    let formed = if late {
                        let weight = delta.transpose(3, 4).matmul(&a.unsqueeze(1)); // [len, c, g, out, in]
                        let whole = match bias {
                            true => {
                                let last = delta.sum_dim_intlist([3i64].as_slice(), false, None::<Kind>).unsqueeze(-1);
                                Tensor::cat(&[weight, last], 4)
                            }
                            false => weight,
                        };
                        qs.transpose(1, 2).matmul(&whole).matmul(qa)
                    } else {
                        let delta = delta.matmul(&qs.view([1, 1, g, output, output]));
                        delta.transpose(3, 4).matmul(&turned(&a, qa, bias).unsqueeze(1))
                    };
                    let _ =
                        sum.shallow_clone().g_add_(&formed.square().sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Double));
                }
                Some(sum)
            }
            (Eigenbasis::Lookup { la, qs, .. }, RootForm::Lookup { index, delta, .. }) => {
                let (rows, width) = (la.size()[0], qs.size()[0]);
                let sum = Tensor::zeros([rows, width], WIDE);
                let step = ((1 << 23) / (rows * width)).max(1);
                for c in 0..roots.c {
                    let delta = delta.select(1, c).matmul(qs);
                    for start in (0..roots.n).step_by(step as usize) {
                        let len = step.min(roots.n - start);
                        let form = Form::Lookup {
                            index: index.narrow(0, start, len),
                            delta: delta.narrow(0, start, len).contiguous(),
                            mask: None,
                        };
                        let part = Block { name: String::new(), form, columns: block.columns.clone() };
                        let squares = part.dense()?.square().sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
                        let _ = sum.shallow_clone().g_add_(&squares.view([rows, width]));
                    }
                }
                Some(sum)
            }
            _ => None,
        })
    }

    /// Chooses λ and inverts the eigenvalues.
    pub fn damp(
        self,
        name: &str,
        corrected: Option<Tensor>,
        damping: (&str, Damping),
        eigenvalues: Eigenvalues,
        tolerance: f64,
    ) -> Result<(f64, Basis)> {
        let products = |la: &Tensor, ls: &Tensor| ls.unsqueeze(-1) * la.unsqueeze(-2);
        let lambda = |l: &Tensor| damping.1.value(damping.0, || Ok(l.mean(Kind::Double).double_value(&[])));
        let invert = |l: &Tensor, lambda: f64| {
            let damped = l + lambda;
            match damped.min().double_value(&[]) > 0.0 {
                true => Ok(damped.reciprocal()),
                false => Err(Error::numerical(
                    format!("the Kronecker factors of layer {name}"),
                    format!(
                        "an eigenvalue is 0 and so is the damping ({lambda:.1e}); give {} a positive number, or gradients that do not all vanish",
                        damping.0
                    ),
                )),
            }
        };
        Ok(match self {
            Eigenbasis::Outer { qa, la, qs, ls } => {
                let l = corrected.unwrap_or_else(|| products(&la, &ls));
                let lambda = lambda(&l)?;
                let (g, input, output) = (la.size()[0], la.size()[1], ls.size()[1]);
                if eigenvalues == Eigenvalues::Factored {
                    let mut sums = Vec::new();
                    let mut inverse = Vec::new();
                    for group in 0..g {
                        let (la, ls) = (la.get(group), ls.get(group));
                        let (ta, ts) = (la.mean(Kind::Double).double_value(&[]), ls.mean(Kind::Double).double_value(&[]));
                        let pi = if ta > 0.0 && ts > 0.0 { (ta / ts).sqrt() } else { 1.0 };
                        let (v, u) = (invert(&la, pi * lambda.sqrt())?, invert(&ls, lambda.sqrt() / pi)?);
                        inverse.push(u.unsqueeze(1) * v.unsqueeze(0));
                        sums.push(Separable::product(&u, &v));
                    }
                    let inverse = Tensor::stack(&inverse, 0).to_kind(Kind::Float);
                    return Ok((lambda, Basis::Outer { qa, qs, inverse, separable: Some(sums) }));
                }
                let inverse = invert(&l, lambda)?;
                // More terms than this cost more than the whole matrix.
                let most = input * output / (input + output + 48);
                let separable = match tolerance > 0.0 {
                    true => (0..g)
                        .map(|group| separate(&inverse.get(group), &ls.get(group), &la.get(group), tolerance, most))
                        .collect::<Option<Vec<_>>>(),
                    false => None,
                };
                (lambda, Basis::Outer { qa, qs, inverse: inverse.to_kind(Kind::Float), separable })
            }
            Eigenbasis::Lookup { la, qs, ls } => {
                let l = corrected.unwrap_or_else(|| la.unsqueeze(1) * ls.unsqueeze(0));
                let lambda = lambda(&l)?;
                (lambda, Basis::Lookup { qs, inverse: invert(&l, lambda)?.to_kind(Kind::Float) })
            }
            Eigenbasis::Whole { q, l } => {
                let lambda = lambda(&l)?;
                (lambda, Basis::Whole { q, inverse: invert(&l, lambda)?.to_kind(Kind::Float) })
            }
        })
    }
}
