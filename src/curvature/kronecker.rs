//! Kronecker factors: one eigenbasis per layer, in which curvature is nearly diagonal.

use std::rc::Rc;
use std::sync::Arc;

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use tch::{Device, Kind, Tensor};

use super::separable::{Separable, separate};
use super::{Damping, Matrix, Preconditioner, check_network, check_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::mean_square::MeanSquare;
use crate::gradient::roots::{RootBlock, RootForm, Roots};
use crate::gradient::{Block, Columns, Form, Gradients, Layout, Outer, Turned};
use crate::snapshot::Snapshot;

/// How the eigenvalues in a layer's basis are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Eigenvalues {
    /// Products of the factors' own, damped by `(λ_S λ_Aᵀ + λ)`.
    Products,
    /// The same, each factor damped by itself: `(A + π √λ) ⊗ (S + √λ / π)`, which keeps one outer product.
    Factored,
    /// Second moments of the gradients in the basis.
    Corrected,
}

/// Fitted Kronecker factors of every layer: `(F + λ)⁻¹` block by block.
///
/// For a layer `s = W ã` with ã the input and a 1 for the bias: `A = E[Σ_t ã ãᵀ]`, `S = E[δ δᵀ]` over examples and positions, so
/// that `F ≈ S ⊗ A` (Grosse & Martens 2016 for several positions). Embeddings have a diagonal A, the frequency of each row. A layer
/// of another kind (norms, tied weights) keeps its whole block up to 2,048 parameters and its diagonal beyond.
pub struct KroneckerFactors {
    layout: Arc<Layout>,
    layers: Vec<Layer>,
}

struct Layer {
    name: String,
    columns: Columns,
    damping: f64,
    basis: Basis,
}

enum Basis {
    /// Eigenvectors `[g, in, in]` and `[g, out, out]` in columns, `1/(Λ+λ)` `[g, out, in]`; one short sum per group where it exists.
    Outer { qa: Tensor, qs: Tensor, inverse: Tensor, separable: Option<Vec<Separable>> },
    /// Eigenvectors `[width, width]` in columns, `1/(Λ+λ)` `[rows, width]`.
    Lookup { qs: Tensor, inverse: Tensor },
    /// Eigenvectors `[len, len]` in columns unless it is the diagonal, `1/(Λ+λ)` `[len]`.
    Whole { q: Option<Tensor>, inverse: Tensor },
}

/// Largest block that keeps all its entries where it has no Kronecker form.
const WHOLE: i64 = 2048;

/// Second moments of one layer, in float64.
enum Moments {
    Outer { a: Tensor, s: Tensor, positions: f64 },
    Lookup { rows: Tensor, s: Tensor, positions: f64 },
    Whole(Tensor),
    Diagonal(Tensor),
}

const WIDE: (Kind, Device) = (Kind::Double, Device::Cpu);

impl KroneckerFactors {
    pub(crate) fn fit(
        snapshot: &Rc<Snapshot>,
        train: &Dataset,
        matrix: Matrix,
        damping: (&str, Damping),
        eigenvalues: Eigenvalues,
        tolerance: f64,
    ) -> Result<KroneckerFactors> {
        damping.1.value(damping.0, || Ok(0.0))?;
        if !guarded(|| snapshot.taped(&train.slice(0, (train.len() as i64).min(2)).0))? {
            return Err(Error::Unsupported(
                "Kronecker factors of a network whose parameters are used outside the tape; call its layers through the tape"
                    .into(),
            ));
        }
        let square = MeanSquare::new(snapshot, train, matrix)?;
        let n = square.n() as f64;
        let mut moments: Vec<Option<Moments>> = Vec::new();
        square.each_root(|_, roots| {
            moments.resize_with(roots.blocks.len(), || None);
            for (block, moments) in roots.blocks.iter().zip(&mut moments) {
                moments.get_or_insert_with(|| Moments::new(block)).add(block);
            }
            Ok(())
        })?;
        let bases: Vec<Eigenbasis> = guarded(|| moments.into_iter().flatten().map(|m| Eigenbasis::new(m, n)).collect())?;
        let mut corrected: Vec<Option<Tensor>> = bases.iter().map(|_| None).collect();
        if eigenvalues == Eigenvalues::Corrected {
            square.each_root(|_, roots| {
                for ((block, basis), sum) in roots.blocks.iter().zip(&bases).zip(&mut corrected) {
                    if let Some(squares) = basis.squares(roots, block)? {
                        *sum = Some(match sum.take() {
                            Some(before) => before + squares,
                            None => squares,
                        });
                    }
                }
                Ok(())
            })?;
        }
        let mut layers = Vec::new();
        for (((name, columns), basis), corrected) in square.layers()?.into_iter().zip(bases).zip(corrected) {
            let exact = corrected.map(|sum| sum / n);
            let (damping, basis) = guarded(|| basis.damp(&name, exact, damping, eigenvalues, tolerance))?;
            layers.push(Layer { name, columns, damping, basis });
        }
        Ok(KroneckerFactors { layout: snapshot.layout().clone(), layers })
    }

