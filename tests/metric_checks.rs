//! Checks without retraining, agreement between methods and counterfactuals, by hand and by brute force.

use ascribe::prelude::*;

use crate::tasks::{self, clusters, says};

fn floats(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

fn scores(values: &[f32], name: &str, test: &Dataset, train: &Dataset) -> Scores {
    Scores::new(Tensor::from_slice(values).view([test.len() as i64, train.len() as i64]), name, test, train).unwrap()
}

/// Four train examples with labels 0, 1, 2, 0 and two test examples with labels 0, 1.
fn small() -> (Dataset, Dataset) {
    let train = clusters(4, 1).with_column(Series::new("planted".into(), [true, false, false, true])).unwrap();
    let train = train.with_column(Series::new("breed".into(), ["a", "b", "c", "d"])).unwrap();
    let test = clusters(2, 2).with_column(Series::new("breed".into(), ["d", "b"])).unwrap();
    (train, test.with_column(Series::new("foreign".into(), [true, false])).unwrap())
}

#[test]
fn classes_of_the_strongest_proponents() {
    let (train, test) = small();
    let given = scores(&[3.0, 1.0, 2.0, 3.0, 0.0, 0.5, 0.5, 0.1], "given", &test, &train);
    // Test 0: examples 0 and 3 tie; both have its label, one its breed. Test 1: 1 and 2 tie, one has its label.
    assert_eq!(floats(&ClassDetection::default().evaluate(&given).unwrap(), "value"), [Some(1.0), Some(0.5)]);
    let breeds = ClassDetection::by("breed").evaluate(&given).unwrap();
    assert_eq!(floats(&breeds, "value"), [Some(0.5), Some(0.5)]);
    assert_eq!(breeds.column("metric").unwrap().str().unwrap().get(0), Some("breed detection"));
    says(ClassDetection::by("site").evaluate(&given), &["column site"]);
    says(ClassDetection::by("foreign").evaluate(&given), &["column foreign"]);
}

#[test]
fn planted_examples_by_hand() {
    let (train, test) = small();
    let given = scores(&[3.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], "given", &test, &train);
    let all = MixedDatasets { planted: "planted".into(), tests: None };
    // Planted 1st and 4th of 4: (1/1 + 2/4) / 2; all tied: their share.
    assert_eq!(floats(&all.evaluate(&given).unwrap(), "value"), [Some(0.75), Some(0.5)]);
    let some = MixedDatasets { tests: Some("foreign".into()), ..all.clone() }.evaluate(&given).unwrap();
    assert_eq!((floats(&some, "value"), some.column("test").unwrap().u32().unwrap().get(0)), (vec![Some(0.75)], Some(0)));
    says(MixedDatasets { planted: "breed".into(), tests: None }.evaluate(&given), &["breed", "true or false"]);
    let none = train.clone().with_column(Series::new("planted".into(), [false; 4])).unwrap();
    says(all.evaluate(&scores(&[0.0; 8], "none", &test, &none)), &["planted", "got 0"]);
}

#[test]
fn a_shortcut_is_looked_for_where_it_misleads() {
    let train = clusters(30, 1);
    let train = train.with_column(Series::new("marked".into(), (0..30).map(|i| i < 5).collect::<Vec<_>>())).unwrap();
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap();
    // What is predicted as 0, with the labels of half of it called 1: those are misled.
    let candidates = clusters(12, 2);
    let predicted = Vec::<i64>::try_from(&task.snapshot(1).unwrap().outputs(&candidates).unwrap().argmax(-1, false)).unwrap();
    let labels: Vec<i64> = predicted.iter().enumerate().map(|(at, p)| if *p == 0 && at % 2 == 0 { 1 } else { *p }).collect();
    let misled: Vec<u32> = (0..12u32).filter(|at| labels[*at as usize] != predicted[*at as usize]).collect();
    assert!(!misled.is_empty());
    let test = candidates.with_labels(&labels).unwrap();
    let given = Random::default().fit(&task, &train).unwrap().score(&test).unwrap();
    let shortcut = ShortcutDetection { planted: "marked".into(), class: 0 };
    let table = shortcut.evaluate(&given, &task, &test).unwrap();
    let tests: Vec<u32> = table.column("test").unwrap().u32().unwrap().into_no_null_iter().collect();
    assert_eq!(tests, misled);
    let planted: Vec<bool> = (0..30).map(|i| i < 5).collect();
    let row: Vec<f64> = (0..30).map(|at| f64::from(given.get(misled[0] as usize, at).unwrap())).collect();
    assert_eq!(floats(&table, "value")[0], ascribe::statistics::average_precision(&row, &planted));
    let right = candidates.with_labels(&predicted).unwrap();
    let of_right = Random::default().fit(&task, &train).unwrap().score(&right).unwrap();
    says(shortcut.evaluate(&of_right, &task, &right), &["predicted as 0, got none"]);
    says(shortcut.evaluate(&given, &task, &right), &["other inputs or targets"]);
    says(shortcut.evaluate(&given, &task, &clusters(12, 9)), &["test examples", "other inputs"]);
}

#[test]
fn random_weights_change_what_looks_at_them() {
    let (train, test) = (clusters(30, 1), clusters(6, 2));
    let task = tasks::mlp().train(&Trainer { epochs: 30, learning_rate: 0.03, ..default() }, &train).unwrap();
    let mean = |method: &dyn Method, seed| {
        let table = ModelRandomisation { seed }.evaluate(method, &task, &train, &test).unwrap();
        floats(&table, "value").into_iter().map(Option::unwrap).sum::<f64>() / 6.0
    };
    assert!((mean(&Random::default(), 0) - 1.0).abs() < 1e-12);
    let inputs = RepresentationSimilarity::default();
    let (looking, again) = (mean(&GradDot::default(), 0), mean(&GradDot::default(), 0));
    assert!(looking < 0.9 && looking == again && looking != mean(&GradDot::default(), 1), "{looking}");
    assert!(mean(&inputs, 0) <= 1.0);
    says(ModelRandomisation::default().evaluate(&Random::default(), &tasks::mlp(), &train, &test), &["no checkpoints"]);
}

#[test]
fn distinct_proponents_are_counted() {
    let (train, test) = (clusters(5, 1), clusters(3, 2));
    // The two strongest: {0, 1}, {1, 2}, {0, 1}: three of six places.
    let given = scores(&[5.0, 4.0, 1.0, 0.0, 0.0, 0.0, 5.0, 4.0, 1.0, 0.0, 4.0, 5.0, 0.0, 1.0, 0.0], "given", &test, &train);
    let table = TopCardinality { k: 2 }.evaluate(&given).unwrap();
    assert_eq!(floats(&table, "value"), [Some(0.5)]);
    // Without each test example in turn: {0, 1, 2}, {0, 1}, {0, 1, 2} of four places.
    let without = [0.75f64, 0.5, 0.75];
    let centre = without.iter().sum::<f64>() / 3.0;
    let spread = (2.0 / 3.0 * without.iter().map(|w| (w - centre).powi(2)).sum::<f64>()).sqrt();
    let low = (0.5 - 4.302_652_729_911_275 * spread).max(0.0);
    assert!((floats(&table, "low")[0].unwrap() - low).abs() < 1e-12);
    says(TopCardinality { k: 6 }.evaluate(&given), &["TopCardinality.k", "1 to 5", "got 6"]);
    says(TopCardinality { k: 0 }.evaluate(&given), &["got 0"]);
}

#[test]
fn methods_that_agree() {
    let (train, test) = (clusters(4, 1), clusters(2, 2));
    let a = scores(&[1.0, 2.0, 3.0, 4.0, 7.0, 7.0, 7.0, 7.0], "a", &test, &train);
    let b = scores(&[1.0, 3.0, 2.0, 4.0, 1.0, 2.0, 3.0, 4.0], "b", &test, &train);
    // The same as b, in another order of train examples.
    let c = scores(&[4.0, 2.0, 3.0, 1.0, 4.0, 3.0, 2.0, 1.0], "c", &test, &train.select(&[3, 2, 1, 0]).unwrap());
    let table = metric::similarity(&[a.clone(), b.clone(), c], 2).unwrap();
    assert_eq!(table.height(), 3 * 2 * 3);
    let value = floats(&table, "value");
    // a and b: one neighbouring swap; the two strongest are {2, 3} and {1, 3}.
    for (found, expected) in value[..3].iter().zip([0.8, 4.0 / 6.0, 1.0 / 3.0]) {
        assert!((found.unwrap() - expected).abs() < 1e-12, "{value:?}");
    }
    assert_eq!((value[3], value[4]), (None, None), "constant scores");
    assert!(value[12..].iter().all(|v| (v.unwrap() - 1.0).abs() < 1e-12), "b and c");
    let mean = metric::mean_similarity(&table).unwrap();
    assert_eq!(mean.height(), 9);
    assert!((floats(&mean, "value")[0].unwrap() - 0.8).abs() < 1e-12);
    assert_eq!(mean.column("n").unwrap().u32().unwrap().get(0), Some(1));
    assert!(plot::similarity(&mean, "Kendall").unwrap().svg().contains("0.67"));
    says(plot::similarity(&mean, "Pearson"), &["a row of Pearson"]);
    says(metric::similarity(std::slice::from_ref(&a), 2), &["at least two"]);
    says(metric::similarity(&[a.clone(), a.clone()], 2), &["a comes twice"]);
    says(metric::similarity(&[a.clone(), b], 5), &["k", "1 to 4", "got 5"]);
    let other = scores(&[0.0; 6], "few", &test, &train.head(3).unwrap());
    says(metric::similarity(&[a, other], 2), &["few", "2 × 4 examples of a", "2 × 3"]);
}

/// What Newton's leave-one-out finds is what dropping the example does, in units of the measurement.
#[test]
fn a_counterfactual_of_one_is_leave_one_out() {
    let (train, test) = (clusters(30, 1), clusters(3, 2));
    let newton = Newton { penalty: 0.05, ..default() };
    let task = newton.train(&tasks::logistic(), &train).unwrap();
    let truth = LeaveOneOut { newton }.score(&task, &train, &test, &(0..30).collect::<Vec<_>>()).unwrap();
    let change = floats(&metric::counterfactual(&truth, &[4], Scale::Mean).unwrap(), "value");
    let without: Vec<usize> = (0..30).filter(|at| *at != 4).collect();
    // Without an example the mean is over one less, and so is the weight of the penalty.
    let part = train.select(&without).unwrap();
    let again = Newton { penalty: 0.05 * 30.0 / 29.0, ..default() }.train(&tasks::logistic(), &part).unwrap();
    let measure =
        |task: &Task| Vec::<f64>::try_from(&task.snapshot(0).unwrap().measure(Of::Measurement, &test).unwrap()).unwrap();
    for ((after, before), change) in measure(&again).iter().zip(measure(&task)).zip(change) {
        assert!((after - before - change.unwrap()).abs() < 2e-4, "{} against {change:?}", after - before);
    }
    let sum = floats(&metric::counterfactual(&truth, &[4, 7], Scale::Sum).unwrap(), "value");
    let expected = f64::from(-(truth.get(0, 4).unwrap() + truth.get(0, 7).unwrap()));
    assert!((sum[0].unwrap() - expected).abs() < 1e-5);
    says(metric::counterfactual(&truth, &[], Scale::Sum), &["drop", "1 to 29", "got 0"]);
    says(metric::counterfactual(&truth, &[3, 3], Scale::Sum), &["3 twice"]);
    says(metric::counterfactual(&truth, &[30], Scale::Sum), &["0 to 29", "got 30"]);
}

#[test]
fn verification_retrains_with_and_without() {
    let (train, test) = (clusters(30, 1), clusters(3, 2));
    let how = Retraining { trainer: tasks::trainer(), runs: 3, ..default() };
    let task = tasks::mlp();
    let given = Random::default().fit(&task, &train).unwrap().score(&test).unwrap();
    let table = metric::verify(&given, &[2, 9], Scale::Sum, &how, &task, &train, &test).unwrap();
    assert_eq!(floats(&table, "predicted"), floats(&metric::counterfactual(&given, &[2, 9], Scale::Sum).unwrap(), "value"));
    let part = train.select(&(0..30).filter(|at| ![2, 9].contains(at)).collect::<Vec<_>>()).unwrap();
    let measure = |data: &Dataset, run| {
        let task = task.clone().train(&how.trainer_of(0, run), data).unwrap();
        Vec::<f64>::try_from(&task.snapshot(0).unwrap().measure(Of::Measurement, &test).unwrap()).unwrap()
    };
    let changes: Vec<f64> = (0..3).map(|run| measure(&part, run)[1] - measure(&train, run)[1]).collect();
    let mean = changes.iter().sum::<f64>() / 3.0;
    let spread = (changes.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let of = |name: &str| floats(&table, name)[1].unwrap();
    assert!((of("retrained") - mean).abs() < 1e-4 && (of("spread") - spread).abs() < 1e-4, "{table} {changes:?}");
    let reach = 4.302_652_729_911_275 * of("spread") / 3f64.sqrt();
    assert!((of("retrained_high") - of("retrained") - reach).abs() < 1e-9);
    let once = metric::verify(&given, &[2], Scale::Sum, &Retraining { runs: 1, ..how.clone() }, &task, &train, &test).unwrap();
    assert_eq!(floats(&once, "spread"), [None; 3]);
    says(metric::verify(&given, &[2], Scale::Sum, &how, &task, &clusters(30, 8), &test), &["other inputs"]);
    says(metric::verify(&given, &[2], Scale::Sum, &how.cached("x"), &task, &train, &test), &["cache"]);
}
