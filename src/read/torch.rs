//! Archives of `torch.save`: a pickle and the storages it refers to.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::path::Path;

use tch::{Kind, Tensor};

use super::broken::{Outcome, about, quoted, refuse};
use super::element::plain;
use super::pickle::Machine;
use super::source::{Source, is_zip, open};
use super::value::Value;
use super::zip::Archive;
use crate::error::Result;

/// What `torch.save` wrote since version 1.6: numbers, lists, dicts, tensors, parameters and NumPy arrays.
///
/// Tensors that share a storage share it here. Every other class is refused by name, as in [`pickle`](super::pickle); so are the
/// format before 1.6 and TorchScript.
pub fn torch(path: impl AsRef<Path>) -> Result<Value> {
    about(path.as_ref(), || value(open(path.as_ref())?))
}

pub(super) fn value<R: Read + Seek>(mut source: Source<R>) -> Outcome<Value> {
    let start = source.start(64)?;
    if !is_zip(&start) {
        return refuse(not_zip(&start));
    }
    let mut archive = Archive::open(source)?;
    let names = archive.names();
    if names.iter().any(|name| name.ends_with("/constants.pkl")) {
        return refuse("expected weights saved by `torch.save`, got a TorchScript archive: it holds code");
    }
    if let Some(packed) = archive.packed() {
        return refuse(format!("entry {} is compressed; `torch.save` stores its entries as they are", quoted(&packed)));
    }
    let pickles: Vec<&String> = names.iter().filter(|name| name.ends_with("/data.pkl")).collect();
    let [pickle] = pickles.as_slice() else {
        return refuse(format!("expected one entry data.pkl as `torch.save` writes, got {}", pickles.len()));
    };
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default().to_string();
    let order = format!("{folder}byteorder");
    if archive.size(&order).is_some_and(|size| size > 16) || archive.size(&order).is_some() && archive.entry(&order)? != b"little"
    {
        return refuse("expected storages in little-endian order");
    }
    let (bytes, length) = (archive.entry(pickle)?, archive.len());
    let mut read: HashMap<String, (Kind, Tensor)> = HashMap::new();
    let mut storage = |kind: Kind, key: &str, count: i64| -> Outcome<Tensor> {
        let tensor = match read.get(key) {
            Some((before, tensor)) if *before == kind => tensor.shallow_clone(),
            Some(_) => return refuse(format!("storage {} is used with two element types", quoted(key))),
            None => {
                let tensor = elements(&archive.entry(&format!("{folder}data/{key}"))?, kind)?;
                read.insert(key.to_string(), (kind, tensor.shallow_clone()));
                tensor
            }
        };
        match tensor.numel() as i64 == count {
            true => Ok(tensor),
            false => refuse(format!("storage {} has {} elements, the pickle says {count}", quoted(key), tensor.numel())),
        }
    };
    Machine::new(&bytes, length, Some(&mut storage)).run()
}

fn elements(bytes: &[u8], kind: Kind) -> Outcome<Tensor> {
    let count = [(bytes.len() / kind.elt_size_in_bytes()) as i64];
    match kind {
        // A stored byte may be neither 0 nor 1.
        Kind::Bool => Ok(plain(bytes, &count, Kind::Uint8)?.f_ne(0)?),
        _ => plain(bytes, &count, kind),
    }
}

fn not_zip(start: &[u8]) -> String {
    // A pickle of protocol 2 that begins with the old format's magic number.
    match start.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46") {
        true => "the old torch format, before zip: load it in Python and save it again with `torch.save`".into(),
        false => "expected a zip archive as `torch.save` writes; for a plain pickle see `read::pickle`".into(),
    }
}
