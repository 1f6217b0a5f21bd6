//! Projections layer by layer: each weight is a matrix whose two sides are mapped apart, so that factors are never multiplied out.

use std::sync::Arc;

use tch::{Kind, Tensor};

use super::draw::Draw;
use super::side::Side;
use super::sparse::Table;
use super::{Part, Projector, check_width};
use crate::error::{Result, guarded};
use crate::gradient::{Block, Columns, Entry, Form, Gradients, Layout, Outer};

/// The parameters of one layer: `x.weight` and `x.bias` belong together, and any other parameter stands alone.
pub(super) struct Layer {
    pub name: String,
    pub columns: Columns,
}

impl Layer {
    /// In the order of the layout.
    pub fn all(layout: &Layout) -> Vec<Layer> {
        let entries = layout.entries();
        let find = |name: String| entries.iter().find(|entry| entry.name == name);
        let partner = |entry: &Entry, ours: &str, theirs: &str| {
            let stem = entry.name.strip_suffix(ours)?;
            find(format!("{stem}{theirs}"))
        };
        let belongs = |entry: &Entry| {
            partner(entry, ".bias", ".weight").is_some_and(|weight| entry.shape.len() == 1 && weight.shape[..1] == entry.shape)
        };
        let own = entries.iter().filter(|entry| !belongs(entry));
        own.map(|weight| {
            let bias = partner(weight, ".weight", ".bias").filter(|bias| belongs(bias)).cloned();
            let name = weight.name.strip_suffix(".weight").unwrap_or(&weight.name).to_string();
            Layer { name, columns: Columns { weight: weight.clone(), bias } }
        })
        .collect()
    }

    /// Outputs and inputs, the bias counted as one more input, of a weight that is a matrix or a stack of kernels.
    pub fn sides(&self) -> Option<(i64, i64)> {
        let weight = &self.columns.weight;
        let matrix = weight.shape.len() >= 2 && weight.name.ends_with(".weight") && weight.len > 0;
        matrix.then(|| (weight.shape[0], weight.len / weight.shape[0] + i64::from(self.columns.bias.is_some())))
    }

    /// The most outputs or inputs of a layer.
    pub fn widest(layout: &Layout) -> i64 {
        Layer::all(layout).iter().filter_map(Layer::sides).map(|(outputs, inputs)| outputs.max(inputs)).max().unwrap_or(1)
    }

    /// Rows of this layer `[n, len]`, weight then bias, as matrices `[n, out, in]`.
    pub fn matrices(&self, rows: &Tensor, (output, input): (i64, i64)) -> Tensor {
        match &self.columns.bias {
            None => rows.reshape([-1, output, input]),
            Some(bias) => {
                let weight = rows.narrow(1, 0, self.columns.weight.len).reshape([-1, output, input - 1]);
                let bias = rows.narrow(1, self.columns.weight.len, bias.len).unsqueeze(2);
                Tensor::cat(&[weight, bias], 2)
            }
        }
    }

    /// The block of this layer, if it has exactly these parameters.
    pub fn block<'a>(&self, gradients: &'a Gradients) -> Option<&'a Block> {
        gradients.blocks().iter().find(|block| block.columns == self.columns)
    }
}

/// What goes into a layer with the 1 of its bias: `[n, t, in]`; and what comes out, `[n, t, out]`; of a layer with one group.
pub(super) fn factors(outer: &Outer, bias: bool) -> (Tensor, Tensor) {
    let (a, delta) = (outer.a.squeeze_dim(1), outer.delta.squeeze_dim(1));
    if !bias {
        return (a, delta);
    }
    let one = match &outer.unit {
        Some(unit) => unit.squeeze_dim(1).unsqueeze(2),
        None => a.narrow(2, 0, 1).ones_like(),
    };
    (Tensor::cat(&[a, one], 2), delta)
}

/// How the mapped sides of a weight become its numbers.
pub(super) enum Join {
    /// All products of an output and an input.
    Products,
    /// All products, made fewer.
    Sparse(Table),
    /// The products of like places; both sides have as many.
    Places,
}

/// The map of one layer.
pub(super) enum Map {
    /// A weight with two sides.
    Matrix { output: Side, input: Side, join: Join },
    /// Any other parameter, as it is.
    Whole(i64),
    /// Any other parameter, made shorter.
    Vector(Table),
}

impl Map {
    /// For parameters that are no matrices (norms, and those outside layers): as they are if they are no more than `room` numbers,
    /// else a sparse JL map to so many.
    pub fn vector(len: i64, room: i64, draw: Draw) -> Map {
        match len <= room {
            true => Map::Whole(len),
            false => Map::Vector(Table::new(len, room, 1, draw)),
        }
    }

    fn k(&self) -> i64 {
        match self {
            Map::Matrix { join: Join::Sparse(table), .. } | Map::Vector(table) => table.k(),
            Map::Matrix { output, input, join: Join::Products } => output.k() * input.k(),
            Map::Matrix { output, join: Join::Places, .. } => output.k(),
            Map::Whole(len) => *len,
        }
    }

    /// Of the layer's rows `[n, len]`, weight then bias: `[n, k]`.
    fn rows(&self, layer: &Layer, rows: &Tensor) -> Result<Tensor> {
        let held = match (self, layer.sides()) {
            (Map::Matrix { input, .. }, Some((outputs, inputs))) => outputs * inputs.max(input.k()),
            _ => return Ok(self.some_rows(layer, rows)),
        };
        in_steps(rows.size()[0], held, |start, len| Ok(self.some_rows(layer, &rows.narrow(0, start, len))))
    }

