//! The architectures: parameters counted, outputs and gradients equal to torch's, the tape equal to the loop, and training.

use std::path::PathBuf;

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{Untaped, assert_close};

type Make = fn(&nn::Path) -> Box<dyn Model>;

/// Numbers in (−1, 1) by the formula of `golden/models.py`.
fn formula(shape: &[i64], i: i64) -> Tensor {
    let j = Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu));
    ((j * 12.9898 + 78.233 * (i + 1) as f64).sin() * 43758.5453).frac().view(shape)
}

fn tensors(make: Make) -> Vec<(String, Tensor)> {
    let store = nn::VarStore::new(Device::Cpu);
    let _ = make(&store.root());
    let mut named: Vec<_> = store.variables().into_iter().collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

fn parameters(make: Make) -> usize {
    tensors(make).iter().filter(|(_, t)| t.requires_grad()).map(|(_, t)| t.numel()).sum()
}

/// Weights by the formula.
fn checkpoint(make: Make) -> Checkpoint {
    let filled = tensors(make).into_iter().enumerate().map(|(i, (name, tensor))| {
        let (size, u) = (tensor.size(), formula(&tensor.size(), i as i64));
        let value = match size.as_slice() {
            [first, rest @ ..] if !rest.is_empty() => u * 1.7 / ((tensor.numel() as i64 / first) as f64).sqrt(),
            _ if name.ends_with("weight") => u * 0.2 + 1.0,
            _ if name.ends_with("running_var") => u * 0.5 + 1.0,
            _ => u * 0.1,
        };
        (name, value.to_kind(Kind::Float))
    });
    Checkpoint::new(0, 1, 0.1, filled.collect())
}

fn images(channels: i64, side: i64, seed: i64) -> Dataset {
    let pixels = formula(&[2, channels, side, side], seed).to_kind(Kind::Float);
    Dataset::new(pixels, Tensor::from_slice(&[1i64, 0])).unwrap()
}

fn text() -> Dataset {
    let tokens = (Tensor::arange(20, (Kind::Int64, Device::Cpu)).square() + 3).remainder(13).view([2, 10]);
    let next = tokens.roll([-1], [1]);
    let _ = next.narrow(1, 9, 1).fill_(-100);
    Dataset::new(tokens, next).unwrap()
}

const SMALL: GptOptions = GptOptions { vocab: 13, context: 12, width: 24, heads: 3, layers: 2, dropout: 0.2, bias: false };

/// (name, data, architecture, parameters, blocks of gradients)
fn cases() -> Vec<(&'static str, Dataset, Make, usize, usize)> {
    vec![
        ("cnn2_mnist", images(1, 28, 99), |p| Box::new(GeluCnn::cnn2_mnist(p)), 225_034, 4),
        ("cnn2_cifar", images(3, 32, 99), |p| Box::new(GeluCnn::cnn2_cifar(p)), 259_914, 4),
        ("cnn3_mnist", images(1, 28, 99), |p| Box::new(GeluCnn::cnn3_mnist(p)), 619_786, 5),
        ("cnn3_cifar", images(3, 32, 99), |p| Box::new(GeluCnn::cnn3_cifar(p)), 620_362, 5),
        ("resnet9_trak", images(3, 32, 98), |p| Box::new(ResNet9::trak(p, 10)), 2_274_880, 17),
        ("resnet9_dattri", images(3, 32, 98), |p| Box::new(ResNet9::dattri(p, 2)), 4_825_154, 21),
        ("gpt", text(), |p| Box::new(Gpt::new(p, SMALL)), 14_544, 15),
        ("gpt_bias", text(), |p| Box::new(Gpt::new(p, GptOptions { bias: true, ..SMALL })), 15_096, 15),
    ]
}

#[test]
fn architectures_equal_those_of_torch_and_the_tape_equals_the_loop() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models.safetensors");
    let golden = Checkpoint::load(file).unwrap();
    for (name, data, make, count, blocks) in cases() {
        assert_eq!(parameters(make), count, "{name}: parameters");
        let weights = vec![checkpoint(make)];
        let task = Task::new(make).with_checkpoints(weights.clone()).unwrap();
        let snapshot = task.snapshot(0).unwrap();
        let expected = |part: &str| golden.tensor(&format!("{name}.{part}")).unwrap();
        assert_close(&snapshot.outputs(&data).unwrap(), expected("output"), 1e-4, &format!("{name}: outputs"));
        let gradients = snapshot.gradients(Of::Objective, &data).unwrap();
        assert_eq!(gradients.describe().len(), blocks, "{name}: {:?}", gradients.describe());
        let dense = gradients.dense().unwrap();
        let mut entries: Vec<_> = gradients.layout().entries().iter().collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for (column, entry) in entries.iter().enumerate() {
            let part = dense.narrow(1, entry.offset, entry.len);
            let lengths = part.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt();
            let what = format!("{name}: gradient of {}", entry.name);
            assert_close(&lengths, &expected("norms").select(1, column as i64), 1e-4, &what);
        }
        let hidden = Task::new(move |p: &nn::Path| Untaped(make(p))).with_checkpoints(weights).unwrap();
        let looped = hidden.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap();
        assert_eq!(looped.describe().len(), 1);
        assert_close(&dense, &looped.dense().unwrap(), 1e-5, &format!("{name}: tape and loop"));
    }
}

