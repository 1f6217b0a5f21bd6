//! Metrics against counts by hand.

use ascribe::polars::df;
use ascribe::prelude::*;

use crate::tasks::{self, clusters};

fn found(table: &DataFrame) -> Vec<f64> {
    table.column("found").unwrap().f64().unwrap().into_no_null_iter().collect()
}

#[test]
fn detection_counts_and_shares_ties() {
    let table = df!("score" => [3.0, 1.0, 2.0, 2.0, 2.0], "planted" => [true, false, true, false, false]).unwrap();
    let curve = metric::detection(&table, "score", "planted").unwrap();
    let third = 1.0 / 3.0;
    for (a, b) in found(&curve).iter().zip([0.0, 0.5, 0.5 + 0.5 * third, 0.5 + third, 1.0, 1.0]) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
    let of = |name: &str| curve.column(name).unwrap().f64().unwrap().into_no_null_iter().collect::<Vec<_>>();
    assert!(of("low").iter().zip(found(&curve)).all(|(low, f)| *low <= f + 1e-12));
    assert!(of("high").iter().zip(found(&curve)).all(|(high, f)| *high >= f - 1e-12));
}

#[test]
fn detection_refuses_what_it_cannot_rank() {
    let table = df!("score" => [3.0, f64::NAN], "planted" => [true, false], "none" => [false, false]).unwrap();
    let message = |r: Result<DataFrame, Error>| format!("{:?}", r.err().unwrap());
    assert!(message(metric::detection(&table, "score", "planted")).contains("row 1"));
    assert!(message(metric::detection(&table, "planted", "none")).contains("at least one planted"));
    assert!(message(metric::detection(&table, "absent", "none")).contains("absent"));
}

/// Scores `[2, n]` of a train set with inputs 0, 1, 2, … whose labels are their parity.
fn line(n: usize) -> Dataset {
    let inputs = Tensor::from_slice(&(0..n).map(|i| i as f32).collect::<Vec<_>>()).view([n as i64, 1]);
    Dataset::new(inputs, Tensor::from_slice(&(0..n as i64).map(|i| i % 2).collect::<Vec<_>>())).unwrap()
}

fn column(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

fn scores(values: &[f32], name: &str, test: &Dataset, train: &Dataset) -> Scores {
    Scores::new(Tensor::from_slice(values).view([test.len() as i64, train.len() as i64]), name, test, train).unwrap()
}

#[test]
fn agreement_matches_examples_by_id() {
    let (train, test) = (line(6), line(3).select(&[1, 2]).unwrap());
    let all = scores(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0], "line", &test, &train);
    // The truth is about trains 5, 1, 3, 2 and tests 2, 1: the order of neither side is that of the scores.
    let some = train.select(&[5, 1, 3, 2]).unwrap();
    let turned = test.select(&[1, 0]).unwrap();
    let truth = scores(&[1.0, 2.0, 3.0, 4.0, -5.0, -1.0, -3.0, -2.5], "truth", &turned, &some);
    let table = metric::agreement(&all, &truth).unwrap();
    let ids: Vec<u32> = table.column("test").unwrap().u32().unwrap().into_no_null_iter().collect();
    assert_eq!(ids, [2, 1]);
    let pearson = column(&table, "pearson");
    assert_eq!(pearson[0], None, "test 2 has constant scores");
    let by_hand = ascribe::statistics::pearson(&[5.0, 1.0, 3.0, 2.0], &[-5.0, -1.0, -3.0, -2.5]).unwrap();
    assert_eq!(pearson[1], Some(by_hand.value));
    assert_eq!(column(&table, "pearson_low")[1], by_hand.interval.map(|i| i.0));
    assert_eq!(column(&table, "spearman"), [None, Some(-1.0)]);
    let mean = metric::mean_agreement(&table).unwrap();
    assert_eq!(column(&mean, "pearson"), [Some(by_hand.value)]);
    assert_eq!(mean.column("constant").unwrap().u32().unwrap().get(0), Some(1));
    assert_eq!(mean.column("n").unwrap().u32().unwrap().get(0), Some(1));
    let pairs = metric::pairs(&all, &truth).unwrap();
    let found: Vec<f32> = pairs.column("score").unwrap().f32().unwrap().into_no_null_iter().collect();
    assert_eq!(found, [9.0, 9.0, 9.0, 9.0, 5.0, 1.0, 3.0, 2.0]);
    // Two methods below each other keep their order; the mean is over test examples.
    let both = table.vstack(&metric::agreement(&truth, &truth).unwrap()).unwrap();
    let mean = metric::mean_agreement(&both).unwrap();
    let names: Vec<&str> = mean.column("method").unwrap().str().unwrap().iter().flatten().collect();
    assert_eq!(names, ["line", "truth"]);
    assert!((column(&mean, "pearson")[1].unwrap() - 1.0).abs() < 1e-12);
    assert!(metric::mean_agreement(&both.head(Some(0))).is_err());
    let none = metric::mean_agreement(&table.head(Some(1))).unwrap();
    assert_eq!(column(&none, "pearson"), [None]);
}

