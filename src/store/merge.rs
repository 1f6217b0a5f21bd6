//! One store of the folders of several jobs.

use std::fs;
use std::path::Path;

use super::Store;
use super::part::{Claim, Unit};
use crate::error::{Error, Result};
use crate::file::{beside, write_json};

impl Store {
    /// Copies the parts of several folders into one and opens it. `into` may hold some already, or be one of the folders.
    ///
    /// Errors: [`Error::Data`] naming the first difference between what made two folders, a part of which two folders hold different
    /// bytes, a damaged file, or the parts that no folder has.
    pub fn merge(into: impl AsRef<Path>, folders: &[impl AsRef<Path>]) -> Result<Store> {
        let into = into.as_ref();
        let sources = folders.iter().map(|folder| Store::peek(folder.as_ref())).collect::<Result<Vec<_>>>()?;
        let Some(first) = sources.first() else { return Err(Error::option("folders", "at least one", 0)) };
        sources[1..].iter().try_for_each(|other| other.about.check_same(&other.name(), &first.about))?;
        let store = match into.join("store.json").exists() {
            true => Store::peek(into)?,
            false => {
                fs::create_dir_all(into).map_err(|e| Error::io(into, e))?;
                write_json(&into.join("store.json"), &*first.about)?;
                Store::peek(into)?
            }
        };
        store.about.check_same(&store.name(), &first.about)?;
        for unit in store.units() {
            let folder = unit.folder(into);
            fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
            let mut held = store.look(unit, true)?;
            for source in &sources {
                let Some(note) = source.look(unit, true)? else { continue };
                match &held {
                    Some(held) if *held == note => {}
                    Some(_) => {
                        let reason = format!("{} holds other bytes than in the folders before", unit.name());
                        return Err(Error::data(source.name(), format!("{reason}; keep one of the two")));
                    }
                    None => {
                        copy(unit, source, into)?;
                        held = store.look(unit, true)?;
                    }
                }
            }
        }
        Store::open(into)
    }
}

/// Copies a part, its note last.
fn copy(unit: Unit, source: &Store, into: &Path) -> Result<()> {
    let Some(note) = source.look(unit, false)? else { return Ok(()) };
    let Claim::Mine(lock) = unit.claim(into, true)? else { return Ok(()) };
    for file in note.files() {
        let (from, to) = (unit.folder(&source.dir).join(file), unit.folder(into).join(file));
        let aside = beside(&to);
        let outcome = fs::copy(&from, &aside).and_then(|_| fs::rename(&aside, &to));
        outcome.map_err(|error| {
            let _ = fs::remove_file(&aside);
            Error::io(&to, error)
        })?;
    }
    write_json(&unit.note_path(into), &note)?;
    lock.release();
    Ok(())
}
