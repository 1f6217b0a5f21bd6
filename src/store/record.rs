//! Recording: every missing part of a job's share.

use std::fs::{self, File};
use std::path::Path;
use std::rc::Rc;
use std::sync::PoisonError;

use super::about::About;
use super::form::Arrays;
use super::part::{Claim, Note, Unit};
use super::probe::{self, Probe};
use super::{Kept, Recording, Store};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::file::{read_json, write_json};
use crate::gradient::Gradients;
use crate::gradient::stream::batch_size;
use crate::progress::Progress;
use crate::projection::Projector;
use crate::snapshot::Snapshot;
use crate::task::Task;

/// What a part has at least, unless told otherwise.
const ROWS: usize = 1024;
const BYTES: usize = 256 << 20;

/// One checkpoint's network, and the map of its gradients.
struct Member {
    checkpoint: usize,
    snapshot: Rc<Snapshot>,
    projector: Option<Box<dyn Projector>>,
}

impl Member {
    fn new(task: &Task, checkpoint: usize, keep: &Kept) -> Result<Member> {
        let snapshot = Rc::new(task.snapshot(checkpoint)?);
        let fit = |projection: &std::sync::Arc<dyn crate::projection::Projection>| {
            guarded(|| projection.fit(snapshot.layout(), task.member(checkpoint)))
        };
        let projector = keep.projection().map(fit).transpose()?;
        Ok(Member { checkpoint, snapshot, projector })
    }
}

impl Store {
    /// Computes what is missing of a job's share and writes it, part by part; what is whole stays.
    ///
    /// Jobs may share the folder, also of a network: each part is written by one of them, and appears whole or not at all. A part that
    /// was cut or changed is written again, which [`frame`](Store::frame) tells. The projection of a store of features is fitted with
    /// [`Task::member`].
    ///
    /// Errors: [`Error::Data`] if the folder holds a store of other weights, data, gradients or options, naming the first difference,
    /// or if every gradient is 0;
    /// [`Error::Io`] if it cannot be written.
    pub fn record(dir: impl AsRef<Path>, task: &Task, train: &Dataset, recording: &Recording) -> Result<Store> {
        recording.check()?;
        let task = &task.clone().without_stores();
        let mut member = Member::new(task, 0, &recording.keep)?;
        let store = Store::begin(dir.as_ref(), about(task, train, recording, &member)?, task, train)?;
        let mine: Vec<Unit> =
            store.units().enumerate().filter(|(at, _)| recording.shard.has(*at)).map(|(_, unit)| unit).collect();
        let mut progress = Progress::new("recording", mine.len() as u64);
        let mut later = Vec::new();
        for unit in mine {
            match store.fill(unit, false, task, train, recording, &mut member)? {
                true => progress.add(1),
                false => later.push(unit),
            }
        }
        for unit in later {
            store.fill(unit, true, task, train, recording, &mut member)?;
            progress.add(1);
        }
        progress.finish();
        Ok(store)
    }

    /// The store in a folder, which is begun if there is none.
    fn begin(dir: &Path, mut about: About, task: &Task, train: &Dataset) -> Result<Store> {
        let (path, name) = (dir.join("store.json"), dir.display().to_string());
        for checkpoint in 0..about.checkpoints.len() {
            let folder = Unit { checkpoint, part: 0 }.folder(dir);
            fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        }
        let lock = dir.join("store.lock");
        let file = File::create(&lock).map_err(|e| Error::io(&lock, e))?;
        let _ = file.lock(); // where a file system has no locks, all write the same
        if path.exists() {
            let found: About = read_json(&path)?;
            found.check_same(&name, &about)?;
            probe::check_all(&name, &found, task, train)?;
            about = found;
        } else {
            about.probes = Probe::all(task, about.of(), train)?;
            about.check(&name)?;
            write_json(&path, &about)?;
        }
        let _ = fs::remove_file(&lock);
        Ok(Store::new(dir, about))
    }

    /// Makes sure that a part is whole; `false` if another process is at it.
    fn fill(
        &self,
        unit: Unit,
        wait: bool,
        task: &Task,
        train: &Dataset,
        recording: &Recording,
        member: &mut Member,
    ) -> Result<bool> {
        if let Ok(Some(_)) = self.look(unit, true) {
            self.say(unit, "found");
            return Ok(true);
        }
        let Claim::Mine(lock) = unit.claim(&self.dir, wait)? else { return Ok(false) };
        // Another process may have finished it since.
        let word = match self.look(unit, true) {
            Ok(Some(_)) => None,
            Ok(None) => Some("written".to_string()),
            Err(error) => Some(format!("written again: {error}")),
        };
        if let Some(word) = &word {
            if member.checkpoint != unit.checkpoint {
                *member = Member::new(task, unit.checkpoint, &recording.keep)?;
            }
            unit.clear(&self.dir)?;
            self.write(unit, train, recording, member)?;
            self.say(unit, word);
        }
        lock.release();
        Ok(true)
    }

    fn say(&self, unit: Unit, word: &str) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(unit, word.into());
    }

    fn write(&self, unit: Unit, train: &Dataset, recording: &Recording, member: &Member) -> Result<Note> {
        let (start, rows) = self.span(unit);
        let (batch, end) = (self.about.batch, start + rows);
        let mut layers: Vec<Vec<Arrays>> = Vec::new();
        for from in (start..end).step_by(batch.max(1)) {
            let (inputs, targets) = train.slice(from as i64, (from + batch).min(end) as i64);
            let arrays = guarded(|| {
                let gradients = Gradients::compute(&member.snapshot, recording.of, &inputs, &targets)?;
                of_gradients(&gradients, recording, member)
            })?;
            layers.resize_with(arrays.len(), Vec::new);
            layers.iter_mut().zip(arrays).for_each(|(layer, arrays)| layer.push(arrays));
        }
        guarded(|| {
            let layers = layers.into_iter().map(Arrays::join).collect::<Result<Vec<_>>>()?;
            unit.write(&self.dir, start, &layers, recording.half)
        })
    }
}

fn of_gradients(gradients: &Gradients, recording: &Recording, member: &Member) -> Result<Vec<Arrays>> {
    Ok(match (&recording.keep, &member.projector) {
        (Kept::Features(_), Some(projector)) => vec![Arrays::of_features(projector.project(gradients)?)],
        (Kept::Rows, _) => vec![Arrays::of_rows(gradients.blocks(), gradients.layout())?],
        _ => gradients.blocks().iter().map(|block| Arrays::of_block(block, gradients.layout())).collect::<Result<_>>()?,
    })
}

fn about(task: &Task, train: &Dataset, recording: &Recording, member: &Member) -> Result<About> {
    let snapshot = &member.snapshot;
    snapshot.check(train, snapshot.measurement(recording.of))?;
    let room = batch_size(snapshot, train, !matches!(recording.keep, Kept::Factors))?;
    let batch = room.at_once as usize;
    let row = match (&recording.keep, &member.projector) {
        (_, Some(projector)) => 4 * projector.k(),
        (Kept::Rows, _) => 4 * snapshot.p(),
        _ => room.held,
    };
    let rows = ROWS.min(BYTES / (row.max(1) as usize)).max(1);
    let part_rows = recording.part_rows.unwrap_or_else(|| rows.div_ceil(batch) * batch).min(train.len());
    About::new(task, snapshot.layout(), train, recording, batch.min(part_rows), part_rows)
}
