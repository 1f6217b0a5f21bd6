use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::train_side::{HELD_BYTES, TrainSide};
use super::{Curvature, Damping, Preconditioner, check_finite_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::{Block, Columns, Gradients, Layout};
use crate::plan::{Part, Probe};
use crate::snapshot::Snapshot;

/// DataInf: the mean of inverses in place of the inverse of the mean, layer by layer in closed form.
///
/// Formula: `(1/n) Σ_s (g_s g_sᵀ + λ)⁻¹ v = (1/λ) [v − (1/n) Σ_s g_s (g_sᵀ v) / (λ + ‖g_s‖²)]` for each layer, weight and bias
/// together, with its own λ. Scores need only the inner products of gradients: with `X = Q Gᵀ` `[m, n]` and `K = G Gᵀ` `[n, n]`
/// of a layer, `(1/λ) [X − X diag(1/(n (λ + ‖g‖²))) K]`.
/// Cost: `n² (in + out)` multiplications a layer, or `n m in out` where that is less; no gradient of a linear layer is formed.
/// Defaults: λ = 0.1 of the layer's mean squared gradient, as the paper. Misleads: the mean of inverses is far from the inverse
/// of the mean unless λ is large; the answer lies near GradDot then. Reference: Kwon et al. 2024, equation 5 (arXiv 2310.00902).
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(50)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &data)?;
/// let snapshot = std::rc::Rc::new(task.snapshot(0)?);
/// let one = data.head(1)?;
/// let g = snapshot.gradients(Of::Objective, &one)?.dense()?;
/// // One example, one layer: the inverse of g gᵀ + 1 itself.
/// let mapped = DataInf { damping: Damping::Absolute(1.0) }.fit(&snapshot, &one)?.apply(&g)?;
/// let squared = g.square().sum(ascribe::tch::Kind::Double).double_value(&[]);
/// assert!((mapped - &g / (1.0 + squared)).abs().max().double_value(&[]) < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataInf {
    /// λ, positive; relative to the mean squared entry of each layer's gradients.
    pub damping: Damping,
}

impl Default for DataInf {
    fn default() -> DataInf {
        DataInf { damping: Damping::Relative(0.1) }
    }
}

impl Curvature for DataInf {
    fn name(&self) -> String {
        "DataInf".into()
    }

    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>> {
        self.damping.positive("DataInf.damping")?;
        let train = TrainSide::new(snapshot, train)?;
        let n = train.n() as f64;
        let mut squares: Vec<Vec<Tensor>> = Vec::new();
        let mut names: Vec<(String, Columns)> = Vec::new();
        train.each(|start, gradients| {
            if start == 0 {
                let named = gradients.blocks().iter().map(|b| (b.name.clone(), b.columns.clone()));
                names = named.collect();
                squares.resize_with(names.len(), Vec::new);
            }
            for (block, squares) in gradients.blocks().iter().zip(&mut squares) {
                squares.push(block.squared_norms()?);
            }
            Ok(())
        })?;
        let mut layers = Vec::new();
        for ((name, columns), squares) in names.into_iter().zip(squares) {
            let squares = guarded(|| Ok(Tensor::cat(&squares, 0)))?;
            let len = columns.len() as f64;
            let mean = || Ok(squares.sum(Kind::Double).double_value(&[]) / n / len);
            let lambda = self.damping.value("DataInf.damping", mean)?;
            if lambda <= 0.0 {
                let reason = "all its train gradients are zero, so a damping relative to them is zero; use Damping::Absolute";
                return Err(Error::layer(name, reason));
            }
            let weights = guarded(|| Ok((squares + lambda).reciprocal() / n))?;
            layers.push(Layer { columns, lambda, weights });
        }
        Ok(Box::new(Fitted { train, layers, layout: snapshot.layout().clone() }))
    }

    fn parts(&self, probe: &Probe) -> Result<Option<(Part, Part)>> {
        let (n, m) = (probe.n, probe.m);
        let kept = if n * probe.held <= HELD_BYTES as f64 { n * probe.held } else { 0.0 };
        let norms = probe.each(|few| few.blocks().iter().map(|block| block.squared_norms()).collect::<Result<Vec<_>>>())?;
        let fit = Part { name: "fit", gradients: n, seconds: n * norms, memory: kept + probe.working, kept, ..Part::default() };
        let (formed, pairs) = (2.0 * n * m * probe.p, n * n / 2.0 + n * m);
        let mixed = 2.0 * n * n * m * probe.blocks;
        if kept == 0.0 || n * n * probe.pair_flops / 4.0 + mixed / 2.0 >= formed {
            let mut rows = probe.mapped(kept, 0.0)?;
            rows.gradients += if kept == 0.0 { n } else { 0.0 };
            rows.flops += 2.0 * formed;
            rows.seconds += 2.0 * formed * probe.flop;
            return Ok(Some((fit, rows)));
        }
        let score = Part {
            name: "score",
            gradients: m,
            flops: pairs * probe.pair_flops + mixed,
            seconds: pairs * probe.pair()? + mixed * probe.flop,
            memory: kept + m * probe.held + 4.0 * n * m * (probe.blocks + 2.0) + probe.working,
            ..Part::default()
        };
        Ok(Some((fit, score)))
    }
}

