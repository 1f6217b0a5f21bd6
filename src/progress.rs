//! A word about long work while it runs, where somebody can see it.

use std::cell::Cell;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const SILENT: Duration = Duration::from_secs(1);

/// Where progress can be seen, which decides its form.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Rewrites one line of the terminal, at most 4 times a second.
    Terminal,
    /// A notebook cannot rewrite a line: prints one at most every 3 seconds.
    Notebook,
    /// Nobody watches, or `ASCRIBE_PROGRESS=off`.
    Nowhere,
}

impl Place {
    fn of(setting: Option<&str>, notebook: bool, terminal: bool) -> Place {
        match (setting, notebook, terminal) {
            (Some("off"), _, _) => Place::Nowhere,
            (_, true, _) => Place::Notebook,
            (_, _, true) => Place::Terminal,
            _ => Place::Nowhere,
        }
    }

    /// Whether to speak now: never in the first second, then not more often than the place allows.
    fn due(self, elapsed: Duration, since_last: Option<Duration>) -> bool {
        let pause = match self {
            Place::Terminal => Duration::from_millis(250),
            Place::Notebook => Duration::from_secs(3),
            Place::Nowhere => return false,
        };
        elapsed >= SILENT && since_last.is_none_or(|since| since >= pause)
    }

    fn dressed(self, line: &str, last: bool) -> String {
        match (self, last) {
            // \x1b[K clears what a longer line before left over.
            (Place::Terminal, false) => format!("\r{line}\x1b[K"),
            (Place::Terminal, true) => format!("\r{line}\x1b[K\n"),
            _ => format!("{line}\n"),
        }
    }
}

/// Counts work that is done and tells how much is left; silent when the work takes less than a second.
///
/// In a terminal it rewrites one line of the standard error; in a notebook it prints a line every few seconds; elsewhere, or
/// with `ASCRIBE_PROGRESS=off` in the environment, it says nothing; nor does one within another of the same thread.
pub(crate) struct Progress {
    label: String,
    total: u64,
    done: u64,
    place: Place,
    start: Instant,
    last: Option<Instant>,
    sink: Box<dyn FnMut(&str) + Send>,
    /// Whether it is the outermost of its thread, which alone speaks.
    outermost: bool,
}

thread_local! {
    /// Whether somebody counts on this thread already: work within his work is silent.
    static COUNTING: Cell<bool> = const { Cell::new(false) };
}

impl Progress {
    /// Starts counting to `total`.
    pub(crate) fn new(label: &str, total: u64) -> Progress {
        let setting = env::var("ASCRIBE_PROGRESS").ok();
        let place = Place::of(setting.as_deref(), env::var_os("EVCXR_IS_RUNTIME").is_some(), io::stderr().is_terminal());
        let outermost = !COUNTING.replace(true);
        let place = if outermost { place } else { Place::Nowhere };
        let mut progress = Progress::in_place(label, total, place, Box::new(move |text| write(place, text)));
        progress.outermost = outermost;
        progress
    }

    fn in_place(label: &str, total: u64, place: Place, sink: Box<dyn FnMut(&str) + Send>) -> Progress {
        Progress { label: label.to_string(), total, done: 0, place, start: Instant::now(), last: None, sink, outermost: false }
    }

    /// So much is done in all.
    pub(crate) fn set(&mut self, done: u64) {
        self.at(done, Instant::now());
    }

    /// So much more is done.
    pub(crate) fn add(&mut self, more: u64) {
        self.set(self.done.saturating_add(more));
    }

    /// Ends the line if there is one; also happens when the value is dropped.
    pub(crate) fn finish(self) {
        drop(self);
    }

    fn at(&mut self, done: u64, now: Instant) {
        self.done = done.min(self.total);
        let since_last = self.last.map(|last| now.duration_since(last));
        let elapsed = now.duration_since(self.start);
        if self.done < self.total && self.place.due(elapsed, since_last) {
            self.last = Some(now);
            (self.sink)(&self.place.dressed(&line(&self.label, self.done, self.total, elapsed), false));
        }
    }

    fn end(&mut self, now: Instant) {
        if self.last.take().is_some() {
            let line = line(&self.label, self.done, self.total, now.duration_since(self.start));
            (self.sink)(&self.place.dressed(&line, true));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.outermost {
            COUNTING.set(false);
        }
        self.end(Instant::now());
    }
}

fn write(place: Place, text: &str) {
    // A closed output is no reason to stop the work.
    let _ = match place {
        Place::Terminal => io::stderr().lock().write_all(text.as_bytes()),
        Place::Notebook => io::stdout().lock().write_all(text.as_bytes()),
        Place::Nowhere => Ok(()),
    };
}

/// `training  40 %  4 s, about 6 s left`, or the time it took.
fn line(label: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let share = if total == 0 { 1.0 } else { done as f64 / total as f64 };
    let start = format!("{label} {:3.0} %  {}", (share * 100.0).floor(), time(elapsed.as_secs_f64()));
    match done > 0 && done < total {
        true => format!("{start}, about {} left", time(elapsed.as_secs_f64() * (1.0 - share) / share)),
        false => start,
    }
}

fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests;
