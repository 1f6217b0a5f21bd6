//! Pieces of music as sequences of events.

use std::path::Path;

use polars::prelude::{NamedFrom, Series};

use super::Dataset;
use super::text::{Blocks, stem};
use super::walk::files_below;
use crate::error::{Error, Result};
use crate::read::{self, Midi, Note, Part};

/// The first token of a key that goes down, by pitch.
const ON: i64 = 0;
/// Of one that comes up.
const OFF: i64 = 128;
/// Of 1 to 100 steps of 10 ms.
const SHIFT: i64 = 256;
/// Of 32 velocities.
const VELOCITY: i64 = 356;
/// Steps of one token at most.
const LONGEST: i64 = 100;
/// Times that the notes of a part may come in [`Events::Dattri`].
const REPEATED: usize = 100;
/// Controller values from here on press the pedal.
const DOWN: u8 = 64;

/// How notes become tokens; both use the same 390.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// A key whose pedal is down when it comes up sounds on until the pedal comes up or the key is struck again; times are rounded to
    /// 10 ms from the piece's beginning, so that errors do not add up; the velocity is told when it changes (Oore et al. 2018,
    /// arXiv 1808.03715).
    #[default]
    Performance,
    /// Token by token what dattri's benchmark trains on, for weights from there. Only notes that begin while the pedal is down are made
    /// longer; those after the pedal's last rise are lost, those near the end may come twice, a part without pedal has none; the distances
    /// between events are rounded; the velocity is told before almost every note.
    Dattri,
}

impl Events {
    /// Ends a piece; no encoding writes it, models of dattri know it.
    pub const END: i64 = 388;
    /// Fills a sequence up, likewise.
    pub const PAD: i64 = 389;
    /// Number of tokens, these two among them.
    pub const VOCABULARY: i64 = 390;

    /// The tokens of a piece.
    ///
    /// ```
    /// use ascribe::dataset::Events;
    /// use ascribe::read::{Midi, Note, Part};
    /// let note = Note { start: 0.0, end: 0.25, pitch: 60, velocity: 64 };
    /// let midi = Midi { parts: vec![Part { notes: vec![note], ..Part::default() }] };
    /// // Velocity 16 of 32, key 60 down, 25 steps of 10 ms, key 60 up.
    /// assert_eq!(Events::Performance.tokens(&midi)?, [356 + 16, 60, 256 + 24, 128 + 60]);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    ///
    /// Errors: [`Error::Data`] where `Dattri` would repeat the notes a hundred times and more.
    pub fn tokens(self, midi: &Midi) -> Result<Vec<i64>> {
        match self {
            Events::Performance => Ok(performance(midi)),
            Events::Dattri => dattri(midi),
        }
    }
}

/// Tokens for the steps that pass.
fn pass(tokens: &mut Vec<i64>, mut steps: i64) {
    while steps > 0 {
        let some = steps.min(LONGEST);
        tokens.push(SHIFT + some - 1);
        steps -= some;
    }
}

/// When the pedal goes down and comes up again; it stays down after the last event.
fn pressed(pedal: &[(f64, u8)]) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let mut down = false;
    for &(at, value) in pedal {
        match (down, value >= DOWN) {
            (false, true) => spans.push((at, f64::INFINITY)),
            (true, false) => spans.iter_mut().last().into_iter().for_each(|span| span.1 = at),
            _ => {}
        }
        down = value >= DOWN;
    }
    spans
}

/// The same, without the last if it never ends; a value that is low while the pedal is up moves the end before.
fn risen(pedal: &[(f64, u8)]) -> Vec<(f64, f64)> {
    let mut spans: Vec<(f64, f64)> = Vec::new();
    let mut down = None;
    for &(at, value) in pedal {
        match (down, value >= DOWN) {
            (None, true) => down = Some(at),
            (Some(from), false) => {
                spans.push((from, at));
                down = None;
            }
            (None, false) => spans.iter_mut().last().into_iter().for_each(|span| span.1 = at),
            (Some(_), true) => {}
        }
    }
    spans
}

fn performance(midi: &Midi) -> Vec<i64> {
    let step = |seconds: f64| (seconds * 100.0).round_ties_even() as i64;
    let mut events = Vec::new(); // step, up before down, pitch, velocity
    for part in &midi.parts {
        for note in sustained(part) {
            let (start, end) = (step(note.start), step(note.end));
            events.push((start, 1, note.pitch, note.velocity));
            events.push((end.max(start + 1), 0, note.pitch, 0));
        }
    }
    events.sort_unstable();
    let (mut tokens, mut now, mut loudness) = (Vec::new(), 0, None);
    for (at, down, pitch, velocity) in events {
        pass(&mut tokens, at - now);
        now = at;
        if down == 0 {
            tokens.push(OFF + i64::from(pitch));
            continue;
        }
        let bin = i64::from(velocity / 4);
        if loudness != Some(bin) {
            tokens.push(VELOCITY + bin);
            loudness = Some(bin);
        }
        tokens.push(ON + i64::from(pitch));
    }
    tokens
}

