//! Shapley and other semivalues by permutations: against enumeration and games with known values; and what retrained networks are worth.

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::estimators::{gloves, majority, mean_and_variance};
use crate::tasks::{self, assert_close, clusters, says};

/// By enumeration: the mean over orders, or with weights for sizes.
fn exact(n: usize, worth: &dyn Fn(&[usize]) -> f64, weight: &dyn Fn(usize) -> f64) -> Vec<f64> {
    let members = |set: usize| (0..n).filter(|at| set >> at & 1 == 1).collect::<Vec<usize>>();
    let value = |j: usize| {
        let sets = (0..1usize << n).filter(|set| set >> j & 1 == 0);
        sets.map(|set| weight(set.count_ones() as usize) * (worth(&members(set | 1 << j)) - worth(&members(set)))).sum::<f64>()
    };
    (0..n).map(value).collect()
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64)
}

/// Landing strips for planes that need 1, 2, … : the cost of a strip is shared by those who need it.
fn airport(members: &[usize]) -> f64 {
    members.iter().map(|j| j + 1).max().unwrap_or(0) as f64
}

#[test]
fn permutations_value_games_as_theory_does() {
    let n = 5;
    let shapley = |s: usize| 1.0 / (n as f64 * choose(n - 1, s));
    let share = |j: usize| (0..=j).map(|k| 1.0 / (n - k) as f64).sum::<f64>();
    let theory = exact(n, &airport, &shapley);
    assert!(theory.iter().enumerate().all(|(j, value)| (value - share(j)).abs() < 1e-12), "the oracle knows the airport game");
    let banzhaf = |_: usize| 1.0 / 16.0;
    // B(s + β, n − s − 1 + α) / B(α, β) of whole numbers.
    let factorial = |k: usize| (1..=k).product::<usize>() as f64;
    let beta = |a: usize, b: usize| factorial(a - 1) * factorial(b - 1) / factorial(a + b - 1);
    let beta_weight = |s: usize| beta(s + 1, n - s - 1 + 4) / beta(4, 1);
    let semivalues: [(Semivalue, &dyn Fn(usize) -> f64); 3] = [
        (Semivalue::Shapley, &shapley),
        (Semivalue::Banzhaf, &banzhaf),
        (Semivalue::Beta { alpha: 4.0, beta: 1.0 }, &beta_weight),
    ];
    for (semivalue, weight) in semivalues {
        for (name, worth) in [("gloves", &gloves as &dyn Fn(&[usize]) -> f64), ("majority", &majority), ("airport", &airport)] {
            let theory = exact(n, worth, weight);
            let mut z = Vec::new();
            for seed in 0..40 {
                let how = DataShapley { semivalue, permutations: 200, precision: 0.0, tolerance: 0.0, seed, ..default() };
                let played = how.play(n, worth).unwrap();
                assert_eq!((played.permutations, played.evaluations), (200, 1001));
                if semivalue == Semivalue::Shapley {
                    assert!((played.values.iter().sum::<f64>() - worth(&[0, 1, 2, 3, 4])).abs() < 1e-9, "{name}: efficiency");
                }
                z.extend((0..n).map(|j| (played.values[j] - theory[j]) / played.standard_errors[j]));
            }
            let (mean, variance) = mean_and_variance(&z);
            assert!(mean.abs() < 0.3 && (0.6..1.5).contains(&variance), "{name} {semivalue:?}: z {mean} ± {variance}");
        }
    }
    let additive = |set: &[usize]| set.iter().map(|&j| j as f64).sum::<f64>();
    let played = DataShapley { tolerance: 0.0, ..default() }.play(6, &additive).unwrap();
    assert!(played.values.iter().enumerate().all(|(j, value)| (value - j as f64).abs() < 1e-9));
    assert_eq!(played.permutations, 16, "no spread: the first round is enough");
}

