//! What is wrong with the content of a file; the border adds the file's name.

use std::path::Path;

use crate::error::{Error, Result, guarded};

/// Why bytes are not what they should be.
#[derive(Debug)]
pub(super) enum Broken {
    Content(String),
    System(std::io::Error),
    Other(Error),
}

pub(super) type Outcome<T> = std::result::Result<T, Broken>;

/// Stops with a reason.
pub(super) fn refuse<T>(reason: impl Into<String>) -> Outcome<T> {
    Err(Broken::Content(reason.into()))
}

/// Runs a reader; whatever it says becomes one line about the named file.
pub(super) fn about<T>(path: &Path, read: impl FnOnce() -> Outcome<T>) -> Result<T> {
    let name = path.display().to_string();
    let named = |broken| match broken {
        Broken::Content(reason) => Error::data(name, reason),
        Broken::System(source) => Error::Io { path: name, source },
        Broken::Other(error) => error,
    };
    guarded(|| read().map_err(named))
}

/// Text out of a file, made fit for an error of one line.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

impl From<String> for Broken {
    fn from(reason: String) -> Broken {
        Broken::Content(reason)
    }
}

impl From<&str> for Broken {
    fn from(reason: &str) -> Broken {
        Broken::Content(reason.into())
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Broken {
        Broken::System(error)
    }
}

impl From<tch::TchError> for Broken {
    fn from(error: tch::TchError) -> Broken {
        match Error::from(error) {
            Error::Torch(reason) => Broken::Content(format!("libtorch refused it: {reason}")),
            other => Broken::Other(other),
        }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        match error {
            Error::Data { reason, .. } => Broken::Content(reason),
            other => Broken::Other(other),
        }
    }
}
