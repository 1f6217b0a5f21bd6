//! Estimators over retrained networks: against definitions, closed forms, games with known values, and scikit-learn.

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, says};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn given(masks: &Tensor, values: &Tensor) -> Retrained {
    let (n, m) = (masks.size()[1] as usize, values.size()[1] as usize);
    let subsets = Subsets::from_masks(&clusters(n, 1), masks).unwrap();
    Retrained::new(values.shallow_clone(), &subsets, &clusters(m, 2)).unwrap()
}

/// Values of a game on subsets of players, a column for each test example.
fn played(subsets: &Subsets, m: usize, worth: impl Fn(&[usize], usize) -> f64) -> Retrained {
    let values: Vec<f32> = (0..subsets.len())
        .flat_map(|place| {
            let members = subsets.positions(place).unwrap();
            (0..m).map(|test| worth(&members, test) as f32).collect::<Vec<_>>()
        })
        .collect();
    let values = Tensor::from_slice(&values).view([subsets.len() as i64, m as i64]);
    Retrained::new(values, subsets, &clusters(m, 2)).unwrap()
}

fn list(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(&tensor.to_kind(Kind::Double).contiguous().view([-1])).unwrap()
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// A deterministic draw from [-0.5, 0.5).
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }
}

fn noisy(m: usize, subsets: &Subsets, seed: u64) -> Retrained {
    let mut draw = noise(seed);
    let values: Vec<f32> = (0..subsets.len() * m).map(|_| 5.0 + draw() as f32).collect();
    Retrained::new(Tensor::from_slice(&values).view([subsets.len() as i64, m as i64]), subsets, &clusters(m, 2)).unwrap()
}

#[test]
fn empirical_influence_is_a_difference_of_means() {
    let train = clusters(9, 1);
    let subsets = Subsets::fraction(&train, 0.4, 30, 0).unwrap();
    let truth = noisy(3, &subsets, 1);
    let found = EmpiricalInfluence::of(&truth).unwrap();
    let values = truth.mean().unwrap();
    for j in 0..9 {
        let side = |inside: bool, column: &Tensor| -> Vec<f64> {
            let places = (0..30).filter(|&place| subsets.positions(place).unwrap().contains(&j) == inside);
            places.map(|place| column.double_value(&[place as i64])).collect()
        };
        let mut columns: Vec<Tensor> = (0..3).map(|test| values.select(1, test)).collect();
        columns.push(values.mean_dim([1i64].as_slice(), false, None::<Kind>));
        for (test, column) in columns.iter().enumerate() {
            let (with, without) = (side(true, column), side(false, column));
            let ((a, va), (b, vb)) = (mean_and_variance(&with), mean_and_variance(&without));
            let error = (va / with.len() as f64 + vb / without.len() as f64).sqrt();
            let at = [test as i64, j as i64];
            let (score, its_error) = match test {
                3 => (found.overall().tensor().double_value(&at[1..]), found.overall().standard_errors().double_value(&at[1..])),
                _ => (found.scores().tensor().double_value(&at), found.standard_errors().double_value(&at)),
            };
            assert!((score - (a - b)).abs() < 1e-6 && (its_error - error).abs() < 1e-9, "test {test}, train {j}");
        }
    }
    let table = found.frame(1).unwrap();
    let column = |name: &str| table.column(name).unwrap().f64().unwrap().get(0).unwrap();
    let best = found.scores().top(1, 1).unwrap()[0] as i64;
    assert!((column("score") - found.scores().tensor().double_value(&[1, best])).abs() < 1e-9);
    assert!((column("z") - column("score") / column("standard_error")).abs() < 1e-12);
    assert_eq!(found.overall().frame().unwrap().height(), 9);
    says(found.frame(3), &["test position", "0 to 2"]);
}

