//! Datasets that come with the library or are downloaded, and what is planted in them.

use ascribe::dataset::{self, Dataset};
use ascribe::{Error, Result};
use tch::{Kind, Tensor};

/// `n` examples `[0]`, `[1]`, … with labels 0, 1, … modulo `classes`.
fn counting(n: i64, classes: i64) -> Dataset {
    let inputs = Tensor::arange(n, (Kind::Float, tch::Device::Cpu)).view([n, 1]);
    Dataset::new(inputs, Tensor::arange(n, (Kind::Int64, tch::Device::Cpu)).remainder(classes)).unwrap()
}

fn flags(data: &Dataset) -> Vec<bool> {
    data.frame().column("flipped").unwrap().bool().unwrap().iter().map(|flag| flag.unwrap()).collect()
}

fn labels(data: &Dataset) -> Vec<i64> {
    data.labels().unwrap()
}

/// Positions at which two label vectors differ.
fn changes(before: &[i64], after: &[i64]) -> Vec<bool> {
    before.iter().zip(after).map(|(a, b)| a != b).collect()
}

#[test]
fn digits_are_the_published_ones() -> Result<()> {
    let digits = dataset::digits()?;
    assert_eq!((digits.len(), digits.classes(), digits.name()), (1797, Some(10), "digits"));
    assert_eq!((digits.inputs().kind(), digits.inputs().size()), (Kind::Float, vec![1797, 64]));
    // Known of this set: pixels sum to 561,718, and the classes hold this many examples.
    assert_eq!(digits.inputs().sum(Kind::Double).double_value(&[]) * 16.0, 561_718.0);
    let mut counts = [0; 10];
    labels(&digits).into_iter().for_each(|label| counts[label as usize] += 1);
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    // The first image, a zero: its first two rows are 0 0 5 13 9 1 0 0, 0 0 13 15 10 15 5 0.
    let pixels = Vec::<f32>::try_from(digits.inputs().get(0))?;
    let rows: [f32; 16] = [0., 0., 5., 13., 9., 1., 0., 0., 0., 0., 13., 15., 10., 15., 5., 0.];
    assert_eq!(pixels[..16], rows.map(|value| value / 16.0));
    assert_eq!((labels(&digits)[0], digits.class_name(7).as_str()), (0, "7"));
    Ok(())
}

#[test]
fn reshape_keeps_every_number_and_refuses_another_count() -> Result<()> {
    let digits = dataset::digits()?;
    let images = digits.reshape(&[1, 8, 8])?;
    assert_eq!(images.inputs().size(), [1797, 1, 8, 8]);
    assert_eq!(images.inputs().double_value(&[5, 0, 3, 4]), digits.inputs().double_value(&[5, 3 * 8 + 4]));
    assert_eq!((labels(&images), images.examples(), images.name()), (labels(&digits), digits.examples(), "digits"));
    assert_eq!(counting(3, 2).reshape(&[])?.inputs().size(), [3]);
    for shape in [&[1, 8, 9][..], &[-1], &[-8, -8], &[i64::MAX, 2], &[]] {
        let error = digits.reshape(shape).err().unwrap();
        assert_eq!(error.to_string(), format!("shape of digits inputs: expected 64 numbers each, got {shape:?}"));
    }
    Ok(())
}

#[test]
fn exactly_n_labels_are_flipped_and_marked() -> Result<()> {
    let clean = counting(50, 5);
    let before = labels(&clean);
    for n in [0, 1, 20, 50] {
        let noisy = dataset::flip_labels(&clean, n, 7)?;
        let changed = changes(&before, &labels(&noisy));
        assert_eq!(changed.iter().filter(|&&c| c).count(), n);
        assert_eq!(flags(&noisy), changed);
        assert!(labels(&noisy).iter().all(|&label| (0..5).contains(&label)));
        let column = noisy.frame().column("label").unwrap().i64().unwrap().into_no_null_iter().collect::<Vec<_>>();
        assert_eq!(column, labels(&noisy));
        assert_eq!((noisy.examples(), noisy.inputs() == clean.inputs()), (clean.examples(), true));
    }
    assert_eq!(labels(&clean), before, "the original is untouched");
    assert!(clean.frame().column("flipped").is_err(), "the original is untouched");
    Ok(())
}

