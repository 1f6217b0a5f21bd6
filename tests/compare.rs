//! A network beside stored outputs of the same network elsewhere: what agrees, and which layer is the first to part.

use ascribe::model::layer::ConvOptions;
use ascribe::prelude::*;
use ascribe::tch::{Kind, no_grad};

use crate::tasks::{clusters, mlp, says, sequence, trainer};

fn images(n: i64) -> Tensor {
    crate::layers::noise(&[n, 2, 6, 6], 3)
}

/// What somebody gets wrong when writing a model anew: padding, a norm's epsilon, an activation.
fn net(padding: i64, epsilon: f64, tanh: bool) -> Task {
    Task::new(move |p: &nn::Path| {
        let same = ConvOptions { padding: [padding; 2], ..default() };
        let (a, b) = (layer::conv2d(p / "a", 2, 3, 3, same), layer::conv2d(p / "b", 3, 3, 3, default()));
        let norm = layer::BatchNorm { epsilon, ..layer::batch_norm(p / "norm", 3) };
        let fc = layer::linear(p / "fc", 3, 4);
        move |x: &Tensor, tape: &mut Tape| {
            let x = tape.conv2d("a", &a, x);
            let x = tape.batch_norm("norm", &norm, &x);
            let x = if tanh { x.tanh() } else { x.relu() };
            let x = tape.conv2d("b", &b, &x);
            tape.linear("fc", &fc, &x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>))
        }
    })
}

fn column(table: &DataFrame, name: &str) -> Vec<String> {
    table.column(name).unwrap().str().unwrap().iter().map(|value| value.unwrap_or("").to_string()).collect()
}

#[test]
fn the_first_layer_to_part_is_named() {
    let data = Dataset::new(images(6), Tensor::from_slice(&[0i64, 1, 2, 3, 0, 1])).unwrap();
    let right = net(1, 1e-5, false).train(&Trainer { epochs: 2, ..default() }, &data).unwrap();
    let stored = right.snapshot(0).unwrap().layer_outputs(data.inputs()).unwrap();
    assert_eq!(stored.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "norm", "b", "fc"]);
    let verdicts = |task: Task| {
        let task = task.with_checkpoints(right.checkpoints().to_vec()).unwrap();
        column(&task.compare_layers(data.inputs(), &stored).unwrap(), "verdict")
    };
    assert_eq!(verdicts(net(1, 1e-5, false)), ["agrees"; 4]);
    assert_eq!(verdicts(net(1, 0.1, false)), ["agrees", "first to part", "parts", "parts"]);
    assert_eq!(verdicts(net(1, 1e-5, true)), ["agrees", "agrees", "first to part", "parts"]);
    assert_eq!(verdicts(net(2, 1e-5, false)), ["other shape", "other shape", "other shape", "parts"]);
    let some = [stored[1].0.clone(), "head".into()].map(|name| (name, stored[1].1.shallow_clone()));
    let table = right.compare_layers(data.inputs(), &some).unwrap();
    assert_eq!(column(&table, "layer"), ["a", "norm", "b", "fc", "head"]);
    assert_eq!(column(&table, "verdict"), ["not stored", "agrees", "not stored", "not stored", "not in this network"]);
    let other = [("conv1".to_string(), stored[0].1.shallow_clone())];
    says(right.compare_layers(data.inputs(), &other), &["no output is stored for any layer", "a, norm, b, fc", "got conv1"]);
}

