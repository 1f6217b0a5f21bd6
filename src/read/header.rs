//! The header of an NPY file: magic, version, and a Python dictionary with dtype, order and shape.

use super::broken::{Outcome, quoted, refuse};
use super::element::Element;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longer headers exist only for records with many fields, which are not read.
const LONGEST: usize = 1 << 16;

/// Bytes at the start of a file that surely hold the header.
pub(super) const ENOUGH: u64 = LONGEST as u64 + 12;

/// What the header says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) fortran: bool,
    pub(super) shape: Vec<i64>,
    /// Where the data begins.
    pub(super) start: u64,
}

impl Header {
    /// Reads the header from the first bytes of a file.
    pub(super) fn parse(bytes: &[u8]) -> Outcome<Header> {
        if !bytes.starts_with(MAGIC) {
            let hint = match super::is_zip(bytes) {
                true => "a zip archive: see `read::npz`, `read::torch`",
                false => "no NPY header: for an array without one see `read::raw`, `read::d_trak`",
            };
            return refuse(format!("expected an NPY file, got {hint}"));
        }
        let cut = || format!("cut off inside the NPY header ({} bytes)", bytes.len());
        let (major, rest) = match &bytes[MAGIC.len()..] {
            [major, _, rest @ ..] => (*major, rest),
            _ => return refuse(cut()),
        };
        let (length, begin) = match (major, rest) {
            (1, [a, b, ..]) => (usize::from(u16::from_le_bytes([*a, *b])), 10),
            (2 | 3, [a, b, c, d, ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
            (1..=3, _) => return refuse(cut()),
            _ => return refuse(format!("expected NPY version 1, 2 or 3, got {major}")),
        };
        if length > LONGEST {
            return refuse(format!("expected an NPY header of at most {LONGEST} bytes, got {length}"));
        }
        let text = bytes.get(begin..begin + length).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "the NPY header is not text")?;
        let (element, fortran, shape) = Literal { text, rest: text }.header()?;
        Ok(Header { element, fortran, shape, start: (begin + length) as u64 })
    }

    /// Bytes of data that must follow the header.
    pub(super) fn data(&self) -> Outcome<u64> {
        self.element.bytes_of(&self.shape)
    }

    /// The tensor, given the data.
    pub(super) fn tensor(&self, data: &[u8]) -> Outcome<tch::Tensor> {
        self.element.tensor(data, &self.shape, self.fortran)
    }
}

/// The few Python literals that a header is made of.
struct Literal<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Outcome<(Element, bool, Vec<i64>)> {
        let (mut descr, mut order, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.takes('}') {
            match self.string()? {
                "descr" if descr.is_none() => descr = Some(self.descr()?),
                "fortran_order" if order.is_none() => order = Some(self.truth()?),
                "shape" if shape.is_none() => shape = Some(self.shape()?),
                other => return refuse(format!("unexpected or repeated key {} in the NPY header", quoted(other))),
            }
            if !self.takes(',') {
                self.expect('}')?;
                break;
            }
        }
        match (descr, order, shape, self.rest.trim().is_empty()) {
            (Some(descr), Some(order), Some(shape), true) => Ok((Element::parse(descr)?, order, shape)),
            _ => refuse(format!("expected descr, fortran_order and shape in the NPY header, got {}", quoted(self.text))),
        }
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.rest.trim_start().strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn expect(&mut self, wanted: char) -> Outcome<()> {
        match self.takes(wanted) {
            true => Ok(()),
            false => refuse(format!("expected {wanted:?} in the NPY header, got {}", quoted(self.rest.trim()))),
        }
    }

    fn quote(&mut self) -> Outcome<&'a str> {
        let quote = if self.takes('"') { '"' } else { self.expect('\'').map(|()| '\'')? };
        let (inside, rest) = self.rest.split_once(quote).ok_or("an open quotation in the NPY header")?;
        self.rest = rest;
        Ok(inside)
    }

    fn string(&mut self) -> Outcome<&'a str> {
        let key = self.quote()?;
        self.expect(':')?;
        Ok(key)
    }

    fn descr(&mut self) -> Outcome<&'a str> {
        match self.rest.trim_start().starts_with(['[', '{', '(']) {
            true => refuse("an array of records (structured dtype); only arrays of numbers are read"),
            false => self.quote(),
        }
    }

    fn truth(&mut self) -> Outcome<bool> {
        let text = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = text.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        refuse(format!("expected True or False for fortran_order, got {}", quoted(text)))
    }

    fn shape(&mut self) -> Outcome<Vec<i64>> {
        let mut shape = Vec::new();
        self.expect('(')?;
        while !self.takes(')') {
            let text = self.rest.trim_start();
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
            let size = text[..end].parse().map_err(|_| format!("expected a size in the shape, got {}", quoted(text)))?;
            shape.push(size);
            // Python 2 wrote `3L`.
            self.rest = text[end..].strip_prefix('L').unwrap_or(&text[end..]);
            if !self.takes(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(shape)
    }
}
