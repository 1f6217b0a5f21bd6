//! Scores as random variables: statistics by brute force, what is refused, and that running moments are the same.

use ascribe::posterior::{Posterior, Test};
use ascribe::prelude::*;
use ascribe::statistics;
use ascribe::tch::{Device, Kind, Tensor};
use rand::{Rng, SeedableRng};

/// Normal numbers from a generator of their own: libtorch's is shared by all tests that run.
fn normal(count: usize, generator: &mut rand_chacha::ChaCha8Rng) -> Vec<f32> {
    let one = |_| (0..12).map(|_| generator.r#gen::<f64>()).sum::<f64>() as f32 - 6.0;
    (0..count).map(one).collect()
}

fn examples(n: usize) -> Dataset {
    let inputs = Tensor::arange(n as i64 * 2, (Kind::Float, Device::Cpu)).view([-1, 2]);
    Dataset::new(inputs, Tensor::from_slice(&(0..n as i64).map(|i| i % 2).collect::<Vec<_>>())).unwrap()
}

fn scores(values: &[f32], test: &Dataset, train: &Dataset) -> Scores {
    let size = [test.len() as i64, train.len() as i64];
    Scores::new(Tensor::from_slice(values).view(size), "made up", test, train).unwrap()
}

/// Run, step and scores.
type Drawn = (usize, usize, Vec<f32>);

/// `runs · steps` draws of 3 × 5 pairs: a run's own part and a draw's own part, by a fixed seed.
fn made_up(runs: usize, steps: usize) -> (Vec<Drawn>, Dataset, Dataset) {
    let (test, train) = (examples(3), examples(5));
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut draws = Vec::new();
    for run in 0..runs {
        let own = normal(15, &mut generator);
        for step in 0..steps {
            let values =
                own.iter().zip(normal(15, &mut generator)).enumerate().map(|(at, (a, b))| 0.3 * at as f32 - 1.0 + a + 0.5 * b);
            draws.push((run, step, values.collect()));
        }
    }
    (draws, test, train)
}

fn filled(mut posterior: Posterior, draws: &[Drawn], test: &Dataset, train: &Dataset) -> Posterior {
    for (run, step, values) in draws {
        posterior.add(*run, *step, &scores(values, test, train)).unwrap();
    }
    posterior
}

fn column(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + b.abs())
}

fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt())
}

#[test]
fn every_test_is_what_its_definition_says_of_each_pair() {
    let (draws, test, train) = made_up(6, 4);
    let posterior = filled(Posterior::new(), &draws, &test, &train);
    for kind in [Test::T, Test::Ratio, Test::AllDraws, Test::Sign, Test::SignFlip] {
        let table = posterior.noise(kind).unwrap();
        let (means, stds, ps) = (column(&table, "mean"), column(&table, "std"), column(&table, "p"));
        for pair in 0..15 {
            let of = |run: usize| draws.iter().filter(move |d| d.0 == run).map(move |d| f64::from(d.2[pair]));
            let runs: Vec<f64> = (0..6).map(|run| of(run).sum::<f64>() / 4.0).collect();
            let all: Vec<f64> = (0..6).flat_map(of).collect();
            let (mean, std) = mean_and_std(if kind == Test::AllDraws { &all } else { &runs });
            let p = match kind {
                Test::T => statistics::t_test(mean, std, 6).unwrap().p,
                Test::AllDraws => statistics::t_test(mean, std, 24).unwrap().p,
                Test::Ratio => statistics::z_ratio_p(mean, std).unwrap(),
                Test::Sign => statistics::sign_test(&runs).unwrap().p,
                Test::SignFlip => statistics::sign_flip_test(&runs, 1 << 16, 0).unwrap().p,
            };
            let found = (means[pair].unwrap(), stds[pair].unwrap(), ps[pair].unwrap());
            assert!(
                close(found.0, mean) && close(found.1, std) && close(found.2, p),
                "{kind:?} {pair}: {found:?}, {mean} {std} {p}"
            );
        }
    }
}

/// The ten numbers and their p-values by scipy 1.17.1: `2 * norm.sf(abs(mean / std))`, `ttest_1samp`, `binomtest(7, 10)`.
#[test]
fn the_published_ratio_is_not_a_test_of_the_mean() {
    let (test, train) = (examples(1), examples(1));
    let numbers = [0.9f32, -0.3, 1.4, 0.2, 0.7, -0.1, 1.1, 0.5, -0.4, 0.8];
    let mut posterior = Posterior::new();
    for (run, number) in numbers.into_iter().enumerate() {
        posterior.add(run, 0, &scores(&[number], &test, &train)).unwrap();
    }
    let p = |kind| column(&posterior.noise(kind).unwrap(), "p")[0].unwrap();
    for (kind, expected) in GOLDEN {
        assert!((p(kind) - expected).abs() < 1e-7, "{kind:?}: {} instead of {expected}", p(kind));
    }
}

const GOLDEN: [(Test, f64); 3] =
    [(Test::Ratio, 0.431_836_773_770_494_34), (Test::T, 0.034_664_810_178_932_415), (Test::Sign, 0.343_75)];