#[test]
fn leave_one_out_is_empirical_influence_of_all_but_one() {
    let train = clusters(8, 1);
    let all = Subsets::leave_one_out(&train, &(0..8).collect::<Vec<_>>()).unwrap();
    let worth = |members: &[usize], test: usize| members.iter().map(|&j| ((j + 2 * test) as f64).sqrt()).sum();
    let truth = played(&all, 2, worth);
    let found = EmpiricalInfluence::of(&truth).unwrap();
    let whole: Vec<usize> = (0..8).collect();
    for (test, j) in (0..2).flat_map(|test| (0..8).map(move |j| (test, j))) {
        // v(N) − v(N \ j) less the average of the same over the others.
        let gain =
            |out: usize| worth(&whole, test) - worth(&whole.iter().copied().filter(|&at| at != out).collect::<Vec<_>>(), test);
        let others = (0..8).filter(|&other| other != j).map(gain).sum::<f64>() / 7.0;
        assert!((f64::from(found.scores().get(test, j).unwrap()) - (gain(j) - others)).abs() < 1e-5);
        assert!(found.standard_errors().double_value(&[test as i64, j as i64]) > 0.0);
    }
    let few = played(&Subsets::leave_one_out(&train, &[2, 5, 7]).unwrap(), 2, worth);
    says(EmpiricalInfluence::of(&few), &["train example 0", "in each of the 3 subsets"]);
    let some = EmpiricalInfluence::of_some(&few, &train.select(&[5, 2]).unwrap()).unwrap();
    assert!((some.scores().get(0, 0).unwrap() - (5f32.sqrt() - (2f32.sqrt() + 7f32.sqrt()) / 2.0)).abs() < 1e-5);
    assert_eq!(some.scores().n_train(), 2);
    says(EmpiricalInfluence::of_some(&few, &clusters(9, 1).select(&[8]).unwrap()), &["train example 8", "not among the 8"]);
    let pair = played(&Subsets::leave_one_out(&train.head(2).unwrap(), &[0, 1]).unwrap(), 2, worth);
    let found = EmpiricalInfluence::of(&pair).unwrap();
    assert!(list(found.standard_errors()).iter().all(|error| error.is_nan()), "one subset each: no spread is known");
    assert_eq!(found.frame(0).unwrap().column("z").unwrap().null_count(), 2);
}

#[test]
fn what_cannot_be_estimated_is_named() {
    let masks = Tensor::from_slice(&[1f32, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]).view([3, 3]);
    let truth = given(&masks, &Tensor::ones([3, 2], F64));
    says(EmpiricalInfluence::of(&truth), &["train example 0", "each of the 3 subsets", "without it"]);
    says(Banzhaf::of(&truth), &["train example 0"]);
    says(Datamodel::default().fit(&truth), &["Datamodel.strength", "2 to 3 folds", "got 5"]);
    let fixed = Datamodel { strength: Strength::Fixed(1.0), ..default() };
    says(fixed.fit(&truth), &["train example 0"]);
    let never = Tensor::from_slice(&[1f32, 0.0, 0.0, 0.0, 1.0, 0.0]).view([2, 3]);
    says(EmpiricalInfluence::of(&given(&never, &Tensor::ones([2, 2], F64))), &["train example 2", "none of the 2 subsets"]);
    says(DataOob::of(&truth), &["measured_on"]);
    let wrong = |strength| Datamodel { strength, ..default() }.fit(&truth);
    says(wrong(Strength::Fixed(0.0)), &["Datamodel.strength", "above 0"]);
    says(wrong(Strength::CrossValidated { folds: 2, grid: vec![1.0, f64::NAN] }), &["every λ of the grid"]);
    says(wrong(Strength::CrossValidated { folds: 1, grid: vec![] }), &["folds"]);
}

/// Two of four players hold left gloves, the others right ones; a pair is worth 1.
fn gloves(members: &[usize]) -> f64 {
    let left = members.iter().filter(|&&player| player < 2).count();
    left.min(members.len() - left) as f64
}

fn majority(members: &[usize]) -> f64 {
    f64::from(members.len() >= 3)
}

