//! Gradients and features on disk: computed once, in parts, by one job or many; then every method reads them by memory map.
//!
//! A store is a folder:
//!
//! ```text
//! store.json                        what made it: weights, architecture, data, objective, form
//! c000/part-00003.json              written last: a part without it does not count; sizes and CRC-32 of its files
//! c000/part-00003-fc1.input.npy     an array of one layer, `numpy.load` reads it
//! c000/part-00003-fc1.delta.npy
//! ```
//!
//! Parts of checkpoint 0 are in `c000`. A job that was killed records the missing parts when it is started again, and the files are
//! those of a job that was not killed, byte for byte.
//!
//! Names do not tell two closures apart, nor shapes two architectures: `store.json` keeps a few numbers of a few gradients of each
//! checkpoint, which whoever records into a store or reads from it must have too.

mod about;
mod attached;
mod form;
mod merge;
mod npy;
mod part;
mod probe;
mod record;
mod recording;
mod shard;

pub(crate) use attached::{Attached, Stored, StoredRows};
pub use recording::{Kept, Recording};
pub use shard::Shard;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};
use tch::Tensor;

use self::about::About;
use self::form::Arrays;
use self::part::{Note, Unit};
use crate::error::{Error, Result, guarded};
use crate::file::read_json;
use crate::gradient::{Gradients, Layout};

/// How many parts an error names.
const NAMED: usize = 8;

/// A folder of recorded gradients or features.
///
/// The bytes of a part are compared with its note when this handle first reads the part, and not again: files that change under an open
/// store are noticed by [`check`](Store::check), or by opening it anew.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(300, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 2, ..default() }, &train)?;
/// let folder = std::env::temp_dir().join(format!("ascribe-doc-store-{}", std::process::id()));
/// let store = Store::record(&folder, &task, &train, &Recording::default())?; // killed? run it again
/// let stored = task.clone().with_store(&store, &train)?; // refuses other weights, data, objective
/// let from_disk = GradDot::default().fit(&stored, &train)?.score(&test)?;
/// let computed = GradDot::default().fit(&task, &train)?.score(&test)?;
/// assert!(from_disk.tensor().equal(computed.tensor()));
/// # std::fs::remove_dir_all(&folder).ok();
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone)]
pub struct Store {
    dir: PathBuf,
    about: Arc<About>,
    /// Notes of parts whose bytes have been compared.
    known: Arc<Mutex<HashMap<Unit, Arc<Note>>>>,
    /// What this handle did with a part.
    done: Arc<Mutex<HashMap<Unit, String>>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { kept, of, number, examples, checkpoints, dtype, .. } = &*self.about;
        let (missing, all) = (self.missing().len(), self.units().count());
        let form = self.about.projection.as_ref().unwrap_or(kept);
        write!(f, "Store {} ({form} of the {of} {number}, {dtype}, {examples} examples, ", self.dir.display())?;
        write!(f, "{} checkpoints, {} of {all} parts)", checkpoints.len(), all - missing)
    }
}

impl Store {
    fn new(dir: &Path, about: About) -> Store {
        Store { dir: dir.to_path_buf(), about: Arc::new(about), known: Arc::default(), done: Arc::default() }
    }

    /// Opens a folder, whether all parts are there or not.
    fn peek(dir: &Path) -> Result<Store> {
        let about: About = read_json(&dir.join("store.json"))?;
        about.check(&dir.display().to_string())?;
        Ok(Store::new(dir, about))
    }

    /// Opens a whole store.
    ///
    /// Errors: [`Error::Data`] naming missing or damaged parts, or a note of another format; [`Error::Io`] without a `store.json`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Store> {
        let store = Store::peek(dir.as_ref())?;
        store.whole()?;
        Ok(store)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    /// Parts of all checkpoints, in order.
    fn units(&self) -> impl Iterator<Item = Unit> + use<> {
        let parts = self.about.parts();
        (0..self.about.checkpoints.len()).flat_map(move |checkpoint| (0..parts).map(move |part| Unit { checkpoint, part }))
    }

    /// Position of the first example of a part, and how many it has.
    fn span(&self, unit: Unit) -> (usize, usize) {
        let start = unit.part * self.about.part_rows;
        (start, self.about.part_rows.min(self.about.examples - start))
    }

    /// A part's note, if the part is whole; `read` compares the bytes of its files too.
    fn look(&self, unit: Unit, read: bool) -> Result<Option<Note>> {
        let Some(note) = unit.find(&self.dir, read)? else { return Ok(None) };
        match (note.start, note.rows) == self.span(unit) {
            true => Ok(Some(note)),
            false => {
                let (start, rows) = self.span(unit);
                let got = format!("{} from {}", note.rows, note.start);
                let name = unit.note_path(&self.dir).display().to_string();
                Err(Error::data(name, format!("expected {rows} examples from {start}, got {got}")))
            }
        }
    }

    /// Names of the parts that are not there or whose files have another size than they should.
    pub fn missing(&self) -> Vec<String> {
        self.units().filter(|&unit| !matches!(self.look(unit, false), Ok(Some(_)))).map(Unit::name).collect()
    }

