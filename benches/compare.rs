//! Speed and memory of exact attribution on MNIST beside the peer, on the same weights and examples in the same run.
//!
//!     cargo bench --profile dev --bench compare -- [NAME ...] [--no-peer] [--quick]
//!
//! Names are those of the works in `work.rs`, `growth` and `machine`; none means all. `--quick` takes 1000 train and 100 test
//! examples. Tables go to `target/bench`; see `benches/README.md` for their columns.

mod growth;
mod machine;
mod measure;
mod peer;
mod python;
mod report;
mod work;

use std::process::{Command, ExitCode};
use std::{env, fs};

use ascribe::prelude::*;
use ascribe::tch::{self, Tensor};

use measure::{Times, peak_above};
use peer::Peer;
use report::{Table, known};
use work::{NETWORKS, Network, WORKS, Work};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How many examples and repeats.
pub struct Sizes {
    train: usize,
    test: usize,
    growth: Vec<usize>,
    quick: bool,
}

impl Sizes {
    fn new(quick: bool) -> Sizes {
        match quick {
            false => Sizes { train: 5000, test: 500, growth: vec![1000, 3000, 10_000, 30_000, 60_000], quick },
            true => Sizes { train: 1000, test: 100, growth: vec![1000, 3000, 10_000], quick },
        }
    }

    fn repeats(&self, full: usize) -> usize {
        if self.quick { full.min(2) } else { full }
    }
}

struct Arguments {
    names: Vec<String>,
    peer: bool,
    quick: bool,
}

impl Arguments {
    fn read(given: &[String]) -> Outcome<Arguments> {
        let mut arguments = Arguments { names: Vec::new(), peer: true, quick: false };
        for argument in given {
            match argument.as_str() {
                "--no-peer" => arguments.peer = false,
                "--quick" => arguments.quick = true,
                "--bench" => {} // cargo adds it
                name if WORKS.iter().any(|work| work.name == name) || name == "growth" || name == "machine" => {
                    arguments.names.push(name.to_string());
                }
                other => {
                    let names: Vec<&str> = WORKS.iter().map(|work| work.name).chain(["growth", "machine"]).collect();
                    return Err(format!("expected --no-peer, --quick or one of {}; got {other}", names.join(", ")).into());
                }
            }
        }
        Ok(arguments)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|n| n == name)
    }
}

