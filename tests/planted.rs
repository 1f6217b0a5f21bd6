//! Copies, backdoors and shortcuts: exactly what was asked for, marked, by the example and the seed.

use ascribe::dataset::{self, Patch};
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{clusters, says};

/// Twelve pictures of 4 x 5 in three classes, with two channels.
fn pictures() -> Dataset {
    let inputs = Tensor::arange(12 * 2 * 20, (Kind::Float, Device::Cpu)).view([12, 2, 4, 5]) / 100.0;
    Dataset::new(inputs, Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])).unwrap().named("pictures")
}

fn corner() -> Patch {
    Patch { top: 2, left: 3, height: 2, width: 2, value: 9.0 }
}

fn marks(data: &Dataset, column: &str) -> Vec<bool> {
    data.frame().column(column).unwrap().bool().unwrap().iter().flatten().collect()
}

fn originals(data: &Dataset) -> Vec<Option<u32>> {
    data.frame().column("original").unwrap().u32().unwrap().iter().collect()
}

fn marked(data: &Dataset, column: &str) -> Vec<u32> {
    data.examples().into_iter().zip(marks(data, column)).filter(|(_, mark)| *mark).map(|(id, _)| id).collect()
}

#[test]
fn copies_stand_behind_their_originals() {
    let data =
        clusters(20, 1).with_column(Series::new("name".into(), (0..20).map(|i| format!("e{i}")).collect::<Vec<_>>())).unwrap();
    for n in [0, 1, 7, 20] {
        let copied = dataset::duplicate(&data, n, 3).unwrap();
        assert_eq!((copied.len(), copied.examples()), (20 + n, (0..20 + n as u32).collect()));
        assert_eq!(marks(&copied, "duplicate"), (0..20 + n).map(|i| i >= 20).collect::<Vec<_>>());
        assert!(copied.inputs().narrow(0, 0, 20).equal(data.inputs()));
        let originals = originals(&copied);
        assert!(originals[..20].iter().all(Option::is_none));
        for (at, original) in originals.iter().enumerate().skip(20) {
            let original = original.unwrap() as usize;
            assert!(copied.inputs().get(at as i64).equal(&data.inputs().get(original as i64)));
            assert_eq!(copied.labels().unwrap()[at], data.labels().unwrap()[original]);
            assert_eq!(copied.frame().column("name").unwrap().str().unwrap().get(at), Some(format!("e{original}").as_str()));
        }
        let mut distinct: Vec<u32> = originals.iter().flatten().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), n, "no example twice");
    }
    assert_eq!(data.len(), 20, "the original is untouched");
    // Copies of copies have ids of their own.
    let twice = dataset::duplicate(&dataset::duplicate(&data, 5, 0).unwrap(), 5, 1).unwrap();
    assert_eq!((twice.len(), twice.examples()[29]), (30, 29));
    let sparse = data.select(&[3, 19]).unwrap();
    assert_eq!(dataset::duplicate(&sparse, 1, 0).unwrap().examples(), [3, 19, 20]);
    says(dataset::duplicate(&data, 21, 0), &["clusters", "at most 20 examples to copy, 21"]);
}

