//! Training on subsets: against the plain loop, across threads, stacks and restarts; and what scores predict of it.

use ascribe::prelude::*;
use ascribe::statistics::spearman;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{self, Folder, assert_close, clusters, says};

fn data() -> (Dataset, Dataset) {
    (clusters(30, 1), clusters(36, 2).select(&[30, 31, 32, 33, 34, 35]).unwrap())
}

fn retraining() -> Retraining {
    let trainer = Trainer { epochs: 3, batch_size: 4, learning_rate: 0.05, optimizer: Optimizer::sgd(0.9, 0.01), ..default() };
    Retraining { trainer: Trainer { schedule: Schedule::Linear, ..trainer }, runs: 2, ..default() }
}

/// Two hidden layers with dropout, of which one has no bias.
fn dropped() -> Task {
    Task::new(|p: &nn::Path| {
        let bare = nn::LinearConfig { bias: false, ..default() };
        let (a, b, c) = (layer::linear(p / "a", 4, 8), nn::linear(p / "b", 8, 8, bare), layer::linear(p / "c", 8, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("a", &a, x).relu();
            let hidden = tape.dropout(0.2, &hidden);
            let hidden = tape.linear("b", &b, &hidden).tanh();
            let hidden = tape.dropout(0.1, &hidden);
            tape.linear("c", &c, &hidden)
        }
    })
}

/// What one training after the other gives.
pub fn loop_over(how: &Retraining, task: &Task, train: &Dataset, test: &Dataset, subsets: &Subsets) -> Tensor {
    let mut rows = Vec::new();
    for (place, &number) in subsets.numbers().iter().enumerate() {
        let part = train.select(&subsets.positions(place).unwrap()).unwrap();
        for run in 0..how.runs {
            let task = task.clone().train(&how.trainer_of(number, run), &part).unwrap();
            rows.push(task.snapshot(0).unwrap().measure(Of::Measurement, test).unwrap());
        }
    }
    Tensor::stack(&rows, 0).view([subsets.len() as i64, how.runs as i64, test.len() as i64])
}

#[test]
fn side_by_side_is_one_after_the_other() {
    let (train, test) = data();
    let subsets = Subsets::fraction(&train, 0.5, 5, 3).unwrap();
    let tasks = [
        ("logistic", tasks::logistic()),
        ("mlp", tasks::mlp().with_measurement(Margin)),
        ("dropout", dropped()),
        ("loop", tasks::looped()),
        ("sequence", tasks::sequence()),
    ];
    for (name, task) in tasks {
        for optimizer in [Optimizer::sgd(0.9, 0.01), Optimizer::adam(0.0)] {
            let mut how = retraining();
            how.trainer.optimizer = optimizer;
            let expected = loop_over(&how, &task, &train, &test, &subsets);
            for (side_by_side, threads) in [(None, None), (Some(1), Some(2)), (Some(3), Some(1)), (Some(10), Some(2))] {
                let how = Retraining { side_by_side, threads, ..how.clone() };
                let found = how.run(&task, &train, &test, &subsets).unwrap();
                assert_close(
                    found.tensor(),
                    &expected,
                    1e-4,
                    &format!("{name}, {side_by_side:?} side by side, {threads:?} threads"),
                );
            }
        }
    }
}

#[test]
fn a_subset_does_not_depend_on_the_others() {
    let (train, test) = dataset::digits().unwrap().split(60, 6, 0).unwrap();
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10]));
    let all = Subsets::fraction(&train, 0.5, 6, 0).unwrap();
    let run = |subsets: &Subsets, threads| {
        let how = Retraining { threads: Some(threads), side_by_side: Some(4), ..retraining() };
        how.run(&task, &train, &test, subsets).unwrap().tensor().copy()
    };
    let together = run(&all, 1);
    assert_close(&run(&all, 2), &together, 1e-5, "threads");
    for side_by_side in [2, 3, 12] {
        let how = Retraining { side_by_side: Some(side_by_side), ..retraining() };
        let other = how.run(&task, &train, &test, &all).unwrap();
        assert_close(other.tensor(), &together, 1e-5, &format!("{side_by_side} side by side"));
    }
    let single = Retraining { runs: 1, ..retraining() }.run(&task, &train, &test, &all.select(&[4]).unwrap()).unwrap();
    assert_close(&single.tensor().get(0).get(0), &together.get(4).get(0), 1e-5, "a stack of one");
    let some = all.select(&[4, 1]).unwrap();
    assert_eq!(some.numbers(), [4, 1]);
    assert_close(&run(&some, 1), &together.index_select(0, &Tensor::from_slice(&[4i64, 1])), 1e-5, "a part, in another order");
    assert!(tasks::difference(&together.get(0), &together.get(1)) > 0.01);
    assert!(tasks::difference(&together.get(0).get(0), &together.get(0).get(1)) > 0.01, "runs differ");
}

