//! Standard MIDI files: the notes, the sustain pedal, and when.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::broken::{Outcome, about, refuse};
use super::source::whole;
use crate::error::Result;

/// Longer pieces are damaged tempos.
const LONGEST: f64 = 86_400.0;
/// Of the sustain pedal.
const PEDAL: u8 = 64;
/// Microseconds of a quarter note until a file says otherwise: 120 in a minute.
const TEMPO: u32 = 500_000;

/// One note, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// When the key goes down.
    pub start: f64,
    /// When the key comes up; the pedal may let it sound longer.
    pub end: f64,
    /// 60 is the middle C.
    pub pitch: u8,
    /// 1 to 127.
    pub velocity: u8,
}

/// What one channel of one track plays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Of the file, from 0.
    pub track: usize,
    /// 0 to 15.
    pub channel: u8,
    /// In the order in which they end.
    pub notes: Vec<Note>,
    /// Seconds and position of the sustain pedal, 0 to 127, whenever it moves; from 64 it is down.
    pub pedal: Vec<(f64, u8)>,
}

/// The notes of a MIDI file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Midi {
    /// In the order of tracks, then of channels; only those with notes.
    pub parts: Vec<Part>,
}

/// Reads a Standard MIDI File of format 0 or 1: notes, the sustain pedal (controller 64) and tempos; all else is passed over.
///
/// A key that is struck again while it is down makes two notes, which end together; a key that never comes up makes none.
///
/// Errors: [`Error::Data`](crate::Error::Data) for a file that is cut off or has data where a message should begin, for times in SMPTE
/// frames, for format 2, and for a piece longer than a day.
///
/// ```
/// use ascribe::read;
/// // One track: middle C for half a second at the usual tempo, 96 ticks to the quarter note.
/// let bytes = b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\0\0\0\x0c\0\x90\x3c\x40\x60\x80\x3c\0\0\xff\x2f\0";
/// let file = std::env::temp_dir().join(format!("ascribe-doc-{}.mid", std::process::id()));
/// std::fs::write(&file, bytes).unwrap();
/// let midi = read::midi(&file)?;
/// let note = midi.parts[0].notes[0];
/// assert_eq!((note.start, note.end, note.pitch, note.velocity), (0.0, 0.5, 60, 64));
/// # std::fs::remove_file(&file).ok();
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn midi(path: impl AsRef<Path>) -> Result<Midi> {
    about(path.as_ref(), || piece(&whole(path.as_ref())?))
}

/// A note or a movement of the pedal, in ticks.
enum Event {
    Note { start: u64, end: u64, pitch: u8, velocity: u8 },
    Pedal { at: u64, value: u8 },
}

#[derive(Default)]
struct Tracks {
    /// By track and channel.
    events: BTreeMap<(usize, u8), Vec<Event>>,
    /// Microseconds of a quarter note from a tick on.
    tempos: Vec<(u64, u32)>,
}

pub(super) fn piece(bytes: &[u8]) -> Outcome<Midi> {
    let mut input = Input { bytes };
    if input.take(4)? != b"MThd" {
        return refuse("expected a Standard MIDI File, which begins with MThd");
    }
    let length = input.word()? as usize;
    let mut header = Input { bytes: input.take(length)? };
    let [format, count, division] = [header.short()?, header.short()?, header.short()?];
    if format > 1 {
        return refuse(format!("expected MIDI format 0 or 1, got {format}: its tracks are pieces of their own"));
    }
    if division & 0x8000 != 0 || division == 0 {
        return refuse(format!("expected ticks of a quarter note, got the division {division:#06x} (SMPTE frames, or none)"));
    }
    let (mut tracks, mut found) = (Tracks::default(), 0);
    while found < usize::from(count) {
        let name = input.take(4)?;
        let length = input.word()? as usize;
        let content = input.take(length)?;
        if name == b"MTrk" {
            tracks.read(found, content)?;
            found += 1;
        }
    }
    tracks.timed(division)
}