struct Layer {
    columns: Columns,
    lambda: f64,
    /// `1 / (n (λ + ‖g_s‖²))`, `[n]`.
    weights: Tensor,
}

struct Fitted {
    train: TrainSide,
    layers: Vec<Layer>,
    layout: Arc<Layout>,
}

impl Fitted {
    fn parts<'a>(&'a self, gradients: &'a Gradients) -> impl Iterator<Item = (&'a Layer, &'a Block)> {
        self.layers.iter().zip(gradients.blocks())
    }
}

impl Preconditioner for Fitted {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_finite_rows(rows, self.layout.p())?;
        if rows.size()[0] == 0 {
            return Ok(rows.shallow_clone());
        }
        guarded(|| {
            let total = rows.zeros_like();
            self.train.each(|start, gradients| {
                for (layer, block) in self.parts(gradients) {
                    let products = Tensor::zeros([gradients.n(), rows.size()[0]], (Kind::Float, Device::Cpu));
                    block.dot(rows, &products)?;
                    let scale = layer.weights.narrow(0, start, gradients.n()).unsqueeze(1) * (-1.0 / layer.lambda);
                    block.combine(&(products * scale), &total)?;
                }
                Ok(())
            })?;
            for layer in &self.layers {
                layer.columns.add_columns(&(layer.columns.columns(rows) / layer.lambda), &total);
            }
            Ok(total)
        })
    }

    fn scores_directly(&self, m: i64) -> bool {
        self.train.by_gram(m)
    }

    fn scores(&self, test: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", test.layout())?;
        guarded(|| {
            let (m, n) = (test.n(), self.train.n());
            let total = Tensor::zeros([m, n], (Kind::Float, Device::Cpu));
            // Per layer: the test side against all train examples, weighted.
            let mut weighted: Vec<Tensor> =
                self.layers.iter().map(|_| Tensor::zeros([m, n], (Kind::Float, Device::Cpu))).collect();
            self.train.each(|start, gradients| {
                for (((layer, block), mine), weighted) in self.parts(gradients).zip(test.blocks()).zip(&mut weighted) {
                    let products = mine.gram(block)? / layer.lambda;
                    let at = |x: &Tensor| x.narrow(1, start, gradients.n());
                    let _ = at(&total).g_add_(&products);
                    at(weighted).copy_(&(products * -layer.weights.narrow(0, start, gradients.n())));
                }
                Ok(())
            })?;
            self.train.each_pair(|(row, rows), (column, columns)| {
                for (((_, left), right), weighted) in self.parts(rows).zip(columns.blocks()).zip(&weighted) {
                    let kernel = left.gram(right)?;
                    let at = |x: &Tensor, start: i64, len: i64| x.narrow(1, start, len);
                    let _ = at(&total, column, columns.n()).addmm_(&at(weighted, row, rows.n()), &kernel);
                    if row != column {
                        let _ = at(&total, row, rows.n()).addmm_(&at(weighted, column, columns.n()), &kernel.transpose(0, 1));
                    }
                }
                Ok(())
            })?;
            Ok(total)
        })
    }

    /// `(1/λ) [‖g‖² − Σ_s w_s K_s²]` for each layer.
    fn quadratic_of(&self, gradients: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", gradients.layout())?;
        guarded(|| {
            let mut total = Tensor::zeros([gradients.n()], (Kind::Float, Device::Cpu));
            for (layer, block) in self.parts(gradients) {
                total += block.squared_norms()? / layer.lambda;
            }
            self.train.each(|start, train| {
                for ((layer, block), mine) in self.parts(train).zip(gradients.blocks()) {
                    let products = mine.gram(block)?.square(); // [k, n]
                    total -= products.matmul(&layer.weights.narrow(0, start, train.n())) / layer.lambda;
                }
                Ok(())
            })?;
            Ok(total)
        })
    }

    fn keeps_factors(&self) -> bool {
        true
    }
}
