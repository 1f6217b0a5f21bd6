//! The folder in which dattri keeps retrained networks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::broken::{Outcome, about, quoted, refuse};
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::retrain::{Retrained, Subsets};
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;

/// Largest note and index file that is read.
const MOST_BYTES: u64 = 64 << 20;

/// What `retrain_lds` of dattri 0.3 left: subsets of the train examples and networks trained on them.
///
/// ```no_run
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(1_000, 100, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)); // names of parameters as in the files
/// let truth = read::dattri_retraining("retrained")?.measure(&task, &train, &test)?;
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Debug)]
pub struct DattriRetraining {
    /// Number of train examples that subsets were drawn from.
    pub n_train: usize,
    /// Networks for each subset.
    pub runs: usize,
    /// Folders of the subsets by their number; of a run in several parts all that are there.
    pub folders: BTreeMap<usize, PathBuf>,
    /// Positions of the train examples in each of them, in the order drawn.
    pub positions: BTreeMap<usize, Vec<usize>>,
}

/// Reads the note and the subsets of such a folder; the networks are read when they are measured.
///
/// Of `metadata.yml` only `mode`, `data_length` and `num_runs_per_subset` are used: its list of folders has paths of the machine that
/// wrote it, and the last part alone for a run in several.
///
/// Errors: [`Error::Data`] naming the file for what is not of this form, for positions outside or twice, and for a missing network;
/// [`Error::Unsupported`] for mode `loo`, which pickles whole models.
pub fn dattri_retraining(folder: impl AsRef<Path>) -> Result<DattriRetraining> {
    let folder = folder.as_ref();
    let note = folder.join("metadata.yml");
    let text = about(&note, || text_of(&note))?;
    if about(&note, || Ok(entry(&text, "mode")?.to_string()))? == "loo" {
        let reason = format!("{}: mode loo keeps whole pickled models, whose code is not run here", note.display());
        return Err(Error::Unsupported(reason));
    }
    let (n_train, runs) = about(&note, || match entry(&text, "mode")? {
        "lds" => Ok((number(&text, "data_length")?, number(&text, "num_runs_per_subset")?)),
        other => refuse(format!("expected mode lds, got {}", quoted(other))),
    })?;
    let folders = about(folder, || subset_folders(folder))?;
    let mut positions = BTreeMap::new();
    for (&at, subset) in &folders {
        let file = subset.join("indices.txt");
        positions.insert(at, about(&file, || drawn(&text_of(&file)?, n_train))?);
        if let Some(missing) = (0..runs).map(|run| weights(subset, run)).find(|file| !file.is_file()) {
            return Err(Error::data(missing.display().to_string(), format!("it is not there; the note says {runs} runs each")));
        }
    }
    Ok(DattriRetraining { n_train, runs, folders, positions })
}

impl DattriRetraining {
    /// The subsets, of these train examples.
    ///
    /// Errors: [`Error::Data`] for another number of them.
    pub fn subsets(&self, train: &Dataset) -> Result<Subsets> {
        if train.len() != self.n_train {
            let reason = format!("expected the {} train examples that dattri drew from, got {}", self.n_train, train.len());
            return Err(Error::data(train.name(), reason));
        }
        let named = self.positions.iter().map(|(number, positions)| (format!("dattri {number}"), positions.clone()));
        Ok(Subsets::of(train, self.positions.len(), named)?.numbered(self.positions.keys().copied().collect()))
    }

    /// What the networks say about test examples, by the task's measurement; its architecture names parameters as the files do.
    ///
    /// Errors: as [`DattriRetraining::subsets`]; [`Error::Checkpoint`] if weights do not fit the architecture.
    pub fn measure(&self, task: &Task, train: &Dataset, test: &Dataset) -> Result<Retrained> {
        let subsets = self.subsets(train)?;
        let mut rows = Vec::with_capacity(self.folders.len() * self.runs);
        for folder in self.folders.values() {
            for run in 0..self.runs {
                let file = weights(folder, run);
                let checkpoint = Checkpoint::load(&file)?;
                let named = |error| match error {
                    Error::Checkpoint { reason, .. } => Error::checkpoint(file.display().to_string(), reason),
                    other => other,
                };
                rows.push(Snapshot::new(task, &checkpoint).map_err(named)?.measure(Of::Measurement, test)?);
            }
        }
        let size = [self.folders.len() as i64, self.runs as i64, test.len() as i64];
        Retrained::new(guarded(|| Ok(Tensor::stack(&rows, 0).view(size)))?, &subsets, test)
    }
}

fn weights(folder: &Path, run: usize) -> PathBuf {
    folder.join(format!("model_weights_{run}.pt"))
}

fn text_of(file: &Path) -> Outcome<String> {
    let bytes = std::fs::metadata(file)?.len();
    if bytes > MOST_BYTES {
        return refuse(format!("expected {MOST_BYTES} bytes at most, got {bytes}"));
    }
    String::from_utf8(std::fs::read(file)?).or_else(|_| refuse("expected text in UTF-8"))
}

/// The value of `key: value` on a line of its own, not indented. What dattri writes needs no more of YAML.
fn entry<'t>(text: &'t str, key: &str) -> Outcome<&'t str> {
    let mut found = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    match (found.next(), found.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value),
        (Some(_), Some(_)) => refuse(format!("two lines {key}")),
        _ => refuse(format!("expected a line {key}: …, as dattri's retrain_lds writes")),
    }
}

fn number(text: &str, key: &str) -> Outcome<usize> {
    let value = entry(text, key)?;
    match value.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => refuse(format!("expected {key}: a number above 0, got {}", quoted(value))),
    }
}

fn subset_folders(folder: &Path) -> Outcome<BTreeMap<usize, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        if let Some(number) = number.filter(|_| path.is_dir()) {
            found.insert(number as usize, path);
        }
    }
    match found.is_empty() {
        true => refuse("expected folders 0, 1, … of subsets, got none"),
        false => Ok(found),
    }
}

fn drawn(text: &str, n: usize) -> Outcome<Vec<usize>> {
    let mut seen = vec![false; n];
    let mut positions = Vec::new();
    for line in text.lines() {
        match line.trim().parse::<usize>() {
            Ok(at) if at >= n => return refuse(format!("expected positions 0 to {}, got {at}", n - 1)),
            Ok(at) if std::mem::replace(&mut seen[at], true) => return refuse(format!("position {at} is there twice")),
            Ok(at) => positions.push(at),
            Err(_) => return refuse(format!("expected a position on each line, got {}", quoted(line))),
        }
    }
    match positions.is_empty() {
        true => refuse("expected at least one position, got none"),
        false => Ok(positions),
    }
}