#[test]
fn near_copies_differ_by_noise_of_the_given_size() {
    let data = clusters(2_000, 1);
    let near = dataset::near_duplicates(&data, 1_000, 0.25, 0).unwrap();
    let chosen: Vec<i64> = originals(&near).iter().flatten().map(|&id| i64::from(id)).collect();
    let noise = near.inputs().narrow(0, 2_000, 1_000) - data.inputs().index_select(0, &Tensor::from_slice(&chosen));
    assert!(noise.mean(Kind::Double).double_value(&[]).abs() < 0.02, "expected 0 with standard error 0.004");
    assert!((noise.std(false).double_value(&[]) - 0.25).abs() < 0.015, "standard error 0.003");
    let within = noise.abs().le(0.25).to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]);
    assert!((within - 0.6827).abs() < 0.03, "normal: {within} within one deviation");
    let columns = noise.transpose(0, 1).corrcoef();
    assert!((columns - Tensor::eye(4, (Kind::Float, Device::Cpu))).abs().max().double_value(&[]) < 0.12, "independent numbers");
    assert_eq!(marks(&near, "near_duplicate").iter().filter(|&&mark| mark).count(), 1_000);
    // The noise is the example's: twice the size is twice the noise, whatever else is copied.
    let other = dataset::near_duplicates(&data, 10, 0.5, 0).unwrap();
    let first = (other.inputs().get(2_000) - data.inputs().get(chosen[0])) / 2.0;
    assert!((first - noise.get(0)).abs().max().double_value(&[]) < 1e-5);
    let exact = dataset::near_duplicates(&data, 3, 0.0, 0).unwrap();
    assert!(exact.inputs().get(2_001).equal(&data.inputs().get(chosen[1])));
    says(dataset::near_duplicates(&data, 1, -0.1, 0), &["near_duplicates.deviation", "at least 0"]);
    says(dataset::near_duplicates(&data, 1, f64::NAN, 0), &["near_duplicates.deviation"]);
    let tokens = Dataset::new(Tensor::from_slice(&[1i64, 2]).view([2, 1]), Tensor::from_slice(&[0i64, 1])).unwrap();
    says(dataset::near_duplicates(&tokens, 1, 0.1, 0), &["float inputs", "Int64"]);
}

#[test]
fn a_patch_is_set_where_it_lies_and_nowhere_else() {
    let data = pictures();
    let patched = corner().on(&data).unwrap();
    for (example, channel, row, column) in
        (0..12).flat_map(|e| (0..2).flat_map(move |c| (0..4).flat_map(move |r| (0..5).map(move |x| (e, c, r, x)))))
    {
        let at = [example, channel, row, column];
        let expected = if row >= 2 && column >= 3 { 9.0 } else { data.inputs().double_value(&at) };
        assert_eq!(patched.inputs().double_value(&at), expected, "{at:?}");
    }
    assert!(data.inputs().max().double_value(&[]) < 9.0, "the original is untouched");
    let grey = data.reshape(&[8, 5]).unwrap();
    assert_eq!(corner().on(&grey).unwrap().inputs().eq(9.0).sum(Kind::Int64).int64_value(&[]), 12 * 4);
    says(Patch { top: 3, ..corner() }.on(&data), &["Patch.top, Patch.height", "the 4 that there are", "2 from 3"]);
    says(Patch { left: usize::MAX, ..corner() }.on(&data), &["Patch.left, Patch.width"]);
    says(Patch { width: 0, ..corner() }.on(&data), &["Patch.width", "0 from 3"]);
    says(Patch { value: f64::INFINITY, ..corner() }.on(&data), &["Patch.value", "inf"]);
    says(corner().on(&clusters(4, 0)), &["clusters", "float pictures", "[4, 4] of Float"]);
}

#[test]
fn a_backdoor_changes_pixels_and_labels_of_other_classes() {
    let data = pictures();
    let before = data.labels().unwrap();
    for n in [0, 1, 5, 8] {
        let poisoned = dataset::backdoor(&data, &corner(), 1, n, 4).unwrap();
        let (mark, after) = (marks(&poisoned, "backdoor"), poisoned.labels().unwrap());
        assert_eq!(mark.iter().filter(|&&m| m).count(), n);
        for (at, mark) in mark.into_iter().enumerate() {
            let patched = poisoned.inputs().get(at as i64).max().double_value(&[]) == 9.0;
            assert_eq!((patched, after[at]), (mark, if mark { 1 } else { before[at] }));
            assert!(!mark || before[at] != 1);
        }
        let column: Vec<i64> = poisoned.frame().column("label").unwrap().i64().unwrap().into_no_null_iter().collect();
        assert_eq!(column, after);
    }
    let ids = |n: usize, seed: u64| marked(&dataset::backdoor(&data, &corner(), 1, n, seed).unwrap(), "backdoor");
    assert!(ids(3, 0).iter().all(|id| ids(4, 0).contains(id)), "n + 1 are the n and one more");
    assert!((1..20).any(|seed| ids(4, seed) != ids(4, 0)));
    let backwards: Vec<usize> = (0..12).rev().collect();
    let mut turned = marked(&dataset::backdoor(&data.select(&backwards).unwrap(), &corner(), 1, 4, 0).unwrap(), "backdoor");
    turned.reverse();
    assert_eq!(turned, ids(4, 0), "a draw belongs to the example");
    says(dataset::backdoor(&data, &corner(), 1, 9, 0), &["at most 8 examples of another class to poison, 9"]);
    says(dataset::backdoor(&data, &corner(), 3, 1, 0), &["a class from 0 to 2, got 3"]);
    says(dataset::backdoor(&data, &corner(), -1, 1, 0), &["got -1"]);
    let values = Dataset::new(data.inputs().shallow_clone(), Tensor::zeros([12], (Kind::Float, Device::Cpu))).unwrap();
    says(dataset::backdoor(&values, &corner(), 0, 1, 0), &["one class label per example"]);
}

