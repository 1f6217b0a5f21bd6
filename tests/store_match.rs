//! Whose numbers a store holds: it is read by whoever asks for those, whatever task or method that is, and by nobody else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, Folder, assert_close, clusters, difference, says};

/// The log-likelihood times a number, which the name does not say.
fn times(factor: f64) -> impl Measurement + 'static {
    move |outputs: &Tensor, targets: &Tensor| LogLikelihood.measure(outputs, targets) * factor
}

/// The log-likelihood times a number for each class.
fn by_class(factors: [f64; 3]) -> impl Measurement + 'static {
    move |outputs: &Tensor, targets: &Tensor| {
        LogLikelihood.measure(outputs, targets) * Tensor::from_slice(&factors).to_kind(Kind::Float).index_select(0, targets)
    }
}

fn trained() -> (Task, Dataset, Dataset) {
    let (_, task, train, test) = tasks::all().remove(1);
    (task, train, test)
}

fn sparse(seed: u64) -> projection::SparseJl {
    projection::SparseJl { dim: 8, seed, ..default() }
}

fn of_features() -> Recording {
    Recording { keep: Kept::Features(Arc::new(sparse(0))), ..default() }
}

/// The same parameters under the same names, another function.
fn steep(task: &Task) -> Task {
    let steep = Task::new(|p: &nn::Path| {
        let (first, second) = (layer::linear(p / "fc1", 4, 6), layer::linear(p / "fc2", 6, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("fc1", &first, x).sin();
            tape.linear("fc2", &second, &hidden)
        }
    });
    steep.with_checkpoints(task.checkpoints().to_vec()).unwrap()
}

#[test]
fn names_and_shapes_are_not_enough() {
    let (task, train, _) = trained();
    let mine = task.clone().with_objective(times(1.0));
    let reversed = train.select(&(0..24).rev().collect::<Vec<_>>()).unwrap();
    for (form, recording) in [("factors", default()), ("features", of_features())] {
        let folder = Folder::new(&format!("match-{form}"));
        let store = Store::record(&folder.0, &mine, &train, &recording).unwrap();
        let refuses = |task: &Task, train: &Dataset, parts: &[&str]| {
            says(task.clone().with_store(&store, train), parts);
            says(Store::record(&folder.0, task, train, &recording), parts);
        };
        let gradient = ["made from something else", "the gradient of example", "run 0, step 15", "expected the recorded one"];
        refuses(&task.clone().with_objective(times(1.01)), &train, &gradient);
        refuses(&task.clone().with_objective(times(-1.0)), &train, &gradient);
        refuses(&task.clone().with_objective(by_class([1.0, 1.0, 0.9])), &train, &gradient);
        refuses(&steep(&task).with_objective(times(1.0)), &train, &gradient);
        refuses(&task.clone().with_objective(Margin), &train, &["the objective closure", "the objective margin"]);
        refuses(&mine, &reversed, &["SHA-256 of the inputs"]);
        // The same function in another closure is the same.
        let again = task.clone().with_objective(times(1.0));
        again.clone().with_store(&store, &train).unwrap();
        Store::record(&folder.0, &again, &train, &recording).unwrap();
    }
    // Folders of two jobs that recorded different closures do not merge.
    let jobs = [Folder::new("match-job-0"), Folder::new("match-job-1")];
    for (index, factor) in [(0, 1.0), (1, 1.01)] {
        let share = Recording { part_rows: Some(10), shard: Shard { index, count: 2 }, ..default() };
        Store::record(&jobs[index].0, &task.clone().with_objective(times(factor)), &train, &share).unwrap();
    }
    let into = Folder::new("match-merged");
    says(Store::merge(&into.0, &[&jobs[0].0, &jobs[1].0]), &["the gradient of example"]);
}

#[test]
fn examples_that_are_learnt_neither_hide_nor_raise_a_difference() {
    let (task, train, test) = trained();
    let folder = Folder::new("match-learnt");
    // The first example is of class 0, the last of class 2: both have no gradient.
    let store = Store::record(&folder.0, &task.clone().with_objective(by_class([0.0, 1.0, 0.0])), &train, &default()).unwrap();
    says(task.clone().with_objective(by_class([0.0, 2.0, 0.0])).with_store(&store, &train), &["the gradient of example"]);
    let nothing = Folder::new("match-nothing");
    says(
        Store::record(&nothing.0, &task.clone().with_objective(times(0.0)), &train, &default()),
        &["every gradient of the objective closure", "run 0, step 15 is 0"],
    );
    // Tiny gradients of the last example are mostly lost in float16, which is no difference.
    let tiny = task.with_objective(by_class([1.0, 1.0, 3e-8]));
    let half = Folder::new("match-half");
    let store = Store::record(&half.0, &tiny, &train, &Recording { half: true, ..default() }).unwrap();
    let scores = |task: &Task| GradDot::default().fit(task, &train).unwrap().matrix(&test).unwrap();
    assert_close(&scores(&tiny.clone().with_store(&store, &train).unwrap()), &scores(&tiny), 2e-3, "half");
}

/// A measurement with a setting that its name says, and one that it hides.
struct Tempered {
    said: f64,
    hidden: f64,
}

impl Measurement for Tempered {
    fn measure(&self, outputs: &Tensor, targets: &Tensor) -> Tensor {
        LogLikelihood.measure(&(outputs * (self.said * self.hidden)), targets)
    }

    fn name(&self) -> String {
        format!("tempered by {}", self.said)
    }
}

#[test]
fn a_measurement_with_settings_is_known_by_its_name_and_its_gradients() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let task = Task::new(move |p: &nn::Path| {
        let (mlp, count) = (Mlp::new(p, &[4, 6, 3]), counted.clone());
        move |x: &Tensor, tape: &mut Tape| {
            count.fetch_add(x.size()[0] as usize, Ordering::Relaxed);
            mlp.forward(x, tape)
        }
    });
    let (train, test) = (clusters(300, 1), clusters(5, 2));
    let task = task.train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let mine = |said: f64, hidden: f64| task.clone().with_objective(Tempered { said, hidden });
    let folder = Folder::new("match-tempered");
    let store = Store::record(&folder.0, &mine(2.0, 1.0), &train, &default()).unwrap();
    says(mine(3.0, 1.0).with_store(&store, &train), &["tempered by 2", "tempered by 3"]);
    says(mine(2.0, 1.5).with_store(&store, &train), &["the gradient of example"]);
    let stored = mine(2.0, 1.0).with_store(&store, &train).unwrap();
    let reads = |objective: Tempered| {
        let plain = task.clone().with_objective(Tempered { ..objective });
        let truth = GradDot::default().fit(&plain, &train).unwrap().matrix(&test).unwrap();
        count.store(0, Ordering::Relaxed);
        let task = stored.clone().with_objective(objective);
        let scores = GradDot::default().fit(&task, &train).unwrap().matrix(&test).unwrap();
        assert!(scores.equal(&truth));
        count.load(Ordering::Relaxed) < 100
    };
    assert!(reads(Tempered { said: 2.0, hidden: 1.0 }), "another object, the same number");
    assert!(!reads(Tempered { said: 2.0, hidden: 1.5 }), "the name says less than it should");
    assert!(!reads(Tempered { said: 3.0, hidden: 2.0 / 3.0 }), "another name");
}

