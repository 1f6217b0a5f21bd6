//! Per-example gradients of networks that people bring along, beside PyTorch's own ways to them; and TorchScript beside the tape.
//!
//!     cargo bench --profile dev --bench own_model -- [--quick]
//!
//! Writes `target/bench/own_model.csv`; see `benches/README.md` for the columns.

#[allow(dead_code, reason = "shared with compare")]
mod measure;
#[allow(dead_code, reason = "shared with compare")]
mod python;
#[allow(dead_code, reason = "shared with compare")]
mod report;

use std::path::{Path, PathBuf};
use std::{env, fs};

use ascribe::prelude::*;
use ascribe::tch::{self, Device, Kind};

use measure::Times;
use report::{Table, known, number};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    fs::create_dir_all(report::folder())?;
    let quick = env::args().any(|argument| argument == "--quick");
    let repeats = if quick { 2 } else { 5 };
    let mut table = Table::new(&["name", "way", "examples", "seconds", "low", "high", "ratio", "apart"]);
    let (side, images, texts) = if quick { (64, 4, 16) } else { (224, 8, 64) };
    let pictures = Tensor::randn([images, 3, side, side], (Kind::Float, Device::Cpu));
    let labels = Tensor::arange(images, (Kind::Int64, Device::Cpu));
    let resnet = Task::new(|p: &nn::Path| ResNet18::new(p, default()));
    network(&mut table, "resnet18", resnet, &Dataset::new(pictures, labels)?, &["vmap", "hooks", "loop"], repeats)?;
    let tokens = Tensor::randint(65, [texts, 64], (Kind::Int64, Device::Cpu));
    let gpt = Task::new(|p: &nn::Path| Gpt::new(p, default()));
    network(&mut table, "gpt", gpt, &Dataset::new(tokens.shallow_clone(), tokens.roll([-1], [1]))?, &["vmap", "loop"], repeats)?;
    script(&mut table, repeats)?;
    println!("{}", table.save("own_model")?.display());
    Ok(())
}

/// Gradients of every example as rows, ours and Python's; and ours in factors, which most methods ask for.
fn network(table: &mut Table, name: &str, task: Task, data: &Dataset, ways: &[&str], repeats: usize) -> Outcome<()> {
    // One step of training, so that the task has weights.
    let trainer = Trainer { epochs: 1, learning_rate: 1e-6, batch_size: 2, ..default() };
    let task = task.train(&trainer, &data.head(2)?)?;
    let snapshot = task.snapshot(0)?;
    let (mut rows, mut factors) = (Times::default(), Times::default());
    let norms = snapshot.gradients(Of::Objective, data)?.norms()?;
    for _ in 0..repeats {
        drop(rows.run(|| Ok(snapshot.gradients(Of::Objective, data)?.dense()?))?);
        drop(factors.run(|| Ok(snapshot.gradients(Of::Objective, data)?))?);
    }
    let ours = rows.median();
    push(table, name, "tape, rows", data.len(), &rows, ours, None);
    push(table, name, "tape, factors", data.len(), &factors, ours, None);
    let Some(python) = python::find() else { return Ok(()) };
    let folder = report::folder().join(format!("own-{name}"));
    fs::create_dir_all(&folder)?;
    task.checkpoints()[0].save(folder.join("weights.safetensors"))?;
    let stored = [("inputs", data.inputs()), ("targets", data.targets()), ("norms", &norms)];
    let stored = stored.map(|(name, tensor)| (name.to_string(), tensor.shallow_clone())).into();
    Checkpoint::new(0, 0, 0.0, stored).save(folder.join("data.safetensors"))?;
    for way in ways {
        let mut command = python::command(&python, "peer_own_model.py");
        command.args([name, way]).arg(&folder).args([tch::get_num_threads().to_string(), repeats.to_string()]);
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("{name} by {way}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let line: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let mut times = Times::default();
        line["seconds"].as_array().into_iter().flatten().filter_map(|value| value.as_f64()).for_each(|value| times.add(value));
        push(table, name, &format!("torch, {way}"), data.len(), &times, ours, line["apart"].as_f64());
    }
    Ok(fs::remove_dir_all(folder)?)
}

/// The network of notebook 6, as TorchScript and on the tape: gradients, and a whole method.
fn script(table: &mut Table, repeats: usize) -> Outcome<()> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/own-model");
    let inputs = (read::npy(folder.join("images.npy"))?.to_kind(Kind::Float) / 16.0 - 0.3) / 0.37;
    let data = Dataset::new(inputs, read::npy(folder.join("labels.npy"))?)?;
    let looped = model::script(folder.join("net.pt"))?.task()?;
    let taped = Task::new(|p: &nn::Path| {
        let same = layer::ConvOptions { padding: [1, 1], ..default() };
        let (a, b) = (layer::conv2d(p / "conv1", 1, 16, 3, same), layer::conv2d(p / "conv2", 16, 32, 3, same));
        let (norm, head) = (layer::batch_norm(p / "norm", 16), layer::linear(p / "head", 128, 10));
        move |x: &Tensor, tape: &mut Tape| {
            let x = tape.conv2d("conv1", &a, x);
            let x = tape.batch_norm("norm", &norm, &x).relu().max_pool2d(2, 2, 0, 1, false);
            let x = tape.conv2d("conv2", &b, &x).relu().max_pool2d(2, 2, 0, 1, false);
            tape.linear("head", &head, &x.flatten(1, -1))
        }
    });
    let table_of_names = [("body.0", "conv1"), ("body.1", "norm"), ("body.4", "conv2")];
    let renamed = |name: &str| table_of_names.iter().fold(name.to_string(), |name, (old, new)| name.replacen(old, new, 1));
    let file = Checkpoint::load(folder.join("weights.pt"))?;
    let weights = file.tensors().iter().map(|(name, tensor)| (renamed(name), tensor.shallow_clone())).collect();
    let taped = taped.with_checkpoints(vec![Checkpoint::new(0, 0, 0.0, weights)])?;
    let mut ours = None;
    for (way, task) in [("tape, rows", &taped), ("TorchScript, loop", &looped)] {
        let snapshot = task.snapshot(0)?;
        drop(snapshot.gradients(Of::Objective, &data.head(4)?)?);
        let mut times = Times::default();
        for _ in 0..repeats {
            drop(times.run(|| Ok(snapshot.gradients(Of::Objective, &data)?.dense()?))?);
        }
        ours = ours.or(times.median());
        push(table, "notebook 6", way, data.len(), &times, ours, None);
    }
    Ok(())
}

fn push(table: &mut Table, name: &str, way: &str, examples: usize, times: &Times, ours: Option<f64>, apart: Option<f64>) {
    let ratio = times.median().zip(ours).map(|(theirs, ours)| theirs / ours);
    let apart = apart.map_or_else(String::new, number);
    let seconds = [times.median(), times.low(), times.high(), ratio].map(known);
    let [median, low, high, ratio] = seconds;
    println!("{name}, {way}: {median} s, {ratio} times ours");
    table.push(vec![name.into(), way.into(), examples.to_string(), median, low, high, ratio, apart]);
}
