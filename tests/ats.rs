//! One optimiser step on one example.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{assert_close, clusters, mlp};

/// The step by hand: weights moved by `step(gradient of the loss)`, measured, and put into a checkpoint.
fn by_hand(task: &Task, train: &Dataset, test: &Dataset, step: impl Fn(&Tensor, &Tensor) -> Tensor) -> Tensor {
    let snapshot = task.snapshot(0).unwrap();
    let rows = snapshot.gradients(Of::Objective, train).unwrap().dense().unwrap();
    let before = snapshot.measure(Of::Measurement, test).unwrap();
    let columns = (0..train.len() as i64).map(|i| {
        let moved = snapshot.layout().entries().iter().map(|entry| {
            let weight = task.checkpoints()[0].tensor(&entry.name).unwrap();
            let slope = -rows.get(i).narrow(0, entry.offset, entry.len).view(entry.shape.as_slice());
            (entry.name.clone(), weight + step(weight, &slope))
        });
        let checkpoint = Checkpoint::new(0, 0, 0.1, moved.collect());
        let moved = task.clone().with_checkpoints(vec![checkpoint]).unwrap().snapshot(0).unwrap();
        moved.measure(Of::Measurement, test).unwrap() - &before
    });
    Tensor::stack(&columns.collect::<Vec<_>>(), 1)
}

fn trained(trainer: &Trainer) -> (Task, Dataset, Dataset) {
    let (train, test) = (clusters(12, 1), clusters(5, 2));
    (mlp().train(trainer, &train).unwrap(), train, test)
}

#[test]
fn the_first_step_of_adam_is_the_sign_of_the_gradient() {
    let (task, train, test) = trained(&Trainer { epochs: 3, ..default() });
    let decay = 5e-3;
    let ats = Ats { optimizer: Optimizer::adam(decay), learning_rate: Some(1e-2), ..default() };
    let found = ats.fit(&task, &train).unwrap().score(&test).unwrap();
    let expected = by_hand(&task, &train, &test, |weight, slope| {
        let slope = slope + weight * decay;
        &slope / (slope.abs() + 1e-8) * -1e-2
    });
    assert_close(found.tensor(), &expected, 1e-4, "ATS");
}

#[test]
fn a_step_of_descent_follows_the_gradient() {
    let (task, train, test) = trained(&Trainer { epochs: 3, ..default() });
    let ats = Ats { optimizer: Optimizer::sgd(0.9, 0.0), learning_rate: Some(0.2), ..default() };
    let found = ats.fit(&task, &train).unwrap().score(&test).unwrap();
    assert_close(found.tensor(), &by_hand(&task, &train, &test, |_, slope| slope * -0.2), 1e-4, "ATS by descent");
    let own = ats.fit(&task, &train).unwrap().self_scores().unwrap();
    assert_close(&own, &by_hand(&task, &train, &train, |_, slope| slope * -0.2).diag(0), 1e-4, "of itself");
    assert!(own.min().double_value(&[]) > 0.0, "a step on an example raises its own objective");
}

/// Training on one example goes on by exactly the step that ATS takes from the epoch before; without momentum, the step on nothing is none.
#[test]
fn the_trained_optimiser_takes_the_step_that_training_takes() {
    let one = clusters(1, 4);
    let optimizer = Optimizer::Adam { beta1: 0.0, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0 };
    let trainer = Trainer { epochs: 5, optimizer, learning_rate: 0.05, keep: Keep::Every(1), keep_optimizer: true, ..default() };
    let (task, test) = (mlp().train(&trainer, &one).unwrap(), clusters(6, 5));
    for at in 0..4 {
        let here = task.clone().with_checkpoints(vec![task.checkpoints()[at].clone()]).unwrap();
        let ats = Ats { optimizer, start: Start::Trained, ..default() };
        let found = ats.fit(&here, &one).unwrap().score(&test).unwrap();
        let measure = |at: usize| task.snapshot(at).unwrap().measure(Of::Measurement, &test).unwrap();
        assert_close(&found.tensor().squeeze_dim(1), &(measure(at + 1) - measure(at)), 1e-4, &format!("epoch {at}"));
    }
}

#[test]
fn what_the_optimiser_remembers_survives_the_disk() {
    let (task, train, test) = trained(&Trainer { epochs: 3, keep_optimizer: true, ..default() });
    let folder = crate::tasks::Folder::new("optimiser");
    let file = folder.0.join("last.safetensors");
    task.checkpoints()[0].save(&file).unwrap();
    let back = Checkpoint::load(&file).unwrap();
    assert_eq!(back.tensors().len(), task.checkpoints()[0].tensors().len());
    let there = mlp().with_checkpoints(vec![back]).unwrap();
    let ats = Ats { start: Start::Trained, ..default() };
    let scores = |task: &Task| ats.fit(task, &train).unwrap().matrix(&test).unwrap();
    assert!(scores(&task).equal(&scores(&there)));
}

/// With momentum, a step on nothing moves the network; that is not credited to the example.
#[test]
fn momentum_is_nobodys_merit() {
    let trainer = Trainer { epochs: 4, keep_optimizer: true, learning_rate: 0.02, ..default() };
    let (task, train, test) = trained(&trainer);
    // An example without gradient: its input is zero and it has no say in the first layer, but the biases move; so use a constant objective.
    let flat = task
        .clone()
        .with_objective(|outputs: &Tensor, _: &Tensor| (outputs * 0.0).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>));
    let flat = flat.with_measurement(Margin);
    let ats = Ats { start: Start::Trained, ..default() };
    let found = ats.fit(&flat, &train).unwrap().score(&test).unwrap();
    assert_eq!(found.tensor().abs().max().double_value(&[]), 0.0);
}

#[test]
fn what_is_missing_is_said() {
    let (task, train, _) = trained(&Trainer { epochs: 1, ..default() });
    let error = |ats: Ats, task: &Task| ats.fit(task, &train).err().unwrap().to_string();
    let forgotten = error(Ats { start: Start::Trained, ..default() }, &task);
    assert!(
        forgotten.contains("run 0, step 1: what the optimiser remembers was not kept; set Trainer.keep_optimizer"),
        "{forgotten}"
    );
    assert!(error(Ats { learning_rate: Some(0.0), ..default() }, &task).contains("Ats.learning_rate"));
    let (kept, _, _) = trained(&Trainer { epochs: 1, keep_optimizer: true, optimizer: Optimizer::sgd(0.9, 0.0), ..default() });
    let other = error(Ats { start: Start::Trained, ..default() }, &kept);
    assert!(other.contains("trained by another optimiser"), "{other}");
    let shared = |(name, t): &(String, Tensor)| (name.clone(), t.shallow_clone());
    for rate in [0.0, f64::NAN] {
        let foreign = Checkpoint::new(0, 0, rate, task.checkpoints()[0].tensors().iter().map(shared).collect());
        let foreign = task.clone().with_checkpoints(vec![foreign]).unwrap();
        assert!(error(Ats::default(), &foreign).contains("set Ats.learning_rate"), "{rate}");
    }
}