#[test]
fn names_say_all_settings() {
    assert_eq!(Masked::new(Margin, &[1, 5]).name(), "margin at positions 1, 5");
    let pairs = |sign: f32| Tensor::from_slice(&[1.0, 0.0, 0.0, sign]).view([1, 2, 2]);
    let name = |sign: f32, scale: f64| Contrastive::new(&pairs(sign), scale).unwrap().name();
    assert_eq!(name(1.0, 2.0), name(1.0, 2.0));
    assert_ne!(name(1.0, 2.0), name(-1.0, 2.0));
    assert_ne!(name(1.0, 2.0), name(1.0, 3.0));
}

/// TRAK asks for gradients of the margin, whatever the task trains; a store of those serves it, as gradients and as features.
#[test]
fn trak_reads_what_was_recorded_of_its_output() {
    let (task, train, test) = trained();
    let task = task.with_measurement(Margin);
    for (trak, kept) in [(Trak::exact(), Kept::Factors), (Trak::new(sparse(0)), Kept::Features(Arc::new(sparse(0))))] {
        let folder = Folder::new(&format!("match-trak-{}", trak.name().len()));
        let store = Store::record(&folder.0, &task, &train, &Recording { of: Of::Measurement, keep: kept, ..default() }).unwrap();
        let stored = task.clone().with_store(&store, &train).unwrap();
        let scores = |task: &Task| trak.fit(task, &train).unwrap().matrix(&test).unwrap();
        let plain = scores(&task);
        assert_close(&scores(&stored), &plain, 1e-5, &trak.name());
        // What is read is what is on disk: twice the gradients of train examples are half the scores, as λ grows with their squares.
        double(&folder.0);
        assert_close(&scores(&stored), &(plain / 2.0), 1e-5, &format!("{}, doubled", trak.name()));
        // An open store has compared the bytes of these parts already; a fresh one finds that they have changed.
        let fresh = task.clone().with_store(&Store::open(&folder.0).unwrap(), &train).unwrap();
        says(trak.fit(&fresh, &train).and_then(|fitted| fitted.matrix(&test)), &["have changed", "CRC-32"]);
    }
}

