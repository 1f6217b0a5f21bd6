use std::borrow::Borrow;

use tch::nn::{self, Init};
use tch::{Kind, Tensor};

use crate::error::{Error, raise};
use crate::model::{Operation, Tape};

/// Looks up rows of a table: int64 `[n, ...] → [n, ..., width]`.
#[derive(Debug)]
pub struct Embedding {
    /// `[rows, width]`
    pub weight: Tensor,
    /// A row that is never trained, for padding.
    pub padding: Option<i64>,
}

/// An embedding with standard normal initial values.
pub fn embedding<'a>(path: impl Borrow<nn::Path<'a>>, rows: i64, width: i64) -> Embedding {
    Embedding { weight: path.borrow().var("weight", &[rows, width], Init::Randn { mean: 0.0, stdev: 1.0 }), padding: None }
}

impl Tape {
    /// An embedding, int64 `[n, ...] → [n, ..., width]`. Whole numbers held as floats serve as indices too.
    ///
    /// Errors, at the border: [`Error::Layer`] for an index outside the table.
    pub fn embedding(&mut self, name: &str, layer: &Embedding, index: &Tensor) -> Tensor {
        let rows = layer.weight.size()[0];
        let whole = index.to_kind(Kind::Int64);
        if whole.numel() > 0 {
            let (low, high) = (whole.min().int64_value(&[]), whole.max().int64_value(&[]));
            if low < 0 || high >= rows {
                let got = if low < 0 { low } else { high };
                raise(Error::layer(name, format!("index expected 0 to {}, got {got}", rows - 1)));
            }
        }
        let s = Tensor::embedding(&layer.weight, &whole, layer.padding.unwrap_or(-1), false, false);
        if self.records() {
            self.keep(name, Operation::Lookup { padding: layer.padding }, &layer.weight, None, index, &s);
        }
        s
    }
}
