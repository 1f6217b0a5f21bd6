//! Values while a pickle is being read: they refer to each other by number, so that sharing costs nothing.

use std::borrow::Cow;

use tch::{Kind, Tensor};

use crate::read::element::Element;

/// Number of a node.
pub(super) type Id = u32;

/// A value under construction.
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Tensor(Tensor),
    /// A NumPy array whose shape and data come later.
    Array,
    /// A NumPy element type; its byte order may come later.
    Dtype(Element),
    /// A torch storage, one-dimensional.
    Storage(Tensor),
    /// A name from the list of those that mean data.
    Known(Known),
}

impl Node<'_> {
    /// What it is, for an error.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Node::None => "None",
            Node::Bool(_) => "a bool",
            Node::Int(_) => "an int",
            Node::Float(_) => "a float",
            Node::Text(_) => "a text",
            Node::Bytes(_) => "bytes",
            Node::List(_) => "a list",
            Node::Tuple(_) => "a tuple",
            Node::Set(_) => "a set",
            Node::Dict(_) => "a dict",
            Node::Tensor(_) => "a tensor",
            Node::Array => "an array without data",
            Node::Dtype(_) => "a dtype",
            Node::Storage(_) => "a torch storage",
            Node::Known(_) => "a class or function",
        }
    }
}

/// The only names that a pickle may ask for.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Known {
    Reconstruct,
    Ndarray,
    Dtype,
    Scalar,
    FromBuffer,
    Encode,
    Bytes,
    Bytearray,
    Set,
    Frozenset,
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    Storage(Kind),
}

impl Known {
    /// Looks a name up; torch's names count only inside a torch archive.
    pub(super) fn find(module: &str, name: &str, torch: bool) -> Option<Known> {
        Some(match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Known::Reconstruct,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Known::Scalar,
            ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer") => Known::FromBuffer,
            ("numpy", "ndarray") => Known::Ndarray,
            ("numpy", "dtype") => Known::Dtype,
            ("_codecs", "encode") => Known::Encode,
            ("builtins" | "__builtin__", "bytes") => Known::Bytes,
            ("builtins" | "__builtin__", "bytearray") => Known::Bytearray,
            ("builtins" | "__builtin__", "set") => Known::Set,
            ("builtins" | "__builtin__", "frozenset") => Known::Frozenset,
            ("collections", "OrderedDict") => Known::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") if torch => Known::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") if torch => Known::RebuildParameter,
            ("torch", "Size") if torch => Known::Size,
            ("torch", storage) if torch => Known::Storage(match storage.strip_suffix("Storage")? {
                "Double" => Kind::Double,
                "Float" => Kind::Float,
                "Half" => Kind::Half,
                "BFloat16" => Kind::BFloat16,
                "Long" => Kind::Int64,
                "Int" => Kind::Int,
                "Short" => Kind::Int16,
                "Char" => Kind::Int8,
                "Byte" => Kind::Uint8,
                "Bool" => Kind::Bool,
                _ => return None,
            }),
            _ => return None,
        })
    }
}
