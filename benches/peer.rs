//! One run of the peer: `peer.py` in its own Python environment.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ascribe::tch::{self, Tensor};

use crate::work::Work;
use crate::{Outcome, report};

pub struct Peer {
    python: PathBuf,
    mnist: PathBuf,
}

pub struct Run {
    pub name: String,
    pub seconds: f64,
    pub peak_mb: Option<f64>,
    pub scores: Tensor,
}

impl Peer {
    /// The environment, made if missing; `None` with a word on standard error where it cannot be had.
    pub fn find() -> Option<Peer> {
        let found = Command::new(root().join("scripts/peers")).stderr(Stdio::inherit()).output();
        let python = match found {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_string(),
            _ => {
                eprintln!("The peers' Python environment cannot be had (scripts/peers): measuring ours alone.");
                return None;
            }
        };
        Some(Peer { python: python.into(), mnist: mnist_folder()? })
    }

    pub fn run(&self, work: &Work, n_train: usize, n_test: usize) -> Outcome<Run> {
        let out = report::folder().join("peer.npy");
        let mut command = Command::new(&self.python);
        command.arg(root().join("benches/peer.py")).arg(work.name);
        command.arg("--mnist").arg(&self.mnist).arg("--weights").arg(work.network.weights()).arg("--out").arg(&out);
        command.args(["--n-train", &n_train.to_string(), "--n-test", &n_test.to_string()]);
        command.args(["--threads", &tch::get_num_threads().to_string()]);
        // The libtorch that we run with is not the one its torch wants.
        command.env_remove("LD_LIBRARY_PATH").stderr(Stdio::inherit());
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("peer.py {} failed: {}", work.name, output.status).into());
        }
        let line: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let scores = Tensor::read_npy(&out)?;
        std::fs::remove_file(&out)?;
        Ok(Run {
            name: line["extra"]["peer"].as_str().unwrap_or_default().to_string(),
            seconds: line["seconds"].as_f64().ok_or("peer.py gave no seconds")?,
            peak_mb: line["extra"]["peak_above_mb"].as_f64(),
            scores,
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that `dataset::mnist` reads.
fn mnist_folder() -> Option<PathBuf> {
    let named = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cached = || {
        let cache = named("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")))?;
        Some(cache.join("ascribe").join("data"))
    };
    Some(named("ASCRIBE_DATA").or_else(cached)?.join("mnist"))
}
