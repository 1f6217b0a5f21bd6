//! The few PNG forms that figures embed.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::error::{Error, Result};

/// What the bytes of a picture are.
pub(super) enum Colour<'a> {
    /// One byte a pixel, black to white.
    Grey,
    /// Three bytes a pixel.
    Rgb,
    /// One byte a pixel, a position in this list of at most 256 colours.
    Palette(&'a [[u8; 3]]),
}

/// A PNG file with 8 bits a channel, rows from the top.
///
/// Errors: [`Error::Shape`] if there are not `width · height` pixels.
pub(super) fn encode(width: usize, height: usize, colour: Colour, pixels: &[u8]) -> Result<Vec<u8>> {
    let (kind, channels) = match colour {
        Colour::Grey => (0, 1),
        Colour::Rgb => (2, 3),
        Colour::Palette(_) => (3, 1),
    };
    let row = width * channels;
    if row == 0 || height == 0 || pixels.len() != row * height {
        return Err(Error::shape(
            "picture",
            format!("{width} × {height} pixels of {channels} bytes"),
            format!("{} bytes", pixels.len()),
        ));
    }
    let mut header = Vec::from((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, kind, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header);
    if let Colour::Palette(colours) = colour {
        chunk(&mut file, b"PLTE", colours.as_flattened());
    }
    chunk(&mut file, b"IDAT", &compressed(pixels, row).map_err(|e| Error::data("picture", e.to_string()))?);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn compressed(pixels: &[u8], row: usize) -> std::io::Result<Vec<u8>> {
    let mut stream = ZlibEncoder::new(Vec::new(), Compression::best());
    for line in pixels.chunks(row) {
        stream.write_all(&[0])?; // no filter
        stream.write_all(line)?;
    }
    stream.finish()
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let mut sum = Crc::new();
    sum.update(name);
    sum.update(data);
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(name);
    file.extend(data);
    file.extend(sum.sum().to_be_bytes());
}

/// Bytes as text, for data addresses.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0u32, |bits, (i, &byte)| bits | u32::from(byte) << (16 - 8 * i));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_the_standard_says() {
        assert_eq!(["", "f", "fo", "foo", "foobar"].map(|s| base64(s.as_bytes())), ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
    }

    #[test]
    fn a_png_has_as_many_bytes_as_it_says() {
        assert!(encode(2, 2, Colour::Rgb, &[0; 11]).is_err());
        assert!(encode(0, 2, Colour::Grey, &[]).is_err());
        let file = encode(3, 2, Colour::Grey, &[0, 50, 100, 150, 200, 250]).unwrap_or_default();
        assert_eq!(&file[12..16], b"IHDR");
        assert_eq!(&file[file.len() - 8..], b"IEND\xaeB`\x82");
    }
}
