//! The same run without an example: against single trainings, and what it refuses.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, says};

fn data() -> (Dataset, Dataset) {
    (clusters(30, 1), clusters(36, 2).select(&[30, 31, 32, 33, 34, 35]).unwrap())
}

#[test]
fn the_same_run_without_an_example_wants_the_trainer_of_the_run() {
    let (train, test) = data();
    let trainer = Trainer { epochs: 2, batch_size: 8, learning_rate: 0.05, optimizer: Optimizer::sgd(0.9, 0.01), ..default() };
    for task in [tasks::mlp(), tasks::looped()] {
        let task = task.train(&trainer, &train).unwrap();
        let score = |trainer: Trainer| TrajectoryLeaveOneOut { trainer }.score(&task, &train, &test, &[3, 9]);
        assert_eq!(score(trainer.clone()).unwrap().tensor().size(), [6, 2]);
        let wrong = "TrajectoryLeaveOneOut.trainer is not how this run was trained";
        says(score(Trainer { learning_rate: 0.06, ..trainer.clone() }), &["run 0, step 8", "differs", wrong]);
        says(score(Trainer { seed: 1, ..trainer.clone() }), &["differs", wrong]);
        says(score(Trainer { epochs: 3, ..trainer.clone() }), &["ends at step 12", wrong]);
    }
}

/// Targets `[n, 2]`: a label, and how loudly the example speaks.
fn voiced(data: &Dataset, silent: Option<usize>) -> Dataset {
    let voices: Vec<f32> = (0..data.len()).map(|at| if Some(at) == silent { 0.0 } else { 1.0 }).collect();
    let targets = Tensor::stack(&[data.targets().to_kind(Kind::Float), Tensor::from_slice(&voices)], 1);
    Dataset::new(data.inputs().copy(), targets).unwrap()
}

fn log_likelihood(outputs: &Tensor, targets: &Tensor) -> Tensor {
    let own = outputs.log_softmax(1, None::<Kind>).gather(1, &targets.narrow(1, 0, 1).to_kind(Kind::Int64), false);
    own.squeeze_dim(1) * targets.select(1, 1)
}

/// Steps, and what the test examples measure there in a training with an example that says nothing, in batches that stay as large as they are.
fn silenced(task: &Task, trainer: &Trainer, (train, test): (&Dataset, &Dataset), silent: Option<usize>) -> Vec<(usize, Tensor)> {
    let task = task.clone().train(trainer, &voiced(train, silent)).unwrap();
    let measured = |at: usize| task.snapshot(at).unwrap().measure(Of::Measurement, test).unwrap().to_kind(Kind::Double);
    (0..task.checkpoints().len()).map(|at| (task.checkpoints()[at].step, measured(at))).collect()
}

#[test]
fn each_checkpoint_is_that_of_a_training_without_the_example() {
    let keep = Keep::LastEpochs(2);
    let trainer = Trainer { epochs: 3, batch_size: 5, learning_rate: 0.01, keep, seed: 7, ..default() };
    let digits = dataset::digits().unwrap().split(24, 5, 0).unwrap();
    let cnn = Task::new(|p: &nn::Path| Cnn::new(p, 8, 10));
    for (name, task, (train, test)) in
        [("stacked", tasks::mlp(), data()), ("alone", tasks::looped(), data()), ("cnn", cnn, digits)]
    {
        let (task, test) = (task.with_objective(log_likelihood), voiced(&test, None));
        let positions: Vec<usize> = (0..18).collect();
        let (trained, truth) =
            (task.clone().train(&trainer, &voiced(&train, None)).unwrap(), TrajectoryLeaveOneOut { trainer: trainer.clone() });
        let each = truth.each(&trained, &voiced(&train, None), &test, &positions).unwrap();
        let whole = silenced(&task, &trainer, (&train, &test), None);
        let single: Vec<_> = positions.iter().map(|&at| silenced(&task, &trainer, (&train, &test), Some(at))).collect();
        assert_eq!(each.len(), 2);
        for (at, (run, step, scores)) in each.iter().enumerate() {
            let columns: Vec<Tensor> = single.iter().map(|kept| &whole[at].1 - &kept[at].1).collect();
            let expected = Tensor::stack(&columns, 1);
            assert_eq!((*run, *step), (0, whole[at].0));
            assert!(expected.abs().max().double_value(&[]) > 1e-3, "{name}, step {step}: examples matter");
            assert_close(scores.tensor(), &expected, 1e-3, &format!("{name}, step {step}"));
        }
        assert!(tasks::difference(each[0].2.tensor(), each[1].2.tensor()) > 0.05, "{name}: steps differ");
        let end = truth.score(&trained, &voiced(&train, None), &test, &positions).unwrap();
        assert_close(end.tensor(), each[1].2.tensor(), 1e-6, name);
    }
}

#[test]
fn runs_are_told_apart_and_averaged() {
    let (train, test) = data();
    let trainer = Trainer { epochs: 2, batch_size: 8, keep: Keep::Every(1), ..default() };
    let task = tasks::mlp().train(&trainer, &train).unwrap().train(&trainer, &train).unwrap();
    let truth = TrajectoryLeaveOneOut { trainer };
    let each = truth.each(&task, &train, &test, &[3, 9, 4]).unwrap();
    assert_eq!(each.iter().map(|(run, step, _)| (*run, *step)).collect::<Vec<_>>(), [(0, 4), (0, 8), (1, 4), (1, 8)]);
    let mean = (each[1].2.tensor() + each[3].2.tensor()) / 2.0;
    assert_close(truth.score(&task, &train, &test, &[3, 9, 4]).unwrap().tensor(), &mean, 1e-6, "the last steps");
    assert!(tasks::difference(each[1].2.tensor(), each[3].2.tensor()) > 0.05);
}
