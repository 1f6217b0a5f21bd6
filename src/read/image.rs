//! Pictures: PNG and JPEG, told apart by content.

use std::io::Cursor;
use std::path::Path;

use png::{ColorType, Decoder, Limits, Transformations};
use tch::{Kind, Tensor};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::broken::{Outcome, about, quoted, refuse};
use super::element::plain;
use super::source::whole;
use crate::error::Result;

/// Pixels of a picture: a small file may claim more than memory holds.
const MOST_PIXELS: usize = 1 << 26;
const MOST_SIDE: usize = 1 << 16;
/// Pixels of a byte of PNG: eight of one bit, which deflate cannot shrink further than this.
const PNG_PIXELS: usize = 8 * 1032;
/// Pixels of a byte of JPEG: at least six bits for 256 of them.
const JPEG_PIXELS: usize = 1024;

/// Bytes of a picture, row by row, the channels of a pixel together.
pub(crate) struct Picture {
    pub width: usize,
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// A PNG or JPEG file as `[channels, height, width]`, uint8; one channel for grey, else red, green, blue.
///
/// As Pillow's `convert("RGB")` sees it: palettes are filled in, transparency is dropped, 16 bits are cut to 8, what a JPEG says of its
/// orientation is not followed. Pictures have at most 2²⁶ pixels.
///
/// Errors: [`Error::Data`](crate::Error::Data) for a file that is neither, cut off or damaged, or too large, and for CMYK.
pub fn image(path: impl AsRef<Path>) -> Result<Tensor> {
    about(path.as_ref(), || decode(&whole(path.as_ref())?)?.tensor())
}

/// The bytes of a picture in a file.
pub(crate) fn picture(path: &Path) -> Result<Picture> {
    about(path, || decode(&whole(path)?))
}

impl Picture {
    pub(super) fn tensor(&self) -> Outcome<Tensor> {
        let size = [self.height as i64, self.width as i64, self.channels as i64];
        Ok(plain(&self.pixels, &size, Kind::Uint8)?.f_permute([2, 0, 1])?.f_contiguous()?)
    }
}

pub(super) fn decode(bytes: &[u8]) -> Outcome<Picture> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [0xff, 0xd8, 0xff, ..] => jpeg(bytes),
        _ => refuse("expected a PNG or JPEG picture, got something else"),
    }
}

/// Before memory is taken.
fn check_size(width: usize, height: usize, bytes: usize, of_a_byte: usize) -> Outcome<()> {
    match width.checked_mul(height).filter(|pixels| (1..=MOST_PIXELS).contains(pixels)) {
        None => refuse(format!("expected 1 to {MOST_PIXELS} pixels, got {width} x {height}")),
        Some(pixels) if pixels / of_a_byte > bytes => refuse(format!("{bytes} bytes cannot hold {width} x {height} pixels")),
        Some(_) => Ok(()),
    }
}

fn png(bytes: &[u8]) -> Outcome<Picture> {
    let broken = |error: png::DecodingError| format!("not a whole and valid PNG picture: {}", quoted(&error.to_string()));
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: 8 * MOST_PIXELS });
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(broken)?.size();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height, bytes.len(), PNG_PIXELS)?;
    let mut reader = decoder.read_info().map_err(broken)?;
    let stored = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        other => return refuse(format!("a PNG picture of kind {other:?}")),
    };
    let mut pixels = vec![0; width * height * stored];
    if reader.output_buffer_size() != Some(pixels.len()) {
        return refuse(format!("a PNG picture of {:?} bytes, expected {}", reader.output_buffer_size(), pixels.len()));
    }
    reader.next_frame(&mut pixels).map_err(broken)?;
    reader.finish().map_err(broken)?;
    // Without the transparency.
    let channels = if stored < 3 { 1 } else { 3 };
    if channels < stored {
        pixels = pixels.chunks_exact(stored).flat_map(|pixel| &pixel[..channels]).copied().collect();
    }
    Ok(Picture { width, height, channels, pixels })
}

fn jpeg(bytes: &[u8]) -> Outcome<Picture> {
    let broken = |error| format!("not a whole and valid JPEG picture: {}", quoted(&format!("{error:?}")));
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(MOST_SIDE).set_max_height(MOST_SIDE);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    // The decoder fills up what is missing at the end.
    if !reaches_end(bytes) {
        return refuse("not a whole and valid JPEG picture: cut off before the mark of its end");
    }
    let Some((width, height)) = decoder.dimensions() else { return refuse("a JPEG picture without a size") };
    check_size(width, height, bytes.len(), JPEG_PIXELS)?;
    let (channels, space) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => (3, ColorSpace::RGB),
        other => return refuse(format!("expected a grey or colour JPEG picture, got {other:?}")),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().map_err(broken)?;
    match pixels.len() == width * height * channels {
        true => Ok(Picture { width, height, channels, pixels }),
        false => refuse(format!("a JPEG picture of {} bytes, expected {width} x {height} x {channels}", pixels.len())),
    }
}

/// Whether the mark of the end follows the first scan; within the pixels it cannot stand. A preview in a segment before has its own.
fn reaches_end(bytes: &[u8]) -> bool {
    let mut rest = &bytes[2..];
    while let [0xff, kind, high, low, ..] = *rest {
        if kind == 0xda {
            return rest.windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
        // A marker may be preceded by any number of 0xff.
        let length = if kind == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        rest = rest.get(length..).unwrap_or_default();
    }
    false
}
