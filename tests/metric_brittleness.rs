//! Supports against one training after the other.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, clusters, says};

fn how(runs: usize) -> Brittleness {
    let trainer = Trainer { epochs: 4, batch_size: 8, learning_rate: 0.05, order: Order::ByExample, ..default() };
    Brittleness { pool: 24, steps: 3, same_class: false, retraining: Retraining { trainer, runs, ..default() }, ..default() }
}

fn data() -> (Dataset, Dataset) {
    (clusters(30, 1), clusters(36, 2).select(&[30, 31, 32, 33]).unwrap())
}

/// Outputs `[n_test, classes]` of each run of a network trained on these examples.
fn outputs(how: &Brittleness, part: &Dataset, test: &Dataset) -> Vec<Tensor> {
    let trained = |run| tasks::mlp().train(&how.retraining.trainer_of(0, run), part).unwrap();
    (0..how.retraining.runs).map(|run| trained(run).snapshot(0).unwrap().outputs(test).unwrap()).collect()
}

/// The published procedure, one training after the other.
fn plain(how: &Brittleness, order: &[usize], train: &Dataset, test: &Dataset, at: usize) -> Option<u32> {
    let label = test.labels().unwrap()[at];
    let base = outputs(how, train, test);
    let second = {
        let rank = |o: &Tensor, class: i64| {
            let row = Vec::<f64>::try_from(&o.get(at as i64)).unwrap();
            row.iter().filter(|v| **v > row[class as usize]).count()
        };
        let mut classes: Vec<i64> = (0..3).collect();
        classes.sort_by_key(|&class| base.iter().map(|o| rank(o, class)).sum::<usize>());
        if classes[1] == label { classes[0] } else { classes[1] }
    };
    let flipped = |k: usize| {
        let changed = &order[..k];
        let part = match how.change {
            Change::Remove => train.select(&(0..train.len()).filter(|at| !changed.contains(at)).collect::<Vec<_>>()).unwrap(),
            Change::Relabel => {
                let mut labels = train.labels().unwrap();
                changed.iter().for_each(|&at| labels[at] = second);
                train.with_labels(&labels).unwrap()
            }
        };
        let right = |o: &Tensor| o.get(at as i64).argmax(0, false).int64_value(&[]) == label;
        let right = outputs(how, &part, test).iter().filter(|o| right(o)).count();
        2 * right <= how.retraining.runs
    };
    if flipped(0) {
        return Some(0);
    }
    if !flipped(how.pool) {
        return None;
    }
    let (mut low, mut high) = (0, how.pool);
    for _ in 0..how.steps {
        let middle = (low + high) / 2;
        if flipped(middle) { high = middle } else { low = middle }
    }
    Some(high as u32)
}

#[test]
fn supports_are_those_of_one_training_after_the_other() {
    let (train, test) = data();
    let task = tasks::mlp();
    let fitted = task.clone().train(&how(1).retraining.trainer, &train).unwrap();
    let scores: Vec<Scores> = [GradDot::default().fit(&fitted, &train), Random { seed: 1 }.fit(&fitted, &train)]
        .into_iter()
        .map(|fitted| fitted.unwrap().score(&test).unwrap())
        .collect();
    let mut seen = Vec::new();
    for (change, runs) in [(Change::Remove, 3), (Change::Remove, 2), (Change::Relabel, 3)] {
        let how = Brittleness { change, ..how(runs) };
        let table = how.evaluate(&scores, &task, &train, &test).unwrap();
        let values: Vec<Option<u32>> = table.column("value").unwrap().u32().unwrap().iter().collect();
        let censored: Vec<bool> = table.column("censored").unwrap().bool().unwrap().iter().map(Option::unwrap).collect();
        let expected: Vec<Option<u32>> = scores
            .iter()
            .flat_map(|scores| (0..4).map(|at| plain(&how, &scores.top(at, 30).unwrap(), &train, &test, at)).collect::<Vec<_>>())
            .collect();
        assert_eq!(values, expected, "{change:?}, {runs} runs");
        assert!(values.iter().zip(&censored).all(|(value, censored)| value.is_none() == *censored));
        // What one method finds does not depend on which others search beside it.
        // The order is paired whatever the trainer says.
        let shuffled = Trainer { order: Order::Shuffled, ..how.retraining.trainer.clone() };
        let how = Brittleness { retraining: Retraining { trainer: shuffled, ..how.retraining.clone() }, ..how };
        let alone = how.evaluate(&scores[1..], &task, &train, &test).unwrap();
        assert!(alone.equals_missing(&table.slice(4, 4)), "{alone} {table}");
        seen.extend(values);
    }
    assert!(seen.iter().any(Option::is_some), "{seen:?}");
    let curve = metric::support_curve(&how(3).evaluate(&scores, &task, &train, &test).unwrap()).unwrap();
    assert_eq!(curve.column("support").unwrap().u32().unwrap().get(0), Some(0));
}

