//! One error type for the whole library.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;

/// What a fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call did not succeed; the variants are grouped by what to do about it.
///
/// Each message names the thing, what was expected and what came instead. `Debug` prints the same single line as `Display`,
/// because a notebook shows errors by `Debug`.
///
/// ```
/// let error = ascribe::Error::option("Trainer.epochs", "at least 1", 0);
/// assert_eq!(format!("{error:?}"), "option Trainer.epochs: expected at least 1, got 0");
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are spoken in each variant's message
pub enum Error {
    /// A setting is out of its range: change the option.
    #[error("option {name}: expected {expected}, got {got}")]
    Option { name: String, expected: String, got: String },
    /// Sizes do not fit together: change the data or the model.
    #[error("shape of {thing}: expected {expected}, got {got}")]
    Shape { thing: String, expected: String, got: String },
    /// A layer of the model cannot be attributed as it is.
    #[error("layer {name}: {reason}")]
    Layer { name: String, reason: String },
    /// A checkpoint does not belong to the model, or cannot be read.
    #[error("checkpoint {name}: {reason}")]
    Checkpoint { name: String, reason: String },
    /// A dataset or file holds something it must not.
    #[error("data {name}: {reason}")]
    Data { name: String, reason: String },
    /// The arithmetic broke down; the message carries a hint.
    #[error("numerical trouble in {operation}: {reason}")]
    Numerical { operation: String, reason: String },
    /// The request is sound, but this method or model cannot serve it.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// libtorch refused an operation.
    #[error("torch: {0}")]
    Torch(String),
    /// polars refused an operation.
    #[error("data frame: {0}")]
    Frame(#[from] polars::error::PolarsError),
    /// The file system refused an operation.
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// A setting is out of range.
    pub fn option(name: impl Into<String>, expected: impl Into<String>, got: impl fmt::Display) -> Error {
        Error::Option { name: name.into(), expected: expected.into(), got: got.to_string() }
    }

    /// Two sizes do not fit.
    pub fn shape(thing: impl Into<String>, expected: impl fmt::Display, got: impl fmt::Display) -> Error {
        Error::Shape { thing: thing.into(), expected: expected.to_string(), got: got.to_string() }
    }

    /// A layer cannot be attributed.
    pub fn layer(name: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Layer { name: name.into(), reason: reason.into() }
    }

    /// A checkpoint does not fit or cannot be read.
    pub fn checkpoint(name: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Checkpoint { name: name.into(), reason: reason.into() }
    }

    /// A dataset or file is not what it should be.
    pub fn data(name: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Data { name: line(name.into()), reason: line(reason.into()) }
    }

    /// The arithmetic broke down.
    pub fn numerical(operation: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Numerical { operation: operation.into(), reason: reason.into() }
    }

    /// The file system refused.
    pub fn io(path: &Path, source: std::io::Error) -> Error {
        Error::Io { path: path.display().to_string(), source }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Error {
        Error::Torch(first_line(&error.to_string()))
    }
}

/// The first meaningful line of a libtorch message; what follows is a C++ stack trace.
fn first_line(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message");
    line.trim_start_matches("Internal torch error: ").to_string()
}

thread_local! {
    /// Whether this thread runs guarded code, whose panics become errors and need no message of their own; and where it panicked.
    /// Not shared state: a flag of the innermost `guarded` call, restored when it returns.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs code that calls libtorch through tch's panicking surface, or that a user wrote, and turns a panic into an error.
///
/// This is the one place where panics stop: every public entry that computes goes through it.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    hush_guarded_panics();
    let recording = grad_enabled();
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    match outcome {
        Ok(result) => result,
        Err(payload) => {
            // A panic inside `tch::no_grad` leaves gradients switched off for the rest of the thread.
            set_grad_enabled(recording);
            Err(error_of(payload))
        }
    }
}

/// Stops a model's forward pass, which gives a tensor and so cannot return an error; [`guarded`] hands the error on as it is.
///
/// A user who calls the model directly, outside any call of this crate, sees a panic with the same line.
pub(crate) fn raise(error: Error) -> ! {
    match GUARDED.get() {
        true => panic_any(error),
        false => panic!("{error}"),
    }
}

/// Keeps the default message and backtrace, pages long for a C++ error, for panics that nobody catches.
fn hush_guarded_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| match GUARDED.get() {
            true => PLACE.set(info.location().map(ToString::to_string)),
            false => before(info),
        }));
    });
}

fn set_grad_enabled(enabled: bool) -> bool {
    // SAFETY: sets a flag of the calling thread and returns the flag before; takes no pointers.
    unsafe { torch_sys::at_grad_set_enabled(i32::from(enabled)) != 0 }
}

fn grad_enabled() -> bool {
    let before = set_grad_enabled(true);
    set_grad_enabled(before);
    before
}

fn error_of(payload: Box<dyn Any + Send>) -> Error {
    let payload = match payload.downcast::<Error>() {
        Ok(error) => return *error,
        Err(payload) => payload,
    };
    let text = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().map(|text| text.to_string()).unwrap_or_default(),
    };
    // tch panics by unwrapping: the libtorch message stands inside `called Result::unwrap() on an Err value: Torch("...")`.
    match text.split_once("Torch(\"") {
        Some((_, inner)) => Error::Torch(inner.split("\\n").next().unwrap_or(inner).trim_end_matches("\")").to_string()),
        None => {
            let place = PLACE.take().unwrap_or_else(|| "unknown place".into());
            Error::Unsupported(format!("the code panicked at {place}: {}", first_line(&text)))
        }
    }
}

/// Control characters written out, as names that come from files may have some: an error is one line of text.
fn line(text: String) -> String {
    match text.contains(char::is_control) {
        true => text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect(),
        false => text,
    }
}
