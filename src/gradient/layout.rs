use tch::Tensor;

use crate::error::{Error, Result};

/// Where one parameter lies in a flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As in the checkpoint: `fc1.weight`.
    pub name: String,
    /// Shape of the parameter.
    pub shape: Vec<i64>,
    /// First position in the flat vector.
    pub offset: i64,
    /// Number of entries.
    pub len: i64,
}

/// Names, shapes and offsets of parameters in a flat vector of length `p`, in the order the model's constructor made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
    p: i64,
}

impl Layout {
    pub(crate) fn new(parameters: Vec<(String, Vec<i64>)>) -> Layout {
        let mut p = 0;
        let entries = parameters.into_iter().map(|(name, shape)| {
            let len = shape.iter().product();
            let entry = Entry { name, shape, offset: p, len };
            p += len;
            entry
        });
        let entries = entries.collect();
        Layout { entries, p }
    }

    /// One entry per parameter.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of parameters.
    pub fn p(&self) -> i64 {
        self.p
    }

    /// An error that names the first parameter in which another network differs.
    pub(crate) fn check_same(&self, thing: &str, other: &Layout) -> Result<()> {
        if self == other {
            return Ok(());
        }
        let say =
            |entry: Option<&Entry>| entry.map_or_else(|| "no further parameter".into(), |e| format!("{} {:?}", e.name, e.shape));
        let first = (0..).find(|&i| self.entries.get(i) != other.entries.get(i)).unwrap_or(0);
        let expected = format!("those of the same network, with {}", say(self.entries.get(first)));
        Err(Error::shape(thing, expected, say(other.entries.get(first))))
    }

    /// Parameter-shaped tensors as one flat vector.
    pub(crate) fn flatten(&self, tensors: &[Tensor]) -> Tensor {
        Tensor::cat(&tensors.iter().map(|t| t.reshape([-1])).collect::<Vec<_>>(), 0)
    }
}

/// Where the weight and bias of one layer lie: its columns of `[k, p]`, weight then bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub weight: Entry,
    pub bias: Option<Entry>,
}

impl Columns {
    /// Number of parameters.
    pub fn len(&self) -> i64 {
        self.weight.len + self.bias.as_ref().map_or(0, |b| b.len)
    }

    /// `[k, p] → [k, len]`.
    pub fn columns(&self, vectors: &Tensor) -> Tensor {
        let weight = vectors.narrow(1, self.weight.offset, self.weight.len);
        match &self.bias {
            Some(bias) => Tensor::cat(&[weight, vectors.narrow(1, bias.offset, bias.len)], 1),
            None => weight,
        }
    }

    /// Adds `[k, len]` to `[k, p]`.
    pub fn add_columns(&self, rows: &Tensor, total: &Tensor) {
        let _ = total.narrow(1, self.weight.offset, self.weight.len).g_add_(&rows.narrow(1, 0, self.weight.len));
        if let Some(bias) = &self.bias {
            let _ = total.narrow(1, bias.offset, bias.len).g_add_(&rows.narrow(1, self.weight.len, bias.len));
        }
    }

    /// Writes `[k, len]` into `[k, p]`.
    pub fn write(&self, rows: &Tensor, whole: &Tensor) {
        whole.narrow(1, self.weight.offset, self.weight.len).copy_(&rows.narrow(1, 0, self.weight.len));
        if let Some(bias) = &self.bias {
            whole.narrow(1, bias.offset, bias.len).copy_(&rows.narrow(1, self.weight.len, bias.len));
        }
    }
}