fn main() -> ExitCode {
    let given: Vec<String> = env::args().skip(1).collect();
    let outcome = match given.as_slice() {
        [flag, name, n_train, n_test] if flag == "--peak" => print_peak(name, n_train, n_test),
        _ => Arguments::read(&given).and_then(|arguments| compare(&arguments)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Outcome<()> {
    let (train, test) = match dataset::mnist() {
        Ok(parts) => parts,
        Err(error) => {
            println!("Skipped: the benchmarks need MNIST, which is neither on this machine nor to be had. {error}");
            return Ok(());
        }
    };
    fs::create_dir_all(report::folder())?;
    let sizes = Sizes::new(arguments.quick);
    let (few, test) = (train.head(sizes.train)?, test.head(sizes.test)?);
    let tasks = NETWORKS.into_iter().map(|network| network.train(&few)).collect::<Outcome<Vec<Task>>>()?;
    let task = |network: Network| &tasks[network as usize];
    println!("MNIST, {} train and {} test examples, {} threads", sizes.train, sizes.test, tch::get_num_threads());

    let mut files = Vec::new();
    let works: Vec<&Work> = WORKS.iter().filter(|work| arguments.wants(work.name)).collect();
    if !works.is_empty() {
        let peer = if arguments.peer { Peer::find() } else { None };
        let mut table = Table::new(&COLUMNS);
        for work in works {
            eprintln!("measuring {} ...", work.name);
            let (n_train, n_test) = work.sizes.unwrap_or((sizes.train, sizes.test));
            let (train, test) = (few.head(n_train.min(sizes.train))?, test.head(n_test.min(sizes.test))?);
            table.push(row(work, task(work.network), &train, &test, peer.as_ref(), &sizes)?);
            table.save("compare")?; // after each row: the peer takes minutes
        }
        files.push(table.save("compare")?);
        println!("\n{}", table.text(&PRINTED));
    }
    if arguments.wants("growth") {
        eprintln!("measuring growth ...");
        let table = growth::measure(task(Network::Mlp), &train, &test, &sizes)?;
        files.push(table.save("growth")?);
        println!("\nGradDot on the MLP, {} test examples, by number of train examples\n{}", sizes.test, table.text(&[]));
    }
    if arguments.wants("machine") {
        eprintln!("measuring the machine ...");
        let mut times = Times::default();
        for _ in 0..sizes.repeats(10) {
            drop(times.run(|| WORKS[0].run(task(Network::Mlp), &few, &test))?);
        }
        let table = machine::measure(times.low().unwrap_or(f64::NAN), sizes.train, sizes.test)?;
        files.push(table.save("machine")?);
        println!("\n{}", table.text(&[]));
    }
    for file in files {
        println!("{}", file.display());
    }
    Ok(())
}

const COLUMNS: [&str; 13] = [
    "name",
    "work",
    "seconds",
    "low",
    "high",
    "peer",
    "peer_seconds",
    "ratio",
    "ratio_low",
    "ratio_high",
    "agreement",
    "peak_mb",
    "peer_peak_mb",
];
const PRINTED: [&str; 9] = ["name", "work", "seconds", "peer", "peer_seconds", "ratio", "agreement", "peak_mb", "peer_peak_mb"];

/// Measures one work: ours, the peer, ours again, and so on, so that both see the machine in the same state.
fn row(work: &Work, task: &Task, train: &Dataset, test: &Dataset, peer: Option<&Peer>, sizes: &Sizes) -> Outcome<Vec<String>> {
    let (around, rounds) = (sizes.repeats(work.repeats.0), sizes.repeats(work.repeats.1));
    let peer = peer.filter(|_| rounds > 0);
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    let mut last = None;
    let scores = work.run(task, train, test)?; // untimed: libtorch starts its threads
    for round in 0..=rounds {
        for _ in 0..around {
            drop(ours.run(|| work.run(task, train, test))?);
        }
        if let Some(peer) = peer.filter(|_| round < rounds) {
            let run = peer.run(work, train.len(), test.len())?;
            theirs.add(run.seconds);
            last = Some(run);
        }
    }
    let ratio = |theirs: Option<f64>, ours: Option<f64>| known(theirs.zip(ours).map(|(theirs, ours)| theirs / ours));
    let truth = work.truth(task, train, test)?;
    let theirs_or_ours = last.as_ref().map_or(&scores, |run| &run.scores);
    let mut agreement = match last.is_some() || truth.is_some() {
        true => work.agreement(&scores, theirs_or_ours, truth.as_ref())?,
        false => String::new(),
    };
    if work.lds {
        let truth = work.network.halves(train, test)?;
        let said = |scores: &Tensor, method: &str| lds(&Scores::new(scores.shallow_clone(), method, test, train)?, &truth);
        agreement += &format!("; LDS {}", said(&scores, "ours")?);
        if let Some(run) = &last {
            agreement += &format!(", {}'s {}", run.name, said(&run.scores, &run.name)?);
        }
    }
    Ok(vec![
        work.name.into(),
        work.size(train.len(), test.len()),
        known(ours.median()),
        known(ours.low()),
        known(ours.high()),
        last.as_ref().map_or_else(String::new, |run| run.name.clone()),
        known(theirs.median()),
        ratio(theirs.median(), ours.median()),
        ratio(theirs.low(), ours.high()),
        ratio(theirs.high(), ours.low()),
        agreement,
        known(fresh_peak(work, train.len(), test.len())?),
        known(last.and_then(|run| run.peak_mb)),
    ])
}

/// The mean linear datamodeling score with its interval.
fn lds(scores: &Scores, truth: &Retrained) -> Outcome<String> {
    let mean = metric::mean_lds(scores, truth)?;
    let number =
        |column: &str| -> Outcome<f64> { Ok(mean.column(column)?.f64()?.get(0).ok_or("all test examples are constant")?) };
    Ok(format!("{:.3} ({:.3}-{:.3})", number("lds")?, number("lds_low")?, number("lds_high")?))
}

/// Peak memory of one run in a process of its own, above the process with the data loaded; `None` where it cannot be told.
fn fresh_peak(work: &Work, n_train: usize, n_test: usize) -> Outcome<Option<f64>> {
    let sizes = [n_train.to_string(), n_test.to_string()];
    let output = Command::new(env::current_exe()?).args(["--peak", work.name]).args(sizes).output()?;
    if !output.status.success() {
        return Err(format!("measuring the memory of {}: {}", work.name, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse().ok())
}

/// The other side of [`fresh_peak`].
fn print_peak(name: &str, n_train: &str, n_test: &str) -> Outcome<()> {
    let work = WORKS.iter().find(|work| work.name == name).ok_or("unknown name")?;
    let (train, test) = dataset::mnist()?;
    let (train, test) = (train.head(n_train.parse()?)?, test.head(n_test.parse()?)?);
    let task = work.network.load()?;
    println!("{}", known(peak_above(|| work.run(&task, &train, &test))?));
    Ok(())
}