/// Features of all checkpoints serve each of them, in whatever task it is, and stand in nobody's way.
#[test]
fn features_serve_sub_tasks_and_other_methods_compute() {
    let (task, train, test) = trained();
    let more = Trainer { seed: 5, ..tasks::trainer() };
    let task = task.train(&more, &train).unwrap().with_measurement(Margin);
    let folder = Folder::new("match-sub-tasks");
    let recording = Recording { of: Of::Measurement, ..of_features() };
    let store = Store::record(&folder.0, &task, &train, &recording).unwrap();
    let stored = task.clone().with_store(&store, &train).unwrap();
    let trak = Trak::new(sparse(0));
    let scores = |trak: &Trak, task: &Task, train: &Dataset| trak.fit(task, train).unwrap().matrix(&test).unwrap();
    let of = |task: &Task, positions: &[usize]| {
        let some = positions.iter().map(|&at| task.checkpoints()[at].clone()).collect();
        task.clone().with_checkpoints(some).unwrap()
    };
    type Part<'a> = &'a dyn Fn(&Task) -> Task;
    let parts: [(&str, Part); 4] = [
        ("all", &|task| task.clone()),
        ("last", &|task| task.last()),
        ("another order", &|task| of(task, &[3, 0])),
        ("second run", &|task| of(task, &[2, 3])),
    ];
    let plain: Vec<Tensor> = parts.iter().map(|(_, part)| scores(&trak, &part(&task), &train)).collect();
    for ((name, part), truth) in parts.iter().zip(&plain) {
        assert_close(&scores(&trak, &part(&stored), &train), truth, 1e-5, name);
        // A store that is attached to the sub-task alone.
        let attached = part(&task).with_store(&store, &train).unwrap();
        assert_close(&scores(&trak, &attached, &train), truth, 1e-5, name);
    }
    // Another projection, examples in another order, another output, gradients: computed.
    let reversed = train.select(&(0..24).rev().collect::<Vec<_>>()).unwrap();
    let other = Trak { output: Arc::new(LogLikelihood), ..Trak::new(sparse(0)) };
    for (what, method, train) in [
        ("projection", &Trak::new(sparse(1)), &train),
        ("order", &trak, &reversed),
        ("output", &other, &train),
        ("exact", &Trak::exact(), &train),
    ] {
        let (mine, truth) = (scores(method, &stored, train), scores(method, &task, train));
        assert!(mine.equal(&truth), "{what}: {:.1e}", difference(&mine, &truth));
    }
    // All of the first were read.
    double(&folder.0);
    for ((name, part), truth) in parts.iter().zip(&plain) {
        assert_close(&scores(&trak, &part(&stored), &train), &(truth / 2.0), 1e-5, &format!("{name}, doubled"));
    }
}

#[test]
fn checkpoints_that_share_run_and_step_have_maps_of_their_own() {
    let (task, _, _) = trained();
    let first = &task.checkpoints()[0];
    let twin =
        |run: usize| Checkpoint::new(run, 0, 0.1, first.tensors().iter().map(|(name, t)| (name.clone(), t.copy())).collect());
    let task = task.clone().with_checkpoints(vec![twin(0), twin(0), twin(1), twin(0)]).unwrap();
    let members: Vec<u64> = (0..4).map(|at| task.member(at)).collect();
    assert_eq!(members, [0, 1 << 48, 1 << 32, 2 << 48]);
}

/// Every output gradient and every feature times two; parameters with other arrays are left out of this.
fn double(folder: &Path) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            double(&path);
        } else if name.ends_with("delta.npy") || name.ends_with("features.npy") {
            let mut bytes = std::fs::read(&path).unwrap();
            let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            for number in bytes[start..].chunks_exact_mut(4) {
                let twice = 2.0 * f32::from_le_bytes(number.try_into().unwrap());
                number.copy_from_slice(&twice.to_le_bytes());
            }
            std::fs::write(&path, bytes).unwrap();
        }
    }
}
