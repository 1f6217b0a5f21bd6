//! Answers: as `SparseJl` on the whole network, at less cost where gradients are factored. Formula: weight (o, i) of a layer has the
//! place `h_out(o) + h_in(i) mod k` and the sign `s_out(o) s_in(i)`, so that the sketch of `δ ⊗ a` is the circular convolution of the
//! sketches of δ and a: `irfft(Σ_layers Σ_t rfft(S_out δ_t) ∘ rfft(S_in a_t))`.
//! Unbiased: signs of two different weights multiply to mean 0, because they differ in their output or in their input.
//! Cost: n · t · (in + out + k log k) for each layer, where that is cheaper than to form its gradient; `SparseJl` on rows.
//! Misleads: squared lengths are noisier than with `SparseJl`, up to √3 times, since signs of a layer's weights are not independent.
//! Reference: Pham & Pagh 2013, Fast and scalable polynomial kernels via explicit feature maps.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::draw::Draw;
use super::per_layer::{Layer, factors, in_steps};
use super::sparse::{SIGN, Table};
use super::{Part, Projection, Projector, check_dim, check_width};
use crate::error::{Result, guarded};
use crate::gradient::{Block, Form, Gradients, Layout};

/// A count sketch of each layer's outer products, by the fast Fourier transform.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::TensorSketch { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TensorSketch {
    /// `k`, length of a projected gradient; powers of two are fast.
    pub dim: i64,
    /// Another seed gives another map.
    pub seed: u64,
}

impl Default for TensorSketch {
    fn default() -> TensorSketch {
        TensorSketch { dim: 512, seed: 0 }
    }
}

impl Projection for TensorSketch {
    fn name(&self) -> String {
        format!("tensor sketch, dim {}, seed {}", self.dim, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("TensorSketch.dim", self.dim, Table::output_bytes(layout.p()).max(WAVE_BYTES))?;
        let draw = Draw::new(self.seed, member);
        let sketch = |(i, layer): (usize, Layer)| Sketch::new(layer, self.dim, draw.of(i as u64));
        let layers = Layer::all(layout).into_iter().enumerate().map(sketch).collect();
        Ok(Box::new(Fitted { parts: Part::all(self.dim), layout: layout.clone(), layers }))
    }
}

/// Bytes for each output of two Fourier transforms and their product, at one position.
const WAVE_BYTES: i64 = 64;

/// Multiplications that a Fourier transform takes for each number and doubling.
const FOURIER: i64 = 4;

/// The map of one layer.
struct Sketch {
    layer: Layer,
    /// Of the outputs and of the inputs, the bias counted as one more; none for parameters that are no matrices.
    sides: Option<(Table, Table)>,
    /// Of the formed gradient, weight then bias.
    formed: Table,
}

impl Sketch {
    fn new(layer: Layer, k: i64, draw: Draw) -> Sketch {
        let Some((outputs, inputs)) = layer.sides() else {
            let formed = Table::new(layer.columns.len(), k, 1, draw);
            return Sketch { layer, sides: None, formed };
        };
        let places = |index: u64, len: i64| {
            let mut places = vec![0; len as usize];
            draw.of(index).places(0, k as u32, &mut places);
            places
        };
        let (output, input) = (places(0, outputs), places(1, inputs));
        let place = |o: u32, i: u32| {
            let sum = (o & !SIGN) + (i & !SIGN);
            (if sum >= k as u32 { sum - k as u32 } else { sum }) | ((o ^ i) & SIGN)
        };
        let inner = inputs as usize - usize::from(layer.columns.bias.is_some());
        let weight = output.iter().flat_map(|&o| input[..inner].iter().map(move |&i| place(o, i)));
        let bias = input[inner..].iter().flat_map(|&i| output.iter().map(move |&o| place(o, i)));
        let formed = Table::of_places(weight.chain(bias).collect(), k);
        Sketch { layer, sides: Some((Table::of_places(output, k), Table::of_places(input, k))), formed }
    }