#[test]
fn running_moments_say_the_same() {
    let (draws, test, train) = made_up(5, 3);
    let kept = filled(Posterior::new(), &draws, &test, &train);
    let running = filled(Posterior::moments(), &draws, &test, &train);
    for kind in [Test::T, Test::Ratio, Test::AllDraws] {
        let (a, b) = (kept.noise(kind).unwrap(), running.noise(kind).unwrap());
        for name in ["mean", "std", "snr", "t", "p", "q", "q_storey"] {
            let apart = column(&a, name).into_iter().zip(column(&b, name)).all(|(a, b)| close(a.unwrap(), b.unwrap()));
            assert!(apart, "{name} of {kind:?}");
        }
    }
    assert_eq!(column(&kept.variance().unwrap(), "share").len(), 15);
    for refused in [running.noise(Test::Sign), running.of_pairs(&[(0, 0)]), running.variance_shares()] {
        let message = refused.err().unwrap().to_string();
        assert!(message.contains("running moments do not keep draws"), "{message}");
    }
    let mut back = Posterior::moments();
    for run in [0, 1] {
        back.add(run, 0, &scores(&draws[0].2, &test, &train)).unwrap();
    }
    assert!(back.add(0, 1, &scores(&draws[0].2, &test, &train)).unwrap_err().to_string().contains("run came back"));
}

#[test]
fn running_moments_lose_nothing_to_a_large_mean() {
    let (test, train) = (examples(1), examples(1));
    let (mut kept, mut running) = (Posterior::new(), Posterior::moments());
    for run in 0..10 {
        for step in 0..5 {
            let one = scores(&[1e6 + (run * 7 % 10) as f32 + step as f32 / 8.0], &test, &train);
            kept.add(run, step, &one).unwrap();
            running.add(run, step, &one).unwrap();
        }
    }
    let std = |posterior: &Posterior| column(&posterior.noise(Test::AllDraws).unwrap(), "std")[0].unwrap();
    assert!((std(&kept) - std(&running)).abs() < 1e-8 * std(&kept), "{} {}", std(&kept), std(&running));
}

#[test]
fn the_last_draws_of_each_run_are_those_a_shorter_record_would_hold() {
    let (draws, test, train) = made_up(4, 5);
    let posterior = filled(Posterior::new(), &draws, &test, &train);
    let late: Vec<_> = draws.iter().filter(|draw| draw.1 >= 3).cloned().collect();
    let short = filled(Posterior::new(), &late, &test, &train);
    assert!(posterior.last(2).unwrap().noise(Test::T).unwrap().equals(&short.noise(Test::T).unwrap()));
    assert!(posterior.last(6).unwrap_err().to_string().contains("expected 6 draws, it has 5"));
}

/// With variance 1 between runs and 1/4 within them, the share is 0.8; the interval over 200 runs must hold it.
#[test]
fn variance_is_split_as_it_was_made() {
    let (draws, test, train) = made_up(200, 3);
    let posterior = filled(Posterior::new(), &draws, &test, &train);
    let split = posterior.variance_shares().unwrap();
    let at = |name: &str| column(&split, name)[0].unwrap();
    assert!(at("low") < 0.8 && 0.8 < at("high") && at("high") - at("low") < 0.06, "{split}");
    let within: Vec<f64> = column(&posterior.variance().unwrap(), "within").into_iter().flatten().collect();
    assert!((within.iter().sum::<f64>() / 15.0 - 0.25).abs() < 0.02);
}

#[test]
fn false_discoveries_stay_below_alpha() {
    // 2,000 pairs of noise and 500 of signal, 10 runs: of those called reliable at 0.1, about 0.08 are noise.
    let (test, train) = (examples(25), examples(100));
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(3);
    let mut posterior = Posterior::new();
    for run in 0..10 {
        let noise = Tensor::from_slice(&normal(2_500, &mut generator)).view([25, 100]);
        let _ = noise.narrow(0, 0, 5).g_add_scalar_(1.5);
        posterior.add(run, 0, &Scores::new(noise, "made up", &test, &train).unwrap()).unwrap();
    }
    let found = posterior.reliable(Test::T, 0.1).unwrap();
    let wrong = found.column("test").unwrap().u32().unwrap().iter().filter(|test| *test >= Some(5)).count();
    assert!(found.height() > 350, "{}", found.height());
    assert!((wrong as f64) < 0.13 * found.height() as f64, "{wrong} of {}", found.height());
    let p = column(&found, "p");
    assert!(p.windows(2).all(|pair| pair[0] <= pair[1]));
    let summary = posterior.summary(Test::T).unwrap();
    assert!((column(&summary, "noise")[0].unwrap() - 0.8).abs() < 0.06, "{summary}");
    let places = posterior.positions(&found.head(Some(3))).unwrap();
    let strips = posterior.of_pairs(&places).unwrap();
    assert_eq!(strips.height(), 30);
    let mean = column(&strips, "score")[..10].iter().flatten().sum::<f64>() / 10.0;
    assert!((mean - column(&found, "mean")[0].unwrap()).abs() < 1e-6);
}

