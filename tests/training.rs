//! Training against PyTorch's formulas, its seeds, and checkpoints on disk.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, Folder, assert_close, clusters};

#[test]
fn the_same_seed_gives_the_same_weights_whatever_runs_beside_it() {
    let train = clusters(30, 1);
    let weights = |seed: u64| {
        let task = tasks::mlp().train(&Trainer { seed, epochs: 2, ..default() }, &train).unwrap();
        task.checkpoints()[0].tensor("fc1.weight").unwrap().copy()
    };
    let alone = weights(3);
    let beside: Vec<Tensor> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|i| {
                scope.spawn(move || {
                    if i % 2 == 0 {
                        Some(weights_in_thread(3))
                    } else {
                        let _ = weights_in_thread(9);
                        None
                    }
                })
            })
            .collect();
        threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
    });
    beside.iter().for_each(|w| assert!(w.equal(&alone)));
    assert!(!weights(4).equal(&alone));
}

fn weights_in_thread(seed: u64) -> Tensor {
    let task = tasks::mlp().train(&Trainer { seed, epochs: 2, ..default() }, &clusters(30, 1)).unwrap();
    task.checkpoints()[0].tensor("fc1.weight").unwrap().copy()
}

/// One full-batch step from known weights, by each optimiser's formula.
#[test]
fn optimisers_follow_their_formulas() {
    let train = clusters(16, 1);
    let start =
        tasks::logistic().train(&Trainer { epochs: 1, batch_size: 16, learning_rate: 1e-30, ..default() }, &train).unwrap();
    let gradient = start.snapshot(0).unwrap().gradients(Of::Objective, &train).unwrap().dense().unwrap().mean_dim(
        [0i64].as_slice(),
        false,
        None::<Kind>,
    ) * -1.0;
    let theta = flat(&start);
    let rate = 0.1;
    let after = |optimizer| {
        flat(
            &tasks::logistic()
                .train(&Trainer { epochs: 1, batch_size: 16, learning_rate: rate, optimizer, ..default() }, &train)
                .unwrap(),
        )
    };
    let decay = 0.3;
    let coupled = &gradient + &theta * decay;
    assert_close(&after(Optimizer::sgd(0.9, decay)), &(&theta - &coupled * rate), 1e-6, "SGD");
    let sign_step = |g: &Tensor| g / (g.abs() + 1e-8) * rate; // Adam's first step, up to ε
    assert_close(&after(Optimizer::adam(decay)), &(&theta - sign_step(&coupled)), 1e-4, "Adam");
    assert_close(&after(Optimizer::adam_w(decay)), &(&theta * (1.0 - rate * decay) - sign_step(&gradient)), 1e-4, "AdamW");
}

fn flat(task: &Task) -> Tensor {
    let snapshot = task.snapshot(0).unwrap();
    let parts: Vec<Tensor> =
        snapshot.layout().entries().iter().map(|e| task.checkpoints()[0].tensor(&e.name).unwrap().view([-1])).collect();
    Tensor::cat(&parts, 0)
}

#[test]
fn keeps_the_checkpoints_asked_for() {
    let train = clusters(20, 1);
    let steps = |keep| {
        let task = tasks::logistic().train(&Trainer { epochs: 5, batch_size: 10, keep, ..default() }, &train).unwrap();
        task.checkpoints().iter().map(|c| c.step).collect::<Vec<_>>()
    };
    assert_eq!(steps(Keep::Last), [10]);
    assert_eq!(steps(Keep::LastEpochs(2)), [8, 10]);
    assert_eq!(steps(Keep::Every(2)), [4, 8, 10]);
    assert_eq!(steps(Keep::Epochs(vec![1, 3])), [2, 6, 10]);
}

#[test]
fn a_further_run_draws_its_own_weights() {
    let train = clusters(20, 1);
    let trainer = Trainer { epochs: 1, ..default() };
    let task = tasks::mlp().train(&trainer, &train).unwrap().train(&trainer, &train).unwrap();
    let weight = |i: usize| task.checkpoints()[i].tensor("fc1.weight").unwrap();
    assert!(!weight(0).equal(weight(1)));
}