#[test]
fn subsets_are_what_they_say() {
    let train = clusters(31, 1);
    let positions = |subsets: &Subsets| (0..subsets.len()).map(|place| subsets.positions(place).unwrap()).collect::<Vec<_>>();
    let (few, many) = (Subsets::fraction(&train, 0.4, 3, 7).unwrap(), Subsets::fraction(&train, 0.4, 9, 7).unwrap());
    assert_eq!(positions(&few)[..], positions(&many)[..3], "more subsets leave the first as they are");
    assert!(positions(&many).iter().all(|subset| subset.len() == 12 && subset.is_sorted()));
    assert_ne!(positions(&few), positions(&Subsets::fraction(&train, 0.4, 3, 8).unwrap()));
    // Each example is in each subset with probability 0.4: its share over 400 subsets has a standard deviation of 0.025.
    let shares = Subsets::fraction(&train, 0.4, 400, 0).unwrap().masks().to_kind(Kind::Float).mean_dim(
        [0i64].as_slice(),
        false,
        None::<Kind>,
    );
    assert!((shares - 12.0 / 31.0).abs().max().double_value(&[]) < 0.11);
    // 11, 10 and 10 examples of the classes 0, 1, 2.
    let strata = Subsets::stratified(&train, 0.5, 20, 0).unwrap();
    for subset in positions(&strata) {
        let count = |class| subset.iter().filter(|&&at| at % 3 == class).count();
        assert_eq!((subset.len(), count(0), count(1), count(2)), (15, 5, 5, 5));
    }
    assert_ne!(positions(&strata)[0], positions(&strata)[1]);
    let out = Subsets::leave_one_out(&train, &[5, 0]).unwrap();
    assert_eq!(positions(&out)[0], (0..31).filter(|&at| at != 5).collect::<Vec<_>>());
    let groups = train.with_column(Series::new("site".into(), (0..31).map(|at| at % 12).collect::<Vec<i32>>())).unwrap();
    let out = Subsets::leave_group_out(&groups, "site").unwrap();
    assert_eq!((out.len(), positions(&out)[10].len(), positions(&out)[11].contains(&11)), (12, 29, false));
    let by_class = Subsets::leave_group_out(&groups, "label").unwrap().frame().unwrap();
    assert!(by_class.column("missing").unwrap().u32().unwrap().iter().all(|missing| missing == Some(1)));
    let given = Subsets::from_masks(&groups, &few.masks().to_kind(Kind::Float)).unwrap();
    assert_eq!(positions(&given), positions(&few));
}

#[test]
fn a_whole_share_of_the_examples_stays_whole() {
    let train = clusters(100, 1);
    for fraction in [0.29, 0.57, 0.58] {
        let size = (fraction * 100.0f64).round() as usize;
        assert_eq!(Subsets::fraction(&train, fraction, 1, 0).unwrap().positions(0).unwrap().len(), size);
        assert_eq!(Subsets::stratified(&train, fraction, 1, 0).unwrap().positions(0).unwrap().len(), size);
    }
}

#[test]
fn labels_may_be_any_numbers() {
    let labels = |largest: i64| (0..30).map(|at| if at % 3 == 0 { largest } else { at % 3 }).collect::<Vec<i64>>();
    let positions = |labels: &[i64]| {
        let train = clusters(30, 1).with_labels(labels).unwrap();
        Subsets::stratified(&train, 0.5, 3, 0).unwrap().masks().copy()
    };
    assert!(positions(&labels(1 << 60)).equal(&positions(&labels(3))));
}

#[test]
fn leave_one_out_of_very_many_is_refused_before_memory_is_asked_for() {
    let n = 60_000i64;
    let train =
        Dataset::new(Tensor::zeros([n, 1], (Kind::Float, Device::Cpu)), Tensor::zeros([n], (Kind::Int64, Device::Cpu))).unwrap();
    let all: Vec<usize> = (0..n as usize).collect();
    says(Subsets::leave_one_out(&train, &all), &["60000 subsets of 60000 examples", "3.6 GB", "at most 17895"]);
    let some = Subsets::leave_one_out(&train, &all[..200]).unwrap();
    assert_eq!(some.masks().sum(Kind::Int64).int64_value(&[]), 200 * (n - 1));
    assert!(!some.positions(7).unwrap().contains(&7));
}

