//! Pictures made smaller or larger, byte for byte as Pillow does and torchvision with it.

use crate::read::Picture;

/// Bits behind the point in the weights.
const PRECISION: u32 = 22;

/// Weights of the pixels from `first` on that make one new pixel.
struct Weights {
    first: usize,
    each: Vec<i64>,
}

impl Picture {
    /// Bilinear with antialiasing: each new pixel is the mean of the old ones under a triangle as wide as the scale, rounded to a byte after
    /// the rows and again after the columns.
    pub(super) fn resized(&self, width: usize, height: usize) -> Picture {
        let wide = match width == self.width {
            true => self.pixels.clone(),
            false => {
                let weights = weights(self.width, width);
                let mut pixels = Vec::with_capacity(width * self.height * self.channels);
                for row in self.pixels.chunks_exact(self.width * self.channels) {
                    for Weights { first, each } in &weights {
                        for channel in 0..self.channels {
                            let old = row[first * self.channels..].iter().skip(channel).step_by(self.channels);
                            pixels.push(rounded(each.iter().zip(old)));
                        }
                    }
                }
                pixels
            }
        };
        let line = width * self.channels;
        let pixels = match height == self.height {
            true => wide,
            false => {
                let mut pixels = Vec::with_capacity(line * height);
                for Weights { first, each } in &weights(self.height, height) {
                    for at in 0..line {
                        let old = wide[first * line..].iter().skip(at).step_by(line);
                        pixels.push(rounded(each.iter().zip(old)));
                    }
                }
                pixels
            }
        };
        Picture { width, height, channels: self.channels, pixels }
    }

    /// The shorter side becomes `size`, the other in proportion, cut to a whole number.
    pub(super) fn shorter_side(&self, size: usize) -> Picture {
        let long = |other: usize, short: usize| ((size * other) as f64 / short as f64) as usize;
        match self.width <= self.height {
            true => self.resized(size, long(self.height, self.width)),
            false => self.resized(long(self.width, self.height), size),
        }
    }

    /// The middle; half a pixel too many goes to the even side, as Python rounds.
    ///
    /// Nothing where the picture is smaller.
    pub(super) fn centre(&self, width: usize, height: usize) -> Option<Picture> {
        let begin = |have: usize, want: usize| Some((have.checked_sub(want)? as f64 / 2.0).round_ties_even() as usize);
        let (left, top) = (begin(self.width, width)?, begin(self.height, height)?);
        let rows = self.pixels.chunks_exact(self.width * self.channels).skip(top).take(height);
        let pixels = rows.flat_map(|row| &row[left * self.channels..(left + width) * self.channels]).copied().collect();
        Some(Picture { width, height, channels: self.channels, pixels })
    }

    /// One channel or three; grey is 0.299 red, 0.587 green, 0.114 blue in Pillow's 16 bits.
    pub(super) fn of_channels(self, channels: usize) -> Picture {
        let pixels = match (self.channels, channels) {
            (3, 1) => {
                let grey =
                    |p: &[u8]| (u32::from(p[0]) * 19_595 + u32::from(p[1]) * 38_470 + u32::from(p[2]) * 7_471 + 0x8000) >> 16;
                self.pixels.chunks_exact(3).map(|pixel| grey(pixel) as u8).collect()
            }
            (1, 3) => self.pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
            _ => self.pixels,
        };
        Picture { channels, pixels, ..self }
    }
}

fn rounded<'a>(terms: impl Iterator<Item = (&'a i64, &'a u8)>) -> u8 {
    let sum: i64 = terms.map(|(weight, byte)| weight * i64::from(*byte)).sum();
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}

/// For each of `new` pixels the weights of the `old` ones, which sum to one.
fn weights(old: usize, new: usize) -> Vec<Weights> {
    let scale = old as f64 / new as f64;
    let support = scale.max(1.0);
    let of = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(old);
        let raw: Vec<f64> = (first..end).map(|i| (1.0 - ((i as f64 - centre + 0.5) / support).abs()).max(0.0)).collect();
        let sum: f64 = raw.iter().sum();
        let fixed = |weight: &f64| (weight / sum * f64::from(1u32 << PRECISION) + 0.5) as i64;
        Weights { first, each: raw.iter().map(fixed).collect() }
    };
    (0..new).map(of).collect()
}
