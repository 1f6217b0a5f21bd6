//! Unrolled training against written-out training in float64, and against leaving examples out.

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, says};

const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

fn sgd(momentum: f64, weight_decay: f64) -> Trainer {
    let optimizer = Optimizer::sgd(momentum, weight_decay);
    let schedule = Schedule::Linear;
    Trainer { optimizer, schedule, epochs: 3, batch_size: 7, learning_rate: 0.1, ..default() } // 24 examples: a last batch of 3
}

fn scores(method: &DataValueEmbedding, task: &Task, train: &Dataset, test: &Dataset) -> Tensor {
    method.fit(task, train).unwrap().matrix(test).unwrap()
}

/// Kept weights, kept gradients, kept embeddings: three routes to the same scores, alone, together and by epoch; on every network.
#[test]
fn all_forms_agree() {
    let (train, test) = (clusters(24, 1), clusters(30, 2).select(&[25, 26, 27, 28, 29]).unwrap());
    for (name, task) in
        [("logistic", tasks::logistic()), ("mlp", tasks::mlp()), ("sequence", tasks::sequence()), ("loop", tasks::looped())]
    {
        let trainer = sgd(0.5, 0.01);
        let task = task.with_measurement(Margin).train(&trainer, &train).unwrap();
        let method = DataValueEmbedding { trainer, ..default() };
        let fitted = method.fit(&task, &train).unwrap();
        let matrix = fitted.matrix(&test).unwrap();
        let gradients = DataValueEmbedding { replay: Replay::Gradients, ..method.clone() };
        assert_close(&scores(&gradients, &task, &train, &test), &matrix, 1e-5, name);
        let projected =
            DataValueEmbedding { projection: Some(std::sync::Arc::new(projection::Identity::default())), ..method.clone() };
        assert_close(&scores(&projected, &task, &train, &test), &matrix, 1e-5, name);
        assert_close(
            &fitted.together(&test).unwrap(),
            &matrix.sum_dim_intlist([0i64].as_slice(), false, Kind::Float),
            1e-5,
            name,
        );
        for method in [method, projected] {
            let shares: Vec<Tensor> =
                (1..=3).map(|e| scores(&DataValueEmbedding { epoch: Some(e), ..method.clone() }, &task, &train, &test)).collect();
            assert!(shares.iter().all(|share| share.abs().max().double_value(&[]) > 1e-3), "{name}: every epoch has a share");
            assert_close(&(&shares[0] + &shares[1] + &shares[2]), &matrix, 1e-5, &format!("{name}: sum over epochs"));
            let own = task.clone().with_measurement(LogLikelihood);
            let fitted = method.fit(&own, &train).unwrap();
            let diagonal = fitted.matrix(&train).unwrap().diagonal(0, 0, 1);
            assert_close(&fitted.self_scores().unwrap(), &diagonal, 1e-5, &format!("{name}: self-influence"));
        }
    }
}

/// Linear regression on two outputs from known weights.
fn regression() -> (Task, Dataset, Dataset) {
    let task = Task::new(|p: &nn::Path| {
        let fc = nn::Linear {
            ws: p.var("weight", &[2, 4], nn::Init::Const(0.3)),
            bs: Some(p.var("bias", &[2], nn::Init::Const(-0.2))),
        };
        move |x: &Tensor, tape: &mut Tape| tape.linear("fc", &fc, x)
    });
    let data = |n, seed| {
        let inputs = clusters(n, seed).inputs().shallow_clone();
        let targets = Tensor::stack(&[inputs.select(1, 0).sin(), inputs.select(1, 1) * 0.5 - 0.3], 1);
        Dataset::new(inputs, targets).unwrap()
    };
    (task.with_objective(NegativeSquaredError), data(24, 1), data(5, 2))
}