#[test]
fn what_subsets_refuse() {
    let train = clusters(9, 1);
    says(Subsets::fraction(&train, 1.0, 3, 0), &["Subsets.fraction", "below 1"]);
    says(Subsets::fraction(&train, f64::NAN, 3, 0), &["Subsets.fraction"]);
    says(Subsets::fraction(&train, 0.1, 3, 0), &["at least one of 9 examples"]);
    says(Subsets::fraction(&train, 0.5, 0, 0), &["Subsets.count"]);
    says(Subsets::leave_one_out(&train, &[9]), &["position 9"]);
    says(Subsets::leave_group_out(&train, "site"), &["column site"]);
    says(Subsets::from_masks(&train, &Tensor::zeros([2, 8], (Kind::Float, ascribe::tch::Device::Cpu))), &["[subsets, 9]"]);
    says(
        Subsets::from_masks(&train, &Tensor::zeros([2, 9], (Kind::Float, ascribe::tch::Device::Cpu))),
        &["given 0", "at least one example"],
    );
    says(Subsets::from_masks(&train, &Tensor::full([2, 9], f64::NAN, (Kind::Float, Device::Cpu))), &["masks", "got NaN"]);
    says(Subsets::everything(&train, 0), &["at least one subset"]);
    let regression = Dataset::new(train.inputs().copy(), train.inputs().copy()).unwrap();
    says(Subsets::stratified(&regression, 0.5, 2, 0), &["class label"]);
}

#[test]
fn a_stopped_run_goes_on_and_grows() {
    let (train, test) = data();
    let folder = Folder::new("retraining");
    let (two, four) = (Subsets::fraction(&train, 0.5, 2, 0).unwrap(), Subsets::fraction(&train, 0.5, 4, 0).unwrap());
    let files = || {
        let times = std::fs::read_dir(&folder.0).unwrap().map(|file| {
            let file = file.unwrap();
            (file.file_name().into_string().unwrap(), file.metadata().unwrap().modified().unwrap())
        });
        times.collect::<std::collections::BTreeMap<_, _>>()
    };
    let how = Retraining { side_by_side: Some(2), ..retraining() };
    let fresh = how.run(&tasks::mlp(), &train, &test, &four).unwrap();
    let kept = Retraining { runs: 1, ..how.clone() }.cached(&folder.0);
    kept.run(&tasks::mlp(), &train, &test, &two).unwrap();
    let before = files();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["00000-0.safetensors", "00001-0.safetensors", "retraining.json"]);
    let more = how.clone().cached(&folder.0).run(&tasks::mlp(), &train, &test, &four).unwrap();
    assert!(more.tensor().equal(fresh.tensor()));
    assert_eq!(files().len(), 9);
    assert!(before.iter().all(|(name, time)| files()[name] == *time), "what was there is not trained again");
    // As if killed between two files.
    std::fs::remove_file(folder.0.join("00002-1.safetensors")).unwrap();
    assert!(how.clone().cached(&folder.0).run(&tasks::mlp(), &train, &test, &four).unwrap().tensor().equal(fresh.tensor()));
    // Weights are asked for only now: trained again, since the files have none.
    let with = Retraining { keep_checkpoints: true, ..how.clone() }.cached(&folder.0);
    let with_weights = with.run(&tasks::mlp(), &train, &test, &four).unwrap();
    let read_back = with.run(&tasks::mlp(), &train, &test, &four).unwrap();
    for truth in [&with_weights, &read_back] {
        let ensemble = truth.ensemble(&tasks::mlp()).unwrap();
        assert_eq!(ensemble.runs(), (0..8).collect::<Vec<_>>());
        let again = ensemble.snapshot(5).unwrap().measure(Of::Measurement, &test).unwrap();
        assert!(again.equal(&fresh.tensor().get(2).get(1)));
    }
    says(more.ensemble(&tasks::mlp()), &["keep_checkpoints"]);
}

