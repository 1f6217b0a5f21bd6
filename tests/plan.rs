//! What a plan says before a run, against the run: gradients counted, seconds and memory in a process of its own.

use std::process::Command;
use std::time::Instant;

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind};

use crate::tasks;

fn column(plan: &DataFrame, name: &str) -> Vec<f64> {
    plan.column(name).unwrap().f64().unwrap().iter().flatten().collect()
}

/// A number of lines of `/proc/self/status`, in megabytes.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}

fn random(n: i64, width: i64) -> Dataset {
    let inputs = crate::layers::noise(&[n, width], n);
    let labels = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(10);
    Dataset::new(inputs, labels).unwrap()
}

fn mlp(widths: &'static [i64], train: &Dataset) -> Task {
    Task::new(move |p: &nn::Path| Mlp::new(p, widths))
        .train(&Trainer { epochs: 1, ..default() }, &train.head(50).unwrap())
        .unwrap()
}

type Case = (Box<dyn Method>, Task, Dataset, Dataset);

/// Of about a second each.
fn cases() -> Vec<Case> {
    let (wide, narrow) = (random(6000, 784), random(1500, 64));
    let large = mlp(&[784, 256, 64, 10], &wide);
    let small = mlp(&[64, 20, 10], &narrow);
    let explicit = Influence::new(Explicit { damping: Damping::Absolute(10.0), ..default() });
    let projected = Trak::new(projection::SparseJl { dim: 1024, ..default() });
    let iterated = Influence::new(ConjugateGradient { damping: Damping::Absolute(10.0), ..default() });
    let sampled = Influence::new(Lissa { damping: Damping::Absolute(1.0), depth: 200, ..default() });
    let trainer = Trainer { optimizer: Optimizer::sgd(0.0, 0.0), epochs: 2, ..default() };
    let embedding = DataValueEmbedding { trainer: trainer.clone(), ..default() };
    let watched = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 20, 10])).train(&trainer, &narrow).unwrap();
    vec![
        (Box::new(Influence::new(Ekfac::default())), large.clone(), wide.head(3000).unwrap(), random(200, 784)),
        (Box::new(Influence::new(DataInf::default())), large.clone(), wide.head(2000).unwrap(), random(100, 784)),
        (Box::new(iterated), small.clone(), narrow.clone(), random(200, 64)),
        (Box::new(sampled), small.clone(), narrow.clone(), random(200, 64)),
        (Box::new(Influence::new(Arnoldi::default())), small.clone(), narrow.clone(), random(200, 64)),
        (Box::new(Influence::new(Nystrom::default())), small.clone(), narrow.clone(), random(200, 64)),
        (Box::new(KnnShapley::default()), large.clone(), wide.clone(), random(1000, 784)),
        (Box::new(Representer::default()), large.clone(), wide.clone(), random(1000, 784)),
        (Box::new(Ats::default()), small.clone(), narrow.clone(), random(100, 64)),
        (Box::new(embedding), watched, narrow.clone(), random(100, 64)),
        (Box::new(GradDot::default()), large.clone(), wide.clone(), random(1000, 784)),
        (Box::new(Trak::exact()), large.clone(), wide.head(3000).unwrap(), random(300, 784)),
        (Box::new(projected), large, wide.head(500).unwrap(), random(50, 784)),
        (Box::new(explicit), small, narrow, random(300, 64)),
    ]
}

/// Run by the test below in a process of its own: `method;seconds planned;taken;memory planned;held`.
#[test]
#[ignore = "run by another test, alone in its process"]
fn alone() {
    for (method, task, train, test) in cases() {
        for _ in 0..3 {
            let plan = method.plan(&task, &train, &test).unwrap();
            let (seconds, memory) = (column(&plan, "seconds"), column(&plan, "memory_mb"));
            let _ = std::fs::write("/proc/self/clear_refs", "5"); // the peak is from now on
            let begun = Instant::now();
            let scores = method.fit(&task, &train).unwrap().score(&test).unwrap();
            let (taken, held) = (begun.elapsed().as_secs_f64(), status("VmHWM:"));
            assert_eq!(scores.tensor().size(), [test.len() as i64, train.len() as i64]);
            println!("{};{};{taken};{};{held}", method.name(), seconds.last().unwrap(), memory.last().unwrap());
        }
    }
    let (train, test) = (random(400, 64), random(50, 64));
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 20, 10]));
    let subsets = Subsets::fraction(&train, 0.5, 200, 0).unwrap();
    let retraining = Retraining { trainer: Trainer { epochs: 15, ..default() }, ..default() };
    for _ in 0..3 {
        let plan = retraining.plan(&task, &train, &test, &subsets).unwrap();
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let begun = Instant::now();
        retraining.run(&task, &train, &test, &subsets).unwrap();
        let (taken, held) = (begun.elapsed().as_secs_f64(), status("VmHWM:"));
        println!("Retraining;{};{taken};{};{held}", column(&plan, "seconds")[0], column(&plan, "memory_mb")[0]);
    }
}

