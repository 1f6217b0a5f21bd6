//! A strict reader of zip archives as `torch.save` and `numpy.savez` write them: stored or deflated entries, zip64.

use std::collections::HashSet;
use std::io::{Read, Seek};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::broken::{Outcome, quoted, refuse};
use super::source::Source;

/// Deflate cannot shrink further; a larger claim is a lie.
const MOST_DEFLATED: u64 = 1032;

const END: usize = 22;
const CENTRAL: usize = 46;
const LOCAL: u64 = 30;

struct Entry {
    name: String,
    deflated: bool,
    crc: u32,
    packed: u64,
    size: u64,
    /// Of its data.
    begin: u64,
}

/// The entries of an archive, whose places and sizes have been checked.
pub(super) struct Archive<R> {
    source: Source<R>,
    entries: Vec<Entry>,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory. Refused: repeated names, encryption, entries that overlap or lie outside.
    pub(super) fn open(mut source: Source<R>) -> Outcome<Archive<R>> {
        let (count, size, offset) = directory(&mut source)?;
        let bytes = source.bytes(offset, size)?;
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (entry, after) = central(rest)?;
            rest = after;
            entries.push(entry);
        }
        if entries.len() as u64 != count {
            return refuse(format!("a damaged zip directory: it announces {count} entries and has {}", entries.len()));
        }
        let mut names = HashSet::new();
        if let Some(twice) = entries.iter().find(|e| !names.insert(e.name.clone())) {
            return refuse(format!("the zip archive has two entries named {}", quoted(&twice.name)));
        }
        let mut places = Vec::new();
        for entry in &mut entries {
            let local = entry.begin;
            entry.begin = data_of(&mut source, entry)?;
            places.push((local, entry.begin.checked_add(entry.packed).filter(|end| *end <= offset), &entry.name));
        }
        places.sort();
        for (i, (_, end, name)) in places.iter().enumerate() {
            let limit = places.get(i + 1).map_or(offset, |next| next.0);
            if end.is_none_or(|end| end > limit) {
                return refuse(format!("zip entry {} is larger than its place in the file", quoted(name)));
            }
        }
        Ok(Archive { source, entries })
    }

    /// The bytes it was opened on.
    pub(super) fn into_source(self) -> Source<R> {
        self.source
    }

    /// Length of the whole archive.
    pub(super) fn len(&self) -> u64 {
        self.source.len
    }

    /// Names in the order of the directory.
    pub(super) fn names(&self) -> Vec<String> {
        self.entries.iter().map(|e| e.name.clone()).collect()
    }

    /// The first entry that is deflated.
    pub(super) fn packed(&self) -> Option<String> {
        self.entries.iter().find(|e| e.deflated).map(|e| e.name.clone())
    }

    /// Size of an entry once unpacked.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.entries.iter().find(|e| e.name == name).map(|e| e.size)
    }

    /// The content of an entry, whose checksum must fit.
    pub(super) fn entry(&mut self, name: &str) -> Outcome<Vec<u8>> {
        let Some(entry) = self.entries.iter().find(|e| e.name == name) else {
            return refuse(format!("the zip archive has no entry {}", quoted(name)));
        };
        let bytes = match entry.deflated {
            false => self.source.bytes(entry.begin, entry.size)?,
            true => {
                let mut bytes = Vec::new();
                let unpacked = DeflateDecoder::new(self.source.at(entry.begin, entry.packed)?);
                let outcome = unpacked.take(entry.size + 1).read_to_end(&mut bytes);
                if outcome.is_err() || bytes.len() as u64 != entry.size {
                    return refuse(format!("zip entry {} does not unpack to its {} bytes", quoted(name), entry.size));
                }
                bytes
            }
        };
        let mut crc = Crc::new();
        crc.update(&bytes);
        // A fuzzer does not guess checksums; what is behind them matters to it.
        match crc.sum() == entry.crc || cfg!(fuzzing) {
            true => Ok(bytes),
            false => refuse(format!("zip entry {} is damaged: its checksum does not fit", quoted(name))),
        }
    }
}

