//! NumPy's own files.

use std::io::{Read, Seek};
use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::broken::{Broken, Outcome, about, refuse};
use super::header::{ENOUGH, Header};
use super::source::{Source, open};
use super::zip::Archive;
use crate::error::Result;

/// Smaller files are copied: a page fault costs more than the bytes.
const WORTH_MAPPING: u64 = 1 << 20;

/// One array of a `.npy` file, or of traker's `.mmap`, which is the same: bool, integers, float16 to float64, either byte order,
/// C or Fortran order, any number of dimensions. uint16 to uint64 become int64.
///
/// A file of at least 1 MiB in C order and in the machine's own byte order is mapped, not copied: it takes no memory until used,
/// and must not be cut off by others meanwhile. The mapping is private, so writing to the tensor does not change the file.
///
/// Errors: [`Error::Data`](crate::Error::Data) for a header that does not fit the file's length, and for records and objects.
pub fn npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    about(path, || {
        let mut source = open(path)?;
        let header = Header::parse(&source.start(ENOUGH)?)?;
        let data = header.data()?;
        if source.len - header.start != data {
            let came = source.len - header.start;
            return refuse(format!("its header says {:?}, {data} bytes of data, but {came} follow", header.shape));
        }
        if let (Some(kind), false) = (header.element.native(), header.fortran)
            && let Some(mapped) = map(path, source.len, header.start, &header.shape, kind)
        {
            return Ok(mapped);
        }
        header.tensor(&source.bytes(header.start, data)?)
    })
}

/// The file from `start` as a tensor over its pages; `None` where copying is the better or only way.
pub(super) fn map(path: &Path, len: u64, start: u64, shape: &[i64], kind: Kind) -> Option<Tensor> {
    let size = kind.elt_size_in_bytes() as u64;
    if len < WORTH_MAPPING || !start.is_multiple_of(size) || !len.is_multiple_of(size) {
        return None;
    }
    let (elements, skipped) = ((len / size) as i64, (start / size) as i64);
    let whole = Tensor::f_from_file(path.to_str()?, false, elements, (kind, Device::Cpu)).ok()?;
    whole.f_narrow(0, skipped, elements - skipped).and_then(|data| data.f_reshape(shape)).ok()
}

/// Every array of an `.npz` file by name, in the order of the file.
pub fn npz(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    about(path.as_ref(), || arrays(open(path.as_ref())?))
}

pub(super) fn arrays<R: Read + Seek>(source: Source<R>) -> Outcome<Vec<(String, Tensor)>> {
    arrays_of(&mut Archive::open(source)?)
}

/// The arrays of an archive that has nothing else.
pub(super) fn arrays_of<R: Read + Seek>(archive: &mut Archive<R>) -> Outcome<Vec<(String, Tensor)>> {
    let mut arrays = Vec::new();
    for name in archive.names() {
        let Some(short) = name.strip_suffix(".npy") else {
            return refuse(format!("expected only .npy entries, got {}", super::broken::quoted(&name)));
        };
        let array = archive.entry(&name).and_then(|bytes| array(&bytes));
        arrays.push((short.to_string(), array.map_err(|broken| within("entry", &name, broken))?));
    }
    Ok(arrays)
}

/// One NPY file in memory.
pub(super) fn array(bytes: &[u8]) -> Outcome<Tensor> {
    let header = Header::parse(bytes)?;
    header.tensor(&bytes[header.start as usize..])
}

/// What is wrong with one of several tensors.
pub(super) fn within(what: &str, name: &str, broken: Broken) -> Broken {
    match broken {
        Broken::Content(reason) => Broken::Content(format!("{what} {}: {reason}", super::broken::quoted(name))),
        other => other,
    }
}
