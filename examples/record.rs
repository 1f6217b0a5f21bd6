//! Records per-example gradients of a digits classifier, alone or as one task of a Slurm array; merges and scores.
//!
//! ```text
//! record train WEIGHTS              train a network, keep its last 2 checkpoints in the folder WEIGHTS
//! record store WEIGHTS STORE        record this job's share of the gradients into the folder STORE; resumes
//! record merge STORE FOLDER...      one store of the folders of all jobs
//! record score WEIGHTS STORE        TracIn from the store: the strongest proponents of the first test digit
//! ```

use std::path::Path;
use std::time::Instant;

use ascribe::prelude::*;
use ascribe::{Result, store::Shard};

const USAGE: &str = "record train WEIGHTS | store WEIGHTS STORE | merge STORE FOLDER... | score WEIGHTS STORE";

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["train", weights] => train(Path::new(weights)),
        ["store", weights, store] => record(Path::new(weights), Path::new(store)),
        ["merge", store, folders @ ..] => merge(Path::new(store), folders),
        ["score", weights, store] => score(Path::new(weights), Path::new(store)),
        _ => Err(Error::option("arguments", USAGE, format!("{words:?}"))),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn data() -> Result<(Dataset, Dataset)> {
    dataset::digits()?.split(1_600, 100, 0)
}

fn network() -> Task {
    Task::new(|p: &nn::Path| Mlp::new(p, &[64, 512, 64, 10]))
}

fn train(weights: &Path) -> Result<()> {
    let (train, test) = data()?;
    let task = network().train(&Trainer { epochs: 10, keep: Keep::LastEpochs(2), ..default() }, &train)?;
    std::fs::create_dir_all(weights).map_err(|e| Error::io(weights, e))?;
    for (index, checkpoint) in task.checkpoints().iter().enumerate() {
        checkpoint.save(weights.join(format!("{index}.safetensors")))?;
    }
    println!("{task:?}, test accuracy {:.2}", task.accuracy(&test)?);
    Ok(())
}

fn task(weights: &Path) -> Result<Task> {
    let checkpoints = (0..2).map(|index| Checkpoint::load(weights.join(format!("{index}.safetensors"))));
    network().with_checkpoints(checkpoints.collect::<Result<_>>()?)
}

fn record(weights: &Path, store: &Path) -> Result<()> {
    let (train, _) = data()?;
    let (shard, start) = (Shard::from_env()?, Instant::now());
    let recording = Recording { keep: Kept::Rows, part_rows: Some(32), shard, ..default() };
    let store = Store::record(store, &task(weights)?, &train, &recording)?;
    let table = store.frame()?;
    let notes = table.column("note")?.str()?;
    let count = |word: &str| notes.iter().flatten().filter(|note| note.starts_with(word)).count();
    let (written, found) = (count("written"), count("found"));
    println!(
        "job {} of {}: {written} parts written, {found} found, {:.1} s",
        shard.index,
        shard.count,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn merge(store: &Path, folders: &[&str]) -> Result<()> {
    let store = Store::merge(store, folders)?;
    store.check()?;
    println!("{store:?}");
    Ok(())
}

fn score(weights: &Path, store: &Path) -> Result<()> {
    let (train, test) = data()?;
    let task = task(weights)?.with_store(&Store::open(store)?, &train)?;
    println!("{}", TracIn::default().fit(&task, &train)?.score(&test)?.proponents(0, 5)?);
    Ok(())
}
