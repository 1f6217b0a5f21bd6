//! A finished picture.

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::display::show_as;
use crate::error::{Error, Result};
use crate::file::write_aside;

/// A picture as SVG; as the last value of a cell it shows itself.
///
/// ```
/// use ascribe::plot;
/// use polars::prelude::*;
/// let figure = plot::histogram(&Series::new("score".into(), [0.5f32, 1.0, 1.5]), "score")?;
/// assert!(figure.svg().starts_with("<svg"));
/// assert_eq!(format!("{figure:?}"), "Figure(histogram of score, 680 × 360)");
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct Figure {
    svg: String,
    about: String,
}

impl Figure {
    pub(super) fn new(svg: String, about: String) -> Figure {
        Figure { svg, about }
    }

    /// The picture as the text of a stand-alone SVG file.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// Writes the picture to a file whose name ends in `.svg`; it appears whole or not at all.
    ///
    /// Errors: [`Error::Option`] for another extension, [`Error::Io`] if it cannot be written.
    ///
    /// ```
    /// use ascribe::plot;
    /// use polars::prelude::*;
    /// let figure = plot::histogram(&Series::new("score".into(), [0.5f32, 1.0, 1.5]), "score")?;
    /// assert!(figure.save("scores.png").is_err());
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
            true => write_aside(path, |file| file.write_all(self.svg.as_bytes())),
            false => Err(Error::option("path", "a name ending in .svg", path.display())),
        }
    }

    /// Shows the picture in the notebook, and its one-line description in a terminal.
    pub fn evcxr_display(&self) {
        show_as("image/svg+xml", &self.svg, &format!("{self:?}"));
    }
}

impl fmt::Debug for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Figure({})", self.about)
    }
}
