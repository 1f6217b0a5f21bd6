//! Networks drawn from approximate posteriors, and crossed designs.

use ascribe::posterior::{Crossed, Posterior};
use ascribe::prelude::*;
use ascribe::sampler::{self, Laplace, Sampler, Swag, Thinned};
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{assert_close, clusters, logistic};

/// Weights of every checkpoint as rows.
fn rows(task: &Task) -> Tensor {
    let flat = |checkpoint: &Checkpoint| {
        let parts: Vec<Tensor> = checkpoint.tensors().iter().map(|(_, t)| t.to_kind(Kind::Double).view([-1])).collect();
        Tensor::cat(&parts, 0)
    };
    Tensor::stack(&task.checkpoints().iter().map(flat).collect::<Vec<_>>(), 0)
}

fn covariance(rows: &Tensor, about: &Tensor) -> Tensor {
    let apart = rows - about;
    apart.tr().matmul(&apart) / rows.size()[0] as f64
}

fn trained(epochs: usize) -> (Task, Dataset) {
    let train = clusters(30, 1);
    let trainer = Trainer { epochs, learning_rate: 0.05, batch_size: 6, keep: Keep::Every(1), ..default() };
    (logistic().train(&trainer, &train).unwrap(), train)
}

#[test]
fn every_sampler_is_seeded_and_keeps_runs_apart() {
    let train = clusters(30, 1);
    let trainer = Trainer { epochs: 4, keep: Keep::LastEpochs(3), ..default() };
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[4, 6, 3]).with_dropout(0.2));
    let task = (0..2).try_fold(task, |task, _| task.train(&trainer, &train)).unwrap();
    for sampler in sampler::all() {
        let (a, b) = (sampler.sample(&task, &train).unwrap(), sampler.sample(&task, &train).unwrap());
        assert_eq!(a.runs(), [0, 1], "{}", sampler.name());
        assert!(rows(&a).equal(&rows(&b)), "{}", sampler.name());
        let posterior = Posterior::of(&GradDot::default(), &a, &train, &clusters(5, 2)).unwrap();
        assert_eq!(posterior.runs(), 2);
        let first = posterior.draw(0).unwrap();
        assert!(!first.tensor().equal(posterior.draw(1).unwrap().tensor()), "{}: draws differ", sampler.name());
    }
}

#[test]
fn swag_has_the_mean_and_covariance_of_the_checkpoints() {
    let (task, train) = trained(6);
    let own = rows(&task);
    let mean = own.mean_dim([0i64].as_slice(), true, None::<Kind>);
    let sample = covariance(&own, &mean); // divides by K
    let diagonal = sample.diag(0).diag(0);
    let drawn = |swag: Swag| rows(&swag.sample(&task, &train).unwrap());
    let many = drawn(Swag { draws: 4_000, ..default() });
    let expected = &diagonal * 0.5 + sample * (6.0 / (2.0 * 5.0));
    let found = covariance(&many, &mean);
    let apart = (&found - &expected).norm().double_value(&[]) / expected.norm().double_value(&[]);
    assert!(apart < 0.08, "{apart}");
    let mean_apart = (many.mean_dim([0i64].as_slice(), true, None::<Kind>) - &mean).norm().double_value(&[]);
    assert!(mean_apart < 4.0 * (expected.trace().double_value(&[]) / 4_000.0).sqrt(), "{mean_apart}");
    let alone = covariance(&drawn(Swag { rank: 0, scale: 4.0, draws: 4_000, ..default() }), &mean);
    let apart = (&alone - &diagonal * 4.0).norm().double_value(&[]) / (diagonal * 4.0).norm().double_value(&[]);
    assert!(apart < 0.08, "{apart}");
    assert_close(&drawn(Swag { scale: 0.0, draws: 1, ..default() }), &mean, 1e-6, "no scale");
}