/// With a common seed, and batches in a common order, what one example does is not drowned by the draw.
#[test]
fn paired_networks_differ_by_their_examples_alone() {
    let (train, test) = data();
    let mut how = retraining();
    let whole = Subsets::everything(&train, 3).unwrap();
    let spread = |values: &Tensor| (values - values.get(0)).abs().mean(Kind::Double).double_value(&[]);
    assert!(spread(how.run(&dropped(), &train, &test, &whole).unwrap().tensor()) > 1e-3);
    how.paired = true;
    let same = how.run(&dropped(), &train, &test, &whole).unwrap();
    assert_eq!(spread(same.tensor()), 0.0);
    assert!((same.tensor().select(1, 0) - same.tensor().select(1, 1)).abs().max().double_value(&[]) > 1e-3, "runs differ still");
    let without = Subsets::leave_one_out(&train, &[3, 11]).unwrap();
    let loops = loop_over(&how, &tasks::mlp(), &train, &test, &without);
    assert_close(how.run(&tasks::mlp(), &train, &test, &without).unwrap().tensor(), &loops, 1e-5, "paired");
    let effect = |paired: bool| {
        let mut how = Retraining { paired, ..how.clone() };
        (how.trainer.order, how.trainer.batch_size) = (Order::ByExample, 15);
        let [full, without] = [&Subsets::everything(&train, 1).unwrap(), &without]
            .map(|subsets| how.run(&tasks::mlp(), &train, &test, subsets).unwrap().tensor().shallow_clone());
        (without - full).abs().mean(Kind::Double).double_value(&[])
    };
    let (paired, drowned) = (effect(true), effect(false));
    assert!(paired < 0.3 * drowned, "{paired} {drowned}");
}

