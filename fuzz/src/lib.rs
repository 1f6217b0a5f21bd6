//! What every target demands: an answer, or one line of [`Error::Data`] that does not come from a panic.

use ascribe::Error;

/// Aborts on any other outcome, for libFuzzer to keep the input.
pub fn one_line<T>(outcome: Result<T, Error>) {
    if let Err(error) = outcome {
        let line = format!("{error:?}");
        let fine = matches!(error, Error::Data { .. }) && !line.contains('\n') && !line.contains("panicked");
        assert!(fine, "{line}");
    }
}