    /// Adds the sketch of a block to `total` `[n, k]`, or its Fourier transform to `waves` `[n, k / 2 + 1]`.
    fn add(&self, block: &Block, total: &mut Tensor, waves: &mut Option<Tensor>) -> Result<()> {
        let k = self.formed.k();
        match (&block.form, &self.sides) {
            (Form::Outer(outer), Some((output, input))) if outer.g() == 1 && self.waves_cheaper(outer.t()) => {
                let t = outer.t();
                let sum = in_steps(outer.a.size()[0], 4 * t * k, |start, len| {
                    let (a, delta) = factors(&outer.narrow(start, len), self.layer.columns.bias.is_some());
                    let wave = |table: &Table, x: &Tensor| {
                        table.apply(&x.flatten(0, 1)).fft_rfft(k, -1, "backward").view([len, t, k / 2 + 1])
                    };
                    let product = wave(output, &delta) * wave(input, &a);
                    Ok(product.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
                })?;
                *waves = Some(match waves.take() {
                    Some(waves) => waves + sum,
                    None => sum,
                });
            }
            _ => {
                let sum =
                    in_steps(block.n(), block.len(), |start, len| Ok(self.formed.apply(&block.narrow(start, len).dense()?)))?;
                let _ = total.g_add_(&sum);
            }
        }
        Ok(())
    }

    /// Whether Fourier transforms at each position are cheaper than to form the gradient and to read it.
    fn waves_cheaper(&self, t: i64) -> bool {
        let (k, Some((outputs, inputs))) = (self.formed.k(), self.layer.sides()) else { return false };
        let each = outputs + inputs + 3 * FOURIER * k * i64::from(k.ilog2() + 1);
        t * each < (t + 16) * outputs * inputs
    }
}

struct Fitted {
    parts: Vec<Part>,
    layout: Arc<Layout>,
    layers: Vec<Sketch>,
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.layout.p())?;
        guarded(|| {
            let mut total = Tensor::zeros([rows.size()[0], self.k()], (Kind::Float, Device::Cpu));
            for sketch in &self.layers {
                let _ = total.g_add_(&sketch.formed.apply(&sketch.layer.columns.columns(rows)));
            }
            Ok(total)
        })
    }

    fn project(&self, gradients: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", gradients.layout())?;
        let blocks: Option<Vec<&Block>> = self.layers.iter().map(|sketch| sketch.layer.block(gradients)).collect();
        let Some(blocks) = blocks else { return self.rows(&gradients.dense()?) };
        guarded(|| {
            let mut total = Tensor::zeros([gradients.n(), self.k()], (Kind::Float, Device::Cpu));
            let mut waves = None;
            for (sketch, block) in self.layers.iter().zip(blocks) {
                sketch.add(block, &mut total, &mut waves)?;
            }
            Ok(match waves {
                Some(waves) => total + waves.fft_irfft(self.k(), -1, "backward"),
                None => total,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::Outer;

    /// By Fourier transforms as on the formed gradient, with a bias that has an input of its own, and for an odd length.
    #[test]
    fn the_convolution_is_the_sketch() {
        let (n, t, inputs, outputs) = (3, 2, 90, 70);
        let layout = Layout::new(vec![("fc.weight".into(), vec![outputs, inputs]), ("fc.bias".into(), vec![outputs])]);
        for (k, unit) in [(16, false), (15, true), (1, true)] {
            let sketch = Sketch::new(Layer::all(&layout).remove(0), k, Draw::new(1, 0));
            let noise = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let unit = unit.then(|| noise(&[n, 1, t]));
            let outer = Outer { a: noise(&[n, 1, t, inputs]), delta: noise(&[n, 1, t, outputs]), unit, mask: None };
            let block = Block { name: "fc".into(), form: Form::Outer(outer), columns: sketch.layer.columns.clone() };
            let (mut total, mut waves) = (Tensor::zeros([n, k], (Kind::Float, Device::Cpu)), None);
            sketch.add(&block, &mut total, &mut waves).unwrap();
            let by_waves = waves.expect("the waves are cheaper here").fft_irfft(k, -1, "backward");
            let formed = sketch.formed.apply(&block.dense().unwrap());
            let apart = ((by_waves - &formed).abs().max() / formed.abs().max()).double_value(&[]);
            assert!(apart < 1e-5, "k {k}: {apart:.1e}");
            assert_eq!(total.abs().max().double_value(&[]), 0.0);
        }
    }
}