#[test]
fn other_architectures_and_their_parameters() {
    assert_eq!(parameters(|p| Box::new(Cnn::new(p, 8, 10))), 80 + 1168 + 10 * (16 * 4 + 1));
    assert_eq!(parameters(|p| Box::new(Mlp::new(p, &[784, 128, 64, 10]))), 109_386);
    assert_eq!(parameters(|p| Box::new(Logistic::new(p, 784, 10))), 7_850);
    assert_eq!(parameters(|p| Box::new(ResNet9::trak(p, 2))), 2_273_856);
    assert_eq!(parameters(|p| Box::new(Gpt::new(p, GptOptions::default()))), 106_880);
    assert_eq!(parameters(|p| Box::new(Gpt::new(p, GptOptions::nano(65)))), 10_745_088);
    let options = GptOptions { bias: true, ..default() };
    let GptOptions { vocab, context, width, layers, .. } = options;
    let expected = vocab * width + context * width + layers as i64 * (12 * width * width + 13 * width) + 2 * width;
    assert_eq!(parameters(|p| Box::new(Gpt::new(p, GptOptions { bias: true, ..default() }))), expected as usize);
    let data = Dataset::new(formula(&[4, 64], 3).to_kind(Kind::Float), Tensor::from_slice(&[0i64, 3, 9, 1])).unwrap();
    let task = Task::new(|p: &nn::Path| Cnn::new(p, 8, 10)).train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    assert_eq!(task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap().describe().len(), 3);
}

/// Whether the mean loss after the last epoch is below this share of the one after the first.
fn falls(task: Task, trainer: &Trainer, data: &Dataset, by: f64) {
    let task = task.train(&Trainer { keep: Keep::Every(1), ..trainer.clone() }, data).unwrap();
    let loss = |i: usize| -task.snapshot(i).unwrap().measure(Of::Objective, data).unwrap().mean(Kind::Double).double_value(&[]);
    let (first, last) = (loss(0), loss(task.checkpoints().len() - 1));
    assert!(last < first * by, "loss fell from {first} to {last} only");
}

#[test]
fn a_gpt_learns() {
    let trainer = Trainer { epochs: 30, batch_size: 2, learning_rate: 0.01, ..default() };
    falls(Task::new(|p: &nn::Path| Gpt::new(p, SMALL)), &trainer, &text(), 0.3);
}

#[test]
fn a_residual_network_learns() {
    let trainer = Trainer { epochs: 14, batch_size: 2, learning_rate: 1e-3, ..default() };
    falls(Task::new(|p: &nn::Path| ResNet9::trak(p, 2)), &trainer, &images(3, 32, 98), 0.7);
}

#[test]
fn initial_weights_of_a_gpt_are_those_of_nano_gpt() {
    let named = tensors(|p| Box::new(Gpt::new(p, GptOptions { layers: 8, bias: true, ..default() })));
    for (name, tensor) in named {
        let deviation = tensor.std(false).double_value(&[]);
        let expected = match name.rsplit_once('.').unwrap() {
            (_, "bias") => 0.0,
            (layer, _) if layer.contains("norm") => 0.0,
            (layer, _) if layer.ends_with("out") || layer.ends_with("shrink") => 0.02 / 4.0,
            _ => 0.02,
        };
        assert!((deviation - expected).abs() <= 0.05 * expected, "{name}: deviation {deviation}, expected {expected}");
    }
}

/// The prediction at a place does not depend on later tokens.
#[test]
fn a_gpt_does_not_see_the_future() {
    let task = Task::new(|p: &nn::Path| Gpt::new(p, SMALL)).with_checkpoints(vec![checkpoint(|p| Box::new(Gpt::new(p, SMALL)))]);
    let snapshot = task.unwrap().snapshot(0).unwrap();
    let before = text();
    let tokens = before.inputs().copy();
    let _ = tokens.narrow(1, 6, 4).fill_(1);
    let after = Dataset::new(tokens, before.targets().shallow_clone()).unwrap();
    let apart = (snapshot.outputs(&before).unwrap() - snapshot.outputs(&after).unwrap()).abs();
    assert_eq!(apart.narrow(1, 0, 6).max().double_value(&[]), 0.0);
    assert!(apart.narrow(1, 6, 4).min_dim(2, false).0.double_value(&[0, 0]) > 0.0);
}