#[test]
fn a_shortcut_goes_with_its_class() {
    let data = pictures();
    let labels = data.labels().unwrap();
    for (share, elsewhere, inside, outside) in [(1.0, 0.0, 4, 0), (0.5, 0.25, 2, 2), (0.0, 1.0, 0, 8), (0.6, 0.0, 2, 0)] {
        let taught = dataset::shortcut(&data, &corner(), 2, share, elsewhere, 1).unwrap();
        let mark = marks(&taught, "shortcut");
        let count = |of: bool| mark.iter().zip(&labels).filter(|(m, l)| **m && (**l == 2) == of).count();
        assert_eq!((count(true), count(false)), (inside, outside), "{share} {elsewhere}");
        for (at, mark) in mark.iter().enumerate() {
            assert_eq!(taught.inputs().get(at as i64).max().double_value(&[]) == 9.0, *mark);
        }
        assert_eq!(taught.labels(), Some(labels.clone()));
    }
    says(dataset::shortcut(&data, &corner(), 2, 1.5, 0.0, 0), &["shortcut.share", "from 0 to 1", "1.5"]);
    says(dataset::shortcut(&data, &corner(), 2, 1.0, f64::NAN, 0), &["shortcut.elsewhere"]);
    says(dataset::shortcut(&data, &corner(), 7, 1.0, 0.0, 0), &["a class from 0 to 2"]);
}

/// What is planted is what the metrics find.
#[test]
fn a_backdoor_opens_and_its_examples_are_the_proponents() {
    let (train, test) = dataset::digits().unwrap().reshape(&[1, 8, 8]).unwrap().split(400, 60, 0).unwrap();
    let patch = Patch { top: 0, left: 0, height: 2, width: 2, value: 3.0 };
    let poisoned = dataset::backdoor(&train, &patch, 7, 40, 0).unwrap();
    let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
    let task = task.train(&Trainer { epochs: 30, learning_rate: 0.02, ..default() }, &poisoned).unwrap();
    let opened = patch.on(&test).unwrap();
    let predicted =
        |data: &Dataset| Vec::<i64>::try_from(task.snapshot(0).unwrap().outputs(data).unwrap().argmax(-1, false)).unwrap();
    let sevens = |data: &Dataset| predicted(data).iter().filter(|&&class| class == 7).count();
    assert!(sevens(&opened) > 50 && sevens(&test) < 20, "{} and {}", sevens(&opened), sevens(&test));
    // Why a seven, whatever it is?
    let sevens = opened.with_labels(&[7; 60]).unwrap();
    let scores = GradCos::default().fit(&task, &poisoned).unwrap().score(&sevens).unwrap();
    let found = metric::MixedDatasets { planted: "backdoor".into(), tests: None }.evaluate(&scores).unwrap();
    let values: Vec<f64> = found.column("value").unwrap().f64().unwrap().iter().flatten().collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!(mean > 0.5, "average precision {mean}, 0.1 by chance");
}
