//! One element of a stored array, and tensors made of their bytes.

use tch::{Kind, Tensor};

use super::broken::{Outcome, quoted, refuse};

/// NumPy's own limit is 64; no paper has more than 5.
pub(super) const MOST_DIMENSIONS: usize = 32;

/// A NumPy element type such as `<f4`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Element {
    class: u8,
    pub(super) size: usize,
    big_endian: bool,
}

impl Element {
    /// Reads a NumPy type string: byte order, letter, size. Complex numbers, text, dates and Python objects are refused.
    pub(super) fn parse(descr: &str) -> Outcome<Element> {
        let (order, rest) = match descr.as_bytes() {
            [order @ (b'<' | b'>' | b'=' | b'|'), rest @ ..] => (*order, rest),
            rest => (b'=', rest),
        };
        let (class, size) = match rest {
            b"b1" | b"?" => (b'b', 1),
            [class @ (b'i' | b'u'), size @ (b'1' | b'2' | b'4' | b'8')] => (*class, usize::from(size - b'0')),
            [b'f', size @ (b'2' | b'4' | b'8')] => (b'f', usize::from(size - b'0')),
            [b'O', ..] => return refuse("an array of Python objects (dtype object); only arrays of numbers are read"),
            _ => return refuse(format!("expected numbers (bool, int, uint, float16 to float64), got dtype {}", quoted(descr))),
        };
        let native_big = cfg!(target_endian = "big");
        let big_endian = size > 1 && if order == b'=' || order == b'|' { native_big } else { order == b'>' };
        Ok(Element { class, size, big_endian })
    }

    /// The same type in another byte order: `<`, `>`, `=` or `|`.
    pub(super) fn ordered(self, order: &str) -> Outcome<Element> {
        match order {
            "<" | ">" | "=" | "|" => Element::parse(&format!("{order}{}{}", self.class as char, self.size)),
            _ => refuse(format!("expected a byte order (<, >, =, |), got {}", quoted(order))),
        }
    }

    /// The tensor kind whose bytes these are on this machine; a bool is not, since a stored byte may be neither 0 nor 1.
    pub(super) fn native(self) -> Option<Kind> {
        match (self.class, self.big_endian == cfg!(target_endian = "big") || self.size == 1) {
            (b'b', _) | (_, false) => None,
            (b'u', _) if self.size > 1 => None,
            _ => Some(self.kind()),
        }
    }

    /// The tensor kind of the values; wide unsigned numbers become int64.
    fn kind(self) -> Kind {
        match (self.class, self.size) {
            (b'b', _) => Kind::Bool,
            (b'u', 1) => Kind::Uint8,
            (b'i', 1) => Kind::Int8,
            (b'i', 2) => Kind::Int16,
            (b'i', 4) => Kind::Int,
            (b'f', 2) => Kind::Half,
            (b'f', 4) => Kind::Float,
            (b'f', _) => Kind::Double,
            _ => Kind::Int64,
        }
    }

    /// Elements of this type in `shape`, in C or Fortran order.
    pub(super) fn tensor(self, bytes: &[u8], shape: &[i64], fortran: bool) -> Outcome<Tensor> {
        let expected = self.bytes_of(shape)?;
        if bytes.len() as u64 != expected {
            return refuse(format!("shape {shape:?} needs {expected} bytes of data, got {}", bytes.len()));
        }
        let turned: Vec<i64> = if fortran { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        let tensor = match self.native() {
            Some(kind) => plain(bytes, &turned, kind)?,
            None if self.class == b'b' => plain(bytes, &turned, Kind::Uint8)?.f_ne(0)?,
            None if self.class == b'u' => {
                let wide: Option<Vec<i64>> = bytes.chunks_exact(self.size).map(|chunk| self.unsigned(chunk)).collect();
                let wide = wide.ok_or("an unsigned number above the largest int64")?;
                Tensor::f_from_slice(&wide)?.f_reshape(&turned)?
            }
            None => {
                // libtorch turns the bytes round faster than a loop at the profile that notebooks use.
                let rows = plain(bytes, &[(bytes.len() / self.size) as i64, self.size as i64], Kind::Uint8)?;
                rows.f_flip([1])?.f_view_dtype(self.kind())?.f_reshape(&turned)?
            }
        };
        if !fortran || shape.len() < 2 {
            return Ok(tensor);
        }
        let axes: Vec<i64> = (0..shape.len() as i64).rev().collect();
        Ok(tensor.f_permute(&axes)?.f_contiguous()?)
    }

    fn unsigned(self, bytes: &[u8]) -> Option<i64> {
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let value = if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
        i64::try_from(value).ok()
    }

    /// Bytes that an array of this shape takes.
    pub(super) fn bytes_of(self, shape: &[i64]) -> Outcome<u64> {
        bytes_of(shape, self.size)
    }
}

/// Bytes of an array; an error for a shape that cannot be.
pub(super) fn bytes_of(shape: &[i64], size: usize) -> Outcome<u64> {
    if shape.len() > MOST_DIMENSIONS {
        return refuse(format!("expected at most {MOST_DIMENSIONS} dimensions, got {}", shape.len()));
    }
    if let Some(negative) = shape.iter().find(|d| **d < 0) {
        return refuse(format!("expected a shape without negative sizes, got {negative}"));
    }
    // A zero does not excuse the other sizes: strides are products of them.
    let product = shape.iter().filter(|d| **d > 0).try_fold(size as i64, |product, d| product.checked_mul(*d));
    match product {
        None => refuse(format!("shape {shape:?} has more bytes than a machine can hold")),
        Some(_) if shape.contains(&0) => Ok(0),
        Some(bytes) => Ok(bytes as u64),
    }
}

/// A tensor copied out of bytes that are in the machine's order.
pub(super) fn plain(bytes: &[u8], shape: &[i64], kind: Kind) -> Outcome<Tensor> {
    // tch reads as many bytes as the shape needs without looking at the slice's length.
    if bytes_of(shape, kind.elt_size_in_bytes())? != bytes.len() as u64 {
        return refuse(format!("shape {shape:?} of {kind:?} does not take {} bytes", bytes.len()));
    }
    Ok(Tensor::f_from_data_size(bytes, shape, kind)?)
}
