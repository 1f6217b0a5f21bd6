//! TorchScript files: outputs and gradients equal to torch's, scores to those of the same network on the tape; what is refused.

use std::path::PathBuf;

use ascribe::model::layer::ConvOptions;
use ascribe::prelude::*;

use crate::tasks::{Folder, assert_close, says};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/script").join(name)
}

fn data(golden: &Checkpoint) -> Dataset {
    let tensor = |name: &str| golden.tensor(name).unwrap().shallow_clone();
    Dataset::new(tensor("input"), tensor("target")).unwrap()
}

/// The same network with layers that the tape sees, all but `scale`, which is a row of a table.
fn by_hand() -> Task {
    Task::new(|p: &nn::Path| {
        let same = ConvOptions { padding: [1, 1], ..default() };
        let conv = layer::conv2d(p / "block" / "conv", 1, 4, 3, same);
        let norm = layer::batch_norm(p / "block" / "norm", 4);
        let (scale, fc) = (p.var("scale", &[36], nn::Init::Const(1.0)), layer::linear(p / "fc", 36, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let x = tape.conv2d("block.conv", &conv, x);
            let x = tape.batch_norm("block.norm", &norm, &x).relu().max_pool2d(2, 2, 0, 1, false);
            tape.linear("fc", &fc, &(x.flatten(1, -1) * &scale))
        }
    })
}

#[test]
fn outputs_and_gradients_are_those_of_torch_func() {
    let golden = Checkpoint::load(file("net.safetensors")).unwrap();
    let data = data(&golden);
    for name in ["net.pt", "traced.pt"] {
        let snapshot = model::script(file(name)).unwrap().task().unwrap().snapshot(0).unwrap();
        assert_close(&snapshot.outputs(&data).unwrap(), golden.tensor("output").unwrap(), 1e-5, &format!("{name}: outputs"));
        let gradients = snapshot.gradients(Of::Objective, &data).unwrap();
        let dense = gradients.dense().unwrap();
        let mut names: Vec<&str> = gradients.layout().entries().iter().map(|entry| entry.name.as_str()).collect();
        for entry in gradients.layout().entries() {
            let expected = golden.tensor(&format!("grad.{}", entry.name)).unwrap().reshape([5, -1]);
            let what = format!("{name}: gradient of {}", entry.name);
            assert_close(&dense.narrow(1, entry.offset, entry.len), &expected, 1e-5, &what);
        }
        names.sort_unstable();
        let expected =
            ["block.conv.bias", "block.conv.weight", "block.norm.bias", "block.norm.weight", "fc.bias", "fc.weight", "scale"];
        assert_eq!(names, expected);
    }
}

/// First and second derivatives, through methods: a script is any other network.
#[test]
fn scores_are_those_of_the_same_network_by_hand() {
    let golden = Checkpoint::load(file("net.safetensors")).unwrap();
    let data = data(&golden);
    let script = model::script(file("net.pt")).unwrap();
    let buffers = ascribe::tch::CModule::load(file("net.pt")).unwrap();
    let buffer = |name: &str| match buffers.method_is::<ascribe::tch::IValue>(name, &[]).unwrap() {
        ascribe::tch::IValue::Tensor(tensor) => tensor,
        other => panic!("{other:?}"),
    };
    let mut tensors =
        script.checkpoint().unwrap().tensors().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect::<Vec<_>>();
    for name in ["running_mean", "running_var"] {
        tensors.push((format!("block.norm.{name}"), buffer(name)));
    }
    let hand = by_hand().with_checkpoints(vec![Checkpoint::new(0, 0, 0.0, tensors)]).unwrap();
    let methods: Vec<Box<dyn Method>> = vec![
        Box::new(GradDot::default()),
        Box::new(Trak::default()),
        Box::new(Influence::new(DataInf::default())),
        Box::new(Influence::new(ConjugateGradient { damping: Damping::Absolute(4.0), ..default() })),
        Box::new(Influence::new(Explicit { damping: Damping::Absolute(4.0), ..default() })),
    ];
    for method in methods {
        let score = |task: &Task| method.fit(task, &data).unwrap().matrix(&data).unwrap();
        assert_close(&score(&script.task().unwrap()), &score(&hand), 1e-3, &method.name());
    }
}

#[test]
fn training_continues_from_the_file_and_changes_no_other_network() {
    let golden = Checkpoint::load(file("net.safetensors")).unwrap();
    let (data, script) = (data(&golden), model::script(file("net.pt")).unwrap());
    let task = script.task().unwrap();
    let before = task.snapshot(0).unwrap();
    let trained = task.clone().train(&Trainer { epochs: 40, learning_rate: 0.01, ..default() }, &data).unwrap();
    let value =
        |snapshot: &Snapshot| snapshot.measure(Of::Objective, &data).unwrap().sum(ascribe::tch::Kind::Double).double_value(&[]);
    let (first, last) = (value(&before), value(&trained.snapshot(1).unwrap()));
    assert!(last > 0.5 * first, "log-likelihood rose from {first} to {last} only");
    assert_eq!(value(&trained.snapshot(0).unwrap()), first);
}

#[test]
fn part_of_a_model() {
    let golden = Checkpoint::load(file("net.safetensors")).unwrap();
    let script = model::script(file("net.pt")).unwrap();
    let task = Task::new(move |p: &nn::Path| {
        let (body, head) = (script.build(&(p / "body")), layer::linear(p / "head", 3, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = body.forward(x, tape);
            tape.linear("head", &head, &hidden)
        }
    });
    let task = task.train(&Trainer { epochs: 1, ..default() }, &data(&golden)).unwrap();
    assert!(task.checkpoints()[0].tensor("body.block.conv.weight").is_some());
    let gradients = task.snapshot(0).unwrap().gradients(Of::Objective, &data(&golden)).unwrap();
    assert_eq!(gradients.dense().unwrap().size(), [5, 40 + 8 + 36 + 111 + 12]);
}

#[test]
fn what_is_refused() {
    let (folder, golden) = (Folder::new("script"), Checkpoint::load(file("net.safetensors")).unwrap());
    says(model::script(file("none.pt")), &["none.pt"]);
    let empty = folder.0.join("empty.pt");
    std::fs::write(&empty, b"no such thing").unwrap();
    says(model::script(&empty), &["empty.pt", "not a TorchScript file", "nor does it hold weights", "torch.jit.script"]);
    let cut = folder.0.join("cut.pt");
    let whole = std::fs::read(file("net.pt")).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    says(model::script(&cut), &["cut.pt", "not a TorchScript file"]);
    let weights = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files/ckpt_epoch_3.pth");
    says(model::script(weights), &["ckpt_epoch_3.pth", "not a TorchScript file", "state dict", "Checkpoint::load"]);
    says(model::script(file("frozen.pt")), &["frozen.pt", "no parameters", "torch.jit.freeze"]);
    says(model::script(file("fixed.pt")), &["fixed.pt", "none of its parameters requires a gradient"]);
    says(model::script(file("double.pt")), &["double.pt", "expected float32, got Double"]);
    let score = |name: &str, data: &Dataset| {
        let task = model::script(file(name)).unwrap().task().unwrap();
        GradDot::default().fit(&task, data).map(|_| ())
    };
    says(score("pair.pt", &data(&golden)), &["pair.pt", "expected to give one tensor, got a tuple of 2"]);
    says(score("mean.pt", &data(&golden)), &["model outputs", "the batch as first dimension", "[1, 3] for a batch of 2"]);
    let wide = Dataset::new(golden.tensor("input").unwrap().narrow(2, 0, 4), Tensor::from_slice(&[0i64, 1, 2, 0, 1])).unwrap();
    says(score("net.pt", &wide), &["net.pt", "size"]);
    let many = Dataset::new(golden.tensor("input").unwrap().shallow_clone(), Tensor::from_slice(&[7i64, 1, 2, 0, 1])).unwrap();
    says(score("net.pt", &many), &["7", "3"]);
}
