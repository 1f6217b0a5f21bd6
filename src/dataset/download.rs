//! Files fetched over http, kept in a folder, and trusted by their sha256 alone.
//!
//! A download goes to a `.part` file of its own beside the target, hashed on its way, and is renamed into place only when
//! complete and right: another process, a killed one or a lying server cannot leave a bad file under the name.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};
use ureq::{Agent, Proxy, Timeout};

use crate::error::{Error, Result};

/// Time between two reports of progress.
const REPORT: Duration = Duration::from_millis(250);
/// A `.part` file that nothing was written to for this long belongs to no living download.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Where the files of a dataset are kept.
pub(crate) struct Folder {
    pub path: PathBuf,
    /// Whether a bad file may be replaced: yes in our cache, no in a folder that the user named.
    pub ours: bool,
}

impl Folder {
    /// `$ASCRIBE_DATA/<name>` if that variable is set, else `ascribe/data/<name>` in the user's cache folder.
    pub(crate) fn of(name: &str) -> Result<Folder> {
        Folder::choose(name, env::var_os("ASCRIBE_DATA"), env::var_os("XDG_CACHE_HOME"), env::home_dir())
    }

    /// [`Folder::of`] for given values of `ASCRIBE_DATA`, `XDG_CACHE_HOME` and the home folder.
    pub(super) fn choose(
        name: &str,
        data: Option<std::ffi::OsString>,
        cache: Option<std::ffi::OsString>,
        home: Option<PathBuf>,
    ) -> Result<Folder> {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            return Ok(Folder { path: PathBuf::from(data).join(name), ours: false });
        }
        let cache = cache.map(PathBuf::from).filter(|cache| cache.is_absolute());
        let cache = cache.or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(".cache")));
        match cache {
            Some(cache) => Ok(Folder { path: cache.join("ascribe").join("data").join(name), ours: true }),
            None => Err(Error::option("ASCRIBE_DATA", "a folder to keep datasets in", "none, and no home folder either")),
        }
    }
}

/// What a download may take.
pub(crate) struct Terms {
    /// To connect, and to wait for an answer.
    pub connect: Duration,
    /// Without any byte arriving.
    pub silence: Duration,
    /// Bytes of one file.
    pub size: u64,
    pub proxy: Option<Proxy>,
}

impl Default for Terms {
    fn default() -> Terms {
        let (connect, silence) = (Duration::from_secs(20), Duration::from_secs(30));
        Terms { connect, silence, size: 1 << 30, proxy: Proxy::try_from_env() }
    }
}

