//! Inputs of a dataset as pictures.

use tch::{Kind, Tensor};

use super::png::{Colour, encode};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};

const LARGEST: i64 = 128;
const SMALLEST_FLAT: i64 = 4;

/// How the inputs of a dataset are pictures: their shape, and the range that becomes black to white.
pub(super) struct Pictures<'a> {
    data: &'a Dataset,
    shape: [i64; 3], // channels, height, width
    low: f64,
    high: f64,
}

impl<'a> Pictures<'a> {
    /// Errors: [`Error::Unsupported`] if the inputs are not pictures.
    pub(super) fn of(data: &'a Dataset) -> Result<Pictures<'a>> {
        let inputs = data.inputs();
        let shape = shape(&inputs.size()).filter(|_| inputs.is_floating_point() || inputs.kind() == Kind::Uint8);
        let Some(shape) = shape else {
            return Err(Error::Unsupported(format!(
                "a gallery needs pictures: float or uint8 inputs [n, 1, h, w], [n, 3, h, w], [n, h, w], or [n, h · h] with h \
                 at least {SMALLEST_FLAT}; the inputs of {} are {:?} {:?}",
                data.name(),
                inputs.kind(),
                inputs.size()
            )));
        };
        let (low, high) = guarded(|| Ok((inputs.min().double_value(&[]), inputs.max().double_value(&[]))))?;
        Ok(Pictures { data, shape, low, high })
    }

    /// Width over height.
    pub(super) fn aspect(&self) -> f64 {
        self.shape[2] as f64 / self.shape[1] as f64
    }

    /// The picture at a position, as PNG; a large one is thinned to at most 128 pixels a side.
    pub(super) fn png(&self, position: usize) -> Result<Vec<u8>> {
        let [channels, height, width] = self.shape;
        let step = (height.max(width) + LARGEST - 1) / LARGEST;
        let (pixels, height, width) = guarded(|| {
            let picture: Tensor = self.data.inputs().get(position as i64).to_kind(Kind::Float).view([channels, height, width]);
            let picture = picture.slice(1, 0, height, step).slice(2, 0, width, step);
            let scale = if self.high > self.low { 255.0 / (self.high - self.low) } else { 0.0 };
            let bytes = ((picture - self.low) * scale).round().clamp(0.0, 255.0).to_kind(Kind::Uint8);
            let bytes = bytes.permute([1, 2, 0]).contiguous(); // [h, w, c]
            let size = bytes.size();
            Ok((Vec::<u8>::try_from(&bytes.view([-1]))?, size[0] as usize, size[1] as usize))
        })?;
        encode(width, height, if channels == 3 { Colour::Rgb } else { Colour::Grey }, &pixels)
    }
}

/// Channels, height and width of one picture, if inputs of this size are pictures.
fn shape(size: &[i64]) -> Option<[i64; 3]> {
    match *size {
        [_, c @ (1 | 3), h, w] if h > 0 && w > 0 => Some([c, h, w]),
        [_, h, w] if h > 1 && w > 1 => Some([1, h, w]),
        [_, d] => {
            let side = (d as f64).sqrt().round() as i64;
            (side >= SMALLEST_FLAT && side * side == d).then_some([1, side, side])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn only_picture_shapes_are_pictures() {
        assert_eq!(shape(&[5, 3, 4, 6]), Some([3, 4, 6]));
        assert_eq!(shape(&[5, 28, 20]), Some([1, 28, 20]));
        assert_eq!(shape(&[5, 64]), Some([1, 8, 8]));
        for size in [vec![5, 2, 4, 6], vec![5, 65], vec![5, 9], vec![5], vec![5, 1, 0, 4]] {
            assert_eq!(shape(&size), None);
        }
    }
}