/// With the batches of the run written out in float64, the weight of one example is moved by ± ε in every batch.
#[test]
fn the_hessian_form_is_the_derivative_of_training() {
    let (task, train, test) = regression();
    let inputs =
        |data: &Dataset| Tensor::cat(&[data.inputs().to_kind(Kind::Double), Tensor::ones([data.len() as i64, 1], F64)], 1);
    let targets = |data: &Dataset| data.targets().to_kind(Kind::Double);
    for (momentum, decay) in [(0.0, 0.0), (0.8, 0.0), (0.0, 0.1), (0.6, 0.05)] {
        let trainer = Trainer { learning_rate: 0.03, ..sgd(momentum, decay) };
        let method = DataValueEmbedding { trainer: trainer.clone(), curvature: StepCurvature::Hessian, ..default() };
        let (task, fitted) = method.train(task.clone(), &train).unwrap();
        let batches = fitted.batches(0).unwrap();
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 7, 3].repeat(3));
        let (x, y) = (inputs(&train), targets(&train));
        let measured = |weights: &Tensor| {
            let mut theta = Tensor::cat(&[Tensor::full([2, 4], 0.3, F64), Tensor::full([2, 1], -0.2, F64)], 1);
            let mut velocity = theta.zeros_like();
            for (step, batch) in batches.iter().enumerate() {
                let index = Tensor::from_slice(&batch.iter().map(|&i| i as i64).collect::<Vec<_>>());
                let (x, y, w) = (x.index_select(0, &index), y.index_select(0, &index), weights.index_select(0, &index));
                let error = (x.matmul(&theta.transpose(0, 1)) - y) * w.unsqueeze(1);
                let gradient = error.transpose(0, 1).matmul(&x) * (2.0 / batch.len() as f64);
                velocity = velocity * momentum + gradient + &theta * decay;
                theta -= &velocity * (trainer.learning_rate * trainer.schedule.factor(step, batches.len()));
            }
            let error = inputs(&test).matmul(&theta.transpose(0, 1)) - targets(&test);
            -error.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
        };
        let columns: Vec<Tensor> = (0..24)
            .map(|i| {
                let weights = |change: f64| {
                    let weights = Tensor::ones([24], F64);
                    let _ = weights.get(i).fill_(1.0 + change);
                    weights
                };
                (measured(&weights(1e-4)) - measured(&weights(-1e-4))) / 2e-4
            })
            .collect();
        let what = format!("momentum {momentum}, weight decay {decay}");
        assert_close(&fitted.matrix(&test).unwrap(), &Tensor::stack(&columns, 1), 1e-5, &what);
        assert_close(
            &task.snapshot(0).unwrap().measure(Of::Measurement, &test).unwrap(),
            &measured(&Tensor::ones([24], F64)),
            1e-5,
            &what,
        );
    }
}

/// Truly retrained without each example, in the same order, on a network without kinks: the Hessian form is all but exact, the
/// published one near.
#[test]
fn agrees_with_retraining_in_the_same_order() {
    let (train, test) = dataset::digits().unwrap().split(200, 30, 0).unwrap();
    let trainer = Trainer { epochs: 10, batch_size: 20, learning_rate: 0.2, ..sgd(0.0, 0.001) };
    let task = Task::new(|p: &nn::Path| {
        let (fc1, fc2) = (layer::linear(p / "fc1", 64, 12), layer::linear(p / "fc2", 12, 10));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("fc1", &fc1, &x.flatten(1, -1)).tanh();
            tape.linear("fc2", &fc2, &hidden)
        }
    });
    let task = task.train(&trainer, &train).unwrap();
    let positions: Vec<usize> = (0..20).collect();
    let truth = TrajectoryLeaveOneOut { trainer: trainer.clone() }.score(&task, &train, &test, &positions).unwrap();
    let correlation = |curvature| {
        let method = DataValueEmbedding { trainer: trainer.clone(), curvature, ..default() };
        let predicted = scores(&method, &task, &train, &test).narrow(1, 0, 20);
        let pair = Tensor::stack(&[predicted.flatten(0, 1), truth.tensor().flatten(0, 1)], 0);
        pair.corrcoef().double_value(&[0, 1])
    };
    let (exact, published) = (correlation(StepCurvature::Hessian), correlation(StepCurvature::BatchGradients));
    assert!(exact > 0.99, "{exact}");
    assert!(published > 0.9 && published < exact, "{published}, {exact}");
}

