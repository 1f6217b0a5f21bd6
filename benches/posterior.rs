//! Ten runs with five checkpoints each of the Bayesian study on MNIST3, 20 images a digit: where the seconds go; and noise statistics at scale.
//!
//!     cargo bench --profile dev --bench posterior -- [--quick]
//!
//! Writes `target/bench/posterior.csv` and `target/bench/noise.csv`; see `benches/README.md` for the columns.

#[allow(dead_code, reason = "shared with compare")]
mod measure;
#[allow(dead_code, reason = "shared with compare")]
mod report;

use std::path::Path;
use std::{env, fs};

use ascribe::posterior::{Posterior, Test};
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use measure::{Times, peak_above};
use report::{Table, known, number};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    fs::create_dir_all(report::folder())?;
    let quick = env::args().any(|argument| argument == "--quick");
    // First, while nothing has been freed that could be used again.
    noise(if quick { (1_000, 100) } else { (5_000, 500) })?;
    match dataset::mnist() {
        Ok((train, test)) => study(&train, &test, if quick { "10" } else { "20" }),
        Err(error) => {
            println!("Skipped: the study needs MNIST, which is neither on this machine nor to be had. {error}");
            Ok(())
        }
    }
}

/// Mean, noise and p-value of every pair from 50 draws of 10 runs.
fn noise((n, m): (i64, i64)) -> Outcome<()> {
    let examples = |count: i64| {
        Dataset::new(Tensor::zeros([count, 1], (Kind::Float, Device::Cpu)), Tensor::zeros([count], (Kind::Int64, Device::Cpu)))
    };
    let (train, test) = (examples(n)?, examples(m)?);
    let mut kept = Posterior::new();
    for run in 0..10 {
        let own = Tensor::randn([m, n], (Kind::Float, Device::Cpu));
        for step in 0..5 {
            let scores = &own + Tensor::randn([m, n], (Kind::Float, Device::Cpu)) * 0.5;
            kept.add(run, step, &Scores::new(scores, "made up", &test, &train)?)?;
        }
    }
    let matrix = 4.0 * (n * m) as f64 / f64::from(1 << 20);
    let mut table = Table::new(&["name", "pairs", "draws", "seconds", "low", "high", "peak_mb", "matrices"]);
    let mut row = |name: &str, times: &Times, peak: Option<f64>| {
        let seconds = [times.median(), times.low(), times.high()].map(known);
        let [median, low, high] = seconds;
        let matrices = known(peak.map(|peak| peak / matrix));
        table.push(vec![name.into(), (n * m).to_string(), "50".into(), median, low, high, known(peak), matrices]);
    };
    for (name, test) in
        [("t over runs", Test::T), ("published ratio", Test::Ratio), ("t over all draws", Test::AllDraws), ("signs", Test::Sign)]
    {
        let peak = peak_above(|| Ok(kept.matrices(test)?))?;
        let mut times = Times::default();
        for _ in 0..3 {
            drop(times.run(|| Ok(kept.matrices(test)?))?);
        }
        row(name, &times, peak);
    }
    let mut times = Times::default();
    let peak = peak_above(|| times.run(|| Ok(kept.noise(Test::T)?)))?;
    row("table with q-values", &times, peak);
    println!("Noise statistics; a matrix of scores has {} MB\n{}", number(matrix), table.text(&[]));
    table.save("noise")?;
    Ok(())
}

fn study(train: &Dataset, test: &Dataset, size: &str) -> Outcome<()> {
    let listed = |data: &Dataset, name: &str| -> Outcome<Dataset> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/bayesian-tda").join(format!("{name}.txt"));
        let positions: Vec<usize> = read::indices(file)?.into_iter().map(|at| at as usize).collect();
        let chosen = data.select(&positions)?;
        Ok(chosen.with_inputs(chosen.inputs() * 0.3081 + 0.1307)?)
    };
    let (train, test) = (listed(train, &format!("train_subset_{size}pc"))?, listed(test, "test_subset")?);
    let tenth: Vec<usize> = (0..test.len()).step_by(10).collect();
    let test = test.select(&tenth)?;
    let optimizer = Optimizer::adam(5e-3);
    let trainer = Trainer { epochs: 15, batch_size: 32, optimizer, keep: Keep::LastEpochs(5), ..default() };
    let mut rows: Vec<(&str, &str, f64)> = Vec::new();
    let mut timed = Times::default();
    let task = timed.run(|| Ok(Task::new(|p: &nn::Path| GeluCnn::cnn2_mnist(p)).train_runs(&trainer, &train, 10)?))?;
    rows.push(("training", "10 runs", timed.median().unwrap_or(0.0)));
    let all: Vec<usize> = (0..train.len()).collect();
    let methods: Vec<(&str, Box<dyn Method>, Task)> = vec![
        ("ATS", Box::new(Ats { optimizer, learning_rate: Some(1e-3), ..default() }), task.clone()),
        ("GD", Box::new(GradDot::default()), task.clone()),
        ("GC", Box::new(GradCos::default()), task.clone()),
        ("IF, last checkpoints", Box::new(Influence::new(Lissa::published(train.len()))), task.last()),
    ];
    let mut timed = Times::default();
    let truth = TrajectoryLeaveOneOut { trainer };
    let loo = timed.run(|| Ok(Posterior::of_draws(&truth.each(&task, &train, &test, &all)?)?))?;
    rows.push(("scoring", "LOO", timed.median().unwrap_or(0.0)));
    let mut posteriors = vec![loo];
    for (name, method, task) in &methods {
        let mut timed = Times::default();
        posteriors.push(timed.run(|| Ok(Posterior::of(method.as_ref(), task, &train, &test)?))?.named(*name));
        rows.push(("scoring", name, timed.median().unwrap_or(0.0)));
    }
    let mut timed = Times::default();
    timed.run(|| {
        for posterior in &posteriors {
            for test in [Test::T, Test::Ratio] {
                posterior.summary(test)?;
            }
        }
        let compared: Vec<&Posterior> = posteriors.iter().collect();
        for aspect in [Aspect::Mean, Aspect::Std, Aspect::Snr] {
            posterior::correlations(&compared, aspect, &default())?;
        }
        Ok(())
    })?;
    rows.push(("statistics", "p-values, correlations", timed.median().unwrap_or(0.0)));
    let total: f64 = rows.iter().map(|row| row.2).sum();
    let mut table = Table::new(&["part", "what", "seconds", "share"]);
    for (part, what, seconds) in rows {
        table.push(vec![part.into(), what.into(), number(seconds), number(seconds / total)]);
    }
    let file = table.save("posterior")?;
    println!(
        "{} train and {} test images, {} seconds in all\n{}{}",
        train.len(),
        test.len(),
        number(total),
        table.text(&[]),
        file.display()
    );
    Ok(())
}
