//! One run of the peer: `peer.py` in its own Python environment.

use std::path::PathBuf;
use std::process::Stdio;

use ascribe::tch::{self, Tensor};

use crate::work::Work;
use crate::{Outcome, python, report};

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
    /// `None` where there is no environment.
    pub fn find() -> Option<Peer> {
        Some(Peer { python: python::find()?, mnist: python::mnist_folder()? })
    }

    pub fn run(&self, work: &Work, n_train: usize, n_test: usize) -> Outcome<Run> {
        let out = report::folder().join("peer.npy");
        let mut command = python::command(&self.python, "peer.py");
        command.arg(work.name);
        command.arg("--mnist").arg(&self.mnist).arg("--weights").arg(work.network.weights()).arg("--out").arg(&out);
        command.args(["--n-train", &n_train.to_string(), "--n-test", &n_test.to_string()]);
        command.args(["--threads", &tch::get_num_threads().to_string()]);
        let output = command.stderr(Stdio::inherit()).output()?;
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