#[test]
fn differences_of_outputs_are_those_that_were_put_there() {
    let data = clusters(9, 1);
    let task = mlp().train(&trainer(), &data).unwrap();
    let own = task.snapshot(task.checkpoints().len() - 1).unwrap().outputs(&data).unwrap();
    let stored = own.copy();
    no_grad(|| drop(stored.get(4).get(2).fill_(50.0)));
    no_grad(|| drop(stored.get(7).get(0).fill_(f64::NAN)));
    let table = task.compare_outputs(data.inputs(), &stored).unwrap();
    let agrees: Vec<bool> = table.column("agrees").unwrap().bool().unwrap().iter().flatten().collect();
    assert_eq!(agrees, (0..9).map(|i| i != 4 && i != 7).collect::<Vec<_>>());
    let difference: Vec<f64> = table.column("difference").unwrap().f64().unwrap().iter().flatten().collect();
    assert!((difference[4] - (50.0 - own.double_value(&[4, 2]))).abs() < 1e-5 && difference[7] == f64::INFINITY);
    let argmax = |name: &str| table.column(name).unwrap().i64().unwrap().get(4);
    assert_eq!((argmax("argmax_here"), argmax("argmax_there")), (Some(own.get(4).argmax(-1, false).int64_value(&[])), Some(2)));
    says(task.compare_outputs(data.inputs(), &own.narrow(0, 0, 3)), &["stored outputs", "[9, 3]", "[3, 3]"]);
    says(task.compare_outputs(&data.inputs().narrow(1, 0, 2), &own), &["torch"]);
    says(mlp().compare_outputs(data.inputs(), &own), &["no checkpoints"]);
}

/// Of a sequence, the argmax is that of the position with the largest difference; one output has none.
#[test]
fn sequences_and_single_outputs() {
    let gpt =
        Task::new(|p: &nn::Path| Gpt::new(p, GptOptions { vocab: 7, context: 5, width: 8, heads: 2, layers: 1, ..default() }));
    let tokens = Tensor::from_slice(&[0i64, 3, 6, 2, 1, 1, 5, 4, 3, 2]).view([2, 5]);
    let text = Dataset::new(tokens.shallow_clone(), tokens.shallow_clone()).unwrap();
    let gpt = gpt.train(&Trainer { epochs: 1, ..default() }, &text).unwrap();
    let stored = gpt.snapshot(0).unwrap().outputs(&text).unwrap().copy();
    no_grad(|| drop(stored.get(1).get(3).get(6).fill_(9.0)));
    let table = gpt.compare_outputs(&tokens, &stored).unwrap();
    assert_eq!(table.column("argmax_there").unwrap().i64().unwrap().get(1), Some(6));
    assert_eq!(table.column("agrees").unwrap().bool().unwrap().get(0), Some(true));
    let one = Task::new(|p: &nn::Path| Mlp::new(p, &[4, 3, 1])).with_objective(NegativeSquaredError);
    let data = clusters(5, 1);
    let data =
        Dataset::new(data.inputs().shallow_clone(), Tensor::from_slice(&[0.1f32, 0.2, 0.3, 0.4, 0.5]).view([5, 1])).unwrap();
    let one = one.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let table = one.compare_outputs(data.inputs(), &one.snapshot(0).unwrap().outputs(&data).unwrap()).unwrap();
    assert_eq!(table.column("argmax_here").unwrap().null_count(), 5);
}

#[test]
fn a_layer_used_again_has_a_number() {
    let data = clusters(4, 1);
    let twice = Task::new(|p: &nn::Path| {
        let fc = layer::linear(p / "fc", 4, 4);
        move |x: &Tensor, tape: &mut Tape| {
            let once = tape.linear("fc", &fc, x).tanh();
            tape.linear("fc", &fc, &once)
        }
    });
    let twice = twice.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let layers = twice.snapshot(0).unwrap().layer_outputs(data.inputs()).unwrap();
    assert_eq!(layers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["fc", "fc:2"]);
    assert_eq!(layers[1].1, twice.snapshot(0).unwrap().outputs(&data).unwrap());
    let untaped = Task::new(|p: &nn::Path| crate::tasks::Untaped(Mlp::new(p, &[4, 3])));
    let untaped = untaped.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    says(untaped.compare_layers(data.inputs(), &layers), &["unsupported", "none through the tape"]);
    assert!(sequence().train(&trainer(), &data).unwrap().snapshot(0).unwrap().layer_outputs(data.inputs()).unwrap().len() == 3);
}