/// Logistic regression is all last layer, so the precision is n times its Hessian, and the prior.
#[test]
fn laplace_has_the_inverse_hessian_as_covariance() {
    let (task, train) = trained(3);
    let task = task.last();
    let hessian = curvature::operator(task.snapshot(0).unwrap(), &train, Matrix::Hessian).unwrap().dense().unwrap();
    let p = hessian.size()[0];
    let prior = Tensor::eye(p, (Kind::Double, ascribe::tch::Device::Cpu)) * 2.0;
    let expected = Tensor::linalg_inv(&(hessian.to_kind(Kind::Double) * train.len() as f64 + prior));
    let laplace = Laplace { prior_precision: 2.0, draws: 20_000, ..default() };
    let drawn = laplace.sample(&task, &train).unwrap();
    // In the layout's order, which the checkpoint of a trained task has.
    let found = covariance(&rows(&drawn), &rows(&task));
    let apart = (&found - &expected).norm().double_value(&[]) / expected.norm().double_value(&[]);
    assert!(apart < 0.04, "{apart}");
}

#[test]
fn a_sampler_says_what_it_needs() {
    let (task, train) = trained(2);
    let error = |sampler: &dyn Sampler, task: &Task| sampler.sample(task, &train).err().unwrap().to_string();
    assert!(error(&Swag::default(), &task.last()).contains("at least two checkpoints of each run"));
    assert!(error(&Swag { draws: 0, ..default() }, &task).contains("Swag.draws"));
    assert!(error(&Laplace { prior_precision: 0.0, ..default() }, &task).contains("Laplace.prior_precision"));
    assert!(error(&Thinned::default(), &task).contains("the model has no dropout"));
    let deep = Task::new(|p: &nn::Path| {
        let only = p.var("only", &[4, 3], nn::Init::Const(0.1));
        move |x: &Tensor, _: &mut Tape| x.matmul(&only)
    });
    let deep = deep.train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    assert!(error(&Laplace::default(), &deep).contains("the tape saw no layer"));
}

#[test]
fn a_crossed_design_varies_one_thing_at_a_time() {
    let train = clusters(30, 1);
    // Steps so small that weights stay where they began; then steps that show the order.
    let tiny = Trainer { epochs: 1, batch_size: 6, learning_rate: 1e-12, ..default() };
    let grid = |trainer: Trainer, subsets| Crossed {
        trainer,
        initialisations: 2,
        orders: 3,
        subsets,
        fraction: if subsets > 1 { 0.8 } else { 1.0 },
    };
    let begun = rows(grid(tiny.clone(), 1).train(&crate::tasks::mlp(), &train).unwrap().task());
    let apart = |rows: &Tensor, a: i64, b: i64| (rows.get(a) - rows.get(b)).abs().max().double_value(&[]);
    assert!(apart(&begun, 0, 1) < 1e-6 && apart(&begun, 3, 5) < 1e-6 && apart(&begun, 0, 3) > 0.1);
    let steps = Trainer { learning_rate: 0.05, ..tiny };
    let moved = rows(grid(steps.clone(), 1).train(&crate::tasks::mlp(), &train).unwrap().task());
    assert!(apart(&moved, 0, 1) > 1e-4, "order matters");
    // One batch an epoch: order is no factor.
    let whole = rows(grid(Trainer { batch_size: 30, ..steps.clone() }, 1).train(&crate::tasks::mlp(), &train).unwrap().task());
    assert!(apart(&whole, 0, 1) < 1e-5 && apart(&whole, 0, 3) > 0.1);
    let single = Crossed { orders: 1, ..Crossed::default() }.train(&crate::tasks::mlp(), &train).err().unwrap().to_string();
    assert!(single.contains("at least 2 levels of two factors, got [4, 1, 1]"), "{single}");
    let three = grid(steps, 2).train(&crate::tasks::mlp(), &train).unwrap();
    assert_eq!(three.task().runs().len(), 12);
    assert!(apart(&rows(three.task()), 0, 1) > 1e-4, "the subset matters");
}
