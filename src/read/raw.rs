//! Arrays without a header: the shape must come from elsewhere.

use std::path::Path;

use tch::{Kind, Tensor};

use super::broken::{Outcome, about, refuse};
use super::element::{bytes_of, plain};
use super::header::MAGIC;
use super::npy::map;
use super::source::{Source, open};
use crate::error::Result;

/// An array written as bare bytes in C order and this machine's byte order (`numpy.memmap`, `tofile`), mapped where [`npy`] would.
///
/// Errors: [`Error::Data`](crate::Error::Data) if the size is not that of `shape`, or the file has an NPY header after all.
///
/// [`npy`]: super::npy
pub fn raw(path: impl AsRef<Path>, shape: &[i64], kind: Kind) -> Result<Tensor> {
    let path = path.as_ref();
    about(path, || array(path, &mut bare(path)?, shape, kind))
}

/// Opens a file that must have no header.
pub(super) fn bare(path: &Path) -> Outcome<Source<std::fs::File>> {
    let mut source = open(path)?;
    match source.start(MAGIC.len() as u64)?.as_slice() == MAGIC {
        true => refuse("expected an array without a header, but it has an NPY header: see `read::npy`"),
        false => Ok(source),
    }
}

pub(super) fn array(path: &Path, source: &mut Source<std::fs::File>, shape: &[i64], kind: Kind) -> Outcome<Tensor> {
    if kind == Kind::Bool {
        return refuse("a bool array without a header: read it as Kind::Uint8, then compare with 0");
    }
    let expected = bytes_of(shape, kind.elt_size_in_bytes())?;
    if source.len != expected {
        return refuse(format!("shape {shape:?} of {kind:?} takes {expected} bytes, the file has {}", source.len));
    }
    if let Some(mapped) = map(path, source.len, 0, shape, kind) {
        return Ok(mapped);
    }
    plain(&source.bytes(0, expected)?, shape, kind)
}