#[test]
fn agreement_refuses_other_examples() {
    let (train, test) = (line(6), line(2));
    let some = scores(&[0.0; 12], "some", &test, &train);
    let message = |truth: &Scores| metric::agreement(&some, truth).err().unwrap().to_string();
    let wider = line(8);
    let unknown = scores(&[0.0; 4], "truth", &test, &wider.select(&[1, 7]).unwrap());
    let said = message(&unknown);
    assert_eq!(said, "data truth: expected its train example 7 among the 6 train examples of some; it is not there");
    let flipped = train.with_labels(&[1, 1, 0, 1, 0, 1]).unwrap().select(&[0, 1]).unwrap();
    assert!(message(&scores(&[0.0; 4], "truth", &test, &flipped)).contains("train example 0 has label Some(1)"));
    let moved = Dataset::new(train.inputs() + 1.0, train.targets().shallow_clone()).unwrap();
    assert!(message(&scores(&[0.0; 12], "truth", &test, &moved)).contains("other inputs"));
    let moved = Dataset::new(test.inputs() + 1.0, test.targets().shallow_clone()).unwrap();
    assert!(message(&scores(&[0.0; 12], "truth", &moved, &train)).contains("other inputs"));
}

/// A method that stops at once.
struct Broken;

impl Method for Broken {
    fn name(&self) -> String {
        "Broken".into()
    }

    fn fit(&self, _: &Task, _: &Dataset) -> Result<Box<dyn Attributor>, Error> {
        panic!("out of order")
    }
}

#[test]
fn a_route_that_fails_leaves_the_others() {
    let (train, test) = (clusters(30, 1), clusters(40, 2).select(&[31, 32, 33]).unwrap());
    let newton = Newton { penalty: 0.05, ..default() };
    let task = newton.train(&tasks::logistic(), &train).unwrap();
    let truth = LeaveOneOut { newton }.score(&task, &train, &test, &(0..20).collect::<Vec<_>>()).unwrap();
    let exact = Influence::new(Explicit { damping: Damping::Absolute(0.05), ..default() });
    let methods: Vec<Box<dyn Method>> = vec![Box::new(Random::default()), Box::new(Broken), Box::new(exact)];
    let table = metric::routes(&methods, &task, &train, &test, &truth).unwrap();
    let pearson = column(&table, "pearson");
    assert!(pearson[0] < Some(0.5) && pearson[1].is_none() && pearson[2] > Some(0.97), "{pearson:?}");
    let errors: Vec<Option<&str>> = table.column("error").unwrap().str().unwrap().iter().collect();
    assert!(errors[0].is_none() && errors[1].is_some_and(|e| e.contains("out of order")) && errors[2].is_none());
    assert!(column(&table, "fit_seconds")[2] > Some(0.0) && column(&table, "score_seconds")[1].is_none());
    if cfg!(target_os = "linux") {
        assert!(column(&table, "peak_mb")[2] >= Some(0.0));
    }
    let other = scores(&[0.0; 4], "truth", &line(2), &line(2));
    assert!(metric::routes(&methods, &task, &train, &test, &other).is_err());
}