#[test]
fn banzhaf_values_of_games_and_their_errors_are_calibrated() {
    let train = clusters(5, 1);
    // By enumeration over the 16 sets of the other players, at probability p.
    let exact = |worth: &dyn Fn(&[usize]) -> f64, j: usize, p: f64| -> f64 {
        let sets = (0..32usize).filter(|set| set >> j & 1 == 0);
        let members = |set: usize| (0..5).filter(|at| set >> at & 1 == 1).collect::<Vec<usize>>();
        sets.map(|set| {
            let size = set.count_ones() as i32;
            p.powi(size) * (1.0 - p).powi(4 - size) * (worth(&members(set | 1 << j)) - worth(&members(set)))
        })
        .sum()
    };
    let worth = |members: &[usize], test: usize| if test == 0 { gloves(members) } else { majority(members) };
    for p in [0.5, 0.7] {
        let mut z = Vec::new();
        for seed in 0..60 {
            let subsets = Subsets::independent(&train, p, 300, seed).unwrap();
            let found = Banzhaf::of(&played(&subsets, 2, worth)).unwrap();
            for (test, j) in (0..2usize).flat_map(|test| (0..5usize).map(move |j| (test, j))) {
                let value = f64::from(found.scores().get(test, j).unwrap());
                let error = found.standard_errors().double_value(&[test as i64, j as i64]);
                z.push((value - exact(&|members| worth(members, test), j, p)) / error);
            }
        }
        let (mean, variance) = mean_and_variance(&z);
        // 600 values; those of one seed depend on each other. The set without any player is drawn again: a bias of 0.03 at most.
        assert!(mean.abs() < 0.4, "p {p}: mean z {mean}");
        assert!((0.7..1.4).contains(&variance), "p {p}: variance of z {variance}");
    }
    let sizes: Vec<usize> =
        (0..50).map(|k| Subsets::independent(&train, 0.5, 50, 0).unwrap().positions(k).unwrap().len()).collect();
    assert!(sizes.iter().any(|size| *size != sizes[0]) && sizes.iter().all(|size| *size > 0));
    says(Banzhaf::of(&noisy(1, &Subsets::fraction(&train, 0.5, 30, 0).unwrap(), 1)), &["all 30 have 2 examples", "independent"]);
    says(Subsets::independent(&train, 1.0, 3, 0), &["Subsets.probability"]);
    // Drawn until one is not empty, this would never end.
    says(Subsets::independent(&train, 1e-300, 3, 0), &["Subsets.probability", "in the mean"]);
    says(Subsets::independent(&train, f64::NAN, 3, 0), &["Subsets.probability", "NaN"]);
    says(Subsets::independent(&train, 0.5, 0, 0), &["Subsets.count"]);
}

#[test]
fn out_of_bag_values_are_means_over_the_networks_that_did_not_see() {
    let train = clusters(12, 1);
    let subsets = Subsets::fraction(&train, 0.5, 8, 0).unwrap();
    let how = Retraining { trainer: tasks::trainer(), runs: 2, keep_checkpoints: true, ..default() };
    let task = tasks::logistic();
    let on_train = how.run(&task, &train, &train, &subsets).unwrap();
    let elsewhere = how.run(&task, &train, &clusters(20, 2), &subsets).unwrap();
    let moved = elsewhere.measured_on(&task, &train).unwrap();
    assert!(moved.tensor().equal(on_train.tensor()));
    let (found, values) = (DataOob::of(&moved).unwrap(), on_train.mean().unwrap());
    for j in 0..12 {
        let outside = (0..8).filter(|&place| !subsets.positions(place).unwrap().contains(&j));
        let outside: Vec<f64> = outside.map(|place| values.double_value(&[place as i64, j as i64])).collect();
        let (mean, variance) = mean_and_variance(&outside);
        assert!((found.tensor().double_value(&[j as i64]) - mean).abs() < 1e-9);
        let error = found.standard_errors().double_value(&[j as i64]);
        assert!((error - (variance / outside.len() as f64).sqrt()).abs() < 1e-9);
    }
    let bare = Retraining { keep_checkpoints: false, ..how }.run(&task, &train, &train, &subsets).unwrap();
    says(bare.measured_on(&task, &train), &["keep_checkpoints"]);
    let every = Tensor::from_slice(&[1f32, 0.0, 1.0, 1.0]).view([2, 2]);
    let two = train.head(2).unwrap();
    let every = Retrained::new(Tensor::ones([2, 2], F64), &Subsets::from_masks(&two, &every).unwrap(), &two).unwrap();
    says(DataOob::of(&every), &["train example 0", "each of the 2 subsets"]);
}

