//! The README's code, compiled and run as printed there.

use ascribe::prelude::*;

const README: &str = include_str!("../README.md");
const HERE: &str = include_str!("readme.rs");

/// Every line of the README's Rust blocks stands in this file, in the functions below.
#[test]
fn the_code_of_the_readme_is_the_code_of_this_file() {
    let here: Vec<&str> = HERE.lines().map(str::trim).collect();
    let blocks: Vec<&str> = README.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 5);
    for line in blocks.iter().flat_map(|block| block.lines()).filter(|line| !line.trim().is_empty()) {
        let wanted: String = line.split_whitespace().collect();
        let found = here.iter().any(|l| l.split_whitespace().collect::<String>() == wanted);
        assert!(found, "not in tests/readme.rs: {line}");
    }
}

#[test]
fn nothing_is_left_to_be_filled_in() {
    assert!(!README.contains("BENCH_") && !README.contains("_MINUTES"));
}

#[rustfmt::skip]
fn first() -> Result<DataFrame, Error> {
    let (train, test) = dataset::digits()?.split(1_000, 200, 0)?;
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer::default(), &train)?;
    let scores = GradDot::default().fit(&task, &train)?.score(&test)?; // [200, 1000], exact
    assert_eq!(scores.tensor().size(), [200, 1000]);
    scores.proponents(0, 5)?                                             // a DataFrame: who raised the answer for test image 0
    ;
    scores.proponents(0, 5)
}

#[rustfmt::skip]
struct Tiny { first: nn::Linear, last: nn::Linear }

#[rustfmt::skip]
impl Model for Tiny {
    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        let hidden = tape.linear("first", &self.first, x).gelu("none");
        tape.linear("last", &self.last, &hidden)
    }
}

#[rustfmt::skip]
#[allow(clippy::let_and_return)] // the line is the README's
fn own_model() -> Task {
    let task = Task::new(|p: &nn::Path| Tiny { first: layer::linear(p / "first", 64, 8), last: layer::linear(p / "last", 8, 10) });
    task
}

#[rustfmt::skip]
fn trusted(train: &Dataset, test: &Dataset) -> Result<DataFrame, Error> {
    let (train, test) = (train.clone(), test.clone());
    let trainer = Trainer { epochs: 6, keep: Keep::LastEpochs(2), ..default() };
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train_runs(&trainer, &train, 5)?;
    let posterior = Posterior::of(&GradDot::default(), &task, &train, &test)?;
    posterior.reliable(posterior::Test::T, 0.05)? // mean, std, t, p, q of the pairs that survive Benjamini and Hochberg's correction
    ;
    posterior.reliable(posterior::Test::T, 0.05)
}

#[rustfmt::skip]
fn from_python(file: &std::path::Path, task: Task) -> Result<(DataFrame, Task), Error> {
    let python = Checkpoint::load(file)?; // safetensors (one file or parts with an index), torch.save with optimiser beside, npz, pickled arrays
    let ours = python.rename(&[("module.", ""), ("layers.0.", "fc1."), ("layers.2.", "fc2.")])?;
    let table = task.compare(&ours)?; // what is missing, extra, misshapen or NaN, with the nearest names
    let task = task.with_checkpoints(vec![ours])?;
    Ok((table, task))
}

#[rustfmt::skip]
fn from_a_store(folder: &std::path::Path, task: Task, train: &Dataset) -> Result<Tensor, Error> {
    let train = train.clone();
    let store = Store::record(folder, &task, &train, &default())?; // resumes where a killed job stopped
    let task = task.with_store(&store, &train)?; // refuses other weights, data or options, and says which
    let fitted = GradDot::default().fit(&task, &train)?; // reads by memory map, computes no train gradient
    fitted.matrix(&train)
}

#[test]
fn the_code_of_the_readme_runs() {
    assert_eq!(first().unwrap().height(), 5);
    let train = dataset::digits().unwrap().head(100).unwrap();
    let task = own_model().train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let gradients = task.snapshot(0).unwrap().gradients(Of::Measurement, &train).unwrap();
    assert_eq!(gradients.describe().len(), 2, "both layers were seen by the tape");
    let (few, test) = (train.head(40).unwrap(), train.head(5).unwrap());
    assert!(trusted(&few, &test).unwrap().height() > 0, "some pairs survive");
    let (folder, computed) = (crate::tasks::Folder::new("readme"), GradDot::default().fit(&task, &train).unwrap().matrix(&train));
    let stored = from_a_store(&folder.0, task, &train).unwrap();
    crate::tasks::assert_close(&stored, &computed.unwrap(), 1e-6, "from a store");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights/parallel.pth");
    let (table, task) = from_python(&file, crate::tasks::mlp()).unwrap();
    assert_eq!((table.height(), task.checkpoints().len()), (4, 1));
}
