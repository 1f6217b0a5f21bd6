//! What a pickle holds.

use std::fmt;

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// What [`pickle`](super::pickle) and [`torch`](super::torch) give: plain data, arrays as tensors.
///
/// A getter says what it expected and what stands there instead.
///
/// ```
/// use ascribe::read::Value;
/// let run = Value::Dict(vec![(Value::Text("epoch".into()), Value::Int(3))]);
/// assert_eq!(run.get("epoch")?.int()?, 3);
/// assert!(format!("{:?}", run.get("loss").unwrap_err()).contains("epoch"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`, also NumPy's.
    Bool(bool),
    /// An integer, also NumPy's.
    Int(i64),
    /// A float, also NumPy's.
    Float(f64),
    /// `str`.
    Text(String),
    /// `bytes` or `bytearray`.
    Bytes(Vec<u8>),
    /// `list`.
    List(Vec<Value>),
    /// `tuple`, also `torch.Size`.
    Tuple(Vec<Value>),
    /// `set` or `frozenset`, in the order of the file.
    Set(Vec<Value>),
    /// `dict` or `OrderedDict`, in its order.
    Dict(Vec<(Value, Value)>),
    /// A NumPy array or a torch tensor.
    Tensor(Tensor),
}

impl Value {
    /// The integer; also the only element of an integer tensor.
    pub fn int(&self) -> Result<i64> {
        match self {
            Value::Int(value) => Ok(*value),
            Value::Tensor(tensor) if tensor.numel() == 1 && integer(tensor.kind()) => {
                Ok(tensor.f_int64_value(&vec![0; tensor.dim()])?)
            }
            _ => self.not("an integer"),
        }
    }

    /// The number, integer or not; also the only element of a tensor.
    pub fn float(&self) -> Result<f64> {
        match self {
            Value::Int(value) => Ok(*value as f64),
            Value::Float(value) => Ok(*value),
            Value::Tensor(tensor) if tensor.numel() == 1 => Ok(tensor.f_double_value(&vec![0; tensor.dim()])?),
            _ => self.not("a number"),
        }
    }

    /// The truth value.
    pub fn bool(&self) -> Result<bool> {
        match self {
            Value::Bool(value) => Ok(*value),
            _ => self.not("a bool"),
        }
    }

    /// The text.
    pub fn text(&self) -> Result<&str> {
        match self {
            Value::Text(text) => Ok(text),
            _ => self.not("text"),
        }
    }

    /// The entries of a list, tuple or set.
    pub fn list(&self) -> Result<&[Value]> {
        match self {
            Value::List(values) | Value::Tuple(values) | Value::Set(values) => Ok(values),
            _ => self.not("a list"),
        }
    }

    /// The integers of a list or of a one-dimensional tensor.
    pub fn ints(&self) -> Result<Vec<i64>> {
        match self {
            Value::Tensor(tensor) if tensor.dim() == 1 && integer(tensor.kind()) => {
                let wide = tensor.f_to_kind(Kind::Int64)?.f_contiguous()?;
                Ok(Vec::<i64>::try_from(&wide)?)
            }
            Value::List(values) | Value::Tuple(values) | Value::Set(values) => values.iter().map(Value::int).collect(),
            _ => self.not("a list or vector of integers"),
        }
    }

    /// The tensor; it shares memory with the value.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Value::Tensor(tensor) => Ok(tensor.shallow_clone()),
            _ => self.not("a tensor"),
        }
    }

    /// The entries of a dict, in its order.
    pub fn entries(&self) -> Result<&[(Value, Value)]> {
        match self {
            Value::Dict(entries) => Ok(entries),
            _ => self.not("a dict"),
        }
    }

    /// The text keys of a dict, in its order; none for anything else.
    pub fn keys(&self) -> Vec<String> {
        let entries = self.entries().unwrap_or_default();
        entries.iter().filter_map(|(key, _)| key.text().ok()).map(str::to_string).collect()
    }

    /// The entry of a dict under a text key; the error lists the keys there are.
    pub fn get(&self, key: &str) -> Result<&Value> {
        // As in Python, the last of equal keys counts.
        let found = self.entries()?.iter().rfind(|(stored, _)| matches!(stored, Value::Text(text) if text == key));
        found
            .map(|(_, value)| value)
            .ok_or_else(|| Error::data(format!("key {key:?}"), format!("expected one of {}", listed(&self.keys()))))
    }

    fn not<T>(&self, expected: &str) -> Result<T> {
        Err(Error::data("value", format!("expected {expected}, got {self:?}")))
    }
}

/// Kinds that hold whole numbers.
pub(super) fn integer(kind: Kind) -> bool {
    matches!(kind, Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64)
}

/// The first keys, quoted, for an error or a line of `Debug`.
pub(super) fn listed(keys: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = keys.iter().take(SHOWN).map(|key| super::broken::quoted(key)).collect();
    let more = if keys.len() > SHOWN { format!(" and {} more", keys.len() - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

impl Clone for Value {
    /// Tensors share their memory.
    fn clone(&self) -> Value {
        match self {
            Value::None => Value::None,
            Value::Bool(value) => Value::Bool(*value),
            Value::Int(value) => Value::Int(*value),
            Value::Float(value) => Value::Float(*value),
            Value::Text(text) => Value::Text(text.clone()),
            Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Value::List(values) => Value::List(values.clone()),
            Value::Tuple(values) => Value::Tuple(values.clone()),
            Value::Set(values) => Value::Set(values.clone()),
            Value::Dict(entries) => Value::Dict(entries.clone()),
            Value::Tensor(tensor) => Value::Tensor(tensor.shallow_clone()),
        }
    }
}

impl fmt::Debug for Value {
    /// One short line, whatever the size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::None => write!(f, "None"),
            Value::Bool(value) => write!(f, "bool {value}"),
            Value::Int(value) => write!(f, "int {value}"),
            Value::Float(value) => write!(f, "float {value}"),
            Value::Text(text) => write!(f, "text {}", super::broken::quoted(text)),
            Value::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Value::List(values) => write!(f, "list of {}", values.len()),
            Value::Tuple(values) => write!(f, "tuple of {}", values.len()),
            Value::Set(values) => write!(f, "set of {}", values.len()),
            Value::Dict(entries) => write!(f, "dict of {} with keys {}", entries.len(), listed(&self.keys())),
            Value::Tensor(tensor) => write!(f, "tensor {:?} of {:?}", tensor.size(), tensor.kind()),
        }
    }
}