#[test]
fn a_cache_of_another_setting_is_refused() {
    let (train, test) = data();
    let folder = Folder::new("retraining-other");
    let halves = Subsets::fraction(&train, 0.5, 2, 0).unwrap();
    let how = retraining().cached(&folder.0);
    how.run(&tasks::mlp(), &train, &test, &halves).unwrap();
    let with = |change: &dyn Fn(&mut Trainer)| {
        let mut how = how.clone();
        change(&mut how.trainer);
        how.run(&tasks::mlp(), &train, &test, &halves)
    };
    says(with(&|t| t.learning_rate = 0.1), &["retraining.json", "trainer.learning_rate is 0.05 there and 0.1 here"]);
    says(with(&|t| t.seed = 1), &["trainer.seed is 0 there and 1 here"]);
    let paired = Retraining { paired: true, ..how.clone() };
    says(paired.run(&tasks::mlp(), &train, &test, &halves), &["paired"]);
    says(with(&|t| t.optimizer = Optimizer::adam(0.0)), &["trainer.optimizer"]);
    let with = |task: Task, train: &Dataset, test: &Dataset, subsets: &Subsets| how.run(&task, train, test, subsets);
    says(with(tasks::logistic(), &train, &test, &halves), &["network"]);
    says(with(tasks::mlp().with_measurement(Margin), &train, &test, &halves), &["measurement is", "margin"]);
    let tanh = Task::new(|p: &nn::Path| {
        let (a, b) = (layer::linear(p / "fc1", 4, 6), layer::linear(p / "fc2", 6, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("fc1", &a, x).tanh();
            tape.linear("fc2", &b, &hidden)
        }
    });
    says(with(tanh, &train, &test, &halves), &["untrained"]);
    let mut labels = train.labels().unwrap();
    labels[29] = 0;
    let flipped = train.with_labels(&labels).unwrap();
    says(with(tasks::mlp(), &flipped, &test, &Subsets::fraction(&flipped, 0.5, 2, 0).unwrap()), &["train.targets"]);
    says(with(tasks::mlp(), &train, &test.head(5).unwrap(), &halves), &["test"]);
    says(with(tasks::mlp(), &train, &test, &Subsets::fraction(&train, 0.5, 2, 9).unwrap()), &["another subset of number 0"]);
    says(with(tasks::mlp(), &train.head(20).unwrap(), &test, &halves), &["subsets", "30 ids against 20"]);
    let moved = Dataset::new(train.inputs() + 1.0, train.targets().copy()).unwrap();
    says(with(tasks::mlp(), &moved, &test, &halves), &["subsets", "other inputs"]);
    // A damaged file is named.
    std::fs::write(folder.0.join("00001-0.safetensors"), b"half a file").unwrap();
    says(with(tasks::mlp(), &train, &test, &halves), &["00001-0.safetensors", "not a whole and valid"]);
}

/// Networks and measurements of one name and shape, told apart where nothing but numbers tells them.
#[test]
fn a_cache_of_another_network_or_measurement_of_the_same_shape_is_refused() {
    let (train, test) = data();
    let halves = Subsets::fraction(&train, 0.5, 2, 0).unwrap();
    let limited = |limit: f64| {
        tasks::logistic().with_measurement(move |o: &Tensor, t: &Tensor| {
            o.gather(1, &t.unsqueeze(1), false).squeeze_dim(1).clamp(-limit, limit)
        })
    };
    let started_at_zero = |activation: fn(&Tensor) -> Tensor, limit: f64| {
        Task::new(move |p: &nn::Path| {
            let zero = nn::LinearConfig { ws_init: nn::Init::Const(0.0), ..default() };
            let (a, b) = (layer::linear(p / "a", 4, 6), nn::linear(p / "b", 6, 3, zero));
            move |x: &Tensor, tape: &mut Tape| {
                let hidden = activation(&tape.linear("a", &a, x));
                tape.linear("b", &b, &hidden).clamp(-limit, limit)
            }
        })
    };
    type Activation = fn(&Tensor) -> Tensor;
    let (relu, tanh): (Activation, Activation) = (Tensor::relu, Tensor::tanh);
    let pairs = [
        ("measurement", limited(1e9), limited(2.0), "untrained.measurement"),
        ("activation", started_at_zero(relu, 1e9), started_at_zero(tanh, 1e9), "untrained"),
        ("limit", started_at_zero(relu, 1e9), started_at_zero(relu, 2.0), "untrained"),
    ];
    for (name, one, other, said) in pairs {
        let folder = Folder::new(&format!("retraining-{name}"));
        let how = retraining().cached(&folder.0);
        how.run(&one, &train, &test, &halves).unwrap();
        how.run(&one, &train, &test, &halves).unwrap();
        says(how.run(&other, &train, &test, &halves), &["retraining.json", said]);
    }
    // What no probe of a few examples sees, kept weights do.
    let (large, folder) = (clusters(20, 2), Folder::new("retraining-weights"));
    let factor = |factor: f64| {
        tasks::logistic().with_measurement(move |o: &Tensor, t: &Tensor| {
            LogLikelihood.measure(o, t) * if t.size()[0] > 8 { factor } else { 1.0 }
        })
    };
    let how = Retraining { keep_checkpoints: true, ..retraining() }.cached(&folder.0);
    how.run(&factor(1.0), &train, &large, &halves).unwrap();
    how.run(&factor(1.0), &train, &large, &halves).unwrap();
    says(how.run(&factor(1.01), &train, &large, &halves), &["00000-0.safetensors", "choose another folder"]);
}

#[test]
fn what_retraining_refuses() {
    let (train, test) = data();
    let halves = Subsets::fraction(&train, 0.5, 2, 0).unwrap();
    let run = |how: Retraining| how.run(&tasks::mlp(), &train, &test, &halves);
    says(run(Retraining { runs: 0, ..default() }), &["Retraining.runs"]);
    says(run(Retraining { threads: Some(0), ..default() }), &["Retraining.threads"]);
    says(run(Retraining { trainer: Trainer { epochs: 0, ..default() }, ..default() }), &["Trainer.epochs"]);
    let wild = Trainer { learning_rate: 1e30, optimizer: Optimizer::sgd(0.0, 0.0), ..default() };
    says(run(Retraining { trainer: wild, ..default() }), &["training", "lower the learning rate"]);
    let narrow = Task::new(|p: &nn::Path| Logistic::new(p, 4, 2));
    says(Retraining::default().run(&narrow, &train, &test, &halves), &["labels 0 to 1"]);
}

fn truth(values: &[f32], subsets: &Subsets, test: &Dataset) -> Retrained {
    Retrained::new(Tensor::from_slice(values).view([subsets.len() as i64, test.len() as i64]), subsets, test).unwrap()
}

fn floats(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

/// The case of dattri's own tests.
#[test]
fn lds_is_dattris() {
    let (train, test) = (clusters(4, 1), clusters(2, 2));
    let masks = Tensor::from_slice(&[1f32, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]).view([3, 4]);
    let subsets = Subsets::from_masks(&train, &masks).unwrap();
    let scores = Tensor::from_slice(&[0.1f32, 0.2, 0.3, 0.4, 0.2, 0.1, 0.3, 0.4]).view([2, 4]);
    let scores = Scores::new(scores, "given", &test, &train).unwrap();
    let table = metric::lds(&scores, &truth(&[0.3, 0.3, 0.4, 0.4, 0.5, 0.3], &subsets, &test)).unwrap();
    let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-7;
    let (lds, p) = (floats(&table, "lds"), floats(&table, "p"));
    assert!(close(lds[0], 1.0) && close(lds[1], 0.866_025_4) && close(p[0], 0.0) && close(p[1], 1.0 / 3.0), "{lds:?} {p:?}");
}

/// Scores and a truth that is their sum over each subset, plus noise.
fn linear(subsets: usize, noise: f64) -> (Scores, Scores, Retrained) {
    let (train, test) = (clusters(40, 1), clusters(20, 2));
    let draw = |seed| {
        let options = Random { seed };
        let task = tasks::logistic().train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
        options.fit(&task, &train).unwrap().score(&test).unwrap()
    };
    let (right, unrelated) = (draw(1), draw(2));
    let halves = Subsets::fraction(&train, 0.5, subsets, 0).unwrap();
    let sums = |scores: &Scores, halves: &Subsets| halves.masks().to_kind(Kind::Float).matmul(&scores.tensor().transpose(0, 1));
    let other = Subsets::fraction(&train, 0.5, subsets, 1).unwrap();
    let values = sums(&right, &halves) + sums(&draw(3), &other) * noise;
    (right, unrelated, Retrained::new(values, &halves, &test).unwrap())
}

#[test]
fn lds_of_a_linear_truth_is_one_and_of_noise_is_none() {
    let (right, unrelated, truth) = linear(100, 0.0);
    let mean = |scores: &Scores| metric::mean_lds(scores, &truth).unwrap();
    let of = |table: &DataFrame, name: &str| floats(table, name)[0].unwrap();
    let found = mean(&right);
    assert!((of(&found, "lds") - 1.0).abs() < 1e-9 && of(&found, "lds_low") > 0.9999);
    // Over endless subsets of half of 40 examples two rows of scores correlate by the cosine of their deviations: 0 ± 0.16 each,
    // so the mean over 20 test examples 0 ± 0.035; 100 subsets add 0.022.
    let deviations = |scores: &Scores| scores.tensor() - scores.tensor().mean_dim([1i64].as_slice(), true, None::<Kind>);
    let endless =
        Tensor::cosine_similarity(&deviations(&right), &deviations(&unrelated), 1, 1e-9).mean(None::<Kind>).double_value(&[]);
    let found = mean(&unrelated);
    assert!(of(&found, "lds").abs() < 0.1, "{found}");
    assert!(of(&found, "lds_low") < endless && of(&found, "lds_high") > endless, "{endless} {found}");
    assert_eq!(found.column("subsets").unwrap().u32().unwrap().get(0), Some(100));
}

#[test]
fn the_interval_is_that_of_subsets_left_out() {
    let (right, _, truth) = linear(30, 1.0);
    let found = metric::mean_lds(&right, &truth).unwrap();
    let of = |name: &str| floats(&found, name)[0].unwrap();
    // The same by brute force.
    let predicted = truth.subsets().masks().to_kind(Kind::Double).matmul(&right.tensor().to_kind(Kind::Double).transpose(0, 1));
    let rows = |t: &Tensor| Vec::<Vec<f64>>::try_from(&t.transpose(0, 1).contiguous()).unwrap();
    let (a, b) = (rows(&predicted), rows(&truth.mean().unwrap()));
    let mean = |out: Option<usize>| {
        let some = |row: &[f64]| row.iter().enumerate().filter(|(at, _)| Some(*at) != out).map(|(_, v)| *v).collect::<Vec<_>>();
        a.iter().zip(&b).map(|(a, b)| spearman(&some(a), &some(b)).unwrap().value).sum::<f64>() / a.len() as f64
    };
    let without: Vec<f64> = (0..30).map(|out| mean(Some(out)).atanh()).collect();
    let centre = without.iter().sum::<f64>() / 30.0;
    let spread = (29.0 / 30.0 * without.iter().map(|z| (z - centre).powi(2)).sum::<f64>()).sqrt();
    let corrected = 30.0 * mean(None).atanh() - 29.0 * centre;
    let reach = 2.045_229_642_132_703 * spread; // Student's t with 29 degrees of freedom
    assert!((of("lds") - mean(None)).abs() < 1e-12);
    assert!(
        (of("lds_low") - (corrected - reach).tanh()).abs() < 1e-9 && (of("lds_high") - (corrected + reach).tanh()).abs() < 1e-9
    );
}

#[test]
fn lds_matches_by_id_counts_constants_and_refuses_strangers() {
    let (right, _, whole) = linear(10, 0.0);
    let (train, test) = (clusters(40, 1), clusters(20, 2));
    // Scores of more examples, in another order.
    let turned = |n: usize| (0..n).rev().collect::<Vec<_>>();
    let index = |n: usize| Tensor::from_slice(&turned(n).iter().map(|&at| at as i64).collect::<Vec<_>>());
    let values = right.tensor().index_select(0, &index(20)).index_select(1, &index(40));
    let mirrored =
        Scores::new(values, "mirrored", &test.select(&turned(20)).unwrap(), &train.select(&turned(40)).unwrap()).unwrap();
    let lds = floats(&metric::lds(&mirrored, &whole).unwrap(), "lds");
    assert!(lds.iter().all(|lds| (lds.unwrap() - 1.0).abs() < 1e-9));
    // One test example that never changes.
    let values = whole.tensor().copy();
    let _ = values.select(2, 4).fill_(0.5);
    let flat = Retrained::new(values, whole.subsets(), &test).unwrap();
    let mean = metric::mean_lds(&right, &flat).unwrap();
    let count = |name: &str| mean.column(name).unwrap().u32().unwrap().get(0);
    assert_eq!((count("n"), count("constant")), (Some(19), Some(1)));
    assert_eq!(floats(&metric::lds(&right, &flat).unwrap(), "lds")[4], None);
    let still = Retrained::new(whole.tensor() * 0.0, whole.subsets(), &test).unwrap();
    assert_eq!(floats(&metric::mean_lds(&right, &still).unwrap(), "lds"), [None]);
    says(metric::lds(&right, &whole.head(2).unwrap()), &["at least 3 subsets, got 2"]);
    let some = Scores::new(right.tensor().narrow(1, 0, 39), "some", &test, &train.head(39).unwrap()).unwrap();
    says(metric::lds(&some, &whole), &["train example 39", "39 train examples"]);
    let moved = Dataset::new(train.inputs() + 1.0, train.targets().copy()).unwrap();
    says(metric::lds(&Scores::new(right.tensor().copy(), "moved", &test, &moved).unwrap(), &whole), &["other inputs"]);
}

/// Ids start at 0 in every dataset: what is compared is each example.
#[test]
fn lds_refuses_scores_of_other_data_of_another_size() {
    let (_, _, whole) = linear(10, 0.0);
    let (train, test) = (clusters(60, 1), clusters(20, 2));
    let scores = |test: &Dataset, train: &Dataset| {
        let values = Tensor::ones([test.len() as i64, train.len() as i64], (Kind::Float, Device::Cpu));
        Scores::new(values, "larger", test, train).unwrap()
    };
    says(metric::mean_lds(&scores(&test, &clusters(60, 7)), &whole), &["train example 0", "other inputs", "larger"]);
    says(metric::mean_lds(&scores(&clusters(30, 9), &train.head(40).unwrap()), &whole), &["test example 0", "other inputs"]);
    // Targets that are no classes, of which one is another.
    let regression = |n: usize, odd: usize| {
        let targets = Tensor::arange(n as i64, (Kind::Float, Device::Cpu));
        let _ = targets.get(odd as i64).fill_(-1.0);
        Dataset::new(clusters(60, 1).inputs().narrow(0, 0, n as i64), targets).unwrap()
    };
    let halves = Subsets::fraction(&regression(40, 11), 0.5, 3, 0).unwrap();
    let truth = Retrained::new(Tensor::arange(60, (Kind::Float, Device::Cpu)).view([3, 20]), &halves, &test).unwrap();
    says(metric::mean_lds(&scores(&test, &regression(60, 12)), &truth), &["train example 11", "targets"]);
    assert!(metric::mean_lds(&scores(&test, &regression(60, 11)), &truth).is_ok());
}

#[test]
fn an_option_is_chosen_on_one_half_and_reported_on_the_other() {
    let (right, unrelated, truth) = linear(30, 1.0);
    let noisy = Scores::new(right.tensor() + unrelated.tensor(), "noisy", &clusters(20, 2), &clusters(40, 1)).unwrap();
    let options = [("noisy", noisy), ("right", right.clone()), ("unrelated", unrelated)];
    let table = metric::choose(&options, &truth, 0).unwrap();
    let marked = |name: &str| table.column(name).unwrap().bool().unwrap().iter().map(Option::unwrap).collect::<Vec<_>>();
    assert_eq!((marked("honest"), marked("oracle")), (vec![false, true, false], vec![false, true, false]));
    // The halves together are the whole.
    let (choosing, reported) = (floats(&table, "choosing")[1].unwrap(), floats(&table, "reported")[1].unwrap());
    let whole = floats(&metric::mean_lds(&right, &truth).unwrap(), "lds")[0].unwrap();
    assert!(((choosing + reported) / 2.0 - whole).abs() < 1e-9 && choosing != reported);
    says(metric::choose(&[], &truth, 0), &["at least one"]);
}

#[test]
fn the_first_runs_are_those_of_fewer() {
    let (train, test) = data();
    let subsets = Subsets::fraction(&train, 0.5, 4, 3).unwrap();
    let how = Retraining { keep_checkpoints: true, ..retraining() };
    let both = how.run(&tasks::logistic(), &train, &test, &subsets).unwrap();
    let one = Retraining { runs: 1, ..how }.run(&tasks::logistic(), &train, &test, &subsets).unwrap();
    let first = both.first_runs(1).unwrap();
    assert_close(first.tensor(), one.tensor(), 1e-5, "measurements");
    assert_eq!((first.checkpoints().len(), both.first_runs(2).unwrap().checkpoints().len()), (4, 8));
    let weight = |retrained: &Retrained, at: usize| retrained.checkpoints()[at].tensor("linear.weight").unwrap().shallow_clone();
    assert_close(&weight(&first, 2), &weight(&one, 2), 1e-5, "weights of the third subset");
    says(both.first_runs(3), &["runs", "1 to 2", "got 3"]);
    says(both.first_runs(0), &["runs", "1 to 2", "got 0"]);
}

/// Runs with as much in common as they have of their own: the ceiling is what a method that knows the common part reaches.
#[test]
fn a_ceiling_is_what_the_truth_itself_would_reach() {
    let (train, test) = (clusters(40, 1), clusters(60, 2));
    let count = 150;
    let subsets = Subsets::fraction(&train, 0.5, count as usize, 3).unwrap();
    let mut state = 5u64;
    let mut normal = |size: &[i64]| {
        let draws = (0..size.iter().product::<i64>()).map(|_| {
            let uniform = |state: &mut u64| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (*state >> 11) as f64 / (1u64 << 53) as f64
            };
            (0..12).map(|_| uniform(&mut state)).sum::<f64>() - 6.0
        });
        Tensor::from_slice(&draws.collect::<Vec<f64>>()).view(size)
    };
    let scores = Scores::new(normal(&[60, 40]), "truth", &test, &train).unwrap();
    let sums = subsets.masks().to_kind(Kind::Double).matmul(&scores.tensor().to_kind(Kind::Double).transpose(0, 1));
    let spread = sums.std_dim([0i64].as_slice(), true, true);
    let common = sums / spread;
    let values = common.unsqueeze(1) + normal(&[count, 3, 60]);
    let retrained = Retrained::new(values, &subsets, &test).unwrap();
    let table = metric::ceiling(&retrained).unwrap();
    let of = |name: &str| table.column(name).unwrap().f64().unwrap().get(0).unwrap();
    let lds = |truth: &Retrained| metric::mean_lds(&scores, truth).unwrap().column("lds").unwrap().f64().unwrap().get(0).unwrap();
    assert!((of("one") - lds(&retrained.first_runs(1).unwrap())).abs() < 0.03, "{table}");
    assert!((of("all") - lds(&retrained)).abs() < 0.03, "{table}");
    assert!(of("agreement_low") < of("agreement") && of("agreement") < of("agreement_high") && of("one") < of("all"));
    says(metric::ceiling(&retrained.first_runs(1).unwrap()), &["at least 2 runs of 3 subsets", "1 of 150"]);
    // Pure noise leaves nothing to reach, not NaN.
    let noise = Retrained::new(normal(&[count, 2, 60]), &subsets, &test).unwrap();
    assert!(metric::ceiling(&noise).unwrap().column("one").unwrap().f64().unwrap().get(0).unwrap() < 0.3);
}