/// The path of `file` in `folder`, downloaded as `<mirror>/<file>` from the first mirror that delivers it, if not there yet.
///
/// `progress` is told (bytes so far, bytes in all if the server says so) a few times a second and at the end.
///
/// Errors: [`Error::Data`] if the file there has another sha256 and is not ours to replace, or if no mirror delivers; it
/// says what went wrong where, and how to put the file there by hand. [`Error::Io`] if the folder cannot be used.
pub(crate) fn fetch(
    mirrors: &[&str],
    sha256: &str,
    folder: &Folder,
    file: &str,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<PathBuf> {
    fetch_on(&Terms::default(), mirrors, sha256, folder, file, progress)
}

/// [`fetch`] on other terms.
pub(super) fn fetch_on(
    terms: &Terms,
    mirrors: &[&str],
    sha256: &str,
    folder: &Folder,
    file: &str,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<PathBuf> {
    let target = folder.path.join(file);
    let place = target.display();
    match File::open(&target).and_then(hash) {
        Ok(got) if got == sha256 => return Ok(target),
        Ok(got) if !folder.ours => {
            let reason = format!("{place} is not the published file: expected sha256 {sha256}, got {got}");
            return Err(Error::data(file, format!("{reason}; delete it to have it downloaded again")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(&target, error)),
    }
    fs::create_dir_all(&folder.path).map_err(|error| Error::io(&folder.path, error))?;
    remove_abandoned(&folder.path, file);
    let mut troubles = Vec::new();
    for mirror in mirrors {
        let url = format!("{mirror}/{file}");
        let mut part = Part::create(&folder.path, file)?;
        match receive(terms, &url, sha256, &mut part, progress) {
            Ok(()) => return part.keep(&target).map(|()| target),
            Err(Trouble::Here(error)) => return Err(Error::io(&part.path, error)),
            Err(Trouble::There(reason)) => troubles.push(format!("{url}: {reason}")),
        }
    }
    let troubles = if troubles.is_empty() { "it is not there, and no address is known".into() } else { troubles.join("; ") };
    let by_hand = format!("To do without the download, save a copy with sha256 {sha256} as {place}");
    Err(Error::data(file, format!("{troubles}. {by_hand}")))
}

/// Whose fault a failed download is: only another server's can be tried again elsewhere.
enum Trouble {
    Here(io::Error),
    There(String),
}

fn receive(
    terms: &Terms,
    url: &str,
    sha256: &str,
    part: &mut Part,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> std::result::Result<(), Trouble> {
    let there = |reason: String| Trouble::There(reason);
    let agent: Agent = Agent::config_builder()
        .timeout_resolve(Some(terms.connect))
        .timeout_connect(Some(terms.connect))
        .timeout_recv_response(Some(terms.connect))
        .timeout_per_read(Some(terms.silence))
        .proxy(terms.proxy.clone())
        .user_agent(concat!("ascribe/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let response = agent.get(url).call().map_err(|error| there(explain(error, terms)))?;
    let total = response.body().content_length();
    if let Some(total) = total.filter(|&total| total > terms.size) {
        return Err(there(format!("expected at most {} bytes, the server announces {total}", terms.size)));
    }
    let mut body = response.into_body().into_reader();
    let (mut hasher, mut done, mut buffer) = (Sha256::new(), 0u64, vec![0u8; 1 << 16]);
    let mut reported = Instant::now();
    progress(0, total);
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                return Err(there(format!("broke off after {done}{of} bytes: {}", explain(error.into(), terms))));
            }
        };
        done += n as u64;
        if done > terms.size {
            return Err(there(format!("expected at most {} bytes, more came", terms.size)));
        }
        hasher.update(&buffer[..n]);
        part.file.write_all(&buffer[..n]).map_err(Trouble::Here)?;
        if reported.elapsed() >= REPORT {
            progress(done, total);
            reported = Instant::now();
        }
    }
    progress(done, total);
    if let Some(total) = total.filter(|&total| total != done) {
        return Err(there(format!("expected the {total} bytes that the server announced, got {done}")));
    }
    match hexadecimal(hasher) {
        got if got == sha256 => Ok(()),
        got => Err(there(format!("expected sha256 {sha256}, got {got} ({done} bytes)"))),
    }
}

/// One plain line for what went wrong with a server.
fn explain(error: ureq::Error, terms: &Terms) -> String {
    match error {
        ureq::Error::StatusCode(code) => format!("expected status 200, got {code}"),
        ureq::Error::Timeout(Timeout::PerRead) => format!("no data for {:?}", terms.silence),
        ureq::Error::Timeout(_) => format!("no answer within {:?}", terms.connect),
        ureq::Error::HostNotFound => "host not found (is there a network?)".into(),
        ureq::Error::TlsRequired => "it redirects to https, which needs a TLS library that is not built in".into(),
        other => other.to_string(),
    }
}

/// A file under way: removed when dropped, unless kept.
struct Part {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Part {
    /// A new file `<file>.<process>-<number>.part`; the number tells threads apart.
    fn create(folder: &Path, file: &str) -> Result<Part> {
        let mut number = 0;
        loop {
            let path = folder.join(format!("{file}.{}-{number}.part", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Part { path, file, kept: false }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(error) => return Err(Error::io(&path, error)),
            }
        }
    }

    /// On disk for certain, then under its name in one step.
    fn keep(mut self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::io(&self.path, error))?;
        fs::rename(&self.path, target).map_err(|error| Error::io(target, error))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what killed downloads of `file` left behind; nothing depends on its success.
fn remove_abandoned(folder: &Path, file: &str) {
    let start = format!("{file}.");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = entry.metadata().and_then(|data| data.modified()).map(|at| SystemTime::now().duration_since(at));
        if name.starts_with(&start) && name.ends_with(".part") && matches!(age, Ok(Ok(age)) if age > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The sha256 of a whole file, in hexadecimal.
fn hash(mut file: File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(hexadecimal(hasher))
}

pub(super) fn hexadecimal(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