/// Masks and values of both shapes: more examples than subsets, and fewer.
fn golden() -> (std::collections::HashMap<String, Tensor>, [(&'static str, Retrained); 2]) {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/datamodels.safetensors");
    let tensors: std::collections::HashMap<String, Tensor> = Tensor::read_safetensors(file).unwrap().into_iter().collect();
    let shaped =
        ["wide", "tall"].map(|name| (name, given(&tensors[&format!("{name}.masks")], &tensors[&format!("{name}.values")])));
    (tensors, shaped)
}

#[test]
fn datamodels_are_those_of_scikit_learn() {
    let (golden, shaped) = golden();
    for (name, truth) in &shaped {
        for (kind, penalty, grid) in [("ridge", Penalty::Ridge, "alphas"), ("lasso", Penalty::Lasso, "shares")] {
            let of = |what: &str| &golden[&format!("{name}.{kind}.{what}")];
            let grid = list(&golden[grid]);
            for (at, &lambda) in grid.iter().enumerate() {
                let fitted = Datamodel { penalty, strength: Strength::Fixed(lambda), ..default() }.fit(truth).unwrap();
                assert_close(fitted.weights(), &of("weights").get(at as i64), 1e-6, &format!("{name} {kind} {lambda}"));
                assert_close(fitted.intercepts(), &of("intercepts").get(at as i64), 1e-6, "intercepts");
            }
            // Each subset held out by itself: no draw of folds.
            let strength = Strength::CrossValidated { folds: truth.subsets().len(), grid: grid.clone() };
            let fitted = Datamodel { penalty, strength, ..default() }.fit(truth).unwrap();
            let (table, path) = (fitted.frame().unwrap(), fitted.validation().unwrap());
            let column = |table: &DataFrame, name: &str| {
                Tensor::from_slice(&table.column(name).unwrap().f64().unwrap().into_no_null_iter().collect::<Vec<f64>>())
            };
            assert_close(&column(&table, "lambda"), of("chosen"), 1e-12, "chosen λ");
            assert_close(&column(&path, "error").view_as(of("errors")), of("errors"), 1e-6, &format!("{name} {kind} path"));
        }
    }
}

#[test]
fn ridge_minimises_its_own_sum() {
    for (subsets, n) in [(20, 35), (50, 12)] {
        let train = clusters(n, 1);
        let truth = noisy(4, &Subsets::fraction(&train, 0.5, subsets, 2).unwrap(), 3);
        let fitted = Datamodel { strength: Strength::Fixed(0.7), ..default() }.fit(&truth).unwrap();
        // Normal equations with a column of ones that is not penalised.
        let masks = truth.subsets().masks().to_kind(Kind::Double);
        let x = Tensor::cat(&[&masks, &Tensor::ones([subsets as i64, 1], F64)], 1);
        let penalty = Tensor::eye(n as i64 + 1, F64) * 0.7;
        let _ = penalty.get(n as i64).get(n as i64).fill_(0.0);
        let solved = Tensor::linalg_solve(
            &(x.transpose(0, 1).matmul(&x) + penalty),
            &x.transpose(0, 1).matmul(&truth.mean().unwrap()),
            true,
        );
        assert_close(fitted.weights(), &solved.narrow(0, 0, n as i64).transpose(0, 1), 1e-9, "weights");
        assert_close(fitted.intercepts(), &solved.get(n as i64), 1e-9, "intercepts");
        assert_close(&fitted.predict(truth.subsets()).unwrap(), &x.matmul(&solved), 1e-9, "predictions");
        says(fitted.predict(&Subsets::fraction(&clusters(n + 1, 1), 0.5, 2, 0).unwrap()), &["other train examples"]);
        says(fitted.validation(), &["λ was given"]);
    }
}

#[test]
fn held_out_errors_are_those_of_fits_on_the_rest() {
    let train = clusters(15, 1);
    let truth = noisy(3, &Subsets::fraction(&train, 0.5, 13, 2).unwrap(), 3);
    for penalty in [Penalty::Ridge, Penalty::Lasso] {
        let grid = vec![0.05, 0.4];
        let model = Datamodel { penalty, strength: Strength::CrossValidated { folds: 13, grid: grid.clone() }, seed: 5 };
        let fitted = model.fit(&truth).unwrap();
        let mut errors = vec![0.0; 6];
        for held in 0..13usize {
            let rest: Vec<usize> = (0..13).filter(|&place| place != held).collect();
            let index = Tensor::from_slice(&rest.iter().map(|&at| at as i64).collect::<Vec<_>>());
            let part = truth.subsets().select(&rest).unwrap();
            let values = truth.tensor().index_select(0, &index);
            let rest = Retrained::new(values, &part, &clusters(3, 2)).unwrap();
            for (at, lambda) in [0.4, 0.05].into_iter().enumerate() {
                let fixed = Datamodel { penalty, strength: Strength::Fixed(lambda), seed: 0 }.fit(&rest).unwrap();
                let predicted = list(&fixed.predict(&truth.subsets().select(&[held]).unwrap()).unwrap());
                for test in 0..3 {
                    let wanted = truth.mean().unwrap().double_value(&[held as i64, test as i64]);
                    errors[test * 2 + at] += (predicted[test] - wanted).powi(2) / 13.0;
                }
            }
        }
        let path = fitted.validation().unwrap();
        let found: Vec<f64> = path.column("error").unwrap().f64().unwrap().into_no_null_iter().collect();
        assert!(found.iter().zip(&errors).all(|(a, b)| (a - b).abs() < 1e-6 * b), "{penalty:?}: {found:?} {errors:?}");
        let table = fitted.frame().unwrap();
        let r2 = table.column("r2").unwrap().f64().unwrap().get(0).unwrap();
        let (_, variance) = mean_and_variance(&list(&truth.mean().unwrap().select(1, 0)));
        assert!((r2 - (1.0 - errors[0].min(errors[1]) / (variance * 12.0 / 13.0))).abs() < 1e-6);
    }
}

/// `x_jᵀ r / s` is `λ · sign` where a weight is not zero, and no larger elsewhere.
fn assert_optimal(fitted: &FittedDatamodel, truth: &Retrained, tolerance: f64) {
    let residual = truth.mean().unwrap() - fitted.predict(truth.subsets()).unwrap();
    let masks = truth.subsets().masks().to_kind(Kind::Double);
    let x = &masks - masks.mean_dim([0i64].as_slice(), true, None::<Kind>);
    let products = residual.transpose(0, 1).matmul(&x) / masks.size()[0] as f64; // [n_test, n]
    let lambda: Vec<f64> = fitted.frame().unwrap().column("lambda").unwrap().f64().unwrap().into_no_null_iter().collect();
    let share = products / Tensor::from_slice(&lambda).unsqueeze(1);
    let used = fitted.weights().not_equal(0.0);
    let wrong = (share.masked_select(&used) - fitted.weights().sign().masked_select(&used)).abs();
    assert!(wrong.numel() == 0 || wrong.max().double_value(&[]) < tolerance, "{}", wrong.max());
    assert!(share.abs().max().double_value(&[]) < 1.0 + tolerance);
    assert!(residual.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>).abs().max().double_value(&[]) < 1e-9 * 1e3);
}

#[test]
fn the_lasso_meets_its_conditions_and_finds_what_was_planted() {
    let train = clusters(300, 1);
    let subsets = Subsets::fraction(&train, 0.5, 120, 0).unwrap();
    let mut draw = noise(4);
    let mut values: Vec<f32> = Vec::new();
    for place in 0..120 {
        let inside = subsets.positions(place).unwrap();
        let has = |j: usize| f32::from(u8::from(inside.contains(&j)));
        let signal = [2.0 * has(7) - 1.5 * has(250), 0.0, has(9) + has(10) + has(11) + 50.0];
        values.extend(signal.iter().map(|signal| signal + 0.2 * draw() as f32));
    }
    // A test example that never changes.
    let values = Tensor::from_slice(&values).view([120, 3]);
    let values = Tensor::cat(&[&values, &Tensor::full([120, 1], 3.0, (Kind::Float, Device::Cpu))], 1);
    let truth = given(subsets.masks(), &values);
    let fitted = Datamodel { penalty: Penalty::Lasso, ..default() }.fit(&truth).unwrap();
    assert_optimal(&fitted, &truth, 1e-6);
    assert_eq!((fitted.scores().top(0, 1).unwrap(), fitted.scores().bottom(0, 1).unwrap()), (vec![7], vec![250]));
    let mut three = fitted.scores().top(2, 3).unwrap();
    three.sort_unstable();
    assert_eq!(three, [9, 10, 11]);
    assert!((fitted.scores().get(0, 7).unwrap() - 2.0).abs() < 0.2);
    let table = fitted.frame().unwrap();
    let r2: Vec<Option<f64>> = table.column("r2").unwrap().f64().unwrap().iter().collect();
    assert!(r2[0].unwrap() > 0.95 && r2[1].unwrap() < 0.1 && r2[2].unwrap() > 0.9 && r2[3].is_none(), "{table}");
    assert_eq!(table.column("weights").unwrap().u32().unwrap().get(3), Some(0));
    for lambda in [0.1, 0.01, 0.001] {
        let fixed = Datamodel { penalty: Penalty::Lasso, strength: Strength::Fixed(lambda), ..default() };
        assert_optimal(&fixed.fit(&truth).unwrap(), &truth, 1e-6);
    }
}

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
    let mut gained = Tensor::zeros([3], F64);
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
