//! The peers' Python environment.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Its interpreter, made if missing; `None` with a word on standard error where it cannot be had.
pub fn find() -> Option<PathBuf> {
    let found = Command::new(root().join("scripts/peers")).stderr(Stdio::inherit()).output();
    match found {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).trim().into()),
        _ => {
            eprintln!("The peers' Python environment cannot be had (scripts/peers): measuring ours alone.");
            None
        }
    }
}

/// A script of this folder, to be run by it.
pub fn command(python: &Path, script: &str) -> Command {
    let mut command = Command::new(python);
    // The libtorch that we run with is not the one its torch wants.
    command.arg(root().join("benches").join(script)).env_remove("LD_LIBRARY_PATH");
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that `dataset::mnist` reads.
pub fn mnist_folder() -> Option<PathBuf> {
    let named = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cached = || {
        let cache = named("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")))?;
        Some(cache.join("ascribe").join("data"))
    };
    Some(named("ASCRIBE_DATA").or_else(cached)?.join("mnist"))
}
