//! A page of SVG: a white rounded card with text, rectangles, lines and embedded images.

use std::fmt::Write;

use super::figure::Figure;
use super::png;
use crate::display::escape;

pub(super) const INK: &str = "#24292f";
pub(super) const QUIET: &str = "#626a73";
pub(super) const RED: &str = "#b2182b";

/// Which end of a text its position is.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Size, colour, weight and anchor of a text.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f64,
    pub(super) colour: &'static str,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
}

impl Style {
    pub(super) fn plain() -> Style {
        Style { size: 12.0, colour: INK, bold: false, anchor: Anchor::Start }
    }

    pub(super) fn quiet() -> Style {
        Style { colour: QUIET, ..Style::plain() }
    }

    pub(super) fn title() -> Style {
        Style { size: 14.0, bold: true, ..Style::plain() }
    }

    pub(super) fn anchored(self, anchor: Anchor) -> Style {
        Style { anchor, ..self }
    }
}

pub(super) struct Page {
    width: f64,
    height: f64,
    body: String,
}

impl Page {
    pub(super) fn new(width: f64, height: f64) -> Page {
        Page { width, height, body: String::new() }
    }

    pub(super) fn set_height(&mut self, height: f64) {
        self.height = height;
    }

    /// A line of text; `y` is its baseline.
    pub(super) fn text(&mut self, x: f64, y: f64, style: Style, text: &str) {
        self.turned(x, y, 0.0, style, text);
    }

    /// A text turned by some degrees about its position.
    pub(super) fn turned(&mut self, x: f64, y: f64, degrees: f64, style: Style, text: &str) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        let turn = if degrees == 0.0 { String::new() } else { format!(" transform=\"rotate({degrees} {x:.1} {y:.1})\"") };
        let (size, colour, text) = (style.size, style.colour, escape(text));
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" \
             text-anchor=\"{anchor}\"{weight}{turn}>{text}</text>"
        );
    }

    /// A frame without filling.
    pub(super) fn frame(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str, stroke: f64) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"none\" stroke=\"{colour}\" stroke-width=\"{stroke}\"/>"
        );
    }

    /// A filled rectangle.
    pub(super) fn fill(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, stroke: f64, dashes: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
             stroke=\"{colour}\" stroke-width=\"{stroke}\" stroke-dasharray=\"{dashes}\"/>"
        );
    }

    pub(super) fn dot(&mut self, x: f64, y: f64, radius: f64, colour: &str) {
        let _ = writeln!(self.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
    }

    /// A PNG, stretched to the rectangle with sharp pixels.
    pub(super) fn image(&mut self, x: f64, y: f64, width: f64, height: f64, png: &[u8]) {
        let data = png::base64(png);
        let _ = writeln!(
            self.body,
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>"
        );
    }

    /// Other SVG, drawn on a grid `scale` times as fine and moved to a place on the page.
    pub(super) fn insert(&mut self, x: f64, y: f64, scale: u32, svg: &str) {
        let factor = 1.0 / f64::from(scale);
        let _ = writeln!(self.body, "<g transform=\"translate({x:.1} {y:.1}) scale({factor})\">\n{svg}</g>");
    }

    pub(super) fn finish(self, about: &str) -> Figure {
        let (width, height) = (self.width, self.height);
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\" style=\"max-width:100%;height:auto\">\n\
             <title>{}</title>\n<rect x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"{:.1}\" \
             rx=\"8\" fill=\"#ffffff\" stroke=\"#d8dce1\"/>\n{}</svg>",
            escape(about),
            width - 1.0,
            height - 1.0,
            self.body
        );
        Figure::new(svg, format!("{about}, {width:.0} × {height:.0}"))
    }
}

/// Width of a text in a common sans-serif; an estimate on the wide side, since the font is the reader's.
pub(super) fn width_of(text: &str, size: f64) -> f64 {
    let share = |letter: char| match letter {
        'i' | 'j' | 'l' | 'I' | 'f' | 't' | 'r' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' | '[' | ']'
        | '-' => 0.36,
        'm' | 'w' | 'M' | 'W' | '@' | '…' | '%' => 0.95,
        'A'..='Z' | '−' | '+' | '=' | '≤' | '≥' => 0.7,
        letter if u32::from(letter) >= 0x2E80 => 1.0, // East Asian scripts and pictographs
        _ => 0.58,
    };
    text.chars().map(share).sum::<f64>() * size
}