#[test]
fn batch_norm_survives_a_last_batch_of_one() {
    let train = clusters(9, 1);
    let task = Task::new(|p: &nn::Path| {
        let (a, norm, b) = (layer::linear(p / "a", 4, 5), layer::batch_norm(p / "norm", 5), layer::linear(p / "b", 5, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("a", &a, x);
            let hidden = tape.batch_norm("norm", &norm, &hidden).relu();
            tape.linear("b", &b, &hidden)
        }
    });
    let task = task.train(&Trainer { epochs: 2, batch_size: 4, ..default() }, &train).unwrap();
    assert!(GradDot::default().fit(&task, &train).unwrap().score(&train).is_ok());
    let mean = task.checkpoints()[0].tensor("norm.running_mean").unwrap();
    assert!(mean.abs().max().double_value(&[]) > 0.0, "the running averages moved");
}

#[test]
fn a_second_training_is_a_second_run() {
    let train = clusters(20, 1);
    let trainer = |seed| Trainer { epochs: 2, seed, keep: Keep::Every(1), ..default() };
    let task = tasks::logistic().train(&trainer(0), &train).unwrap().train(&trainer(1), &train).unwrap();
    assert_eq!((task.runs(), task.checkpoints().len(), task.last().checkpoints().len()), (vec![0, 1], 4, 2));
}

#[test]
fn checkpoints_survive_the_disk() {
    let folder = Folder::new("checkpoint");
    let file = folder.0.join("weights.safetensors");
    let (_, task, train, test) = tasks::all().remove(1);
    let original = &task.checkpoints()[1];
    original.save(&file).unwrap();
    let back = Checkpoint::load(&file).unwrap();
    assert_eq!((back.run, back.step, back.learning_rate), (original.run, original.step, original.learning_rate));
    let again = tasks::mlp().with_checkpoints(vec![back]).unwrap();
    let score = |task: &Task| GradDot::default().fit(task, &train).unwrap().matrix(&test).unwrap();
    assert!(score(&again).equal(&score(&task.last())));
}

#[test]
fn scores_survive_the_disk() {
    let folder = Folder::new("scores");
    let (_, task, train, test) = tasks::all().remove(0);
    let scores = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
    scores.save(folder.0.join("scores.npy")).unwrap();
    let back = Scores::load(folder.0.join("scores.npy"), &test, &train).unwrap();
    assert!(back.tensor().equal(scores.tensor()));
    assert_eq!(back.method(), "GradDot");
    scores.save(folder.0.join("scores.csv")).unwrap();
    let text = std::fs::read_to_string(folder.0.join("scores.csv")).unwrap();
    assert_eq!(text.lines().count(), 1 + test.len());
    assert!(text.starts_with("test,0,1,2,"));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 3, "nothing is left beside the files");
}

#[test]
fn options_are_read_and_written_as_json() {
    let trainer = Trainer { schedule: Schedule::OneCycle { peak: 0.2 }, optimizer: Optimizer::adam_w(0.1), ..default() };
    let text = serde_json::to_string(&trainer).unwrap();
    assert_eq!(serde_json::from_str::<Trainer>(&text).unwrap(), trainer);
    assert!(serde_json::from_str::<Trainer>(r#"{"epoch": 3}"#).is_err(), "a misspelt option is refused");
}

#[test]
fn dropout_draws_do_not_depend_on_the_global_generator() {
    let task = || {
        Task::new(|p: &nn::Path| {
            let (a, b) = (layer::linear(p / "a", 4, 16), layer::linear(p / "b", 16, 3));
            move |x: &Tensor, tape: &mut Tape| {
                let hidden = tape.linear("a", &a, x).relu();
                let hidden = tape.dropout(0.5, &hidden);
                tape.linear("b", &b, &hidden)
            }
        })
    };
    let train = clusters(30, 1);
    let run = || flat(&task().train(&Trainer { epochs: 3, ..default() }, &train).unwrap());
    let first = run();
    let _ = Tensor::randn([100], (Kind::Float, ascribe::tch::Device::Cpu));
    assert!(run().equal(&first));
    let trained = task().train(&Trainer { epochs: 3, ..default() }, &train).unwrap().snapshot(0).unwrap();
    assert!(trained.outputs(&train).unwrap().equal(&trained.outputs(&train).unwrap()), "off outside training");
}
