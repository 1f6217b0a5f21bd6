//! Safetensors: the length of a JSON header, the header, the bytes of the tensors one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek};
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tch::{Kind, Tensor};

use super::broken::{Outcome, about, quoted, refuse};
use super::element::{bytes_of, plain};
use super::source::{Source, open};
use crate::error::Result;

/// The format's own limit for a header.
const LONGEST: u64 = 100_000_000;

/// Tensors by name, and the text beside them.
pub(crate) type Weights = (Vec<(String, Tensor)>, BTreeMap<String, String>);

/// The named tensors of a safetensors file, by name: floats of 16, 32 and 64 bits, bfloat16, integers of 8 to 64 bits, bool.
///
/// Errors: [`Error::Data`](crate::Error::Data) for a header that is longer than the file, not JSON, repeats a name, or whose places
/// are not exactly the bytes that follow.
pub fn safetensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    about(path.as_ref(), || Ok(tensors(&mut open(path.as_ref())?)?.0))
}

/// Where one tensor lies.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header in the order of the file.
#[derive(Default)]
struct Header {
    places: Vec<(String, Place)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    /// By hand, because a map would hide a name that comes twice.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Header, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
                let mut header = Header::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "__metadata__" => header.metadata = map.next_value()?,
                        _ => header.places.push((name, map.next_value()?)),
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

pub(super) fn tensors<R: Read + Seek>(source: &mut Source<R>) -> Outcome<Weights> {
    let not = |reason: String| format!("not a whole and valid safetensors file: {reason}");
    if source.len < 8 {
        return refuse(not(format!("expected 8 bytes of header length, the file has {}", source.len)));
    }
    let length = source.bytes(0, 8)?.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    if length > LONGEST || length > source.len - 8 {
        return refuse(not(format!("its header claims {length} bytes, the file has {}", source.len)));
    }
    let text = source.bytes(8, length)?;
    // The reason may quote the file.
    let header: Header = serde_json::from_slice(&text).map_err(|e| not(format!("its header: {}", quoted(&e.to_string()))))?;
    let Header { mut places, metadata } = header;
    places.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = places.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return refuse(not(format!("two tensors named {}", quoted(&twice[0].0))));
    }
    let (begin, data) = (8 + length, source.len - 8 - length);
    check_places(&places, data).map_err(not)?;
    let mut tensors = Vec::with_capacity(places.len());
    for (name, place) in places {
        let tensor = tensor(source, begin, &place);
        tensors.push((name.clone(), tensor.map_err(|broken| super::npy::within("tensor", &name, broken))?));
    }
    Ok((tensors, metadata))
}

/// An error unless the places are the bytes of the data, each once.
fn check_places(places: &[(String, Place)], data: u64) -> std::result::Result<(), String> {
    let mut order: Vec<&(String, Place)> = places.iter().collect();
    order.sort_by_key(|(_, place)| place.data_offsets);
    let mut reached = 0;
    for (name, Place { data_offsets: [start, end], .. }) in order {
        if *start != reached || end < start || *end > data {
            return Err(format!("tensor {} lies at {start} to {end}, expected {reached} to at most {data}", quoted(name)));
        }
        reached = *end;
    }
    match reached == data {
        true => Ok(()),
        false => Err(format!("its tensors take {reached} bytes, {data} follow the header")),
    }
}

fn tensor<R: Read + Seek>(source: &mut Source<R>, begin: u64, place: &Place) -> Outcome<Tensor> {
    let kind = match place.dtype.as_str() {
        "F64" => Kind::Double,
        "F32" => Kind::Float,
        "F16" => Kind::Half,
        "BF16" => Kind::BFloat16,
        "I64" => Kind::Int64,
        "I32" => Kind::Int,
        "I16" => Kind::Int16,
        "I8" => Kind::Int8,
        "U8" => Kind::Uint8,
        "BOOL" => Kind::Bool,
        other => return refuse(format!("expected numbers of a type that libtorch computes with, got dtype {}", quoted(other))),
    };
    let size = |d: &u64| i64::try_from(*d).map_err(|_| format!("a size of {d}"));
    let shape = place.shape.iter().map(size).collect::<std::result::Result<Vec<i64>, _>>()?;
    let [start, end] = place.data_offsets;
    let expected = bytes_of(&shape, kind.elt_size_in_bytes())?;
    if expected != end - start {
        return refuse(format!("shape {shape:?} of {} takes {expected} bytes, its place has {}", place.dtype, end - start));
    }
    let bytes = source.bytes(begin + start, expected)?;
    match kind {
        // A stored byte may be neither 0 nor 1.
        Kind::Bool => Ok(plain(&bytes, &shape, Kind::Uint8)?.f_ne(0)?),
        _ => plain(&bytes, &shape, kind),
    }
}
