//! KNN-Shapley against the definition, over all subsets.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, says};

/// `(1/K) Σ` over the nearest K of a subset, given as the ranked members with their matches.
fn utility(subset: usize, order: &[usize], matches: &[bool], k: usize) -> f64 {
    let members = order.iter().filter(|&&i| subset >> i & 1 == 1);
    members.take(k).filter(|&&i| matches[i]).count() as f64 / k as f64
}

/// Shapley values by the definition: the mean over subsets of each size of what an example adds.
fn by_definition(order: &[usize], matches: &[bool], k: usize) -> Vec<f64> {
    let n = order.len();
    let choose = |n: usize, r: usize| (0..r).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
    let value = |i: usize| {
        let others = (0..1usize << n).filter(|subset| subset >> i & 1 == 0);
        let gain = |s: usize| utility(s | 1 << i, order, matches, k) - utility(s, order, matches, k);
        others.map(|s| gain(s) / (n as f64 * choose(n - 1, s.count_ones() as usize))).sum::<f64>()
    };
    (0..n).map(value).collect()
}

fn ranked(keys: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b])); // stable
    order
}

fn rows(data: &Dataset) -> Vec<Vec<f64>> {
    (0..data.len() as i64).map(|i| Vec::<f64>::try_from(data.inputs().get(i).to_kind(Kind::Double)).unwrap()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn score(options: KnnShapley, train: &Dataset, test: &Dataset) -> Tensor {
    options.fit(&tasks::logistic(), train).unwrap().matrix(test).unwrap()
}

#[test]
fn knn_shapley_is_the_mean_over_all_subsets() {
    let test = clusters(40, 2).select(&[33, 37, 38, 39]).unwrap();
    for n in 1..=8 {
        let train = clusters(60, 1).select(&(40..40 + n).collect::<Vec<_>>()).unwrap();
        for similarity in [Similarity::Euclidean, Similarity::Cosine, Similarity::Dot] {
            let key = |a: &[f64], b: &[f64]| match similarity {
                Similarity::Euclidean => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(),
                Similarity::Cosine => -dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
                Similarity::Dot => -dot(a, b),
            };
            for neighbours in [1, 2, 3, 5, 8, 11] {
                let found = score(KnnShapley { neighbours, similarity, ..default() }, &train, &test);
                for (t, x) in rows(&test).iter().enumerate() {
                    let keys: Vec<f64> = rows(&train).iter().map(|z| key(x, z)).collect();
                    let label = test.labels().unwrap()[t];
                    let matches: Vec<bool> = train.labels().unwrap().iter().map(|&l| l == label).collect();
                    let truth = by_definition(&ranked(&keys), &matches, neighbours);
                    for (i, truth) in truth.iter().enumerate() {
                        let got = found.double_value(&[t as i64, i as i64]);
                        assert!((got - truth).abs() < 1e-6, "n {n}, K {neighbours}, {similarity:?}: {got} and {truth}");
                    }
                }
            }
        }
    }
}

#[test]
fn knn_shapley_shares_out_the_utility_of_the_whole_set() {
    let (train, test) = (clusters(200, 1), clusters(150, 2));
    for neighbours in [1, 7, 199, 200, 500] {
        let sums =
            score(KnnShapley { neighbours, ..default() }, &train, &test).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        for (t, x) in rows(&test).iter().enumerate() {
            let key = |z: &Vec<f64>| x.iter().zip(z).map(|(a, b)| (a - b) * (a - b)).sum();
            let order = ranked(&rows(&train).iter().map(key).collect::<Vec<f64>>());
            let (labels, label) = (train.labels().unwrap(), test.labels().unwrap()[t]);
            let near = order.iter().take(neighbours).filter(|&&i| labels[i] == label).count() as f64 / neighbours as f64;
            assert!((sums.double_value(&[t as i64]) - near).abs() < 1e-6, "K {neighbours}, test {t}");
        }
    }
}

/// Copies of one row with the labels 1, 0, 0, 1, 0: all at distance zero of a copy, and far from lengths that float32 resolves.
#[test]
fn equal_distances_keep_the_order_of_the_train_examples() {
    let labels = [1i64, 0, 0, 1, 0];
    let row: Vec<f32> = (0..37).map(|i| 1000.0 + (i as f32 * 0.7).sin()).collect();
    let matches: Vec<bool> = labels.iter().map(|&l| l == 0).collect();
    for similarity in [Similarity::Euclidean, Similarity::Cosine, Similarity::Dot] {
        let copies = |n: i64| Tensor::from_slice(&row).unsqueeze(0).repeat([n, 1]);
        let train = Dataset::new(copies(5), Tensor::from_slice(&labels)).unwrap();
        let test = Dataset::new(copies(3), Tensor::from_slice(&[0i64, 0, 0])).unwrap();
        let found = score(KnnShapley { neighbours: 2, similarity, ..default() }, &train, &test);
        let truth: Vec<f32> = by_definition(&[0, 1, 2, 3, 4], &matches, 2).iter().map(|&v| v as f32).collect();
        assert_close(&found, &Tensor::from_slice(&truth).unsqueeze(0).repeat([3, 1]), 1e-6, "ties");
    }
}

/// Squared distances leave the range of float32, not the order.
#[test]
fn units_of_the_inputs_change_nothing() {
    let (train, test) = (clusters(40, 1), clusters(9, 2));
    let scaled = |data: &Dataset, by: f64| Dataset::new(data.inputs() * by, data.targets().shallow_clone()).unwrap();
    for similarity in [Similarity::Euclidean, Similarity::Cosine, Similarity::Dot] {
        let options = KnnShapley { similarity, ..default() };
        let plain = score(options.clone(), &train, &test);
        for power in [80, 70, -80, -100] {
            let by = 2f64.powi(power); // exact
            let found = score(options.clone(), &scaled(&train, by), &scaled(&test, by));
            assert!(found.equal(&plain), "{similarity:?}, inputs times 2^{power}");
        }
    }
}

#[test]
fn knn_shapley_on_features_is_that_of_the_features() {
    let (train, test) = (clusters(50, 1), clusters(20, 2));
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    let hidden = |index: usize, data: &Dataset| {
        let weights = &task.checkpoints()[index];
        let linear = data.inputs().linear(weights.tensor("fc1.weight").unwrap(), weights.tensor("fc1.bias"));
        Dataset::new(linear.relu(), data.targets().shallow_clone()).unwrap()
    };
    let plain = |index: usize| score(KnnShapley::default(), &hidden(index, &train), &hidden(index, &test));
    let mean = (plain(0) + plain(1)) / 2.0;
    for space in [Space::Features, Space::Layer("fc2".into())] {
        let fitted = KnnShapley { space, ..default() }.fit(&task, &train).unwrap();
        assert_close(&fitted.matrix(&test).unwrap(), &mean, 1e-6, "features");
    }
    let inputs = KnnShapley { space: Space::Layer("fc1".into()), ..default() }.fit(&task, &train).unwrap();
    assert_close(&inputs.matrix(&test).unwrap(), &score(KnnShapley::default(), &train, &test), 1e-6, "first layer");
}

#[test]
fn knn_shapley_says_what_it_cannot_do() {
    let (task, train) = (tasks::logistic(), clusters(9, 1));
    says(KnnShapley { neighbours: 0, ..default() }.fit(&task, &train), &["KnnShapley.neighbours", "at least 1", "0"]);
    let numbers = Dataset::new(train.inputs().shallow_clone(), train.targets().to_kind(Kind::Float)).unwrap();
    says(KnnShapley::default().fit(&task, &numbers), &["KNN-Shapley needs one class label per example"]);
    let fitted = KnnShapley::default().fit(&task, &train).unwrap();
    says(fitted.matrix(&numbers), &["KNN-Shapley needs one class label per example"]);
    let narrow = Dataset::new(train.inputs().narrow(1, 0, 3), train.targets().shallow_clone()).unwrap();
    says(fitted.matrix(&narrow), &["expected 4 numbers each, as the train examples, got 3"]);
    let task = task.train(&tasks::trainer(), &train).unwrap();
    says(KnnShapley { space: Space::Layer("head".into()), ..default() }.fit(&task, &train), &["head", "it saw linear"]);
}
