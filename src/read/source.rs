//! Where bytes come from: a regular file or memory, with a known length.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use super::broken::{Outcome, refuse};

/// Bytes of known length that can be read anywhere.
pub(super) struct Source<R> {
    inner: R,
    pub(super) len: u64,
}

/// A regular file: a pipe or a device has no length to check sizes against.
pub(super) fn open(path: &Path) -> Outcome<Source<File>> {
    // Asked before opening, because opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return refuse("expected a file, got a folder, pipe or device");
    }
    let inner = File::open(path)?;
    let len = inner.metadata()?.len();
    Ok(Source { inner, len })
}

/// Bytes in memory.
pub(super) fn memory(bytes: &[u8]) -> Source<Cursor<&[u8]>> {
    Source { inner: Cursor::new(bytes), len: bytes.len() as u64 }
}

/// The whole file, for readers that need all of it.
pub(super) fn whole(path: &Path) -> Outcome<Vec<u8>> {
    let mut source = open(path)?;
    let len = source.len;
    source.bytes(0, len)
}

/// Text of the whole file.
pub(super) fn text(path: &Path) -> Outcome<String> {
    String::from_utf8(whole(path)?)
        .map_err(|e| format!("expected UTF-8 text, got another byte at {}", e.utf8_error().valid_up_to()).into())
}

/// Whether a file begins like a zip archive, as `torch.save` and `numpy.savez` write.
pub(super) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04")
}

impl<R: Read + Seek> Source<R> {
    /// `count` bytes from `offset`; memory is taken only for what the source holds.
    pub(super) fn bytes(&mut self, offset: u64, count: u64) -> Outcome<Vec<u8>> {
        if offset.checked_add(count).is_none_or(|end| end > self.len) {
            return refuse(format!("cut off: expected {count} bytes at {offset}, the file has {}", self.len));
        }
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(count as usize).is_err() {
            return refuse(format!("{count} bytes do not fit in memory"));
        }
        self.at(offset, count)?.read_to_end(&mut bytes)?;
        match bytes.len() as u64 == count {
            true => Ok(bytes),
            false => refuse(format!("became shorter while it was read: expected {count} bytes at {offset}, got {}", bytes.len())),
        }
    }

    /// A reader of `count` bytes from `offset`.
    pub(super) fn at(&mut self, offset: u64, count: u64) -> Outcome<impl Read> {
        self.inner.seek(SeekFrom::Start(offset))?;
        Ok(self.inner.by_ref().take(count))
    }

    /// The first bytes, at most `count`.
    pub(super) fn start(&mut self, count: u64) -> Outcome<Vec<u8>> {
        self.bytes(0, count.min(self.len))
    }
}