#[test]
fn says_what_is_wrong() {
    let train = clusters(24, 1);
    let trainer = sgd(0.0, 0.0);
    let task = tasks::mlp().train(&trainer, &train).unwrap();
    let fit = |trainer: &Trainer, task: &Task, train: &Dataset| {
        DataValueEmbedding { trainer: trainer.clone(), ..default() }.fit(task, train).map(|_| ())
    };
    fit(&trainer, &task, &train).unwrap();
    says(fit(&Trainer { seed: 1, ..trainer.clone() }, &task, &train), &["run 0, step 12", "fc1.bias differs", "trainer"]);
    says(fit(&Trainer { epochs: 2, ..trainer.clone() }, &task, &train), &["run 0, step 12", "step 8"]);
    let order: Vec<usize> = (0..24).rev().collect();
    says(fit(&trainer, &task, &train.select(&order).unwrap()), &["fc1.bias differs"]);
    says(fit(&Trainer { optimizer: Optimizer::adam(0.0), ..trainer.clone() }, &task, &train), &["optimizer", "SGD", "Adam"]);
    says(fit(&trainer, &tasks::mlp(), &train), &["no checkpoints yet"]);
    let of =
        |method: DataValueEmbedding| DataValueEmbedding { trainer: trainer.clone(), ..method }.fit(&task, &train).map(|_| ());
    says(of(DataValueEmbedding { epoch: Some(4), ..default() }), &["epoch", "1 to 3", "4"]);
    says(of(DataValueEmbedding { epoch: Some(0), ..default() }), &["epoch", "1 to 3", "0"]);
    let hessian = DataValueEmbedding { curvature: StepCurvature::Hessian, ..default() };
    says(of(DataValueEmbedding { replay: Replay::Gradients, ..hessian.clone() }), &["replay", "Replay::Weights"]);
    let identity = Some(std::sync::Arc::new(projection::Identity::default()) as std::sync::Arc<dyn Projection>);
    says(of(DataValueEmbedding { projection: identity, ..hessian }), &["Hessian", "projected"]);
    let dropout = Task::new(|p: &nn::Path| {
        let (fc1, fc2) = (layer::linear(p / "fc1", 4, 6), layer::linear(p / "fc2", 6, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("fc1", &fc1, x).relu();
            let hidden = tape.dropout(0.2, &hidden);
            tape.linear("fc2", &fc2, &hidden)
        }
    });
    let dropout = dropout.train(&trainer, &train).unwrap();
    says(fit(&trainer, &dropout, &train), &["dropout", "batch norm"]);
    // Steps so long that the recursion overflows though training itself saturates.
    let confused = train.with_labels(&(0..24).map(|i| (i * i + i / 5) % 3).collect::<Vec<_>>()).unwrap();
    let wild = Trainer { learning_rate: 1e6, epochs: 20, ..trainer.clone() };
    let (_, fitted) = DataValueEmbedding { trainer: wild.clone(), ..default() }.train(tasks::logistic(), &confused).unwrap();
    says(fitted.matrix(&confused), &["Data value embedding", "epoch", "step", "lower the learning rate"]);
    says(fitted.embeddings(), &["projection"]);
    says(fitted.batches(1), &["run", "expected 0 to 0", "1"]);
    assert_eq!(format!("{fitted:?}"), "Unrolled (80 steps of 1 runs, 24 train examples, by the gradients of each batch)");
}

/// Two runs of a task count half each, and each replays its own.
#[test]
fn runs_are_averaged() {
    let (train, test) = (clusters(24, 1), clusters(5, 2));
    let trainer = sgd(0.0, 0.0);
    let method = DataValueEmbedding { trainer: trainer.clone(), ..default() };
    let (one, first) = method.train(tasks::mlp(), &train).unwrap();
    let (both, second) = method.train(one, &train).unwrap();
    let mean = (first.matrix(&test).unwrap() + second.matrix(&test).unwrap()) / 2.0;
    assert_close(&scores(&method, &both, &train, &test), &mean, 1e-6, "mean over runs");
    assert!(tasks::difference(&first.matrix(&test).unwrap(), &mean) > 0.01);
}

/// The last bits of the weights follow the number of threads: that is rounding, not another trainer.
#[test]
fn a_replay_may_differ_by_rounding() {
    let (train, trainer) = (clusters(24, 1), sgd(0.5, 0.0));
    let task = tasks::mlp().train(&trainer, &train).unwrap();
    let method = DataValueEmbedding { trainer, ..default() };
    let exact = scores(&method, &task, &train, &train);
    let moved = |by: f64| {
        let end = &task.checkpoints()[0];
        let tensors = end.tensors().iter().map(|(name, tensor)| (name.clone(), tensor * (1.0 + by))).collect();
        task.clone().with_checkpoints(vec![Checkpoint::new(0, end.step, end.learning_rate, tensors)]).unwrap()
    };
    assert_close(&scores(&method, &moved(1e-6), &train, &train), &exact, 1e-4, "rounding");
    says(method.fit(&moved(1e-3), &train).map(|_| ()), &["differs from the replay", "1.0e-3", "trainer"]);
}

/// Far more than any memory: refused before the training that would fill it.
#[test]
fn what_would_be_kept_is_counted_first() {
    let train = clusters(24, 1);
    let trainer = Trainer { epochs: 200_000_000, ..sgd(0.0, 0.0) };
    let task = tasks::logistic().train(&sgd(0.0, 0.0), &train).unwrap();
    let method = DataValueEmbedding { trainer, ..default() };
    let weights = ["DataValueEmbedding.replay", "projection", "Replay::Weights", "GB"];
    says(method.fit(&task, &train).map(|_| ()), &weights);
    says(method.train(task.clone(), &train).map(|_| ()), &weights);
    let gradients = DataValueEmbedding { replay: Replay::Gradients, ..method.clone() };
    says(gradients.fit(&task, &train).map(|_| ()), &["DataValueEmbedding.replay", "Replay::Gradients", "GB"]);
    let projection = std::sync::Arc::new(projection::Gaussian { dim: 8, seed: 0 });
    let projected = DataValueEmbedding { projection: Some(projection), ..method };
    says(projected.fit(&task, &train).map(|_| ()), &["DataValueEmbedding.projection", "gaussian, dim 8", "GB"]);
}

/// With a projection one embedding an example is kept, unless an epoch is asked for.
#[test]
fn epochs_are_kept_if_asked_for() {
    let (train, trainer) = (clusters(24, 1), sgd(0.0, 0.0));
    let projection = std::sync::Arc::new(projection::Gaussian { dim: 8, seed: 0 });
    let sum = DataValueEmbedding { trainer, projection: Some(projection), ..default() };
    let (_, all) = sum.train(tasks::mlp(), &train).unwrap();
    says(all.of_epoch(Some(2)).map(|_| ()), &["DataValueEmbedding.epoch", "Some", "None"]);
    let (_, second) = DataValueEmbedding { epoch: Some(2), ..sum }.train(tasks::mlp(), &train).unwrap();
    assert_close(&second.of_epoch(None).unwrap().embeddings().unwrap(), &all.embeddings().unwrap(), 1e-6, "sum of epochs");
    let parts: Vec<Tensor> = (1..=3).map(|e| second.of_epoch(Some(e)).unwrap().embeddings().unwrap()).collect();
    assert_close(&(&parts[0] + &parts[1] + &parts[2]), &all.embeddings().unwrap(), 1e-6, "sum over epochs");
}
