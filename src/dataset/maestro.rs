//! MAESTRO v2.0.0: piano competitions as MIDI.
//!
//! * **What**: 1,282 performances in the publisher's parts for training, validation and test, as sequences of 390 tokens (see [`Events`])
//!   cut into windows of 256 without overlap; what a piece has left at its end is dropped, as in dattri's benchmark.
//! * **Shapes**: inputs and targets `[n, 256]` int64; a target is the token after its input. Columns `file`, `composer`, `title`, `year`
//!   and `start`, the position of a window's first token.
//! * **Source**: Hawthorne et al. 2019 (arXiv 1810.12247), `maestro-v2.0.0-midi.zip`, unpacked in the folder `maestro-v2.0.0` of the folder
//!   that the environment variable `ASCRIBE_DATA` names, else of the user's cache. It is not downloaded. Which files there are says
//!   `maestro-v2.0.0.csv`, or `subset.csv` beside some of them; where the list has a column `sha256`, each file is checked by it.
//! * **Licence**: CC BY-NC-SA 4.0.
//! * **Errors**: [`Error::Data`](crate::Error::Data) if a listed file is not there or damaged.

use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, NamedFrom, Series};
use sha2::{Digest, Sha256};

use super::Dataset;
use super::download::{Folder, hexadecimal};
use super::music::{Events, cut, tokens_of};
use super::table::read_csv;
use super::text::Blocks;
use crate::error::{Error, Result};
use crate::frame::column;

const LISTS: [&str; 2] = ["maestro-v2.0.0.csv", "subset.csv"];

/// MAESTRO v2.0.0 as (train, validation, test): windows of 256 tokens, each with the next token as target.
///
/// ```no_run
/// let (train, validation, _) = ascribe::dataset::maestro(ascribe::dataset::Events::Performance)?;
/// assert_eq!((train.inputs().size()[1], train.name()), (256, "maestro-train"));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn maestro(events: Events) -> Result<(Dataset, Dataset, Dataset)> {
    let folder = Folder::of("maestro-v2.0.0")?.path;
    let Some(list) = LISTS.iter().map(|name| folder.join(name)).find(|path| path.is_file()) else {
        let place = folder.display();
        let reason =
            format!("expected maestro-v2.0.0.csv in {place}: unpack the publisher's maestro-v2.0.0-midi.zip beside that folder");
        return Err(Error::data("maestro", reason));
    };
    let list = read_csv(&list)?;
    let part = |split: &str| part(&folder, &list, split, events);
    Ok((part("train")?, part("validation")?, part("test")?))
}

fn part(folder: &Path, list: &DataFrame, split: &str, events: Events) -> Result<Dataset> {
    let text = |name: &str| -> Result<Vec<String>> {
        Ok(column(list, name)?.str()?.iter().map(|cell| cell.unwrap_or_default().to_string()).collect())
    };
    let (files, splits) = (text("midi_filename")?, text("split")?);
    let mut rows: Vec<usize> = (0..files.len()).filter(|&row| splits[row] == split).collect();
    // As the pieces stand in a folder for each part.
    rows.sort_by_key(|&row| files[row].rsplit('/').next().unwrap_or_default().to_string());
    let digests = if column(list, "sha256").is_ok() { Some(text("sha256")?) } else { None };
    let mut pieces = Vec::with_capacity(rows.len());
    for &row in &rows {
        let path = PathBuf::from(&files[row]);
        if path.is_absolute() || path.components().any(|part| part.as_os_str() == "..") {
            return Err(Error::data("maestro", format!("expected paths within its folder, got {:?}", files[row])));
        }
        let path = folder.join(path);
        if let Some(sha256) = &digests {
            check(&path, &sha256[row])?;
        }
        pieces.push(tokens_of(&path, events)?);
    }
    let (data, at) = cut(&pieces, &Blocks::default(), folder)?;
    let along = |values: &[String]| at.iter().map(|&piece| values[rows[piece]].clone()).collect::<Vec<_>>();
    let years = column(list, "year")?.cast(&polars::prelude::DataType::Int64)?;
    let years: Vec<Option<i64>> = years.i64()?.iter().collect();
    let data = data.with_column(Series::new("file".into(), along(&files)))?;
    let data = data.with_column(Series::new("composer".into(), along(&text("canonical_composer")?)))?;
    let data = data.with_column(Series::new("title".into(), along(&text("canonical_title")?)))?;
    let data = data.with_column(Series::new("year".into(), at.iter().map(|&piece| years[rows[piece]]).collect::<Vec<_>>()))?;
    Ok(data.named(format!("maestro-{split}")))
}

/// An error unless the file is the published one.
fn check(path: &Path, sha256: &str) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    match hexadecimal(Sha256::new_with_prefix(bytes)) {
        got if got == sha256 => Ok(()),
        got => {
            let reason = format!("it is not the published file: expected sha256 {sha256}, got {got}");
            Err(Error::data(path.display().to_string(), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{part, read_csv};
    use crate::dataset::Events;

    #[test]
    fn a_list_stays_within_its_folder() {
        let folder = std::env::temp_dir().join(format!("ascribe-maestro-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let list = folder.join("subset.csv");
        let said = |file: &str| {
            let (mut columns, mut cells) =
                ("canonical_composer,canonical_title,split,year,midi_filename".to_string(), String::new());
            if file == "checked.midi" {
                std::fs::write(folder.join(file), "MThd").unwrap();
                columns.push_str(",sha256");
                cells.push_str(",ab12");
            }
            let text = format!("{columns}\nA,B,train,2004,{file}{cells}\n");
            std::fs::write(&list, text).unwrap();
            part(&folder, &read_csv(&list).unwrap(), "train", Events::Performance).err().unwrap().to_string()
        };
        let all = ["../a.midi", "/etc/passwd", "2004/absent.midi", "subset.csv", "checked.midi"].map(said);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(all[0].contains("paths within its folder") && all[1].contains("paths within its folder"), "{all:?}");
        assert!(all[2].contains("absent.midi: No such file"), "{all:?}");
        assert!(all[3].contains("subset.csv: expected a Standard MIDI File"), "{all:?}");
        assert!(all[4].contains("checked.midi: it is not the published file: expected sha256 ab12, got "), "{all:?}");
    }
}
