//! Remakes `data/published`: what retraining says under the MNIST settings of dattri's benchmark (arXiv 2410.04555).
//!
//! ```text
//! ASCRIBE_DATA=FOLDER cargo run --example ground_truth -- data/published
//! ```
//!
//! The first 5,000 training and 500 test images. `logistic-halves.npy` and `mlp-halves.npy`: log-likelihood of each test image after
//! training on each of 100 random halves, five and three times, `[100, runs, 500]`. `logistic-without.npy`: what training without every
//! twentieth image takes away from it, times 5,000, `[500, 250]`. All float16; the mean error of rounding is printed.
//!
//! A second folder, if named, gets what `benches/published.py` reads: the halves as `masks.npy`, the networks trained on everything, and
//! those of the regression on the first ten halves.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ascribe::prelude::*;
use ascribe::tch::Kind;

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> Done {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "data/published".into()));
    std::fs::create_dir_all(&folder)?;
    let (train, test) = dataset::mnist()?;
    let (train, test) = (train.head(5_000)?, test.head(500)?);

    let logistic = Task::new(|p: &nn::Path| Logistic::new(p, 784, 10));
    let plain = Trainer { epochs: 20, batch_size: 32, learning_rate: 0.01, optimizer: Optimizer::sgd(0.0, 0.0), ..default() };
    halves(&folder.join("logistic-halves.npy"), &logistic, &plain, 5, &train, &test)?;

    let mlp = Task::new(|p: &nn::Path| Mlp::new(p, &[784, 128, 64, 10]).with_dropout(0.1));
    let heavy = Trainer { epochs: 50, batch_size: 64, optimizer: Optimizer::sgd(0.9, 0.0), ..plain.clone() };
    halves(&folder.join("mlp-halves.npy"), &mlp, &heavy, 3, &train, &test)?;

    if let Some(weights) = std::env::args().nth(2).map(PathBuf::from) {
        std::fs::create_dir_all(&weights)?;
        let subsets = Subsets::fraction(&train, 0.5, 100, 0)?;
        subsets.masks().to_kind(Kind::Uint8).write_npy(weights.join("masks.npy"))?;
        for (name, task, trainer) in [("logistic", &logistic, &plain), ("mlp", &mlp, &heavy)] {
            task.clone().train(trainer, &train)?.checkpoints()[0].save(weights.join(format!("{name}.safetensors")))?;
        }
        let how = Retraining { trainer: plain.clone(), keep_checkpoints: true, ..default() };
        let ten = how.run(&logistic, &train, &test, &subsets.select(&(0..10).collect::<Vec<_>>())?)?;
        for (half, checkpoint) in ten.checkpoints().iter().enumerate() {
            checkpoint.save(weights.join(format!("logistic-half-{half}.safetensors")))?;
        }
    }

    let start = Instant::now();
    let positions: Vec<usize> = (0..train.len()).step_by(20).collect();
    let trained = logistic.train(&plain, &train)?;
    let truth = TrajectoryLeaveOneOut { trainer: plain }.score(&trained, &train, &test, &positions)?;
    keep(&folder.join("logistic-without.npy"), &(truth.tensor() * train.len() as f64), start)
}

/// Trains on 100 halves, subset i of `Subsets::fraction(train, 0.5, 100, 0)` with `retraining.trainer_of(i, run)`.
fn halves(file: &Path, task: &Task, trainer: &Trainer, runs: usize, train: &Dataset, test: &Dataset) -> Done {
    let start = Instant::now();
    let subsets = Subsets::fraction(train, 0.5, 100, 0)?;
    let truth = Retraining { trainer: trainer.clone(), runs, ..default() }.run(task, train, test, &subsets)?;
    keep(file, truth.tensor(), start)
}

/// Writes float16 and says how large the errors of rounding are beside the spread over subsets.
fn keep(file: &Path, values: &Tensor, start: Instant) -> Done {
    let half = values.to_kind(Kind::Half);
    half.write_npy(file)?;
    let error = (half.to_kind(Kind::Double) - values.to_kind(Kind::Double)).abs().mean(Kind::Double).double_value(&[]);
    let spread = values.to_kind(Kind::Double).std_dim([0i64].as_slice(), false, false).mean(Kind::Double).double_value(&[]);
    let (shape, seconds) = (values.size(), start.elapsed().as_secs_f64());
    println!("{}: {shape:?}, rounding {error:.1e} of a spread of {spread:.1e}, {seconds:.0} s", file.display());
    Ok(())
}
