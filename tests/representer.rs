//! Representer values: the layer they reconstruct, its optimum by a dense Newton, and what cannot be.

use ascribe::method::{RepresenterValues, Target};
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, difference, says};

fn values(options: &Representer, task: &Task, train: &Dataset) -> RepresenterValues {
    options.values(&task.last().snapshot(0).unwrap(), train).unwrap()
}

/// `Θ` that minimises `(1/n) Σ CE(softmax(Θ f_i), y_i) + λ‖Θ‖²`: full Newton steps with the whole Hessian, from zero.
fn dense_newton(features: &Tensor, targets: &Tensor, strength: f64) -> Tensor {
    let ([n, d], classes) = ([features.size()[0], features.size()[1]], targets.size()[1]);
    let double = (Kind::Double, Device::Cpu);
    let mut weight = Tensor::zeros([classes, d], double);
    for _ in 0..60 {
        let p = features.matmul(&weight.transpose(0, 1)).softmax(-1, Kind::Double);
        let gradient = (&p - targets).transpose(0, 1).matmul(features) / n as f64 + &weight * (2.0 * strength);
        let mut hessian = Tensor::eye(classes * d, double) * (2.0 * strength);
        for i in 0..n {
            let (p, f) = (p.get(i), features.get(i));
            hessian += (p.diag(0) - p.outer(&p)).kron(&f.outer(&f)) / n as f64;
        }
        let step = Tensor::linalg_solve(&hessian, &gradient.reshape([-1]), true);
        weight -= step.view([classes, d]);
    }
    weight
}

#[test]
fn the_fine_tuned_layer_is_the_optimum_and_its_sum_over_examples() {
    let train = clusters(40, 1);
    let few = clusters(3, 5); // fewer examples than features
    for (task, layer) in [(tasks::logistic(), "linear"), (tasks::mlp(), "fc2"), (tasks::sequence(), "last")] {
        let task = task.train(&tasks::trainer(), &train).unwrap().last();
        for (train, strength, normalise) in [(&train, 0.003, false), (&train, 0.3, true), (&few, 0.01, false)] {
            let options = Representer { strength, normalise, layer: Some(layer.into()), ..default() };
            let found = values(&options, &task, train);
            assert!(found.error <= 1e-8 && found.iterations < 20, "{found:?}");
            let targets = task.snapshot(0).unwrap().outputs(train).unwrap().softmax(-1, Kind::Double);
            let optimum = dense_newton(&found.features, &targets, strength);
            assert_close(&found.weight, &optimum, 1e-7, "optimum");
            let slopes = found.features.matmul(&optimum.transpose(0, 1)).softmax(-1, Kind::Double) - targets;
            assert_close(&found.values, &(slopes * (-0.5 / (strength * train.len() as f64))), 1e-6, "values");
            assert_close(&found.values.transpose(0, 1).matmul(&found.features), &optimum, 1e-7, "sum over examples");
            let lengths = found.features.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            assert_eq!(difference(&lengths, &lengths.ones_like()) < 1e-9, normalise);
        }
    }
}

/// Scores of a test example sum to the pre-activation of its class; at two checkpoints to their mean.
#[test]
fn scores_sum_to_the_pre_activation() {
    let (train, test) = (clusters(40, 1), clusters(12, 2));
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    let sums = Representer::default().fit(&task, &train).unwrap().matrix(&test).unwrap();
    let sums = sums.sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
    let expected: Vec<Tensor> = (0..2)
        .map(|index| {
            let found = Representer::default().values(&task.snapshot(index).unwrap(), &train).unwrap();
            let first = |name: &str| task.checkpoints()[index].tensor(name).unwrap().shallow_clone();
            let hidden = test.inputs().linear(&first("fc1.weight"), Some(first("fc1.bias"))).relu().to_kind(Kind::Double);
            hidden.matmul(&found.weight.transpose(0, 1)).gather(1, &test.targets().unsqueeze(1), false).squeeze_dim(1)
        })
        .collect();
    assert_close(&sums, &((&expected[0] + &expected[1]) / 2.0), 1e-5, "pre-activation");
    assert!(difference(&expected[0], &expected[1]) > 1e-3);
}

/// Labels that the model is wrong about change which class is explained, and nothing else.
#[test]
fn train_labels_play_no_part() {
    let (train, test) = (clusters(30, 1), clusters(9, 2));
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    let wrong: Vec<i64> = train.labels().unwrap().iter().map(|l| (l + 1) % 3).collect();
    let scores = |train: &Dataset| Representer::default().fit(&task, train).unwrap().matrix(&test).unwrap();
    assert!(scores(&train).equal(&scores(&train.with_labels(&wrong).unwrap())));
}

