//! One layer's gradients as arrays, the way they lie on disk.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::gradient::{Block, Columns, Entry, Form, Layout, Outer};

/// How the arrays of a layer are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    /// `input` `[n, g, t, in]`, `delta` `[n, g, t, out]`, perhaps `mask` `[n, t]`.
    Outer,
    /// `index` `[n, t]`, `delta` `[n, t, width]`, perhaps `mask` `[n, t]`.
    Lookup,
    /// `rows` `[n, len]`, the columns of each layer one after another, weight then bias.
    Dense,
    /// `features` `[n, k]`.
    Features,
}

/// The parameters of one layer, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub layer: String,
    /// `None`: all parameters of the network.
    pub weight: Option<String>,
    pub bias: Option<String>,
}

impl Place {
    fn new(block: &Block, layout: &Layout) -> Place {
        let name = |entry: &Entry| layout.entries().contains(entry).then(|| entry.name.clone());
        Place { layer: block.name.clone(), weight: name(&block.columns.weight), bias: block.columns.bias.as_ref().and_then(name) }
    }

    fn columns(&self, layout: &Layout) -> Result<Columns> {
        let find = |name: &String| {
            let entry = layout.entries().iter().find(|entry| entry.name == *name).cloned();
            entry.ok_or_else(|| Error::layer(&self.layer, format!("the store has a parameter {name}, the network has not")))
        };
        let all = || Entry { name: "all".into(), shape: vec![layout.p()], offset: 0, len: layout.p() };
        Ok(Columns {
            weight: self.weight.as_ref().map_or_else(|| Ok(all()), find)?,
            bias: self.bias.as_ref().map(find).transpose()?,
        })
    }
}

/// Some rows of one layer, as arrays with names; the first dimension is the example.
pub(super) struct Arrays {
    pub shape: Shape,
    pub places: Vec<Place>,
    pub arrays: Vec<(&'static str, Tensor)>,
}

/// Names that an array may have.
const NAMES: [&str; 7] = ["input", "delta", "unit", "mask", "index", "rows", "features"];

/// A name as a constant.
pub(super) fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}

impl Arrays {
    /// A block as it is.
    pub fn of_block(block: &Block, layout: &Layout) -> Result<Arrays> {
        let copy = Tensor::shallow_clone;
        let (shape, arrays) = match &block.form {
            Form::Outer(Outer { a, delta, unit, mask }) => {
                let mut arrays = vec![("input", copy(a)), ("delta", copy(delta))];
                arrays.extend(unit.as_ref().map(|unit| ("unit", copy(unit))));
                arrays.extend(mask.as_ref().map(|mask| ("mask", copy(mask))));
                (Shape::Outer, arrays)
            }
            Form::Lookup { index, delta, mask } => {
                let mut arrays = vec![("index", copy(index)), ("delta", copy(delta))];
                arrays.extend(mask.as_ref().map(|mask| ("mask", copy(mask))));
                (Shape::Lookup, arrays)
            }
            Form::Dense(_) | Form::Turned(_) => (Shape::Dense, vec![("rows", block.dense()?)]),
        };
        Ok(Arrays { shape, places: vec![Place::new(block, layout)], arrays })
    }

    /// Blocks as one array of formed rows.
    pub fn of_rows(blocks: &[Block], layout: &Layout) -> Result<Arrays> {
        let rows: Vec<Tensor> = blocks.iter().map(Block::dense).collect::<Result<_>>()?;
        let places = blocks.iter().map(|block| Place::new(block, layout)).collect();
        Ok(Arrays { shape: Shape::Dense, places, arrays: vec![("rows", Tensor::cat(&rows, 1))] })
    }

    /// Projected gradients.
    pub fn of_features(features: Tensor) -> Arrays {
        Arrays { shape: Shape::Features, places: Vec::new(), arrays: vec![("features", features)] }
    }

    fn array(&self, name: &str) -> Option<Tensor> {
        self.arrays.iter().find(|(known, _)| *known == name).map(|(_, tensor)| tensor.shallow_clone())
    }

