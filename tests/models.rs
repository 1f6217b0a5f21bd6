//! The architectures: parameters counted, outputs and gradients equal to torch's, the tape equal to the loop, and training.

use std::path::PathBuf;

use ascribe::model::Lora;
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{Untaped, assert_close, says};

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

/// The same for networks whose weights are public.
fn public() -> Vec<(&'static str, Dataset, Make, usize, usize)> {
    vec![
        (
            "resnet18",
            images(3, 64, 97),
            |p| Box::new(ResNet18::new(p, ResNet18Options { classes: 10, ..default() })),
            11_181_642,
            41,
        ),
        ("mobilenet", images(3, 32, 98), |p| Box::new(MobileNetV2::new(p, default())), 2_296_922, 115),
    ]
}

fn golden(name: &str) -> Checkpoint {
    Checkpoint::load(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

#[test]
fn architectures_equal_those_of_torch_and_the_tape_equals_the_loop() {
    compare("models.safetensors", cases());
}

#[test]
fn public_architectures_equal_those_of_their_publishers() {
    compare("public.safetensors", public());
}

fn compare(file: &str, cases: Vec<(&str, Dataset, Make, usize, usize)>) {
    let golden = golden(file);
    for (name, data, make, count, blocks) in cases {
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
    assert_eq!(parameters(|p| Box::new(ResNet18::new(p, default()))), 11_689_512);
    assert_eq!(parameters(|p| Box::new(Vit::new(p, default()))), 589_824 + 7_690);
    assert_eq!(parameters(|p| Box::new(Vit::new(p, VitOptions { lora: None, ..default() }))), 85_798_656 + 7_690);
    let data = Dataset::new(formula(&[4, 64], 3).to_kind(Kind::Float), Tensor::from_slice(&[0i64, 3, 9, 1])).unwrap();
    let task = Task::new(|p: &nn::Path| Cnn::new(p, 8, 10)).train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    assert_eq!(task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap().describe().len(), 3);
}

const TINY: VitOptions = VitOptions {
    image: 16,
    patch: 8,
    width: 24,
    heads: 3,
    layers: 2,
    hidden: 48,
    classes: 3,
    lora: Some(Lora { rank: 4, alpha: 8.0, dropout: 0.1 }),
};

fn tiny_images(golden: &Checkpoint) -> Dataset {
    Dataset::new(golden.tensor("vit.input").unwrap().shallow_clone(), Tensor::from_slice(&[1i64, 0])).unwrap()
}

/// The files that transformers and PEFT wrote, read as they are.
#[test]
fn a_vit_with_adapters_equals_that_of_transformers_and_peft() {
    let (file, base, adapters) =
        (golden("public.safetensors"), golden("vit/base.safetensors"), golden("vit/adapter.safetensors"));
    let (data, expected) = (tiny_images(&file), |name: &str| file.tensor(&format!("vit.{name}")).unwrap().shallow_clone());
    let task = Task::new(|p: &nn::Path| Vit::new(p, TINY));
    let task = task.with_checkpoints(vec![Vit::checkpoint(&base, Some(&adapters))]).unwrap();
    let snapshot = task.snapshot(0).unwrap();
    assert_close(&snapshot.outputs(&data).unwrap(), &expected("output"), 1e-4, "with adapters");
    // Only adapters and classifier, each in a block of the tape.
    let gradients = snapshot.gradients(Of::Objective, &data).unwrap();
    assert_eq!(gradients.describe().len(), 2 * 2 * 2 + 1, "{:?}", gradients.describe());
    assert_eq!(snapshot.p(), 2 * 2 * 4 * (24 + 24) + 24 * 3 + 3);
    let dense = gradients.dense().unwrap();
    for entry in gradients.layout().entries() {
        let stored = file.tensors().iter().find(|(name, _)| {
            let part = |new: &str, old: &str| entry.name.replace("vit.encoder.layer.", "vit.layers.").replace(old, new);
            let query = part(".q_proj.", ".attention.query.").replace(".attention.value.", ".v_proj.");
            let (layer, last) = query.rsplit_once('.').unwrap();
            let classifier = layer.replace("classifier", "classifier.modules_to_save");
            *name == format!("vit.grad.base_model.model.{classifier}.default.{last}")
        });
        let stored = stored.unwrap_or_else(|| panic!("{} is not stored", entry.name)).1.reshape([2, -1]);
        assert_close(&dense.narrow(1, entry.offset, entry.len), &stored, 1e-4, &entry.name);
    }
    // Without adapters, everything is trained, by the loop.
    let plain = Task::new(|p: &nn::Path| Vit::new(p, VitOptions { lora: None, ..TINY }));
    let plain = plain.with_checkpoints(vec![Vit::checkpoint(&base, None)]).unwrap().snapshot(0).unwrap();
    assert_close(&plain.outputs(&data).unwrap(), &expected("plain"), 1e-4, "without adapters");
    assert_eq!(plain.gradients(Of::Objective, &data).unwrap().describe().len(), 1);
}

/// Of every file that these libraries write, each weight finds its place.
#[test]
fn names_of_a_vit_in_all_their_forms() {
    let names = |checkpoint: &Checkpoint| {
        let mut names: Vec<String> = checkpoint.tensors().iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    let zero = |name: &str| (name.to_string(), Tensor::from(0.0f32));
    let own: Vec<String> = tensors(|p| Box::new(Vit::new(p, TINY))).into_iter().map(|(name, _)| name).collect();
    let (base, adapters) = (golden("vit/base.safetensors"), golden("vit/adapter.safetensors"));
    assert_eq!(names(&Vit::checkpoint(&base, Some(&adapters))), own);
    let whole = include_str!("golden/vit/whole.txt");
    let whole = Checkpoint::new(0, 0, 0.0, whole.lines().map(zero).collect());
    assert_eq!(names(&Vit::checkpoint(&whole, None)), own);
    // The public file is of the body alone, without `vit.`, and has a pooler.
    let body = base.tensors().iter().filter_map(|(name, _)| name.strip_prefix("vit.")).chain(["pooler.dense.weight"]);
    let body = Checkpoint::new(0, 0, 0.0, body.map(zero).collect());
    assert_eq!(names(&Vit::checkpoint(&body, Some(&adapters))), own);
}

#[test]
fn training_a_vit_moves_adapters_and_classifier_from_the_base() {
    let data = tiny_images(&golden("public.safetensors"));
    let task = Task::new(|p: &nn::Path| Vit::new(p, TINY).with_base(&golden("vit/base.safetensors")));
    let task = task.train(&Trainer { epochs: 30, learning_rate: 0.01, keep: Keep::Every(30), ..default() }, &data).unwrap();
    let (base, last) = (golden("vit/base.safetensors"), &task.checkpoints()[0]);
    for (name, tensor) in last.tensors() {
        let moved = base.tensor(name).is_none_or(|before| before != tensor);
        assert_eq!(moved, name.contains("lora_") || name.starts_with("classifier"), "{name}");
    }
    let values = task.snapshot(0).unwrap().measure(Of::Objective, &data).unwrap();
    assert!(values.min().double_value(&[]) > -0.2, "{values}");
    let wrong =
        Task::new(|p: &nn::Path| Vit::new(p, VitOptions { hidden: 40, ..TINY }).with_base(&golden("vit/base.safetensors")));
    says(wrong.train(&Trainer::default(), &data), &["base of the ViT", "intermediate.dense", "[40, 24]", "[48, 24]"]);
}

#[test]
fn sizes_that_cannot_be() {
    let start = |task: Task| task.train(&Trainer { epochs: 1, ..default() }, &images(3, 20, 1));
    let vit = |options: VitOptions| start(Task::new(move |p: &nn::Path| Vit::new(p, options)));
    says(vit(VitOptions { image: 20, ..TINY }), &["VitOptions.image", "a multiple of the patches' 8", "20"]);
    says(vit(VitOptions { heads: 5, ..TINY }), &["VitOptions.heads", "a divisor of the width 24", "5"]);
    says(vit(VitOptions { lora: Some(Lora { rank: 0, ..default() }), ..TINY }), &["VitOptions.lora.rank", "at least 1"]);
    says(vit(TINY), &["inputs of Vit", "[n, 3, 16, 16]", "[2, 3, 20, 20]"]);
    let flat = Dataset::new(formula(&[2, 64], 3).to_kind(Kind::Float), Tensor::from_slice(&[0i64, 1])).unwrap();
    let trained = |task: Task| task.train(&Trainer { epochs: 1, ..default() }, &flat);
    says(
        trained(Task::new(|p: &nn::Path| ResNet18::new(p, ResNet18Options { width: 1, classes: 2 }))),
        &["ResNet18", "[n, 3, h, w]"],
    );
    says(trained(Task::new(|p: &nn::Path| MobileNetV2::new(p, default()))), &["MobileNetV2", "[n, 3, h, w]"]);
    says(
        start(Task::new(|p: &nn::Path| ResNet18::new(p, ResNet18Options { width: 0, classes: 2 }))),
        &["ResNet18Options", "0 and 2"],
    );
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
