//! The best of several options, the best that could have been chosen, and published numbers beside them.

use ascribe::metric::{Metric, Trial};
use ascribe::polars::df;
use ascribe::prelude::*;
use ascribe::statistics::Estimate;

use crate::tasks::{self, clusters, says};

fn floats(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

fn texts(table: &DataFrame, name: &str) -> Vec<Option<String>> {
    table.column(name).unwrap().str().unwrap().iter().map(|text| text.map(String::from)).collect()
}

/// A number for the whole and for each half, by the method's name; without halves for one word names.
struct Told(Vec<(&'static str, f64, Option<[f64; 2]>)>);

impl Metric for Told {
    fn name(&self) -> String {
        "told".into()
    }

    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>, Error> {
        let name = trial.method.name();
        match self.0.iter().find(|told| told.0 == name) {
            Some(told) => Ok(Some(estimate(told.1))),
            None => panic!("nothing is told of {name}"),
        }
    }

    fn halves(&self, trial: &Trial<'_>, _: u64) -> Result<Option<[Estimate; 2]>, Error> {
        let name = trial.method.name();
        Ok(self.0.iter().find(|told| told.0 == name).and_then(|told| told.2).map(|halves| halves.map(estimate)))
    }
}

fn estimate(mean: f64) -> Estimate {
    Estimate { mean, low: mean - 0.1, high: mean + 0.1, n: 5 }
}

fn given(name: &str, test: &Dataset, train: &Dataset) -> (String, Box<dyn Method>) {
    let values = Tensor::arange((test.len() * train.len()) as i64, (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu));
    let scores = Scores::new(values.view([test.len() as i64, train.len() as i64]), name, test, train).unwrap();
    (format!("option {name}"), Box::new(scores))
}

#[test]
fn the_best_and_the_best_that_was_chosen_elsewhere() {
    let (train, test) = (clusters(6, 1), clusters(8, 2).select(&[6, 7]).unwrap());
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap();
    let options = ["a", "b", "c", "d"].map(|name| given(name, &test, &train));
    // b is the best of all, c the best on the half that chooses; nothing is told of d.
    let told = Told(vec![("a", 0.1, Some([0.1, 0.9])), ("b", 0.7, Some([0.5, 0.8])), ("c", 0.6, Some([0.6, 0.3]))]);
    let whole = Told(vec![("a", 0.3, None), ("b", 0.2, None), ("c", 0.1, None), ("d", 0.0, None)]);
    let metrics: Vec<Box<dyn Metric>> = vec![Box::new(told), Box::new(whole)];
    let table = metric::grid("method", &options, &metrics, &task, &train, &test).unwrap();
    assert_eq!(texts(&table, "method"), vec![Some("method".to_string()); 2]);
    assert_eq!(texts(&table, "option"), [Some("option b".to_string()), Some("option a".into())]);
    assert_eq!(floats(&table, "oracle"), [Some(0.7), Some(0.3)]);
    assert_eq!(floats(&table, "high"), [Some(0.7 + 0.1), Some(0.4)]);
    assert_eq!(texts(&table, "honest_option"), [Some("option c".to_string()), None]);
    assert_eq!(floats(&table, "honest"), [Some(0.3), None]);
    assert_eq!(floats(&table, "honest_low"), [Some(0.3 - 0.1), None]);
    assert_eq!(table.column("options").unwrap().u32().unwrap().iter().collect::<Vec<_>>(), [Some(3), Some(4)]);
    let errors = texts(&table, "error");
    assert!(errors[0].as_ref().is_some_and(|e| e.contains("nothing is told of d")) && errors[1].is_none(), "{errors:?}");
    // A single option is not chosen.
    let one = metric::grid("method", &options[..1], &metrics[..1], &task, &train, &test).unwrap();
    assert_eq!((floats(&one, "oracle"), floats(&one, "honest")), (vec![Some(0.1)], vec![Some(0.1)]));
    says(metric::grid("method", &[], &metrics, &task, &train, &test), &["options", "at least one"]);
    says(metric::grid("method", &options, &[], &task, &train, &test), &["metrics", "at least one"]);
}

/// The halves of the crate's own metrics: of the linear datamodeling score those of `choose`, of the others disjoint and together all.
#[test]
fn halves_are_halves() {
    let (train, test) = (dataset::flip_labels(&clusters(60, 1), 12, 0).unwrap(), clusters(9, 2));
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap().last();
    let halves = Subsets::fraction(&train, 0.5, 12, 0).unwrap();
    let how = Retraining { trainer: tasks::trainer(), ..default() };
    let truth = how.run(&task, &train, &test, &halves).unwrap();
    let out = how.run(&task, &train, &test, &Subsets::leave_one_out(&train, &[4, 9, 2, 25, 33]).unwrap()).unwrap();
    let damped = |damping| Influence::new(Ekfac { damping: Damping::Absolute(damping), ..default() });
    let scores = |damping| damped(damping).fit(&task, &train).unwrap().score(&test).unwrap();
    let options = [0.1, 100.0].map(|damping| (format!("λ {damping}"), Box::new(damped(damping)) as Box<dyn Method>));
    let metrics: Vec<Box<dyn Metric>> = vec![
        Box::new(Lds::against(&truth)),
        Box::new(LooCorrelation::retrained(&out).unwrap()),
        Box::new(MislabelDetection::of("flipped")),
    ];
    let table = metric::grid("EK-FAC", &options, &metrics, &task, &train, &test).unwrap();
    let chosen = metric::choose(&[("λ 0.1", scores(0.1)), ("λ 100", scores(100.0))], &truth, 0).unwrap();
    let honest = chosen.column("honest").unwrap().bool().unwrap().iter().position(|best| best == Some(true)).unwrap();
    assert_eq!(texts(&table, "honest_option")[0], Some(["λ 0.1", "λ 100"][honest].to_string()));
    for (ours, theirs) in [("honest", "reported"), ("honest_low", "reported_low"), ("honest_high", "reported_high")] {
        assert_eq!(floats(&table, ours)[0], floats(&chosen, theirs)[honest], "{theirs}");
    }
    let fitted = damped(0.1).fit(&task, &train).unwrap();
    let scores = fitted.score(&test).unwrap();
    let method = damped(0.1);
    let trial = Trial { method: &method, fitted: fitted.as_ref(), scores: &scores, task: &task, train: &train, test: &test };
    for (metric, items) in metrics.iter().zip([9usize, 9, 60]) {
        let whole = metric.estimate(&trial).unwrap().unwrap();
        let [first, second] = metric.halves(&trial, 3).unwrap().unwrap();
        assert_eq!((first.n, second.n), (items / 2, items.div_ceil(2)), "{}", metric.name());
        if items == 9 {
            let mean = (4.0 * first.mean + 5.0 * second.mean) / 9.0;
            assert!((mean - whole.mean).abs() < 1e-12, "{}: {mean} {whole:?}", metric.name());
        }
        assert_ne!(metric.halves(&trial, 4).unwrap().unwrap()[0].mean, first.mean, "{}", metric.name());
    }
}

#[test]
fn published_numbers_are_placed() {
    let table = df!("method" => ["a", "b", "c", "d"], "r" => [0.5; 4], "low" => [Some(0.4), Some(0.4), None, Some(0.4)], "high" => [0.6; 4]);
    let table = table.unwrap();
    let bars = [("a", 0.39), ("b", 0.6), ("c", 0.1)];
    let verdicts = |tolerance| texts(&metric::published(&table, "r", &bars, tolerance).unwrap(), "verdict");
    assert_eq!(verdicts(0.0), [Some("below".to_string()), Some("inside".into()), None, None]);
    assert_eq!(verdicts(0.02)[0], Some("inside".to_string()));
    let above = metric::published(&table, "r", &[("d", 0.61)], 0.0).unwrap();
    assert_eq!(
        (texts(&above, "verdict")[3].as_deref(), floats(&above, "published")),
        (Some("above"), vec![None, None, None, Some(0.61)])
    );
    says(metric::published(&table, "r", &[("e", 0.1)], 0.0), &["published method e", "a, b, c, d"]);
    says(metric::published(&table, "s", &bars, 0.0), &["column s"]);
    says(metric::published(&table, "r", &bars, f64::NAN), &["tolerance", "NaN"]);
}

#[test]
fn given_scores_are_a_method_for_their_own_examples() {
    let (train, test) = (clusters(6, 1), clusters(8, 2).select(&[6, 7]).unwrap());
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap();
    let (_, method) = given("peer", &test, &train);
    let fitted = method.fit(&task, &train).unwrap();
    assert_eq!((method.name(), fitted.name()), ("peer".into(), "peer".into()));
    assert_eq!(fitted.score(&test).unwrap().get(1, 5).unwrap(), 11.0);
    says(method.fit(&task, &clusters(6, 3)), &["scores", "train examples", "other inputs"]);
    says(method.fit(&task, &train.head(5).unwrap()), &["scores", "6 ids against 5"]);
    says(fitted.matrix(&train), &["scores", "test examples"]);
    says(fitted.self_scores(), &["peer", "none of a train example for itself"]);
    assert!(!method.has_own_scores());
}