#[test]
fn flips_follow_the_seed_and_the_example_not_its_position() -> Result<()> {
    let clean = counting(60, 4);
    let noisy = dataset::flip_labels(&clean, 20, 1)?;
    assert_eq!(labels(&noisy), labels(&dataset::flip_labels(&clean, 20, 1)?));
    assert_ne!(labels(&noisy), labels(&dataset::flip_labels(&clean, 20, 2)?));
    let backwards: Vec<usize> = (0..60).rev().collect();
    let reversed = dataset::flip_labels(&clean.select(&backwards)?, 20, 1)?;
    assert_eq!(labels(&reversed.select(&backwards)?), labels(&noisy));
    let more = dataset::flip_labels(&clean, 21, 1)?;
    assert_eq!(changes(&labels(&noisy), &labels(&more)).iter().filter(|&&c| c).count(), 1);
    Ok(())
}

#[test]
fn every_other_class_and_every_example_is_equally_likely() -> Result<()> {
    let (n, classes) = (3000, 3);
    let clean = counting(n, classes);
    let noisy = dataset::flip_labels(&clean, n as usize / 2, 0)?;
    let (before, after) = (labels(&clean), labels(&noisy));
    for from in 0..classes {
        for to in (0..classes).filter(|&to| to != from) {
            let count = before.iter().zip(&after).filter(|&(&a, &b)| (a, b) == (from, to)).count();
            assert!((200..300).contains(&count), "{from} to {to}: {count}, expected 250 with standard deviation 14");
        }
    }
    let first_half = flags(&noisy)[..n as usize / 2].iter().filter(|&&flipped| flipped).count();
    assert!((650..850).contains(&first_half), "{first_half}, expected 750 with standard deviation 14");
    Ok(())
}

#[test]
fn named_classes_without_examples_can_be_flipped_to() -> Result<()> {
    let all_zero = counting(10, 1).with_class_names(&["cat", "dog"]);
    assert_eq!(labels(&dataset::flip_labels(&all_zero, 10, 0)?), vec![1; 10]);
    Ok(())
}

#[test]
fn what_cannot_be_flipped_is_told() {
    let values = Dataset::new(Tensor::zeros([3, 1], (Kind::Float, tch::Device::Cpu)), Tensor::from_slice(&[0.5f32, 1.0, 2.0]));
    let cases = [
        (counting(3, 2), 4, "data dataset: expected at most 3 labels to flip, 4 were asked for"),
        (counting(3, 1), 1, "data dataset: expected at least 2 classes to flip between, got 1"),
        (values.unwrap(), 1, "data dataset: expected one class label per example to flip, got other targets"),
    ];
    for (data, n, expected) in cases {
        let error = dataset::flip_labels(&data, n, 0).err().unwrap();
        assert!(matches!(error, Error::Data { .. }));
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn mnist_and_fashion_mnist_are_the_published_ones() -> Result<()> {
    if std::env::var_os("ASCRIBE_DATA").is_none() {
        println!("skipped: ASCRIBE_DATA names no folder that holds mnist and fashion-mnist");
        return Ok(());
    }
    for ((train, test), name, last) in
        [(dataset::mnist()?, "mnist", "9"), (dataset::fashion_mnist()?, "fashion-mnist", "Ankle boot")]
    {
        assert_eq!((train.name(), test.name()), (format!("{name}-train").as_str(), format!("{name}-test").as_str()));
        assert_eq!((train.inputs().size(), test.inputs().size()), (vec![60_000, 1, 28, 28], vec![10_000, 1, 28, 28]));
        assert_eq!((train.classes(), train.class_name(9).as_str()), (Some(10), last));
        // Normalised by the training part's own mean and deviation, which are given to four digits.
        let pixels = train.inputs();
        assert!(pixels.mean(Kind::Double).double_value(&[]).abs() < 1e-3, "{name}");
        assert!((pixels.std(false).double_value(&[]) - 1.0).abs() < 1e-3, "{name}");
        let mut counts = [0; 10];
        labels(&test).into_iter().for_each(|label| counts[label as usize] += 1);
        let expected = if name == "mnist" { [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009] } else { [1000; 10] };
        assert_eq!(counts, expected, "{name}");
        let first = if name == "mnist" { [5, 0, 4, 1, 9] } else { [9, 0, 0, 3, 0] };
        assert_eq!(labels(&train)[..5], first, "{name}");
    }
    Ok(())
}
