//! What every method must obey, over `method::all()` and tiny tasks.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, difference};

fn each(law: impl Fn(&str, &dyn Method, &Task, &Dataset, &Dataset)) {
    for (name, task, train, test) in tasks::all() {
        for method in tasks::methods() {
            if name == "loop" && tasks::needs_tape(method.as_ref()) {
                assert!(matches!(method.fit(&task, &train), Err(Error::Unsupported(_))), "{}", method.name());
                continue;
            }
            law(&format!("{} on {name}", method.name()), method.as_ref(), &task, &train, &test);
        }
    }
}

fn matrix(method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset) -> Tensor {
    method.fit(task, train).unwrap().score(test).unwrap().tensor().shallow_clone()
}

#[test]
fn names_are_distinct() {
    let mut names: Vec<String> = method::all().iter().map(|m| m.name()).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn shape_is_test_by_train_and_finite() {
    each(|name, method, task, train, test| {
        let scores = matrix(method, task, train, test);
        assert_eq!(scores.size(), [test.len() as i64, train.len() as i64], "{name}");
        assert!(scores.abs().sum(Kind::Double).double_value(&[]).is_finite(), "{name}");
        assert!(scores.std(true).double_value(&[]) > 0.0, "{name}: all scores are equal");
    });
}

#[test]
fn fitting_again_gives_the_same_scores() {
    each(|name, method, task, train, test| {
        let (a, b) = (matrix(method, task, train, test), matrix(method, task, train, test));
        assert!(a.equal(&b), "{name}");
    });
}

#[test]
fn scoring_together_or_apart_is_the_same() {
    each(|name, method, task, train, test| {
        let fitted = method.fit(task, train).unwrap();
        let together = fitted.matrix(test).unwrap();
        let rows: Vec<Tensor> = (0..test.len()).map(|i| fitted.matrix(&test.select(&[i]).unwrap()).unwrap()).collect();
        assert_close(&Tensor::cat(&rows, 0), &together, 1e-4, name);
    });
}

#[test]
fn permuting_train_permutes_columns() {
    each(|name, method, task, train, test| {
        let order: Vec<usize> = (0..train.len()).map(|i| (i * 7 + 3) % train.len()).collect();
        let index = Tensor::from_slice(&order.iter().map(|&i| i as i64).collect::<Vec<_>>());
        let permuted = matrix(method, task, &train.select(&order).unwrap(), test);
        assert_close(&permuted, &matrix(method, task, train, test).index_select(1, &index), 1e-4, name);
    });
}

#[test]
fn a_duplicate_scores_equally() {
    each(|name, method, task, train, test| {
        let mut positions: Vec<usize> = (0..train.len()).collect();
        positions.push(4);
        let scores = matrix(method, task, &train.select(&positions).unwrap(), test);
        assert_close(&scores.select(1, train.len() as i64), &scores.select(1, 4), 1e-5, name);
    });
}

#[test]
fn self_scores_are_the_diagonal_of_train_by_train() {
    each(|name, method, task, train, _| {
        let fitted = method.fit(task, train).unwrap();
        let diagonal = fitted.matrix(train).unwrap().diagonal(0, 0, 1);
        assert_close(&fitted.self_scores().unwrap(), &diagonal, 1e-4, name);
    });
}

/// A correctly labelled copy of a test example should help it, and help it more than the same copy with a wrong label does.
/// Similarity of features cannot know the label of its neighbours, representer values explain what the model says whatever the
/// labels were, D-TRAK looks at no label, and Random must fail.
#[test]
fn labelled_copies_are_proponents() {
    let train = clusters(60, 1);
    let test = clusters(90, 2).select(&(60..90).collect::<Vec<_>>()).unwrap();
    let wrong: Vec<i64> = test.labels().unwrap().iter().map(|l| (l + 1) % 3).collect();
    for task in [tasks::logistic(), tasks::mlp()] {
        let task = task.train(&tasks::trainer(), &train).unwrap().last();
        for method in tasks::methods() {
            let fitted = |copies: &Dataset| matrix(method.as_ref(), &task, copies, &test).diagonal(0, 0, 1);
            let (right, wrong) = (fitted(&test), fitted(&test.with_labels(&wrong).unwrap()));
            let mean = |t: &Tensor| t.mean(Kind::Double).double_value(&[]);
            let lawful =
                mean(&right) > 0.0 && (&right - &wrong).gt(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]) > 0.8;
            let blind = ["Random", "Representation", "Representer", "D-TRAK"];
            let knows_labels = !blind.iter().any(|name| method.name().starts_with(name));
            assert_eq!(lawful, knows_labels, "{}: right {:.3}, wrong {:.3}", method.name(), mean(&right), mean(&wrong));
        }
    }
}

#[test]
fn two_equal_checkpoints_count_as_one_or_add_up() {
    let (_, task, train, test) = tasks::all().remove(1);
    let one = task.last();
    let checkpoint = one.checkpoints()[0].clone();
    let two = one.clone().with_checkpoints(vec![checkpoint.clone(), checkpoint]).unwrap();
    for method in tasks::methods() {
        let (single, double) = (matrix(method.as_ref(), &one, &train, &test), matrix(method.as_ref(), &two, &train, &test));
        let factor = if method.name() == "TracIn" { 2.0 } else { 1.0 };
        assert_close(&double, &(single * factor), 1e-5, &method.name());
    }
}

/// More test examples than a batch holds, and one more than that; more train examples too.
#[test]
fn many_examples_score_as_few_do() {
    let train = clusters(300, 3);
    let task = tasks::logistic().train(&Trainer { epochs: 1, ..default() }, &train.head(64).unwrap()).unwrap();
    let index = |positions: &[usize]| Tensor::from_slice(&positions.iter().map(|&i| i as i64).collect::<Vec<_>>());
    for m in [2049, 2600] {
        let test = clusters(m, 4);
        for method in tasks::methods() {
            let fitted = method.fit(&task, &train).unwrap();
            let rows = [0, 1000, 2047, 2048];
            let (whole, part) = (fitted.matrix(&test).unwrap(), fitted.matrix(&test.select(&rows).unwrap()).unwrap());
            assert_close(&whole.index_select(0, &index(&rows)), &part, 2e-4, &format!("{} of {m}", method.name()));
        }
    }
    let (train, test) = (clusters(5000, 3), clusters(2600, 4));
    let whole = matrix(&GradDot::default(), &task, &train, &test);
    let (rows, columns) = ([0, 2047, 2048, 2599], [1, 2047, 2048, 4999]);
    let part = matrix(&GradDot::default(), &task, &train.select(&columns).unwrap(), &test.select(&rows).unwrap());
    assert!(difference(&whole.index_select(0, &index(&rows)).index_select(1, &index(&columns)), &part) < 1e-5);
}

/// Self-influence is of the objective on both sides, whatever is to be explained.
#[test]
fn self_influence_is_of_the_objective() {
    let (_, task, train, _) = tasks::all().remove(1);
    let explained = task.clone().with_measurement(Margin);
    for method in tasks::methods() {
        let own = |task: &Task| method.fit(task, &train).unwrap().self_scores().unwrap();
        assert!(own(&task).equal(&own(&explained)), "{}", method.name());
    }
    let influence = Influence::new(Explicit { damping: Damping::Absolute(2.0), ..default() });
    let of = |task: &Task| matrix(&influence, task, &train, &train);
    assert!(difference(&of(&task), &of(&explained)) > 1e-2, "the scores themselves follow the measurement");
}
