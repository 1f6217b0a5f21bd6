//! The bytes of a pickle, taken from the front.

use crate::read::broken::{Outcome, quoted, refuse};

/// What is left to read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes, at: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: u64) -> Outcome<&'a [u8]> {
        if count > self.left() as u64 {
            return refuse(format!("cut off: the pickle needs {count} bytes at {}, {} are left", self.at, self.left()));
        }
        let taken = &self.bytes[self.at..self.at + count as usize];
        self.at += count as usize;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Outcome<u8> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of `size` bytes, at most 8.
    pub(super) fn number(&mut self, size: u64) -> Outcome<u64> {
        Ok(self.take(size)?.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// Bytes after a length of `size` bytes.
    pub(super) fn counted(&mut self, size: u64) -> Outcome<&'a [u8]> {
        let count = self.number(size)?;
        self.take(count)
    }

    /// Text after a length of `size` bytes.
    pub(super) fn text(&mut self, size: u64) -> Outcome<&'a str> {
        utf8(self.counted(size)?)
    }

    /// Text up to a line break, which is dropped.
    pub(super) fn line(&mut self) -> Outcome<&'a str> {
        let Some(length) = self.bytes[self.at..].iter().position(|b| *b == b'\n') else {
            return refuse("cut off: a line of the pickle has no end");
        };
        let line = self.take(length as u64 + 1)?;
        utf8(&line[..length])
    }

    /// A whole number in decimal on a line.
    pub(super) fn decimal(&mut self) -> Outcome<i64> {
        let line = self.line()?;
        line.strip_suffix('L').unwrap_or(line).parse().map_err(|_| format!("expected an int64, got {}", quoted(line)).into())
    }

    /// A two's-complement number after a length of `size` bytes.
    pub(super) fn long(&mut self, size: u64) -> Outcome<i64> {
        let bytes = self.counted(size)?;
        if bytes == LEGACY_TORCH {
            return refuse("the old torch format, before zip: load it in Python and save it again with `torch.save`");
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let fill = if negative { 0xFF } else { 0 };
        let significant = bytes.iter().rposition(|b| *b != fill).map_or(0, |last| last + 1);
        let mut wide = [fill; 8];
        let fits = significant <= 8 && {
            wide[..significant].copy_from_slice(&bytes[..significant]);
            (wide[7] & 0x80 != 0) == negative
        };
        match fits {
            true => Ok(i64::from_le_bytes(wide)),
            false => refuse(format!("an integer of {} bytes; only int64 is read", bytes.len())),
        }
    }

    /// A text of protocol 0: `\u0041` and `\U00000041` stand for characters.
    pub(super) fn escaped(&mut self) -> Outcome<String> {
        let mut text = String::new();
        let mut rest = self.raw_line()?;
        while let [first, after @ ..] = rest {
            let digits = match (first, after.first()) {
                (b'\\', Some(b'u')) => 4,
                (b'\\', Some(b'U')) => 8,
                _ => {
                    text.push(char::from(*first));
                    rest = after;
                    continue;
                }
            };
            let code = after.get(1..=digits).and_then(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            let Some(character) = code.and_then(char::from_u32) else {
                return refuse("a damaged escape in a text of the pickle");
            };
            text.push(character);
            rest = &after[digits + 1..];
        }
        Ok(text)
    }

    /// A quoted string of Python 2's protocol 0.
    pub(super) fn quotation(&mut self) -> Outcome<Vec<u8>> {
        let line = self.raw_line()?;
        let inside = match line {
            [open @ (b'\'' | b'"'), inside @ .., close] if open == close => inside,
            _ => return refuse("a string without quotation marks"),
        };
        let mut bytes = Vec::with_capacity(inside.len());
        let mut rest = inside.iter();
        while let Some(byte) = rest.next() {
            if *byte != b'\\' {
                bytes.push(*byte);
                continue;
            }
            bytes.push(match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(quote @ (b'\\' | b'\'' | b'"')) => *quote,
                Some(b'x') => {
                    let mut digit = || rest.next().and_then(|b| char::from(*b).to_digit(16));
                    match (digit(), digit()) {
                        (Some(high), Some(low)) => (high * 16 + low) as u8,
                        _ => return refuse("a damaged escape in a string of the pickle"),
                    }
                }
                _ => return refuse("an unknown escape in a string of the pickle"),
            });
        }
        Ok(bytes)
    }

    fn raw_line(&mut self) -> Outcome<&'a [u8]> {
        let Some(length) = self.bytes[self.at..].iter().position(|b| *b == b'\n') else {
            return refuse("cut off: a line of the pickle has no end");
        };
        Ok(&self.take(length as u64 + 1)?[..length])
    }
}

/// The number that opens a file of `torch.save` before version 1.6.
const LEGACY_TORCH: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

pub(super) fn utf8(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes).map_err(|_| "a text of the pickle is not UTF-8".into())
}
