//! How values show themselves in a notebook: a table for a `DataFrame`, a few lines for the crate's own types.
//!
//! evcxr calls `evcxr_display(&self)` on the value of a cell's last expression, if there is such a method. The prelude brings
//! [`Show`] into scope, so that this also holds for a `DataFrame`, a `Series` and a `Result` of either.

mod noun;
pub(crate) mod number;
mod table;

use std::fmt::Display;
use std::io::Write;

use polars::prelude::{DataFrame, Series};

pub use table::html;

/// A value with a picture of itself for notebooks.
///
/// ```
/// use ascribe::display::Show;
/// use polars::prelude::*;
/// let column = Column::new("score".into(), [1.5f32, -0.25]);
/// let frame = DataFrame::new(2, vec![column])?;
/// assert!(ascribe::display::html(&frame).contains("2 rows × 1 column"));
/// frame.evcxr_display();
/// # Ok::<(), PolarsError>(())
/// ```
pub trait Show {
    /// Prints HTML and plain text to the standard output, in the form that evcxr picks up; never panics.
    fn evcxr_display(&self);
}

impl Show for DataFrame {
    fn evcxr_display(&self) {
        show(&html(self), &self.to_string());
    }
}

impl Show for Series {
    fn evcxr_display(&self) {
        show(&html(&self.clone().into_frame()), &self.to_string());
    }
}

impl<T: Show, E: Display> Show for Result<T, E> {
    fn evcxr_display(&self) {
        match self {
            Ok(value) => value.evcxr_display(),
            Err(error) => noun::show_error(&error.to_string()),
        }
    }
}

/// Prints one value as HTML for notebooks and as text for terminals.
pub(crate) fn show(html: &str, plain: &str) {
    show_as("text/html", html, plain);
}

/// Prints one value in a rich form and as text; the only place that prints results.
pub(crate) fn show_as(kind: &str, rich: &str, plain: &str) {
    let mut out = std::io::stdout().lock();
    for (kind, content) in [(kind, rich), ("text/plain", plain)] {
        // A closed output is no reason to stop a computation.
        let _ = writeln!(out, "EVCXR_BEGIN_CONTENT {kind}\n{content}\nEVCXR_END_CONTENT");
    }
    let _ = out.flush();
}

/// Text that is safe between tags and inside quoted attributes of HTML and SVG; control characters become spaces.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() || matches!(letter, '\u{FFFE}' | '\u{FFFF}') => safe.push(' '),
            letter => safe.push(letter),
        }
    }
    safe
}

/// At most `most` characters; a cut ends in an ellipsis.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.chars().nth(most) {
        None => text.to_string(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}