    /// An error unless every part is there. Looks no further once there are more missing parts than it names.
    fn whole(&self) -> Result<()> {
        let mut missing = Vec::new();
        for unit in self.units() {
            if self.look(unit, false)?.is_none() {
                missing.push(unit.name());
            }
            if missing.len() > NAMED {
                break;
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let all = self.about.parts() * self.about.checkpoints.len();
        let (count, more) = match missing.len() > NAMED {
            true => (format!("more than {NAMED}"), " and more"),
            false => (missing.len().to_string(), ""),
        };
        missing.truncate(NAMED);
        let reason = format!("{count} of {all} parts are missing: {}{more}", missing.join(", "));
        Err(Error::data(self.name(), format!("{reason}; record again, or merge the folders of all jobs")))
    }

    /// Reads every file and compares it with its note.
    ///
    /// Errors: [`Error::Data`] naming the first file that is missing, cut or changed.
    pub fn check(&self) -> Result<()> {
        self.whole()?;
        self.units().try_for_each(|unit| self.look(unit, true).map(|_| ()))
    }

    /// A table with one row per part: `checkpoint`, `part`, `start`, `rows`, `bytes`, `whole` by the sizes of its files, and in `note` what
    /// [`record`](Store::record) did, or what is wrong.
    pub fn frame(&self) -> Result<DataFrame> {
        let (mut checkpoints, mut parts, mut starts, mut rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut whole, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        for unit in self.units() {
            let found = self.look(unit, false);
            let (start, count) = self.span(unit);
            checkpoints.push(self.about.checkpoints[unit.checkpoint].name());
            parts.push(unit.part as u32);
            starts.push(start as u32);
            rows.push(count as u32);
            bytes.push(found.as_ref().ok().and_then(|note| Some(note.as_ref()?.bytes())).unwrap_or(0));
            whole.push(matches!(found, Ok(Some(_))));
            notes.push(match found {
                Ok(Some(_)) => done.get(&unit).cloned().unwrap_or_default(),
                Ok(None) => "missing".into(),
                Err(error) => error.to_string(),
            });
        }
        let columns: Vec<Column> = vec![
            Series::new("checkpoint".into(), checkpoints).into_column(),
            Series::new("part".into(), parts).into_column(),
            Series::new("start".into(), starts).into_column(),
            Series::new("rows".into(), rows).into_column(),
            Series::new("bytes".into(), bytes).into_column(),
            Series::new("whole".into(), whole).into_column(),
            Series::new("note".into(), notes).into_column(),
        ];
        Ok(DataFrame::new(columns[0].len(), columns)?)
    }

    /// The note of a part, its bytes compared when it is first used.
    fn note(&self, unit: Unit) -> Result<Arc<Note>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = known().get(&unit) {
            return Ok(note.clone());
        }
        let found = self.look(unit, true)?;
        let note = Arc::new(found.ok_or_else(|| Error::data(self.name(), format!("{} is missing", unit.name())))?);
        known().insert(unit, note.clone());
        Ok(note)
    }

    /// Every layer's arrays of the examples `start..end` at a checkpoint.
    fn arrays(&self, checkpoint: usize, start: i64, end: i64) -> Result<Vec<Arrays>> {
        let rows = self.about.part_rows as i64;
        if checkpoint >= self.about.checkpoints.len() || start < 0 || start >= end || end > self.about.examples as i64 {
            let expected = format!("examples of 0 to {} at {} checkpoints", self.about.examples, self.about.checkpoints.len());
            return Err(Error::data(
                self.name(),
                format!("expected {expected}, got {start} to {end} at checkpoint {checkpoint}"),
            ));
        }
        let mut layers: Vec<Vec<Arrays>> = Vec::new();
        for part in start / rows..=(end - 1) / rows {
            let unit = Unit { checkpoint, part: part as usize };
            let note = self.note(unit)?;
            let (from, until) = (start.max(part * rows) - part * rows, end.min((part + 1) * rows) - part * rows);
            let arrays = unit.read(&self.dir, &note, from, until - from)?;
            layers.resize_with(arrays.len(), Vec::new);
            layers.iter_mut().zip(arrays).for_each(|(layer, arrays)| layer.push(arrays));
        }
        layers.into_iter().map(Arrays::join).collect()
    }

    /// Gradients of the examples `start..end`.
    fn gradients(&self, checkpoint: usize, start: i64, end: i64, layout: &Arc<Layout>) -> Result<Gradients> {
        guarded(|| {
            let layers = self.arrays(checkpoint, start, end)?;
            let blocks = layers.iter().map(|arrays| arrays.blocks(layout)).collect::<Result<Vec<_>>>()?;
            Ok(Gradients::new(end - start, layout.clone(), blocks.into_iter().flatten().collect()))
        })
    }

    /// Projected gradients of all examples at a checkpoint, `[n, k]`: a memory map where one part holds them.
    ///
    /// Errors: [`Error::Unsupported`] for a store of gradients.
    pub fn features(&self, checkpoint: usize) -> Result<Tensor> {
        self.feature_rows(checkpoint, 0, self.about.examples)
    }

    /// The same of the examples `start..end`.
    pub fn feature_rows(&self, checkpoint: usize, start: usize, end: usize) -> Result<Tensor> {
        if self.about.projection.is_none() {
            return Err(Error::Unsupported(format!("features from {}, which holds {}", self.name(), self.about.kept)));
        }
        guarded(|| {
            let arrays = self.arrays(checkpoint, start as i64, end as i64)?;
            arrays.first().ok_or_else(|| Error::data(self.name(), "a part without arrays"))?.features()
        })
    }
}
