//! Many methods by many metrics: the same numbers as one by one, each method at work once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ascribe::metric::{Metric, Trial};
use ascribe::prelude::*;
use ascribe::statistics::Estimate;

use crate::tasks::{self, assert_close, clusters, says};

/// Counts how often it is fitted.
struct Counted {
    inner: Random,
    fits: Arc<AtomicUsize>,
}

impl Method for Counted {
    fn name(&self) -> String {
        "Counted".into()
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>, Error> {
        self.fits.fetch_add(1, Ordering::Relaxed);
        self.inner.fit(task, train)
    }
}

/// Fails at once, or undefined, or not finite.
struct Odd(&'static str);

impl Metric for Odd {
    fn name(&self) -> String {
        self.0.into()
    }

    fn estimate(&self, _: &Trial<'_>) -> Result<Option<Estimate>, Error> {
        match self.0 {
            "undefined" => Ok(None),
            "infinite" => Ok(Some(Estimate { mean: f64::INFINITY, low: 0.0, high: 1.0, n: 3 })),
            _ => panic!("no metric today"),
        }
    }
}

fn floats(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

fn texts<'a>(table: &'a DataFrame, name: &str) -> Vec<Option<&'a str>> {
    table.column(name).unwrap().str().unwrap().iter().collect()
}

#[test]
fn each_method_is_fitted_once_and_judged_by_every_metric() {
    let (train, test) = (clusters(30, 1), clusters(40, 2).select(&[31, 32, 33]).unwrap());
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap().last();
    let halves = Subsets::fraction(&train, 0.5, 12, 0).unwrap();
    let how = Retraining { trainer: tasks::trainer(), ..default() };
    let retrained = how.run(&task, &train, &test, &halves).unwrap();
    let out = how.run(&task, &train, &test, &Subsets::leave_one_out(&train, &[4, 9, 2, 25]).unwrap()).unwrap();
    let fits = Arc::new(AtomicUsize::new(0));
    let methods: Vec<Box<dyn Method>> = vec![
        Box::new(GradDot::default()),
        Box::new(Counted { inner: Random { seed: 3 }, fits: fits.clone() }),
        Box::new(Influence::new(Explicit { damping: Damping::Absolute(-1.0), ..default() })),
    ];
    let metrics: Vec<Box<dyn Metric>> = vec![
        Box::new(Lds::against(&retrained)),
        Box::new(LooCorrelation::retrained(&out).unwrap()),
        Box::new(LooCorrelation::retrained(&out).unwrap().by_rank()),
        Box::new(Odd("undefined")),
        Box::new(Odd("infinite")),
        Box::new(Odd("broken")),
    ];
    let table = metric::evaluate(&methods, &metrics, &task, &train, &test).unwrap();
    assert_eq!((table.height(), fits.load(Ordering::Relaxed)), (18, 1));
    let mean = floats(&table, "mean");
    for (at, method) in methods.iter().take(2).enumerate() {
        let scores = method.fit(&task, &train).unwrap().score(&test).unwrap();
        let lds = metric::mean_lds(&scores, &retrained).unwrap();
        for (ours, theirs) in [("mean", "lds"), ("low", "lds_low"), ("high", "lds_high")] {
            assert_eq!(floats(&table, ours)[6 * at], floats(&lds, theirs)[0], "{theirs}");
        }
        // Leave-one-out truth as scores: the measurement falls by what the example was worth.
        let worth = -out.mean().unwrap().transpose(0, 1);
        let truth = Scores::new(worth, "truth", &test, &train.select(&[4, 9, 2, 25]).unwrap()).unwrap();
        let agreed = metric::mean_agreement(&metric::agreement(&scores, &truth).unwrap()).unwrap();
        for (row, name) in [(1, "pearson"), (2, "spearman")] {
            let expected = floats(&agreed, name)[0].unwrap();
            assert!((mean[6 * at + row].unwrap() - expected).abs() < 1e-6, "{name}: {mean:?} {expected}");
        }
        assert!(mean[6 * at + 3..6 * at + 6].iter().all(Option::is_none));
    }
    let errors = texts(&table, "error");
    assert!(errors[..5].iter().all(Option::is_none) && errors[5].is_some_and(|e| e.contains("no metric today")), "{errors:?}");
    assert!(errors[12..].iter().all(|e| e.is_some_and(|e| e.contains("damping"))), "{errors:?}");
    assert!(floats(&table, "fit_seconds")[12..].iter().all(Option::is_none));
    let (fit, score, both) = (floats(&table, "fit_seconds"), floats(&table, "score_seconds"), floats(&table, "seconds"));
    assert!(fit[0] > Some(0.0) && fit[0] == fit[5] && both[0] == Some(fit[0].unwrap() + score[0].unwrap()));
    let one = metric::of(&table, "LDS").unwrap();
    assert_eq!(texts(&one, "method"), [Some("GradDot"), Some("Counted"), Some("Influence (explicit Hessian)")]);
    assert!(plot::intervals(&one, "mean", "method").unwrap().svg().contains(">Counted</text>"));
    assert!(plot::pareto(&one, "seconds", "mean", "method").unwrap().svg().contains(">GradDot</text>"));
    says(metric::of(&table, "lds"), &["metric lds", "LDS", "LOO Pearson"]);
    says(metric::evaluate(&[], &metrics, &task, &train, &test), &["methods", "at least one"]);
    says(metric::evaluate(&methods, &[], &task, &train, &test), &["metrics", "at least one"]);
    says(LooCorrelation::retrained(&retrained), &["leave out one example", "subset 0 leaves out 15"]);
}

/// The case of dattri's own tests.
#[test]
fn leave_one_out_correlation_is_dattris() {
    let (train, test) = (clusters(4, 1), clusters(2, 2));
    let scores = Tensor::from_slice(&[0.1f32, 0.2, 0.3, 0.4, 0.4, 0.3, 0.2, 0.1]).view([2, 4]);
    let scores = Scores::new(scores, "given", &test, &train).unwrap();
    let values = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 1.0, 3.0, 2.0, 4.0]).view([2, 4]);
    let truth = Scores::new(values.shallow_clone(), "truth", &test, &train).unwrap();
    let table = LooCorrelation::against(&truth).evaluate(&scores).unwrap();
    let found = floats(&table, "value");
    assert!((found[0].unwrap() - 1.0).abs() < 1e-6 && (found[1].unwrap() + 0.8).abs() < 1e-6, "{found:?}");
    assert_eq!(texts(&table, "metric"), [Some("LOO Pearson"); 2]);
    // Values measured without an example are worth their negative, whatever measured with all.
    let subsets = Subsets::leave_one_out(&train, &[2, 0, 3, 1]).unwrap();
    let measured = (values.index_select(1, &Tensor::from_slice(&[2i64, 0, 3, 1])).transpose(0, 1) - 7.0).neg();
    assert_close(&measured.get(0), &Tensor::from_slice(&[4f32, 5.0]), 1e-6, "without example 2");
    let turned =
        LooCorrelation::retrained(&Retrained::new(measured, &subsets, &test).unwrap()).unwrap().evaluate(&scores).unwrap();
    for (a, b) in floats(&turned, "value").iter().zip(&found) {
        assert!((a.unwrap() - b.unwrap()).abs() < 1e-6);
    }
    let other = Scores::new(Tensor::from_slice(&[0.1f32; 4]).view([2, 2]), "few", &test, &train.head(2).unwrap()).unwrap();
    says(LooCorrelation::against(&truth).evaluate(&other), &["train example 2", "2 train examples of few"]);
    let flat = Scores::new(values * 0.0, "flat", &test, &train).unwrap();
    assert_eq!(floats(&LooCorrelation::against(&flat).evaluate(&scores).unwrap(), "value"), [None, None]);
}