    /// One row a layer: `layer`, `parameters`, `kind`, `damping`, `terms` (outer products that stand for `1/(Λ+λ)`; null where it
    /// is kept whole) and `error` (what they leave out, as the root mean square of scores relative to theirs).
    pub fn table(&self) -> Result<DataFrame> {
        let series = |name: &str, values: Vec<Option<f64>>| -> Column { Series::new(name.into(), values).into_column() };
        let terms = |layer: &Layer| match &layer.basis {
            Basis::Outer { separable: Some(sums), .. } => {
                Some((sums.iter().map(|s| s.u.size()[0]).max()?, sums.iter().map(|s| s.error).fold(0.0, f64::max)))
            }
            _ => None,
        };
        let kind = |layer: &Layer| match &layer.basis {
            Basis::Outer { .. } => "Kronecker",
            Basis::Lookup { .. } => "Kronecker, table",
            Basis::Whole { q: Some(_), .. } => "whole block",
            Basis::Whole { q: None, .. } => "diagonal",
        };
        let parameters = self.layers.iter().map(|l| l.columns.len() as u32);
        let columns = vec![
            Series::new("layer".into(), self.layers.iter().map(|l| l.name.clone()).collect::<Vec<_>>()).into_column(),
            Series::new("parameters".into(), parameters.collect::<Vec<_>>()).into_column(),
            Series::new("kind".into(), self.layers.iter().map(kind).collect::<Vec<_>>()).into_column(),
            series("damping", self.layers.iter().map(|l| Some(l.damping)).collect()),
            series("terms", self.layers.iter().map(|l| terms(l).map(|t| t.0 as f64)).collect()),
            series("error", self.layers.iter().map(|l| terms(l).map(|t| t.1)).collect()),
        ];
        Ok(DataFrame::new(self.layers.len(), columns)?)
    }
}

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
fn extended(a: &Tensor, unit: Option<&Tensor>, bias: bool) -> Tensor {
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
    fn new(block: &RootBlock) -> Moments {
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

    fn add(&mut self, block: &RootBlock) {
        match (self, &block.form) {
            (Moments::Outer { a, s, positions }, RootForm::Outer { a: inputs, delta, mask }) => {
                let (n, g, t) = (inputs.size()[0], inputs.size()[1], inputs.size()[2]);
                let weights = mask.as_ref().map(|mask| mask.to_kind(Kind::Float).reshape([n, t, 1]));
                for group in 0..g {
                    let mut rows = inputs.select(1, group); // [n, t, in]
                    if let Some(weights) = &weights {
                        rows = rows * weights;
                    }
                    let _ = a.get(group).g_add_(&bordered(&rows, weights.as_ref(), block.columns.bias.is_some()));
                    let _ = s.get(group).g_add_(&second_moment(&delta.select(2, group).flatten(0, 1)));
                }
                let counted = weights.map_or((n * t) as f64, |w| w.sum(Kind::Double).double_value(&[]));
                *positions += counted;
            }
            (Moments::Lookup { rows, s, positions }, RootForm::Lookup { index, delta }) => {
                let counts = index.reshape([-1]).bincount(None::<Tensor>, rows.size()[0]).to_kind(Kind::Double);
                let _ = rows.g_add_(&counts);
                let _ = s.g_add_(&second_moment(&delta.flatten(0, 1)));
                *positions += index.numel() as f64;
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
enum Eigenbasis {
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
    fn new(moments: Moments, n: f64) -> Result<Eigenbasis> {
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
    fn squares(&self, roots: &Roots, block: &RootBlock) -> Result<Option<Tensor>> {
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
            (Eigenbasis::Lookup { la, qs, .. }, RootForm::Lookup { index, delta }) => {
                let (rows, width) = (la.size()[0], qs.size()[0]);
                let sum = Tensor::zeros([rows, width], WIDE);
                let step = ((1 << 23) / (rows * width)).max(1);
                for c in 0..roots.c {
                    let delta = delta.select(1, c).matmul(qs);
                    for start in (0..roots.n).step_by(step as usize) {
                        let len = step.min(roots.n - start);
                        let form =
                            Form::Lookup { index: index.narrow(0, start, len), delta: delta.narrow(0, start, len).contiguous() };
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
    fn damp(
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

impl Layer {
    /// `[k, len]` into the eigenbasis: `[k, ...]` in the shape of the eigenvalues.
    fn into_basis(&self, rows: &Tensor) -> Tensor {
        let k = rows.size()[0];
        match &self.basis {
            Basis::Outer { qa, qs, .. } => {
                let (g, output) = (qs.size()[0], qs.size()[1]);
                let weight = rows.narrow(1, 0, self.columns.weight.len).reshape([k, g, output, -1]);
                let weight = match &self.columns.bias {
                    Some(bias) => {
                        Tensor::cat(&[weight, rows.narrow(1, self.columns.weight.len, bias.len).reshape([k, g, output, 1])], 3)
                    }
                    None => weight,
                };
                qs.transpose(1, 2).unsqueeze(0).matmul(&weight).matmul(&qa.unsqueeze(0))
            }
            Basis::Lookup { qs, .. } => rows.reshape([k, -1, qs.size()[0]]).matmul(qs),
            Basis::Whole { q: Some(q), .. } => rows.matmul(q),
            Basis::Whole { q: None, .. } => rows.shallow_clone(),
        }
    }

    /// The way back: `[k, ...] → [k, len]`.
    fn out_of_basis(&self, values: &Tensor) -> Tensor {
        let k = values.size()[0];
        match &self.basis {
            Basis::Outer { qa, qs, .. } => {
                let whole = qs.unsqueeze(0).matmul(values).matmul(&qa.transpose(1, 2).unsqueeze(0));
                match &self.columns.bias {
                    Some(_) => {
                        let last = whole.size()[3] - 1;
                        Tensor::cat(&[whole.narrow(3, 0, last).reshape([k, -1]), whole.select(3, last).reshape([k, -1])], 1)
                    }
                    None => whole.reshape([k, -1]),
                }
            }
            Basis::Lookup { qs, .. } => values.matmul(&qs.transpose(0, 1)).reshape([k, -1]),
            Basis::Whole { q: Some(q), .. } => values.matmul(&q.transpose(0, 1)),
            Basis::Whole { q: None, .. } => values.shallow_clone(),
        }
    }

    fn inverse(&self) -> &Tensor {
        match &self.basis {
            Basis::Outer { inverse, .. } | Basis::Lookup { inverse, .. } | Basis::Whole { inverse, .. } => inverse,
        }
    }

    fn apply(&self, rows: &Tensor) -> Tensor {
        let mut values = self.into_basis(rows);
        let _ = values.g_mul_(self.inverse());
        self.out_of_basis(&values)
    }

    /// The block of gradients, mapped: outer products stay outer products, with one position more for each further term.
    fn map(&self, block: &Block) -> Result<Block> {
        let form = match (&self.basis, &block.form) {
            (Basis::Outer { qa, qs, separable: Some(sums), .. }, Form::Outer(outer)) if self.worth(sums, outer) => {
                let bias = self.columns.bias.is_some();
                let terms = sums.iter().map(|s| s.u.size()[0]).max().unwrap_or(1);
                // [g, terms, width]; shorter sums end in zeros.
                let padded = |pick: fn(&Separable) -> &Tensor| {
                    let rows = sums.iter().map(|s| pick(s).constant_pad_nd([0, 0, 0, terms - pick(s).size()[0]]));
                    Tensor::stack(&rows.collect::<Vec<_>>(), 0)
                };
                let a = extended(&outer.a, outer.unit.as_ref(), bias).matmul(&qa.unsqueeze(0));
                let delta = outer.delta.matmul(&qs.unsqueeze(0));
                let (n, g, t) = (a.size()[0], a.size()[1], a.size()[2]);
                let spread = |x: &Tensor, scale: Tensor, q: &Tensor| {
                    let width = x.size()[3];
                    let scaled = x.unsqueeze(3) * scale.view([1, g, 1, terms, width]); // [n, g, t, terms, width]
                    scaled.view([n, g, t * terms, width]).matmul(&q.transpose(1, 2).unsqueeze(0))
                };
                let a = spread(&a, padded(|s| &s.v), qa);
                let delta = spread(&delta, padded(|s| &s.u), qs);
                let (a, unit) = match bias {
                    true => {
                        let last = a.size()[3] - 1;
                        (a.narrow(3, 0, last).contiguous(), Some(a.select(3, last).contiguous()))
                    }
                    false => (a, None),
                };
                Form::Outer(Outer { a, delta, unit, mask: None })
            }
            // One outer product turns by its factors, and stays turned: the other side turns its factors too when they meet.
            (Basis::Outer { qa, qs, inverse, .. }, Form::Outer(outer)) if outer.a.size()[1] == 1 && outer.a.size()[2] == 1 => {
                let (n, qa, qs) = (outer.a.size()[0], qa.get(0), qs.get(0));
                let a = extended(&outer.a, outer.unit.as_ref(), self.columns.bias.is_some()).view([n, 1, -1]).matmul(&qa);
                let delta = outer.delta.reshape([n, 1, -1]).matmul(&qs);
                let mut rows = delta.transpose(1, 2).matmul(&a); // [n, out, in + 1]
                let _ = rows.g_mul_(&inverse.get(0));
                Form::Turned(Turned { rows: rows.view([n, -1]), qa, qs })
            }
            _ => Form::Dense(self.apply(&block.dense()?)),
        };
        Ok(Block { name: self.name.clone(), form, columns: self.columns.clone() })
    }

    /// Whether the terms, over the positions of both sides, cost less than formed gradients.
    fn worth(&self, sums: &[Separable], outer: &Outer) -> bool {
        let terms = sums.iter().map(|s| s.u.size()[0]).max().unwrap_or(1);
        let (t, input, output) = (outer.a.size()[2], outer.a.size()[3], outer.delta.size()[3]);
        terms * t * t * (input + output + 48) < input * output
    }

    /// `gᵀ P g`, `[n]`.
    fn quadratic(&self, block: &Block) -> Result<Tensor> {
        if let (Basis::Outer { qa, qs, inverse, .. }, Form::Outer(outer)) = (&self.basis, &block.form)
            && outer.a.size()[2] == 1
        {
            let a = extended(&outer.a, outer.unit.as_ref(), self.columns.bias.is_some()).matmul(&qa.unsqueeze(0)).square();
            let delta = outer.delta.matmul(&qs.unsqueeze(0)).square();
            return Ok(((delta.matmul(&inverse.unsqueeze(0))) * a).flatten(1, -1).sum_dim_intlist(
                [1i64].as_slice(),
                false,
                None::<Kind>,
            ));
        }
        let values = self.into_basis(&block.dense()?);
        Ok((values.square() * self.inverse()).flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
    }
}

impl Preconditioner for KroneckerFactors {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_rows(rows, self.layout.p())?;
        guarded(|| {
            let total = rows.zeros_like();
            for layer in &self.layers {
                layer.columns.write(&layer.apply(&layer.columns.columns(rows)), &total);
            }
            Ok(total)
        })
    }

    fn map(&self, gradients: Gradients) -> Result<Gradients> {
        check_network(&self.layout, &gradients)?;
        guarded(|| {
            let blocks = self.layers.iter().zip(gradients.blocks()).map(|(layer, block)| layer.map(block));
            Ok(Gradients::new(gradients.n(), gradients.layout_handle(), blocks.collect::<Result<Vec<_>>>()?))
        })
    }

    fn quadratic_of(&self, gradients: &Gradients) -> Result<Tensor> {
        check_network(&self.layout, gradients)?;
        guarded(|| {
            let mut total = Tensor::zeros([gradients.n()], (Kind::Float, Device::Cpu));
            for (layer, block) in self.layers.iter().zip(gradients.blocks()) {
                let _ = total.g_add_(&layer.quadratic(block)?);
            }
            Ok(total)
        })
    }

    fn keeps_factors(&self) -> bool {
        true
    }
}
