//! Pickles without execution: a stack machine that knows data, and a short list of names for arrays.

mod input;
mod machine;
mod node;
mod object;
mod stack;

use std::path::Path;

use tch::Kind;
use tch::Tensor;

use super::broken::{Outcome, about, refuse};
use super::header::{Header, MAGIC};
use super::source::{is_zip, whole};
use super::value::Value;
use crate::error::Result;

pub(super) use machine::Machine;

/// Gives the storage of a tensor inside a torch archive: element kind, key, number of elements.
pub(super) type Storages<'a> = dyn FnMut(Kind, &str, i64) -> Outcome<Tensor> + 'a;

/// A pickle (protocols 0 to 5) of None, bool, int, float, str, bytes, list, tuple, dict, set and NumPy arrays and scalars.
///
/// Every other name that the file asks for is refused by name: nothing is imported, called or executed. Lists deeper than 100,
/// integers beyond 64 bits and arrays of Python objects are refused too.
///
/// ```
/// let file = std::env::temp_dir().join(format!("ascribe-doc-{}.pkl", std::process::id()));
/// std::fs::write(&file, b"cos\nsystem\n(S'echo'\ntR.")?;
/// let refused = ascribe::read::pickle(&file).unwrap_err();
/// assert!(format!("{refused:?}").contains("os.system"));
/// # std::fs::remove_file(&file).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pickle(path: impl AsRef<Path>) -> Result<Value> {
    about(path.as_ref(), || value(&whole(path.as_ref())?))
}

/// A pickle in memory.
pub(super) fn value(bytes: &[u8]) -> Outcome<Value> {
    if is_zip(bytes) {
        return refuse("expected a pickle, got a zip archive: see `read::torch`, `read::npz`");
    }
    if bytes.starts_with(MAGIC) {
        return refuse("expected a pickle, got an NPY file: see `read::npy`");
    }
    Machine::new(bytes, bytes.len() as u64, None).run()
}

/// Indices: a pickled list or array (D-TRAK), an integer `.npy`, or text with one number a line (dattri, the Bayesian study).
///
/// Errors: [`Error::Data`](crate::Error::Data) for anything else, and for a negative index.
pub fn indices(path: impl AsRef<Path>) -> Result<Vec<i64>> {
    about(path.as_ref(), || index_list(&whole(path.as_ref())?))
}

pub(super) fn index_list(bytes: &[u8]) -> Outcome<Vec<i64>> {
    let text = |bytes: &[u8]| bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_whitespace() || *b == b'-');
    let indices = if bytes.starts_with(MAGIC) {
        let header = Header::parse(bytes)?;
        Value::Tensor(header.tensor(&bytes[header.start as usize..])?).ints()?
    } else if bytes.is_empty() {
        return refuse("expected indices, got an empty file");
    } else if text(bytes) {
        let parse = |(i, line): (usize, &str)| match line.trim() {
            "" => None,
            word => Some(word.parse().map_err(|_| format!("line {}: expected an index, got {word:?}", i + 1))),
        };
        let text = String::from_utf8_lossy(bytes);
        text.lines().enumerate().filter_map(parse).collect::<std::result::Result<Vec<i64>, _>>()?
    } else {
        value(bytes)?.ints()?
    };
    match indices.iter().find(|index| **index < 0) {
        Some(negative) => refuse(format!("expected indices from 0, got {negative}")),
        None => Ok(indices),
    }
}
