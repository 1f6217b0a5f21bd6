//! Estimators over retrained networks: against definitions, closed forms and scikit-learn.

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

pub fn mean_and_variance(values: &[f64]) -> (f64, f64) {
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
pub fn gloves(members: &[usize]) -> f64 {
    let left = members.iter().filter(|&&player| player < 2).count();
    left.min(members.len() - left) as f64
}

pub fn majority(members: &[usize]) -> f64 {
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