#[test]
fn permutations_find_the_exact_values_of_the_nearest_neighbours() {
    let (train, test) = (clusters(12, 1), clusters(40, 2).select(&[33]).unwrap());
    let exact = KnnShapley { neighbours: 3, ..default() }.fit(&tasks::logistic(), &train).unwrap().matrix(&test).unwrap();
    let distance = |j: usize| (train.inputs().get(j as i64) - test.inputs().get(0)).square().sum(Kind::Double).double_value(&[]);
    let distances: Vec<f64> = (0..12).map(distance).collect();
    let (labels, label) = (train.labels().unwrap(), test.labels().unwrap()[0]);
    let worth = |set: &[usize]| {
        let mut near = set.to_vec();
        near.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        near.iter().take(3).filter(|&&j| labels[j] == label).count() as f64 / 3.0
    };
    let played = DataShapley { permutations: 3_000, precision: 0.0, tolerance: 0.0, ..default() }.play(12, &worth).unwrap();
    for (j, (value, error)) in played.values.iter().zip(&played.standard_errors).enumerate() {
        let exact = exact.double_value(&[0, j as i64]);
        assert!((value - exact).abs() < 4.0 * error + 1e-7, "train {j}: {value} ± {error}, exactly {exact}");
    }
}

#[test]
fn truncation_and_the_stopping_rule_save_what_they_say() {
    // The first three players there make the whole.
    let few = |set: &[usize]| (set.len().min(3)) as f64;
    let how = DataShapley { permutations: 500, precision: 0.0, ..default() };
    let played = how.play(10, &few).unwrap();
    assert_eq!(played.evaluations, 500 * 3 + 1, "orders end when nothing is left to gain");
    assert!(played.values.iter().zip(&played.standard_errors).all(|(v, e)| (v - 0.3).abs() < 4.0 * e));
    let early = DataShapley { precision: 0.2, ..how.clone() }.play(10, &few).unwrap();
    assert!(early.permutations < 500 && early.permutations.is_multiple_of(16));
    let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let share = |played: &Played| (square(&played.standard_errors) / square(&played.values)).sqrt();
    assert!(share(&early) <= 0.2);
    let one_less = DataShapley { permutations: early.permutations - 16, ..how.clone() }.play(10, &few).unwrap();
    assert!(one_less.permutations < 2 || share(&one_less) > 0.2, "it stops as soon as it may");
    assert_eq!(DataShapley { together: 7, ..how.clone() }.play(10, &few).unwrap().evaluations, played.evaluations);
    let refuse = |how: DataShapley| how.play(3, &few);
    says(refuse(DataShapley { permutations: 1, ..default() }), &["DataShapley.permutations", "at least 2"]);
    says(refuse(DataShapley { together: 0, ..default() }), &["DataShapley.together"]);
    says(refuse(DataShapley { tolerance: f64::NAN, ..default() }), &["DataShapley.tolerance"]);
    says(refuse(DataShapley { precision: -1.0, ..default() }), &["DataShapley.precision"]);
    says(
        refuse(DataShapley { semivalue: Semivalue::Beta { alpha: 0.0, beta: 1.0 }, ..default() }),
        &["Semivalue::Beta", "0 and 1"],
    );
    says(DataShapley::default().play(0, &few), &["players", "at least one"]);
    says(DataShapley::default().play(2, &|set| if set.len() == 1 { f64::NAN } else { 1.0 }), &["the worth of [", "NaN"]);
    says(DataShapley::default().play(2, &|set| f64::from(u8::from(set[0] == 0))), &["panicked"]);
}

#[test]
fn data_shapley_shares_out_what_training_gains() {
    let (train, test) = (clusters(6, 1), clusters(20, 2).head(3).unwrap());
    let trainer = Trainer { epochs: 4, batch_size: 3, learning_rate: 0.1, optimizer: Optimizer::sgd(0.0, 0.0), ..default() };
    let how = DataShapley {
        retraining: Retraining { trainer, ..default() },
        permutations: 4,
        together: 2,
        tolerance: 0.0,
        precision: 0.0,
        ..default()
    };
    let task = tasks::logistic();
    let found = how.score(&task, &train, &test).unwrap();
    assert_eq!((found.permutations, found.trainings), (4, 4 * 6 + 1));
    // Each permutation goes from its own fresh weights to a network of all examples, with the seed of its number.
    let mut gained = Tensor::zeros([3], (Kind::Double, Device::Cpu));
    for number in 0..4 {
        let trainer = how.retraining.trainer_of(number, 0);
        let whole = task.clone().train(&trainer, &train).unwrap();
        let still = Trainer { learning_rate: 1e-12, epochs: 1, ..trainer };
        let fresh = task.clone().train(&still, &train).unwrap();
        let said = |task: &Task| task.snapshot(0).unwrap().measure(Of::Measurement, &test).unwrap();
        gained += (said(&whole) - said(&fresh)) / 4.0;
    }
    let sums = found.estimated.scores().tensor().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
    assert_close(&sums, &gained, 1e-4, "efficiency");
    let overall = found.estimated.overall();
    assert_close(&overall.tensor().sum(Kind::Double), &gained.mean(None::<Kind>), 1e-4, "the mean over test examples");
    assert_eq!(overall.frame().unwrap().height(), 6);
    let folder = tasks::Folder::new("shapley");
    let cached = DataShapley { retraining: how.retraining.clone().cached(&folder.0), ..how.clone() };
    for _ in 0..2 {
        let again = cached.score(&task, &train, &test).unwrap();
        assert!(again.estimated.scores().tensor().equal(found.estimated.scores().tensor()), "the cache changes nothing");
    }
    assert!(folder.0.join("size-00003").join("00002-0.safetensors").exists());
}