/// Common random numbers: what one ordering does more than another varies less when both trainings see the rest in the same order.
#[test]
fn a_paired_order_lowers_the_variance_of_a_difference() {
    let (train, test) = (clusters(60, 1), clusters(90, 2).select(&(60..90).collect::<Vec<_>>()).unwrap());
    let without = |removed: [usize; 2]| train.select(&(0..60).filter(|at| !removed.contains(at)).collect::<Vec<_>>()).unwrap();
    let (one, other) = (without([4, 31]), without([17, 50]));
    let measured = |part: &Dataset, order: Order, seed: u64| {
        let sgd = Optimizer::sgd(0.0, 0.0);
        let trainer = Trainer { epochs: 2, batch_size: 6, learning_rate: 0.5, optimizer: sgd, order, seed, ..default() };
        let task = tasks::mlp().train(&trainer, part).unwrap();
        task.snapshot(0).unwrap().measure(Of::Measurement, &test).unwrap().mean(Kind::Double).double_value(&[])
    };
    let spread = |order: Order, apart: u64| {
        let differences = (0..30).map(|seed| measured(&one, order, seed) - measured(&other, order, seed + apart));
        Tensor::from_slice(&differences.collect::<Vec<_>>()).var(true).double_value(&[])
    };
    let (paired, shuffled, independent) =
        (spread(Order::ByExample, 0), spread(Order::Shuffled, 0), spread(Order::Shuffled, 1000));
    assert!(paired < shuffled / 2.0 && shuffled < independent, "{paired:.2e} {shuffled:.2e} {independent:.2e}");
}

#[test]
fn what_brittleness_refuses() {
    let (train, test) = data();
    let fitted = tasks::mlp().train(&how(1).retraining.trainer, &train).unwrap();
    let scores = [GradDot::default().fit(&fitted, &train).unwrap().score(&test).unwrap()];
    let run = |how: Brittleness| how.evaluate(&scores, &tasks::mlp(), &train, &test);
    says(run(Brittleness { pool: 30, ..how(1) }), &["Brittleness.pool", "at most 29 of the 30 train examples"]);
    says(run(Brittleness { same_class: true, pool: 11, ..how(1) }), &["at most 10", "of class 0", "got 11"]);
    says(run(Brittleness { pool: 0, ..how(1) }), &["Brittleness.pool", "at least 1"]);
    says(run(Brittleness { retraining: how(1).retraining.cached("x"), ..how(1) }), &["cache"]);
    says(run(Brittleness { retraining: Retraining { runs: 0, ..default() }, ..how(1) }), &["Retraining.runs"]);
    let other = clusters(30, 9);
    says(how(1).evaluate(&scores, &tasks::mlp(), &other, &test), &["other inputs"]);
    let floats = Dataset::new(train.inputs().copy(), train.targets().to_kind(Kind::Float)).unwrap();
    says(how(1).evaluate(&scores, &tasks::mlp(), &floats, &test), &["one label per example"]);
    let table = how(1).evaluate(&scores, &tasks::mlp(), &train, &test).unwrap();
    let wider = Brittleness { pool: 20, ..how(1) }.evaluate(&scores, &tasks::mlp(), &train, &test).unwrap();
    says(metric::support_curve(&table.vstack(&wider).unwrap()), &["one pool", "[20, 24]"]);
}
