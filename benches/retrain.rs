//! Networks trained on halves of MNIST a second, beside dattri's training loops in the same run.
//!
//!     cargo bench --profile dev --bench retrain -- [--no-peer]
//!
//! Writes `target/bench/retrain.csv`; see `benches/README.md` for its columns.

#[allow(dead_code, reason = "shared with compare")]
mod measure;
mod python;
#[allow(dead_code, reason = "shared with compare")]
mod report;

use std::process::Stdio;
use std::{env, fs};

use ascribe::prelude::*;
use ascribe::tch;

use measure::Times;
use report::{Table, known, number};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Networks that are trained; the peer trains fewer.
const MODELS: usize = 50;
const PEER_MODELS: usize = 3;
const LEFT_OUT: usize = 500;

fn main() -> Outcome<()> {
    let (train, test) = match dataset::mnist() {
        Ok((train, test)) => (train.head(5000)?, test.head(500)?),
        Err(error) => {
            println!("Skipped: the benchmark needs MNIST, which is neither on this machine nor to be had. {error}");
            return Ok(());
        }
    };
    fs::create_dir_all(report::folder())?;
    let with_peer = !env::args().any(|argument| argument == "--no-peer");
    let mut table = Table::new(&["name", "models", "seconds", "low", "high", "peer", "peer_seconds", "ratio"]);
    let sgd = |momentum| Optimizer::sgd(momentum, 0.0);
    let logistic = Task::new(|p: &nn::Path| Logistic::new(p, 784, 10));
    let mlp = Task::new(|p: &nn::Path| Mlp::new(p, &[784, 128, 64, 10]).with_dropout(0.1));
    let slow = Trainer { epochs: 20, batch_size: 32, learning_rate: 0.01, optimizer: sgd(0.0), ..default() };
    let long = Trainer { epochs: 50, batch_size: 64, optimizer: sgd(0.9), ..slow.clone() };
    let halves = Subsets::fraction(&train, 0.5, MODELS, 0)?;
    let singles = Subsets::leave_one_out(&train, &(0..LEFT_OUT).collect::<Vec<_>>())?;
    for (name, task, trainer, subsets, repeats, peer) in [
        ("logistic", &logistic, &slow, &halves, 3, Some("logistic")),
        ("mlp", &mlp, &long, &halves, 1, Some("mlp")),
        ("logistic_leave_one_out", &logistic, &slow, &singles, 1, None),
    ] {
        let mut ours = Times::default();
        for _ in 0..repeats {
            let retraining = Retraining { trainer: trainer.clone(), ..default() };
            drop(ours.run(|| Ok(retraining.run(task, &train, &test, subsets)?))?);
        }
        let each = |seconds: Option<f64>| seconds.map(|seconds| seconds / subsets.len() as f64);
        let theirs = if with_peer { peer.map(peer_seconds).transpose()?.flatten() } else { None };
        let (who, seconds) = theirs.unzip();
        table.push(vec![
            name.into(),
            subsets.len().to_string(),
            known(each(ours.median())),
            known(each(ours.low())),
            known(each(ours.high())),
            who.unwrap_or_default(),
            known(seconds),
            known(seconds.zip(each(ours.median())).map(|(theirs, ours)| theirs / ours)),
        ]);
    }
    let file = table.save("retrain")?;
    println!("Seconds a network, {} threads\n{}{}", number(f64::from(tch::get_num_threads())), table.text(&[]), file.display());
    Ok(())
}

/// Who the peer is, and its seconds for one network; `None` where its environment cannot be had.
fn peer_seconds(name: &str) -> Outcome<Option<(String, f64)>> {
    let Some(python) = python::find() else { return Ok(None) };
    let Some(mnist) = python::mnist_folder() else { return Ok(None) };
    let mut command = python::command(&python, "peer_retrain.py");
    command.arg(name).arg("--mnist").arg(mnist).args(["--models", &PEER_MODELS.to_string()]);
    command.args(["--threads", &tch::get_num_threads().to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("peer_retrain.py {name} failed: {}", output.status).into());
    }
    let line: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let seconds = line["seconds"].as_f64().ok_or("peer_retrain.py gave no seconds")?;
    Ok(Some((line["peer"].as_str().unwrap_or_default().to_string(), seconds)))
}