impl Tracks {
    fn read(&mut self, track: usize, content: &[u8]) -> Outcome<()> {
        let mut input = Input { bytes: content };
        let (mut now, mut running) = (0u64, None);
        let mut open: HashMap<(u8, u8), Vec<(u64, u8)>> = HashMap::new();
        while !input.bytes.is_empty() {
            now += u64::from(input.length()?);
            let status = match input.bytes.first() {
                Some(status @ 0x80..) => {
                    input.bytes = &input.bytes[1..];
                    *status
                }
                Some(byte) => match running {
                    Some(status) => status,
                    None => return refuse(format!("track {track}: expected a message, got the data byte {byte:#04x}")),
                },
                None => return refuse(format!("track {track}: cut off inside a message")),
            };
            let channel = status & 0x0f;
            match status {
                0xff => {
                    let kind = input.take(1)?[0];
                    let length = input.length()? as usize;
                    let content = input.take(length)?;
                    match (kind, content) {
                        (0x2f, _) => break,
                        (0x51, &[a, b, c]) => self.tempos.push((now, u32::from_be_bytes([0, a, b, c]))),
                        (0x51, _) => return refuse(format!("track {track}: a tempo of {} bytes", content.len())),
                        _ => {}
                    }
                    continue; // later messages may still leave out their status
                }
                0xf0 | 0xf7 => {
                    let length = input.length()? as usize;
                    input.take(length)?;
                    running = None;
                    continue;
                }
                0xf1.. => return refuse(format!("track {track}: a message {status:#04x}, which files do not hold")),
                _ => running = Some(status),
            }
            let data = input.take(if matches!(status >> 4, 0xc | 0xd) { 1 } else { 2 })?;
            if let Some(byte) = data.iter().find(|byte| **byte > 127) {
                return refuse(format!("track {track}: expected data below 128 after {status:#04x}, got {byte}"));
            }
            match (status >> 4, data) {
                (0x9, &[pitch, velocity]) if velocity > 0 => open.entry((channel, pitch)).or_default().push((now, velocity)),
                (0x8 | 0x9, &[pitch, _]) => self.close(track, channel, pitch, now, &mut open),
                (0xb, &[PEDAL, value]) => {
                    self.events.entry((track, channel)).or_default().push(Event::Pedal { at: now, value });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends the notes of a key that began before now; what begins now goes on, if others ended.
    fn close(&mut self, track: usize, channel: u8, pitch: u8, now: u64, open: &mut HashMap<(u8, u8), Vec<(u64, u8)>>) {
        let Some(begun) = open.remove(&(channel, pitch)) else { return };
        let (ending, going_on): (Vec<_>, Vec<_>) = begun.into_iter().partition(|(start, _)| *start != now);
        if !ending.is_empty() && !going_on.is_empty() {
            open.insert((channel, pitch), going_on);
        }
        let events = self.events.entry((track, channel)).or_default();
        events.extend(ending.into_iter().map(|(start, velocity)| Event::Note { start, end: now, pitch, velocity }));
    }

    /// Ticks become seconds.
    fn timed(self, division: u16) -> Outcome<Midi> {
        let clock = Clock::new(self.tempos, division)?;
        let mut parts = Vec::new();
        for ((track, channel), events) in self.events {
            let mut part = Part { track, channel, ..Part::default() };
            for event in events {
                match event {
                    Event::Note { start, end, pitch, velocity } => {
                        part.notes.push(Note { start: clock.seconds(start)?, end: clock.seconds(end)?, pitch, velocity });
                    }
                    Event::Pedal { at, value } => part.pedal.push((clock.seconds(at)?, value)),
                }
            }
            if !part.notes.is_empty() {
                parts.push(part);
            }
        }
        Ok(Midi { parts })
    }
}

/// Where each tempo begins, in ticks and seconds, and the seconds of its ticks.
struct Clock(Vec<(u64, f64, f64)>);

impl Clock {
    fn new(mut tempos: Vec<(u64, u32)>, division: u16) -> Outcome<Clock> {
        tempos.sort_by_key(|(tick, _)| *tick); // stable: of two at once, the later counts
        let tick = |tempo: u32| 60.0 / (6e7 / f64::from(tempo) * f64::from(division));
        let mut clock = Clock(vec![(0, 0.0, tick(TEMPO))]);
        for (at, tempo) in tempos {
            if tempo == 0 {
                return refuse("a tempo of 0 microseconds for a quarter note");
            }
            let (begin, seconds, before) = clock.0[clock.0.len() - 1];
            if at == begin {
                clock.0.pop();
                clock.0.push((at, seconds, tick(tempo)));
            } else if tick(tempo) != before {
                clock.0.push((at, seconds + before * (at - begin) as f64, tick(tempo)));
            }
        }
        Ok(clock)
    }

    fn seconds(&self, tick: u64) -> Outcome<f64> {
        let after = self.0.partition_point(|(begin, ..)| *begin <= tick);
        let (begin, seconds, each) = self.0[after - 1];
        let found = seconds + each * (tick - begin) as f64;
        match found <= LONGEST {
            true => Ok(found),
            false => refuse(format!("expected a piece of at most a day, got {found:.0} seconds")),
        }
    }
}

/// Bytes still to be read.
struct Input<'b> {
    bytes: &'b [u8],
}

impl<'b> Input<'b> {
    fn take(&mut self, count: usize) -> Outcome<&'b [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return refuse(format!("cut off: expected {count} more bytes, got {}", self.bytes.len()));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn short(&mut self) -> Outcome<u16> {
        Ok(self.take(2)?.iter().fold(0, |sum, byte| sum << 8 | u16::from(*byte)))
    }

    fn word(&mut self) -> Outcome<u32> {
        Ok(self.take(4)?.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    /// A number in groups of seven bits, at most four of them.
    fn length(&mut self) -> Outcome<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let byte = self.take(1)?[0];
            value = value << 7 | u32::from(byte & 0x7f);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        refuse("a number of more than four bytes")
    }
}