/// Number of entries, size and offset of the directory.
fn directory<R: Read + Seek>(source: &mut Source<R>) -> Outcome<(u64, u64, u64)> {
    let begin = source.len.saturating_sub((END + usize::from(u16::MAX)) as u64);
    let tail = source.bytes(begin, source.len - begin)?;
    // A comment may follow, and must then reach exactly to the end.
    let ends = |i: &usize| tail[*i..].starts_with(b"PK\x05\x06") && i + END + usize::from(short(&tail, i + 20)) == tail.len();
    let Some(at) = (0..(tail.len() + 1).saturating_sub(END)).rev().find(ends) else {
        return refuse("cut off: not a whole zip archive (its end is missing)");
    };
    let narrow = (u64::from(short(&tail, at + 10)), u64::from(word(&tail, at + 12)), u64::from(word(&tail, at + 16)));
    let position = begin + at as u64;
    let wide = position >= 20 && narrow_is_full(narrow);
    let (count, size, offset) = match wide {
        false => narrow,
        true => {
            let locator = source.bytes(position - 20, 20)?;
            if !locator.starts_with(b"PK\x06\x07") {
                return refuse("a damaged zip archive: the zip64 directory is missing");
            }
            let end = source.bytes(long(&locator, 8), 56)?;
            if !end.starts_with(b"PK\x06\x06") {
                return refuse("a damaged zip archive: the zip64 directory is missing");
            }
            (long(&end, 32), long(&end, 40), long(&end, 48))
        }
    };
    match offset.checked_add(size) {
        Some(end) if end <= position => Ok((count, size, offset)),
        _ => refuse("a damaged zip archive: its directory lies outside the file"),
    }
}

fn narrow_is_full((count, size, offset): (u64, u64, u64)) -> bool {
    count == u64::from(u16::MAX) || size == u64::from(u32::MAX) || offset == u64::from(u32::MAX)
}

/// One record of the directory, and what follows it; `begin` is still that of the local header.
fn central(bytes: &[u8]) -> Outcome<(Entry, &[u8])> {
    if bytes.len() < CENTRAL || !bytes.starts_with(b"PK\x01\x02") {
        return refuse("a damaged zip directory");
    }
    let [named, extra, comment] = [28, 30, 32].map(|at| usize::from(short(bytes, at)));
    let after = CENTRAL + named + extra + comment;
    if bytes.len() < after {
        return refuse("a damaged zip directory: a record is cut off");
    }
    let name = std::str::from_utf8(&bytes[CENTRAL..CENTRAL + named]).map_err(|_| "a zip entry whose name is not UTF-8")?;
    let (flags, method) = (short(bytes, 8), short(bytes, 10));
    if flags & 1 != 0 {
        return refuse(format!("zip entry {} is encrypted", quoted(name)));
    }
    if method != 0 && method != 8 {
        return refuse(format!("zip entry {} is neither stored nor deflated (method {method})", quoted(name)));
    }
    let mut sizes = [24, 20, 42].map(|at| u64::from(word(bytes, at)));
    widen(&mut sizes, &bytes[CENTRAL + named..CENTRAL + named + extra])?;
    let [size, packed, begin] = sizes;
    let deflated = method == 8;
    let most = if deflated { packed.saturating_mul(MOST_DEFLATED) } else { packed };
    if size > most || (!deflated && size != packed) {
        return refuse(format!("zip entry {} claims {size} bytes from {packed}", quoted(name)));
    }
    Ok((Entry { name: name.to_string(), deflated, crc: word(bytes, 16), packed, size, begin }, &bytes[after..]))
}

/// Replaces the sizes that say "see the zip64 field" by what that field says, in its order.
fn widen(sizes: &mut [u64; 3], mut extra: &[u8]) -> Outcome<()> {
    while extra.len() >= 4 && sizes.contains(&u64::from(u32::MAX)) {
        let (tag, length) = (short(extra, 0), usize::from(short(extra, 2)));
        let Some(mut field) = extra.get(4..4 + length) else { return refuse("a damaged zip directory: a field is cut off") };
        extra = &extra[4 + length..];
        if tag != 1 {
            continue;
        }
        for size in sizes.iter_mut().filter(|size| **size == u64::from(u32::MAX)) {
            if field.len() < 8 {
                return refuse("a damaged zip directory: a zip64 size is missing");
            }
            (*size, field) = (long(field, 0), &field[8..]);
        }
        return Ok(());
    }
    Ok(())
}

/// Where the data of an entry begins, after its local header, which must name it.
fn data_of<R: Read + Seek>(source: &mut Source<R>, entry: &Entry) -> Outcome<u64> {
    let header = source.bytes(entry.begin, LOCAL)?;
    let (named, extra) = (u64::from(short(&header, 26)), u64::from(short(&header, 28)));
    let named_so = || format!("zip entry {} is not where the directory says", quoted(&entry.name));
    if !header.starts_with(b"PK\x03\x04") || source.bytes(entry.begin + LOCAL, named)? != entry.name.as_bytes() {
        return refuse(named_so());
    }
    Ok(entry.begin + LOCAL + named + extra)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(short(bytes, at)) | u32::from(short(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