    fn need(&self, name: &str) -> Result<Tensor> {
        let layer = self.places.first().map_or("features", |place| &place.layer);
        self.array(name).ok_or_else(|| Error::layer(layer, format!("the store has no array {name} of it")))
    }

    /// Projected gradients, if that is what they are.
    pub fn features(&self) -> Result<Tensor> {
        self.need("features")
    }

    /// The blocks, in the order in which they were recorded.
    pub fn blocks(&self, layout: &Layout) -> Result<Vec<Block>> {
        let form = match self.shape {
            Shape::Outer => Form::Outer(Outer {
                a: self.need("input")?,
                delta: self.need("delta")?,
                unit: self.array("unit"),
                mask: self.array("mask"),
            }),
            Shape::Lookup => Form::Lookup { index: self.need("index")?, delta: self.need("delta")?, mask: self.array("mask") },
            Shape::Dense => return self.dense(layout),
            Shape::Features => return Err(Error::Unsupported("projected gradients as gradients".into())),
        };
        let place = self.places.first().ok_or_else(|| Error::data("store", "a layer without a name"))?;
        Ok(vec![Block { name: place.layer.clone(), form, columns: place.columns(layout)? }])
    }

    fn dense(&self, layout: &Layout) -> Result<Vec<Block>> {
        let (rows, mut start, mut blocks) = (self.need("rows")?, 0, Vec::new());
        for place in &self.places {
            let columns = place.columns(layout)?;
            let form = Form::Dense(rows.f_narrow(1, start, columns.len())?);
            start += columns.len();
            blocks.push(Block { name: place.layer.clone(), form, columns });
        }
        Ok(blocks)
    }

    /// Rows of several batches as one. Where some batches have a mask and others need none, theirs is true everywhere.
    pub fn join(mut batches: Vec<Arrays>) -> Result<Arrays> {
        if batches.len() == 1 {
            return Ok(batches.remove(0));
        }
        let masked = batches.iter().find_map(|batch| batch.array("mask"));
        if let Some(like) = masked {
            for batch in batches.iter_mut().filter(|batch| batch.array("mask").is_none()) {
                let n = batch.arrays[0].1.size()[0];
                let ones = Tensor::f_ones([&[n], &like.size()[1..]].concat(), (Kind::Bool, like.device()))?;
                batch.arrays.push(("mask", ones));
            }
        }
        let names: Vec<&'static str> = batches[0].arrays.iter().map(|(name, _)| *name).collect();
        let mut arrays = Vec::new();
        for name in names {
            let parts = batches.iter().map(|batch| batch.need(name)).collect::<Result<Vec<_>>>()?;
            arrays.push((name, cat(&parts)?));
        }
        Ok(Arrays { shape: batches[0].shape, places: batches.remove(0).places, arrays })
    }
}

/// Joined along the examples, keeping the order in memory of the other dimensions.
fn cat(parts: &[Tensor]) -> Result<Tensor> {
    let axes = axes(&parts[0]);
    let permuted = parts.iter().map(|part| Ok(part.f_permute(&axes)?)).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_cat(&permuted, 0)?.f_permute(inverse(&axes))?)
}

/// The dimensions from the slowest to the fastest in memory, the example first. A store keeps this order, so that matrix products of
/// what it gives back run through the same kernels.
pub(super) fn axes(tensor: &Tensor) -> Vec<i64> {
    let mut axes: Vec<i64> = (0..tensor.dim() as i64).collect();
    if !tensor.is_contiguous() {
        let (size, stride) = (tensor.size(), tensor.stride());
        let mut moving: Vec<i64> = axes.iter().copied().filter(|&axis| axis > 0 && size[axis as usize] > 1).collect();
        let places = moving.clone();
        moving.sort_by_key(|&axis| std::cmp::Reverse(stride[axis as usize]));
        places.iter().zip(moving).for_each(|(&place, axis)| axes[place as usize] = axis);
    }
    axes
}

pub(super) fn inverse(axes: &[i64]) -> Vec<i64> {
    let mut inverse = vec![0; axes.len()];
    axes.iter().enumerate().for_each(|(place, &axis)| inverse[axis as usize] = place as i64);
    inverse
}
