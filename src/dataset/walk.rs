//! Files below a folder, in an order of their own.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Folders within folders that are gone into; a link could lead in circles.
const DEEPEST: usize = 16;

/// The files with one of these endings, upper or lower case, in the order of their paths; hidden files and folders are passed over.
///
/// Errors: [`Error::Io`] for a folder that cannot be read, [`Error::Data`] for one without such files.
pub(super) fn files_below(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(folder, endings, DEEPEST, &mut found)?;
    found.sort();
    match found.is_empty() {
        false => Ok(found),
        true => {
            let endings: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
            Err(Error::data(folder.display().to_string(), format!("expected files ending in {}, got none", endings.join(", "))))
        }
    }
}

fn walk(folder: &Path, endings: &[&str], left: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if hidden(&path) {
            continue;
        }
        if path.is_dir() {
            match left {
                0 => return Err(Error::data(path.display().to_string(), format!("folders nested deeper than {DEEPEST}"))),
                _ => walk(&path, endings, left - 1, found)?,
            }
        } else if has_ending(&path, endings) {
            found.push(path);
        }
    }
    Ok(())
}

pub(super) fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let own = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    endings.contains(&own.as_str())
}

/// A path as seen from a folder, with slashes.
pub(super) fn relative(folder: &Path, path: &Path) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