/// A folder that dattri 0.3.0 wrote, see files_dattri.py.
fn dattri() -> std::path::PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/files/dattri-retrained").into()
}

#[test]
fn dattris_retrained_networks_are_measured() {
    let read = read::dattri_retraining(dattri()).unwrap();
    assert_eq!((read.n_train, read.runs, read.folders.len()), (12, 2, 3));
    assert_eq!(read.positions[&0], [5, 0, 4, 11, 6, 8]);
    let array = |name: &str| read::npy(dattri().join(name)).unwrap();
    let test = Dataset::new(array("test.npy"), array("labels.npy")).unwrap();
    let task = Task::new(|p: &nn::Path| {
        let fc = layer::linear(p / "fc", 4, 3);
        move |x: &Tensor, tape: &mut Tape| tape.linear("fc", &fc, x)
    });
    let truth = read.measure(&task, &clusters(12, 1), &test).unwrap();
    assert_close(truth.tensor(), &array("expected.npy"), 1e-6, "log-likelihoods");
    assert_eq!(truth.subsets().positions(0).unwrap(), [0, 4, 5, 6, 8, 11]);
    says(read.subsets(&clusters(11, 1)), &["expected the 12 train examples", "got 11"]);
    says(read.measure(&tasks::logistic(), &clusters(12, 1), &test), &["model_weights_0.pt"]);
}

#[test]
fn a_broken_folder_of_dattris_is_named() {
    let folder = tasks::Folder::new("dattri");
    let copy = |from: &str, to: &str| {
        std::fs::create_dir_all(folder.0.join(to).parent().unwrap()).unwrap();
        std::fs::copy(dattri().join(from), folder.0.join(to)).unwrap();
    };
    let write = |to: &str, text: &str| std::fs::write(folder.0.join(to), text).unwrap();
    let read = || read::dattri_retraining(&folder.0);
    says(read(), &["metadata.yml"]);
    copy("metadata.yml", "metadata.yml");
    says(read(), &["folders 0, 1, …", "got none"]);
    copy("1/indices.txt", "7/indices.txt");
    copy("1/model_weights_0.pt", "7/model_weights_0.pt");
    says(read(), &["model_weights_1.pt", "2 runs each"]);
    copy("1/model_weights_1.pt", "7/model_weights_1.pt");
    assert_eq!(read().unwrap().subsets(&clusters(12, 1)).unwrap().numbers(), [7], "one part of several");
    for (text, complaint) in [
        ("3\n12", "positions 0 to 11, got 12"),
        ("3\n3", "position 3 is there twice"),
        ("3\n\n4", "a position on each line"),
        ("", "at least one"),
    ] {
        write("7/indices.txt", text);
        says(read(), &["indices.txt", complaint]);
    }
    for (text, complaint) in [
        ("mode: loo\ndata_length: 3\n", "mode loo"),
        ("mode: other\n", "expected mode lds"),
        ("mode: lds\nnum_runs_per_subset: 1\n", "data_length"),
        ("mode: lds\ndata_length: 0\nnum_runs_per_subset: 1\n", "a number above 0"),
        ("mode: lds\nmode: lds\n", "two lines mode"),
    ] {
        write("metadata.yml", text);
        says(read(), &["metadata.yml", complaint]);
    }
}
