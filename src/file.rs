//! Files appear whole or not at all: written aside, flushed, renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Writes through a temporary sibling, so that a killed run leaves the old file or none.
pub(crate) fn write_aside(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let aside = beside(path);
    let outcome = (|| {
        let mut file = BufWriter::new(File::create(&aside)?);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&aside, path)
    })();
    outcome.map_err(|error| {
        let _ = fs::remove_file(&aside);
        Error::io(path, error)
    })
}

/// The temporary sibling of a file, another for each process and thread: several may write the same.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    let thread: String = format!("{:?}", std::thread::current().id()).chars().filter(char::is_ascii_digit).collect();
    name.push(format!(".{}-{thread}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Writes a value as indented JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_aside(path, |file| serde_json::to_writer_pretty(file, value).map_err(io::Error::other))
}

/// Reads a value from JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&text).map_err(|e| Error::data(path.display().to_string(), format!("not the expected JSON ({e})")))
}
