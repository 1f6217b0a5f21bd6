//! A matrix as colours: red below zero, white at zero, blue above, and the bar that explains them.

use super::png::{Colour, encode};
use super::svg::{Page, Style};
use crate::display::number;
use crate::error::Result;

/// Colours from the most negative to the most positive, read as sRGB.
const STOPS: [[u8; 3]; 9] = [
    [103, 0, 31],
    [178, 24, 43],
    [214, 96, 77],
    [244, 165, 130],
    [247, 247, 247],
    [146, 197, 222],
    [67, 147, 195],
    [33, 102, 172],
    [5, 48, 97],
];

/// A symmetric colour scale; values beyond the limit get the colour of the limit.
pub(super) struct Scale {
    limit: f64,
    clipped: bool,
}

impl Scale {
    /// Spans 99 % of the magnitudes, so that a few extremes do not wash out the rest.
    pub(super) fn of(values: &[f32]) -> Scale {
        let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        sizes.sort_unstable_by(f32::total_cmp);
        let largest = sizes.last().copied().unwrap_or(0.0);
        let usual = sizes.get(((sizes.len() as f64 * 0.99).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0);
        match usual > 0.0 && largest > 1.2 * usual {
            true => Scale { limit: usual.into(), clipped: true },
            false => Scale { limit: if largest > 0.0 { largest.into() } else { 1.0 }, clipped: false },
        }
    }

    /// From `−limit` to `limit`, the ends included.
    pub(super) fn fixed(limit: f64) -> Scale {
        Scale { limit, clipped: false }
    }

    /// Position in the palette of 255 colours; zero is the middle one.
    fn place(&self, value: f32) -> u8 {
        (127.0 + 127.0 * (f64::from(value) / self.limit).clamp(-1.0, 1.0)).round() as u8
    }

    /// Whether a text on this value's colour must be white.
    pub(super) fn dark(&self, value: f32) -> bool {
        self.place(value).abs_diff(127) > 66
    }

    /// The colour of a value, for a rectangle.
    pub(super) fn colour(&self, value: f32) -> String {
        let [red, green, blue] = palette()[self.place(value) as usize];
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// A PNG with one pixel per value, `columns` to a row.
    pub(super) fn png(&self, values: &[f32], columns: usize) -> Result<Vec<u8>> {
        let pixels: Vec<u8> = values.iter().map(|&value| self.place(value)).collect();
        encode(columns, values.len() / columns.max(1), Colour::Palette(&palette()), &pixels)
    }

    /// The colour bar with its numbers; `x`, `y` is its upper left corner.
    pub(super) fn bar(&self, page: &mut Page, x: f64, y: f64, height: f64) -> Result<()> {
        let ramp: Vec<u8> = (0..255).rev().collect();
        page.image(x, y, 14.0, height, &encode(1, 255, Colour::Palette(&palette()), &ramp)?);
        page.frame(x, y, 14.0, height, "#b9c0c8", 1.0);
        let shares: &[f64] = if height < 100.0 { &[1.0, 0.0, -1.0] } else { &[1.0, 0.5, 0.0, -0.5, -1.0] };
        for &share in shares {
            let sign = match (self.clipped, share) {
                (true, 1.0) => "≥ ",
                (true, -1.0) => "≤ ",
                _ => "",
            };
            let at = y + height * (1.0 - share) / 2.0;
            page.line((x + 14.0, at), (x + 18.0, at), "#8a929b", 1.0, "");
            page.text(x + 22.0, at + 4.0, Style::quiet(), &format!("{sign}{}", number::drawn(three(share * self.limit))));
        }
        Ok(())
    }
}

/// Three significant digits, enough to read a colour.
fn three(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

fn palette() -> Vec<[u8; 3]> {
    let between = |at: usize| {
        let place = at as f64 / 254.0 * (STOPS.len() - 1) as f64;
        let (low, share) = (place as usize, place.fract());
        let high = (low + 1).min(STOPS.len() - 1);
        let mix = |c: usize| (f64::from(STOPS[low][c]) * (1.0 - share) + f64::from(STOPS[high][c]) * share).round() as u8;
        [mix(0), mix(1), mix(2)]
    };
    (0..255).map(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_the_neutral_colour_and_signs_have_their_sides() {
        let (scale, colours) = (Scale::of(&[-2.0, 0.0, 1.0]), palette());
        assert_eq!(colours[scale.place(0.0) as usize], STOPS[4]);
        assert_eq!([scale.place(-2.0), scale.place(2.0), scale.place(9.0)], [0, 254, 254]);
        assert_eq!((colours[0], colours[254]), (STOPS[0], STOPS[8]));
    }

    #[test]
    fn a_few_extremes_do_not_set_the_scale() {
        let mut values = vec![1.0f32; 999];
        values.push(-1000.0);
        let scale = Scale::of(&values);
        assert_eq!((scale.limit, scale.clipped), (1.0, true));
        assert_eq!(Scale::of(&[0.0; 4]).limit, 1.0);
    }
}