/// Effects drawn for 4,000 pairs; ten runs of each are measured, and what five or twenty would find is foretold.
#[test]
fn power_foretells_what_other_numbers_of_runs_find() {
    let (test, train) = (examples(40), examples(100));
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let effects: Vec<f32> = normal(4_000, &mut generator);
    let mut measured = |runs: usize| {
        let mut posterior = Posterior::new();
        for run in 0..runs {
            let values: Vec<f32> = effects.iter().zip(normal(4_000, &mut generator)).map(|(a, b)| a + b).collect();
            posterior.add(run, 0, &scores(&values, &test, &train)).unwrap();
        }
        posterior
    };
    let ten = measured(10);
    let foretold = column(&ten.power(0.05, &[5, 10, 20]).unwrap(), "power");
    for (runs, foretold) in [5, 10, 20].into_iter().zip(foretold) {
        let found = column(&measured(runs).summary(Test::T).unwrap(), "below")[0].unwrap();
        assert!((found - foretold.unwrap()).abs() < 0.04, "{runs} runs: {found} found, {foretold:?} foretold");
    }
    assert!(ten.power(0.05, &[1]).unwrap_err().to_string().contains("at least 2 each"));
    assert!(ten.runs_needed(0.05, 1.5).unwrap_err().to_string().contains("power"));
}

#[test]
fn equal_draws_have_no_p() {
    let (test, train) = (examples(1), examples(2));
    let mut posterior = Posterior::new();
    for run in 0..4 {
        posterior.add(run, 0, &scores(&[0.1, run as f32], &test, &train)).unwrap();
    }
    for kind in [Test::T, Test::Ratio, Test::AllDraws, Test::Sign, Test::SignFlip] {
        let table = posterior.noise(kind).unwrap();
        assert_eq!(
            (column(&table, "std")[0], column(&table, "p")[0], column(&table, "q")[0]),
            (Some(0.0), None, None),
            "{kind:?}"
        );
        assert!(column(&table, "p")[1].is_some());
    }
    assert_eq!(posterior.summary(Test::T).unwrap().column("pairs").unwrap().u32().unwrap().get(0), Some(1));
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let (test, train) = (examples(2), examples(3));
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut posterior = Posterior::new();
    assert!(posterior.noise(Test::T).unwrap_err().to_string().contains("expected at least one draw"));
    posterior.add(0, 10, &scores(&values, &test, &train)).unwrap();
    posterior.add(0, 20, &scores(&values, &test, &train)).unwrap();
    let one_run = posterior.noise(Test::T).unwrap_err().to_string();
    assert!(one_run.contains("expected at least 2 runs, got 1") && one_run.contains("train further runs"), "{one_run}");
    let order = train.select(&[0, 2, 1]).unwrap();
    let swapped = posterior.add(1, 10, &scores(&values, &test, &order)).unwrap_err().to_string();
    assert_eq!(swapped, "data run 1, step 10: expected train example 1 of the first draw at position 1, got 2");
    let fewer = posterior.add(1, 10, &scores(&values[..4], &test, &train.head(2).unwrap())).unwrap_err().to_string();
    assert!(fewer.contains("expected the 3 train examples of the first draw, got 2"), "{fewer}");
    let other = Dataset::new(test.inputs() + 1.0, test.targets().shallow_clone()).unwrap();
    let other = posterior.add(1, 10, &scores(&values, &other, &train)).unwrap_err().to_string();
    assert!(other.contains("test example 0 has other inputs or targets"), "{other}");
    let size = [2, 3];
    let mixed = Scores::new(Tensor::from_slice(&values).view(size), "another", &test, &train).unwrap();
    let mixed = posterior.add(1, 10, &mixed).unwrap_err().to_string();
    assert!(mixed.contains("expected scores of made up, as the draws before, got another"), "{mixed}");
    posterior.add(1, 10, &scores(&values, &test, &train)).unwrap();
    let uneven = posterior.noise(Test::T).unwrap_err().to_string();
    assert!(uneven.contains("expected as many draws of run 1 as of run 0, 2; got 1"), "{uneven}");
}

#[test]
fn a_network_that_gives_nan_is_named() {
    let (train, test) = dataset::digits().unwrap().split(40, 5, 0).unwrap();
    let trainer = Trainer { epochs: 1, ..default() };
    let untrained = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
    let task = (0..2).try_fold(untrained, |task, _| task.train(&trainer, &train)).unwrap();
    struct Broken;
    impl Method for Broken {
        fn name(&self) -> String {
            "Broken".into()
        }
        fn fit(&self, task: &Task, _: &Dataset) -> Result<Box<dyn Attributor>, Error> {
            match task.checkpoints()[0].run {
                0 => GradDot::default().fit(task, &dataset::digits()?.head(40)?),
                _ => Err(Error::numerical("Broken", "a score is NaN")),
            }
        }
    }
    let error = Posterior::of(&Broken, &task, &train, &test).err().unwrap().to_string();
    assert!(error.contains("Broken at run 1, step 1: a score is NaN"), "{error}");
}
