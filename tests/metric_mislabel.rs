//! Rankings against scipy (`golden/statistics.py`), by counting pairs, and by hand.

use ascribe::metric::Metric;
use ascribe::polars::df;
use ascribe::prelude::*;
use ascribe::statistics::{auc, average_precision, kendall, roc};
use serde_json::Value;

use crate::tasks::{self, clusters, says};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn rankings_are_scipys() {
    let golden: Value = serde_json::from_str(include_str!("golden/statistics.json")).unwrap();
    let rankings = golden["rankings"].as_array().unwrap();
    assert_eq!(rankings.len(), 4);
    for case in rankings {
        let (name, scores) = (case["name"].as_str().unwrap(), numbers(&case["scores"]));
        let positive: Vec<bool> = case["positive"].as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
        let (area, precision) = (auc(&scores, &positive).unwrap(), average_precision(&scores, &positive).unwrap());
        let ends = numbers(&case["interval"]);
        for (ours, theirs) in [(area.mean, &case["auc"]), (precision, &case["average_precision"])] {
            assert!((ours - theirs.as_f64().unwrap()).abs() < 1e-12, "{name}: {ours} against {theirs}");
        }
        assert!((area.low - ends[0]).abs() < 1e-9 && (area.high - ends[1]).abs() < 1e-9, "{name}: {area:?} against {ends:?}");
        // The area under the curve's own points is the same: tied scores are one slanted step.
        let points = roc(&scores, &positive).unwrap();
        let step = |w: &[ascribe::statistics::RocPoint]| {
            (w[1].false_positives - w[0].false_positives) * (w[0].true_positives + w[1].true_positives) / 2.0
        };
        assert!((points.windows(2).map(step).sum::<f64>() - area.mean).abs() < 1e-12, "{name}");
        assert_eq!(points.last().map(|p| (p.false_positives, p.true_positives)), Some((1.0, 1.0)));
    }
    for case in golden["cases"].as_array().unwrap() {
        let (ours, theirs) = (kendall(&numbers(&case["x"]), &numbers(&case["y"])), case["kendall"].as_f64());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < 1e-12, "{}", case["name"]),
            (ours, theirs) => assert_eq!(ours, theirs, "{}", case["name"]),
        }
    }
}

/// The cases of dattri's own tests, and what they leave out.
#[test]
fn areas_by_hand() {
    let scores: Vec<f64> = (0..100).map(f64::from).collect();
    let marked = |from: usize, to: usize| (0..100).map(|i| (from..to).contains(&i)).collect::<Vec<_>>();
    let best = auc(&scores, &marked(90, 100)).unwrap();
    assert_eq!((best.mean, best.high), (1.0, 1.0));
    assert!((best.low - 0.722_467).abs() < 1e-5, "Wilson for 10 of 10: {best:?}");
    assert!((auc(&scores, &marked(80, 90)).unwrap().mean - 8.0 / 9.0).abs() < 1e-12);
    let tied = auc(&[1.0; 10], &marked(0, 4)[..10]).unwrap();
    assert!(tied.mean == 0.5 && tied.low < 0.3 && tied.high > 0.7, "ties say nothing: {tied:?}");
    assert_eq!(average_precision(&[1.0; 10], &marked(0, 4)[..10]), Some(0.4));
    assert_eq!(auc(&[0.0, -0.0], &[true, false]).map(|e| e.mean), Some(0.5));
    for (scores, positive) in [
        (vec![1.0, 2.0], vec![false; 2]),
        (vec![1.0, 2.0], vec![true; 2]),
        (vec![f64::NAN, 1.0], vec![true, false]),
        (vec![1.0], vec![true, false]),
    ] {
        assert_eq!((auc(&scores, &positive), average_precision(&scores, &positive), roc(&scores, &positive)), (None, None, None));
    }
}

/// DeLong's interval holds the truth about as often as it says.
#[test]
fn intervals_of_areas_cover() {
    let (runs, mut state) = (1_000, 3u64);
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let positive: Vec<bool> = (0..60).map(|i| i % 3 == 0).collect();
    // The larger of three uniform numbers beats a single one three times of four.
    let mut draw = |p: &bool| if *p { uniform().max(uniform()).max(uniform()) } else { uniform() };
    let held = (0..runs).filter(|_| {
        let scores: Vec<f64> = positive.iter().map(&mut draw).collect();
        auc(&scores, &positive).is_some_and(|e| e.low < 0.75 && e.high > 0.75)
    });
    let share = held.count() as f64 / f64::from(runs);
    assert!((0.93..0.975).contains(&share), "{share}");
}

#[test]
fn mislabelled_examples_are_found_and_faults_are_named() {
    let noisy = dataset::flip_labels(&clusters(60, 1), 6, 0).unwrap();
    let test = clusters(3, 2);
    let task = tasks::mlp().train(&tasks::trainer(), &noisy).unwrap();
    let metric = MislabelDetection::of("flipped");
    let methods: Vec<Box<dyn Method>> = vec![Box::new(GradDot::default()), Box::new(Random::default())];
    let table = metric::evaluate(&methods, &[Box::new(metric.clone())], &task, &noisy, &test).unwrap();
    let mean = |row| table.column("mean").unwrap().f64().unwrap().get(row).unwrap();
    assert!(mean(0) > 0.9 && (mean(1) - 0.5).abs() < 0.3, "{table}");
    // By as many as there are of each kind it is by all the planted ones and some others.
    let of = |each| MislabelDetection { each, ..metric.clone() };
    let some = metric::evaluate(&methods[..1], &[Box::new(of(Some(6))), Box::new(of(Some(1000)))], &task, &noisy, &test).unwrap();
    let (n, by) = (some.column("n").unwrap().u32().unwrap(), some.column("mean").unwrap().f64().unwrap());
    assert_eq!((n.get(0), n.get(1)), (Some(12), Some(60)));
    assert!(by.get(0) > Some(0.8) && (by.get(1).unwrap() - mean(0)).abs() < 1e-9, "{some}");
    let none = metric::evaluate(&methods[..1], &[Box::new(of(Some(0)))], &task, &noisy, &test).unwrap();
    assert!(none.column("error").unwrap().str().unwrap().get(0).is_some_and(|e| e.contains("MislabelDetection.each")));
    let ranking = GradDot::default().fit(&task, &noisy).unwrap().self_influence().unwrap();
    let same = metric.evaluate("GradDot", &ranking, "self_influence").unwrap();
    assert_eq!(same.column("value").unwrap().f64().unwrap().get(0), Some(mean(0)));
    let curves = metric::roc("GradDot", &ranking, "self_influence", "flipped").unwrap();
    assert!(plot::roc(&curves).unwrap().svg().contains(">GradDot</text>"));
    let odd = df!("score" => [1.0, f64::NAN], "flipped" => [true, false], "none" => [false, false], "count" => [1, 0]).unwrap();
    says(metric.evaluate("x", &odd, "score"), &["score", "row 1"]);
    says(MislabelDetection::of("none").evaluate("x", &odd, "count"), &["none", "some of 2 examples", "got 0"]);
    says(MislabelDetection::of("count").evaluate("x", &odd, "count"), &["count", "true or false"]);
    says(MislabelDetection::of("absent").evaluate("x", &odd, "count"), &["column absent"]);
    assert_eq!(metric.name(), "mislabel AUC");
}