    fn some_rows(&self, layer: &Layer, rows: &Tensor) -> Tensor {
        match (self, layer.sides()) {
            (Map::Matrix { output, input, join }, Some(sides)) => {
                let half = input.apply(&layer.matrices(rows, sides)); // [n, out, k_in]
                match join {
                    Join::Places => {
                        let sum = (half * output.matrix()).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
                        sum * (output.k() as f64).sqrt()
                    }
                    _ => join.flat(&output.apply(&half.transpose(1, 2)).transpose(1, 2)),
                }
            }
            (Map::Vector(table), _) => table.apply(rows),
            _ => rows.shallow_clone(),
        }
    }

    /// The same of a block in any form.
    fn block(&self, layer: &Layer, block: &Block) -> Result<Tensor> {
        let Map::Matrix { output, input, join } = self else { return self.rows(layer, &block.dense()?) };
        let held = |t: i64| t * (output.k() + input.k()) + output.k() * input.k();
        match &block.form {
            Form::Outer(outer) if outer.g() == 1 && self.factors_cheaper(layer, outer.t()) => {
                in_steps(outer.a.size()[0], held(outer.t()), |start, len| {
                    let (a, delta) = factors(&outer.narrow(start, len), layer.columns.bias.is_some());
                    Ok(join.meet(&output.apply(&delta), &input.apply(&a)))
                })
            }
            Form::Lookup { index, delta, .. } => {
                let (n, t) = index.size2()?;
                let rows = output.matrix();
                in_steps(n, held(t), |start, len| {
                    let rows = rows.index_select(0, &index.narrow(0, start, len).reshape([-1])).view([len, t, output.k()]);
                    Ok(join.meet(&rows, &input.apply(&delta.narrow(0, start, len))))
                })
            }
            _ => {
                // Formed for some examples at a time: factors may be far smaller.
                in_steps(block.n(), block.len(), |start, len| self.rows(layer, &block.narrow(start, len).dense()?))
            }
        }
    }

    /// Whether to map the factors takes fewer multiplications than to map the formed gradient.
    fn factors_cheaper(&self, layer: &Layer, t: i64) -> bool {
        let (Map::Matrix { output, input, join }, Some((outputs, inputs))) = (self, layer.sides()) else { return false };
        let joined = match join {
            Join::Places => output.k(),
            _ => output.k() * input.k(),
        };
        let formed = t * outputs * inputs + outputs * input.cost(inputs) + input.k() * output.cost(outputs);
        t * (input.cost(inputs) + output.cost(outputs) + joined) <= formed
    }
}

impl Join {
    /// Mapped outputs `[n, t, k_out]` and inputs `[n, t, k_in]` to `[n, k]`, summed over positions.
    fn meet(&self, output: &Tensor, input: &Tensor) -> Tensor {
        match self {
            Join::Places => {
                (output * input).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>) * (output.size()[2] as f64).sqrt()
            }
            _ => self.flat(&output.transpose(1, 2).matmul(input)),
        }
    }

    /// `[n, k_out, k_in] → [n, k]`
    fn flat(&self, products: &Tensor) -> Tensor {
        let flat = products.flatten(1, -1);
        match self {
            Join::Sparse(table) => table.apply(&flat),
            _ => flat,
        }
    }
}

/// Numbers held at once while rows are mapped.
const AT_ONCE: i64 = 1 << 24;

/// `[n, k]` from so many examples at a time that `each` numbers for every one of them are not too many.
pub(super) fn in_steps(n: i64, each: i64, map: impl Fn(i64, i64) -> Result<Tensor>) -> Result<Tensor> {
    let step = (AT_ONCE / each.max(1)).clamp(1, n.max(1));
    if n <= step {
        return map(0, n);
    }
    let parts: Result<Vec<Tensor>> = (0..n).step_by(step as usize).map(|start| map(start, step.min(n - start))).collect();
    Ok(Tensor::cat(&parts?, 0))
}

/// A map for each layer.
pub(super) struct PerLayer {
    parts: Vec<Part>,
    layout: Arc<Layout>,
    layers: Vec<(Layer, Map)>,
}

impl PerLayer {
    /// `map` gives each layer's map, with draws of its own.
    pub fn fit(layout: &Arc<Layout>, draw: Draw, map: impl Fn(&Layer, Draw) -> Map) -> Result<Box<dyn Projector>> {
        guarded(|| {
            let layers = Layer::all(layout).into_iter().enumerate().map(|(i, layer)| {
                let map = map(&layer, draw.of(i as u64));
                (layer, map)
            });
            let layers: Vec<(Layer, Map)> = layers.collect();
            let mut offset = 0;
            let parts = layers.iter().map(|(layer, map)| {
                let part = Part { name: layer.name.clone(), offset, len: map.k() };
                offset += part.len;
                part
            });
            Ok(Box::new(PerLayer { parts: parts.collect(), layout: layout.clone(), layers }) as Box<dyn Projector>)
        })
    }
}

impl Projector for PerLayer {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.layout.p())?;
        guarded(|| {
            let parts = self.layers.iter().map(|(layer, map)| map.rows(layer, &layer.columns.columns(rows)));
            Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1))
        })
    }

    fn project(&self, gradients: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", gradients.layout())?;
        let blocks: Option<Vec<&Block>> = self.layers.iter().map(|(layer, _)| layer.block(gradients)).collect();
        let Some(blocks) = blocks else { return self.rows(&gradients.dense()?) };
        guarded(|| {
            let parts = self.layers.iter().zip(blocks).map(|((layer, map), block)| map.block(layer, block));
            Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1))
        })
    }
}
