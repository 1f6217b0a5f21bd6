//! Convolutional networks that are trained side by side: each ends where it would alone.

use ascribe::model::layer::ConvOptions;
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::layers::noise;
use crate::retrained::loop_over;
use crate::tasks::{assert_close, difference};

const EVERYTHING: ConvOptions = ConvOptions { stride: [2, 1], padding: [1, 2], dilation: [2, 1], groups: 2, bias: true };
const DEPTHWISE: ConvOptions = ConvOptions { stride: [1, 2], padding: [1, 1], dilation: [1, 1], groups: 4, bias: false };

/// Images of four channels, of three classes.
fn images(n: i64) -> Dataset {
    let labels = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(3);
    let bright = (labels.to_kind(Kind::Float) - 1.0).view([n, 1, 1, 1]);
    Dataset::new(noise(&[n, 4, 7, 6], 1) + bright, labels).unwrap()
}

fn flat(options: ConvOptions) -> Task {
    Task::new(move |p: &nn::Path| {
        let (conv, fc) = (layer::conv2d(p / "conv", 4, 8, 3, options), layer::linear(p / "fc", 8, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.conv2d("conv", &conv, x).tanh().mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
            tape.linear("fc", &fc, &hidden)
        }
    })
}

fn along(options: ConvOptions) -> Task {
    Task::new(move |p: &nn::Path| {
        let (conv, fc) = (layer::conv1d(p / "conv", 4, 8, 3, options), layer::linear(p / "fc", 8, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.conv1d("conv", &conv, &x.flatten(2, 3)).tanh().mean_dim([2i64].as_slice(), false, None::<Kind>);
            tape.linear("fc", &fc, &hidden)
        }
    })
}

/// Two convolutions, each with a max-pool that leaves a row or a column out.
fn deep() -> Task {
    Task::new(|p: &nn::Path| {
        let padded = ConvOptions { padding: [1, 1], ..default() };
        let (first, second) = (layer::conv2d(p / "first", 4, 6, 3, padded), layer::conv2d(p / "second", 6, 4, 2, padded));
        let fc = layer::linear(p / "fc", 16, 3);
        move |x: &Tensor, tape: &mut Tape| {
            let x = tape.conv2d("first", &first, x).gelu("none");
            let x = tape.max_pool(2, &x);
            let x = tape.conv2d("second", &second, &x).relu();
            let x = tape.max_pool(2, &x);
            let x = tape.dropout(0.2, &x);
            tape.linear("fc", &fc, &x.flatten(1, -1))
        }
    })
}

#[test]
fn convolutions_side_by_side_are_those_of_one_after_the_other() {
    let (train, test) = (images(30), images(36).select(&[30, 31, 32, 33, 34, 35]).unwrap());
    let subsets = Subsets::fraction(&train, 0.5, 5, 3).unwrap();
    let tasks = [
        ("everything", flat(EVERYTHING)),
        ("depthwise", flat(DEPTHWISE)),
        ("along", along(EVERYTHING)),
        ("along, depthwise", along(DEPTHWISE)),
        ("deep", deep()),
    ];
    for (name, task) in tasks {
        let trainer =
            Trainer { epochs: 3, batch_size: 4, learning_rate: 0.05, optimizer: Optimizer::sgd(0.9, 0.01), ..default() };
        let how = Retraining { trainer, ..default() };
        let expected = loop_over(&how, &task, &train, &test, &subsets);
        for (side_by_side, threads) in [(None, None), (Some(3), Some(1)), (Some(10), Some(2))] {
            let found = Retraining { side_by_side, threads, ..how.clone() }.run(&task, &train, &test, &subsets).unwrap();
            assert_close(found.tensor(), &expected, 1e-4, &format!("{name}, {side_by_side:?} side by side"));
        }
        assert!(difference(&expected.get(0), &expected.get(1)) > 1e-3, "{name}: the subsets differ");
    }
}

#[test]
fn small_convolutional_networks_of_the_library_stack() {
    let (train, test) = dataset::digits().unwrap().split(80, 6, 0).unwrap();
    let subsets = Subsets::fraction(&train, 0.5, 4, 0).unwrap();
    let task = Task::new(|p: &nn::Path| Cnn::new(p, 8, 10)).with_measurement(Margin);
    let how = Retraining { trainer: Trainer { epochs: 2, batch_size: 30, ..default() }, ..default() };
    let expected = loop_over(&how, &task, &train, &test, &subsets);
    for side_by_side in [None, Some(1), Some(4)] {
        let found = Retraining { side_by_side, ..how.clone() }.run(&task, &train, &test, &subsets).unwrap();
        assert_close(found.tensor(), &expected, 1e-4, &format!("{side_by_side:?} side by side"));
    }
}
