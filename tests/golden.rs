//! Scores and layers computed by other software; `golden/make.py` wrote them and `golden/README.md` says with which versions.

use std::path::PathBuf;

use ascribe::model::layer::{BatchNorm, Conv2d, ConvOptions, Embedding, GroupNorm, LayerNorm};
use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};
use ndarray::ArrayD;

use crate::tasks::assert_close;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A `.npy` file of float32 or float64 numbers.
pub fn npy(name: &str) -> Tensor {
    let single: Result<ArrayD<f32>, _> = ndarray_npy::read_npy(path(name));
    let array = match single {
        Ok(array) => array.mapv(f64::from),
        Err(_) => ndarray_npy::read_npy(path(name)).unwrap(),
    };
    let size: Vec<i64> = array.shape().iter().map(|&d| d as i64).collect();
    Tensor::from_slice(&array.into_iter().collect::<Vec<f64>>()).view(size.as_slice())
}

pub fn digits() -> (Dataset, Dataset) {
    let data = dataset::digits().unwrap();
    (data.head(60).unwrap(), data.select(&(60..72).collect::<Vec<_>>()).unwrap())
}

pub fn golden_cnn(p: &nn::Path) -> impl Model + use<> {
    let same = ConvOptions { padding: [1, 1], ..Default::default() };
    let conv1 = layer::conv2d(p / "conv1", 1, 4, 3, same);
    let conv2 = layer::conv2d(p / "conv2", 4, 8, 3, ConvOptions { groups: 2, ..same });
    let fc = layer::linear(p / "fc", 32, 10);
    move |x: &Tensor, tape: &mut Tape| {
        let x = tape.conv2d("conv1", &conv1, &x.reshape([-1, 1, 8, 8])).relu().max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let x = tape.conv2d("conv2", &conv2, &x).relu().max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        tape.linear("fc", &fc, &x.flatten(1, -1))
    }
}

fn models() -> [(&'static str, Task, f64); 3] {
    [
        ("logistic", Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)), 0.01),
        ("mlp", Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])), 0.5),
        ("cnn", Task::new(golden_cnn), 0.5),
    ]
}

#[test]
fn scores_equal_those_of_dattri_and_of_brute_force() {
    let (train, test) = digits();
    for (model, task, damping) in models() {
        let load = |i: usize| Checkpoint::load(path(&format!("{model}-{i}.safetensors"))).unwrap();
        let both = task.clone().with_checkpoints(vec![load(0), load(1)]).unwrap();
        let last = task.with_checkpoints(vec![load(1)]).unwrap();
        let check = |name: &str, method: &dyn Method, task: &Task, tolerance: f64| {
            let fitted = method.fit(task, &train).unwrap();
            let scores = fitted.matrix(&test).unwrap();
            for file in [format!("{model}-{name}.npy"), format!("{model}-{name}-exact.npy")] {
                assert_close(&scores, &npy(&file), tolerance, &file);
            }
            let own = format!("{model}-{name}_self-exact.npy");
            if path(&own).exists() {
                assert_close(&fitted.self_scores().unwrap(), &npy(&own), tolerance, &own);
            }
        };
        check("grad_dot", &GradDot::default(), &last, 1e-5);
        check("grad_cos", &GradCos::default(), &last, 1e-5);
        check("tracin", &TracIn::default(), &both, 1e-5);
        let explicit = Influence::new(Explicit { damping: Damping::Absolute(damping), ..default() });
        check("influence_explicit", &explicit, &last, 1e-4);
        if model == "logistic" {
            let conjugate = ConjugateGradient { damping: Damping::Absolute(0.05), tolerance: 1e-6, ..default() };
            check("influence_cg", &Influence::new(conjugate), &last, 1e-4);
        }
    }
}

/// One layer of `layers.safetensors`: its output and per-example gradients of `Σ output ∘ probe`.
fn layer_case<M: Model + 'static>(case: &str, architecture: fn(&nn::Path) -> M) {
    let file = Checkpoint::load(path("layers.safetensors")).unwrap();
    let part = |name: &str| file.tensor(&format!("{case}.{name}"));
    let (input, probe) = (part("input").unwrap(), part("probe").unwrap());
    let data = Dataset::new(input.shallow_clone(), probe.shallow_clone()).unwrap();
    let weighted =
        |o: &Tensor, probe: &Tensor| (o * probe).flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
    let names = ["weight", "bias", "running_mean", "running_var"];
    let stored = names.iter().filter_map(|n| part(n).map(|t| (n.to_string(), t.shallow_clone())));
    let checkpoint = Checkpoint::new(0, 0, 0.0, stored.collect());
    let task = Task::new(architecture).with_objective(weighted).with_checkpoints(vec![checkpoint]).unwrap();
    let snapshot = task.snapshot(0).unwrap();
    assert_close(&snapshot.outputs(&data).unwrap(), part("output").unwrap(), 1e-5, &format!("{case} output"));
    let gradients = snapshot.gradients(Of::Objective, &data).unwrap();
    let dense = gradients.dense().unwrap();
    assert!(gradients.describe().iter().all(|(name, _)| name == "layer"), "{case} was seen by the tape");
    for entry in gradients.layout().entries() {
        let expected = part(&format!("grad.{}", entry.name)).unwrap().flatten(1, -1);
        assert_close(&dense.narrow(1, entry.offset, entry.len), &expected, 1e-5, &format!("{case} gradient of {}", entry.name));
    }
}

#[test]
fn layers_equal_those_of_torch() {
    layer_case("linear_sequence", |p| {
        let layer = layer::linear(p, 5, 6);
        move |x: &Tensor, tape: &mut Tape| tape.linear("layer", &layer, x)
    });
    layer_case("linear_twice", |p| {
        let layer = layer::linear(p, 5, 5);
        move |x: &Tensor, tape: &mut Tape| {
            let once = tape.linear("layer", &layer, x).relu();
            tape.linear("layer", &layer, &once)
        }
    });
    layer_case("conv2d", |p| {
        let options = ConvOptions { stride: [2, 2], padding: [1, 1], dilation: [2, 2], groups: 2, bias: true };
        let layer: Conv2d = Conv2d {
            weight: p.var("weight", &[6, 2, 3, 3], nn::Init::Const(0.0)),
            bias: Some(p.var("bias", &[6], nn::Init::Const(0.0))),
            options,
        };
        move |x: &Tensor, tape: &mut Tape| tape.conv2d("layer", &layer, x)
    });
    layer_case("layer_norm", |p| {
        let layer: LayerNorm = layer::layer_norm(p, &[6]);
        move |x: &Tensor, tape: &mut Tape| tape.layer_norm("layer", &layer, x)
    });
    layer_case("group_norm", |p| {
        let layer: GroupNorm = layer::group_norm(p, 3, 6);
        move |x: &Tensor, tape: &mut Tape| tape.group_norm("layer", &layer, x)
    });
    layer_case("batch_norm", |p| {
        let layer: BatchNorm = layer::batch_norm(p, 4);
        move |x: &Tensor, tape: &mut Tape| tape.batch_norm("layer", &layer, x)
    });
    layer_case("embedding", |p| {
        let layer: Embedding = layer::embedding(p, 7, 5);
        move |x: &Tensor, tape: &mut Tape| tape.embedding("layer", &layer, x)
    });
}