/// Within a factor of two on a machine that does nothing else, which `make bench` checks; here beside other work, of four.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "measures for a minute; run by make bench"]
fn seconds_and_memory_are_about_those_that_a_run_takes() {
    let room = if std::env::var_os("ASCRIBE_BENCH").is_some() { 2.0 } else { 4.0 };
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["plan::alone", "--exact", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| line.matches(';').count() == 4);
    let rows: Vec<(String, Vec<f64>)> = lines
        .map(|line| {
            let mut parts = line.split(';');
            let name = parts.next().unwrap().rsplit("... ").next().unwrap().to_string();
            (name, parts.map(|part| part.parse().unwrap()).collect())
        })
        .collect();
    assert_eq!(rows.len(), 3 * (cases().len() + 1), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for three in rows.chunks(3) {
        let mut ratios: Vec<f64> = three.iter().map(|(_, row)| row[0] / row[1]).collect();
        ratios.sort_by(f64::total_cmp);
        let name = &three[0].0;
        assert!(ratios[1] < room && ratios[1] > 1.0 / room, "{name}: seconds planned / taken {ratios:?}");
        let memory = three[0].1[2] / three[0].1[3];
        assert!(memory < 2.0 && memory > 0.5, "{name}: memory planned / held {memory}, {three:?}");
    }
}

#[test]
fn gradients_are_counted_or_the_work_is_rehearsed() {
    for (name, task, train, test) in tasks::all() {
        for method in tasks::methods() {
            let rehearsed =
                ["ATS", "KNN", "Representer", "Representation", "K-FAC", "LiSSA", "Arnoldi", "Nyström", "conjugate", "diagonal"];
            let plan = match (method.plan(&task, &train, &test), method.fit(&task, &train)) {
                (Ok(plan), _) => plan,
                (Err(said), Err(error)) if said.to_string() == error.to_string() => continue, // what cannot be done has no plan
                (Err(error), _) => panic!("{} on {name}: {error}", method.name()),
            };
            assert!(column(&plan, "seconds").iter().all(|&seconds| (0.0..60.0).contains(&seconds)));
            if rehearsed.iter().any(|part| method.name().contains(part)) {
                assert_eq!(plan.column("gradients").unwrap().null_count(), plan.height(), "{} on {name}", method.name());
                assert!(column(&plan, "memory_mb").iter().all(|&held| held > 0.0));
                continue;
            }
            let gradients: Vec<i64> = plan.column("gradients").unwrap().i64().unwrap().iter().flatten().collect();
            let expected = match method.name().as_str() {
                "Random" => 0,
                "GradDot" | "GradCos" | "TracIn" => 2 * (24 + 5),
                name if name.contains("DataInf") => 2 * (24 + 5),
                name if name.starts_with("Influence") => 2 * (24 + 24 + 5),
                _ => 2 * (24 + 5),
            };
            // DataInf meets the train gradients again where test gradients are mapped one by one.
            let again = if method.name().contains("DataInf") { 2 * 24 } else { 0 };
            let total = *gradients.last().unwrap();
            assert!(total == expected || total == expected + again, "{} on {name}: {total} of {expected}", method.name());
        }
    }
}

/// A matrix of 400,000 parameters, which no machine has the memory for.
#[test]
#[cfg(target_os = "linux")]
fn what_does_not_fit_is_told_with_a_cheaper_setting() {
    let train = random(50, 784);
    let task = mlp(&[784, 512, 10], &train);
    let explicit = Influence::new(Explicit { largest_p: i64::MAX, ..default() });
    let plan = explicit.plan(&task, &train, &train).unwrap();
    let warning = plan.column("warning").unwrap().str().unwrap().get(0).unwrap_or_default().to_string();
    assert!(warning.contains("GB are free") && warning.contains("ConjugateGradient"), "{warning}");
    let plan = GradDot::default().plan(&task, &train, &train).unwrap();
    assert_eq!(plan.column("warning").unwrap().null_count(), plan.height());
}