/// The notes as long as they sound.
fn sustained(part: &Part) -> Vec<Note> {
    let spans = pressed(&part.pedal);
    // What is still down at the end comes up with the last event.
    let last = part.pedal.iter().map(|(at, _)| *at).chain(part.notes.iter().map(|note| note.end)).fold(0.0, f64::max);
    let mut strikes = vec![Vec::new(); 128];
    part.notes.iter().for_each(|note| strikes[usize::from(note.pitch & 127)].push(note.start));
    strikes.iter_mut().for_each(|starts| starts.sort_by(f64::total_cmp));
    let sounding = part.notes.iter().map(|note| {
        let before = spans.partition_point(|(down, _)| *down <= note.end);
        let Some((_, up)) = before.checked_sub(1).map(|span| spans[span]).filter(|(_, up)| note.end < *up) else {
            return *note;
        };
        let starts = &strikes[usize::from(note.pitch & 127)];
        let again = starts.get(starts.partition_point(|start| *start < note.end)).copied().unwrap_or(f64::INFINITY);
        Note { end: up.min(last).min(again), ..*note }
    });
    sounding.collect()
}

fn dattri(midi: &Midi) -> Result<Vec<i64>> {
    let mut notes: Vec<Note> = Vec::new();
    for part in &midi.parts {
        notes.extend(managed(part)?);
    }
    notes.sort_by(|a, b| a.start.total_cmp(&b.start));
    let ends = |note: &Note| [(note.start, note.pitch, Some(note.velocity)), (note.end, note.pitch, None)];
    let mut events: Vec<(f64, u8, Option<u8>)> = notes.iter().flat_map(ends).collect();
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut tokens, mut now, mut before) = (Vec::new(), 0.0, Some(0));
    for (at, pitch, velocity) in events {
        pass(&mut tokens, ((at - now) * 100.0).round_ties_even() as i64);
        match velocity {
            Some(velocity) => {
                // Compared with the whole velocity of the event before, not with its bin.
                if before != Some(velocity / 4) {
                    tokens.push(VELOCITY + i64::from(velocity / 4));
                }
                tokens.push(ON + i64::from(pitch));
            }
            None => tokens.push(OFF + i64::from(pitch)),
        }
        (now, before) = (at, velocity);
    }
    Ok(tokens)
}

/// The notes that dattri keeps of a part, as long as it makes them; some twice.
fn managed(part: &Part) -> Result<Vec<Note>> {
    let spans = risen(&part.pedal);
    let mut ends: Vec<f64> = part.notes.iter().map(|note| note.end).collect();
    let mut rest: Vec<usize> = (0..part.notes.len()).collect();
    let (mut stream, mut held) = (Vec::new(), Vec::new());
    for (down, up) in spans {
        let mut during = Vec::new();
        let mut after = None;
        for (i, &at) in rest.iter().enumerate() {
            let start = part.notes[at].start;
            if start < down {
                stream.push(at);
            } else if start > up {
                after = Some(i);
                break;
            } else {
                during.push(at);
            }
        }
        if let Some(after) = after {
            rest.drain(..after);
            let mut struck: [Option<f64>; 128] = [None; 128];
            for &at in during.iter().rev() {
                let next = &mut struck[usize::from(part.notes[at].pitch & 127)];
                ends[at] = next.unwrap_or_else(|| ends[at].max(up));
                *next = Some(part.notes[at].start);
            }
        }
        held.extend(during);
        if stream.len() + held.len() > REPEATED * part.notes.len() {
            return Err(Error::data("pedal", format!("dattri's reading repeats the notes more than {REPEATED} times")));
        }
    }
    stream.extend(held);
    Ok(stream.into_iter().map(|at| Note { end: ends[at], ..part.notes[at] }).collect())
}

/// The MIDI files below a folder (`.mid`, `.midi`) as blocks of tokens, in the order of their paths; none reaches over a piece's end.
///
/// Inputs and targets `[n, length]` int64, of at most [`Events::VOCABULARY`] symbols; the column `file` says whence a block is, `start` the position
/// of its first token. Pieces shorter than a block are left out.
///
/// Errors: [`Error::Data`] for a folder without such files, for one that cannot be read (see [`read::midi`](read::midi())), and where no
/// piece is long enough.
///
/// ```no_run
/// use ascribe::prelude::*;
/// let pieces = dataset::midi("my-recordings", dataset::Events::Performance, &default())?;
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn midi(folder: impl AsRef<Path>, events: Events, blocks: &Blocks) -> Result<Dataset> {
    let folder = folder.as_ref();
    let paths = files_below(folder, &["mid", "midi"])?;
    let pieces = paths.iter().map(|path| tokens_of(path, events)).collect::<Result<Vec<_>>>()?;
    let (data, at) = cut(&pieces, blocks, folder)?;
    let names: Vec<String> = at.iter().map(|&piece| super::walk::relative(folder, &paths[piece])).collect();
    Ok(data.with_column(Series::new("file".into(), names))?.named(stem(folder)))
}

pub(super) fn tokens_of(path: &Path, events: Events) -> Result<Vec<i64>> {
    events.tokens(&read::midi(path)?).map_err(|error| match error {
        Error::Data { reason, .. } => Error::data(path.display().to_string(), reason),
        other => other,
    })
}

/// The blocks of pieces, with the column `start`; and the piece of each.
pub(super) fn cut(pieces: &[Vec<i64>], blocks: &Blocks, folder: &Path) -> Result<(Dataset, Vec<usize>)> {
    let (data, starts) = blocks.dataset(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>()).map_err(|error| match error {
        Error::Data { reason, .. } => Error::data(folder.display().to_string(), reason),
        other => other,
    })?;
    let at = starts.iter().enumerate().flat_map(|(piece, starts)| std::iter::repeat_n(piece, starts.len())).collect();
    let starts: Vec<u64> = starts.into_iter().flatten().map(|start| start as u64).collect();
    Ok((data.with_column(Series::new("start".into(), starts))?, at))
}
