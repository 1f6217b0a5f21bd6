//! Kronecker factors: one eigenbasis per layer, in which curvature is nearly diagonal.

use std::rc::Rc;
use std::sync::Arc;

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use tch::{Device, Kind, Tensor};

use super::moments::{Eigenbasis, Moments, extended};
use super::separable::Separable;
use super::{Damping, Matrix, Preconditioner, check_finite_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::mean_square::MeanSquare;
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

pub(super) enum Basis {
    /// Eigenvectors `[g, in, in]` and `[g, out, out]` in columns, `1/(Λ+λ)` `[g, out, in]`; one short sum per group where it exists.
    Outer { qa: Tensor, qs: Tensor, inverse: Tensor, separable: Option<Vec<Separable>> },
    /// Eigenvectors `[width, width]` in columns, `1/(Λ+λ)` `[rows, width]`.
    Lookup { qs: Tensor, inverse: Tensor },
    /// Eigenvectors `[len, len]` in columns unless it is the diagonal, `1/(Λ+λ)` `[len]`.
    Whole { q: Option<Tensor>, inverse: Tensor },
}

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
                "Kronecker factors of a network that the tape does not see whole: call all its layers through the tape, and train the weight of a layer with its bias"
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
        if let Some((moments, block)) = moments.iter().flatten().zip(square.layers()?).find(|(m, _)| m.is_empty()) {
            let _ = moments;
            return Err(Error::layer(block.0, "no position counts: its mask is false everywhere"));
        }
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

impl Layer {
    /// `[k, len]` into the eigenbasis: `[k, ...]` in the shape of the eigenvalues.
    fn in_basis(&self, rows: &Tensor) -> Tensor {
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
    fn back(&self, values: &Tensor) -> Tensor {
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
        let mut values = self.in_basis(rows);
        let _ = values.g_mul_(self.inverse());
        self.back(&values)
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
        let values = self.in_basis(&block.dense()?);
        Ok((values.square() * self.inverse()).flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
    }
}

impl Preconditioner for KroneckerFactors {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_finite_rows(rows, self.layout.p())?;
        if rows.size()[0] == 0 {
            return Ok(rows.shallow_clone());
        }
        guarded(|| {
            let total = rows.zeros_like();
            for layer in &self.layers {
                layer.columns.write(&layer.apply(&layer.columns.columns(rows)), &total);
            }
            Ok(total)
        })
    }

    fn map(&self, gradients: Gradients) -> Result<Gradients> {
        self.layout.check_same("gradients", gradients.layout())?;
        guarded(|| {
            let blocks = self.layers.iter().zip(gradients.blocks()).map(|(layer, block)| layer.map(block));
            Ok(Gradients::new(gradients.n(), gradients.layout_handle(), blocks.collect::<Result<Vec<_>>>()?))
        })
    }

    fn quadratic_of(&self, gradients: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", gradients.layout())?;
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