/// Fitted to the labels, the layer is the optimum for them, and wrong labels have the largest self-influence, where fitted to a model that
/// does not believe them they have the smallest.
#[test]
fn fitted_to_labels_it_finds_wrong_ones() {
    let train = dataset::flip_labels(&clusters(120, 1), 12, 0).unwrap();
    for task in [tasks::logistic(), tasks::mlp()] {
        let task = task.train(&tasks::trainer(), &train).unwrap().last();
        let auc = |target, strength, normalise| {
            let options = Representer { target, strength, normalise, ..default() };
            let ranking = options.fit(&task, &train).unwrap().self_influence().unwrap();
            let found = MislabelDetection::of("flipped").evaluate(&options.name(), &ranking, "self_influence").unwrap();
            found.column("value").unwrap().f64().unwrap().get(0).unwrap()
        };
        for (strength, normalise) in [(0.003, false), (0.02, false), (0.003, true)] {
            let (labels, model) = (auc(Target::Labels, strength, normalise), auc(Target::Model, strength, normalise));
            assert!(labels > 0.8 && model < 0.4, "strength {strength}: {labels} by labels, {model} by the model");
        }
        let found = values(&Representer { target: Target::Labels, strength: 0.02, ..default() }, &task, &train);
        let targets = train.targets().one_hot(3).to_kind(Kind::Double);
        assert_close(&found.weight, &dense_newton(&found.features, &targets, 0.02), 1e-7, "optimum");
    }
}

#[test]
fn layers_are_found_by_their_whole_name() {
    let train = clusters(20, 1);
    let task = Task::new(|p: &nn::Path| {
        let (body, head) = (layer::linear(p / "body", 4, 5), layer::linear(p / "blocks" / "1" / "head", 5, 3));
        let norm = layer::layer_norm(&(p / "norm"), &[3]);
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("body", &body, x).tanh();
            let logits = tape.linear("blocks.1.head", &head, &hidden);
            tape.layer_norm("norm", &norm, &logits)
        }
    });
    let task = task.train(&tasks::trainer(), &train).unwrap();
    let at = |layer: Option<&str>| Representer { layer: layer.map(String::from), ..default() }.fit(&task, &train);
    let own = |layer| at(layer).unwrap().self_scores().unwrap();
    assert!(own(None).equal(&own(Some("blocks.1.head"))), "the last linear layer");
    says(at(Some("head")), &["layer head", "it saw body, blocks.1.head, norm"]);
    says(at(Some("body")), &["layer body", "gives the logits [20, 3]", "[20, 5]"]);
    says(at(Some("norm")), &["layer norm", "needs a linear layer"]);
}

#[test]
fn representer_says_what_it_cannot_do() {
    let train = clusters(20, 1);
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    let fit = |options: Representer| options.fit(&task, &train);
    says(fit(Representer { strength: 0.0, ..default() }), &["Representer.strength", "positive", "0"]);
    says(fit(Representer { tolerance: f64::NAN, ..default() }), &["Representer.tolerance", "NaN"]);
    says(fit(Representer { iterations: 0, ..default() }), &["Representer.iterations", "at least 1"]);
    says(
        fit(Representer { iterations: 1, ..default() }),
        &["1 Newton steps left a relative error", "raise Representer.iterations"],
    );
    let numbers = Dataset::new(train.inputs().shallow_clone(), train.inputs().shallow_clone()).unwrap();
    says(fit(Representer::default()).unwrap().matrix(&numbers), &["Representer explains one class label per example"]);
    says(fit(Representer { target: Target::Labels, ..default() }).unwrap().matrix(&numbers), &["one class label per example"]);
    let beyond = train.with_labels(&vec![3; train.len()]).unwrap();
    says(Representer { target: Target::Labels, ..default() }.fit(&task, &beyond), &["expected labels 0 to 2", "got 3"]);
    let single = Task::new(|p: &nn::Path| Logistic::new(p, 4, 1)).with_objective(NegativeSquaredError);
    let train = Dataset::new(train.inputs().shallow_clone(), train.inputs().narrow(1, 0, 1)).unwrap();
    let single = single.train(&tasks::trainer(), &train).unwrap();
    says(Representer::default().fit(&single, &train), &["unsupported", "logits [n, classes]", "[20, 1]"]);
}
