//! Ensembles of thinned networks: what they equal, what they are on average, and the laws that methods obey.

use ascribe::prelude::*;
use ascribe::tch::Tensor;

use crate::tasks::{self, assert_close, clusters, difference, says};

/// Two checkpoints of a network with dropout in two places.
fn mlp(train: &Dataset) -> Task {
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[4, 12, 8, 3]).with_dropout(0.3));
    task.train(&tasks::trainer(), train).unwrap()
}

fn methods() -> Vec<(Box<dyn Method>, Dropout)> {
    let damping = Damping::Absolute(2.0);
    let pair = |make: fn(Damping) -> Box<dyn Method>| {
        (make(damping), Dropout { method: make(damping), ..Dropout::new(GradDot::default()) })
    };
    vec![
        pair(|_| Box::new(GradDot::default())),
        pair(|_| Box::new(GradCos::default())),
        pair(|_| Box::new(TracIn::default())),
        pair(|damping| Box::new(Influence::new(Explicit { damping, ..default() }))),
        pair(|_| Box::new(Influence::new(Ekfac { tolerance: 0.0, ..default() }))),
        pair(|_| Box::new(UnitNorm::new(Influence::new(Diagonal::default())))),
        pair(|_| Box::new(RepresentationSimilarity::default())),
    ]
}

#[test]
fn dropping_nothing_is_the_inner_method() {
    let (train, test) = (clusters(24, 1), clusters(6, 2));
    let task = mlp(&train);
    for (inner, ensemble) in methods() {
        let ensemble = Dropout { p: Some(0.0), draws: 3, ..ensemble };
        let (inner, ensemble) = (inner.fit(&task, &train).unwrap(), ensemble.fit(&task, &train).unwrap());
        assert_eq!(ensemble.name(), format!("{}, dropout", inner.name()));
        assert_close(&ensemble.matrix(&test).unwrap(), &inner.matrix(&test).unwrap(), 1e-5, &ensemble.name());
        assert_close(&ensemble.self_scores().unwrap(), &inner.self_scores().unwrap(), 1e-5, &ensemble.name());
        assert_close(&ensemble.together(&test).unwrap(), &inner.together(&test).unwrap(), 1e-4, &ensemble.name());
    }
}

#[test]
fn ensembles_obey_the_laws() {
    let (train, test) = (clusters(24, 1), clusters(6, 2));
    let task = mlp(&train);
    for (inner, ensemble) in methods() {
        let name = ensemble.name();
        let ensemble = Dropout { draws: 2, ..ensemble };
        let fitted = ensemble.fit(&task, &train).unwrap();
        let scores = fitted.matrix(&test).unwrap();
        assert!(scores.equal(&ensemble.fit(&task, &train).unwrap().matrix(&test).unwrap()), "{name}: again");
        let rows: Vec<Tensor> = (0..6).map(|i| fitted.matrix(&test.select(&[i]).unwrap()).unwrap()).collect();
        assert_close(&Tensor::cat(&rows, 0), &scores, 1e-4, &format!("{name}: apart"));
        let order: Vec<usize> = (0..24).map(|i| (i * 7 + 3) % 24).collect();
        let index = Tensor::from_slice(&order.iter().map(|&i| i as i64).collect::<Vec<_>>());
        let permuted = ensemble.fit(&task, &train.select(&order).unwrap()).unwrap().matrix(&test).unwrap();
        assert_close(&permuted, &scores.index_select(1, &index), 1e-4, &format!("{name}: permuted"));
        let diagonal = fitted.matrix(&train).unwrap().diagonal(0, 0, 1);
        assert_close(&fitted.self_scores().unwrap(), &diagonal, 1e-4, &format!("{name}: itself"));
        assert!(difference(&scores, &inner.fit(&task, &train).unwrap().matrix(&test).unwrap()) > 1e-3, "{name}: dropout matters");
        let other = Dropout { seed: 1, draws: 2, ..ensemble };
        assert!(difference(&scores, &other.fit(&task, &train).unwrap().matrix(&test).unwrap()) > 1e-3, "{name}: another seed");
    }
}

/// `o = w · drop(x)`: the gradient is `drop(x)`, `x` on average; the mask is shared, so `⟨drop(x'), drop(x)⟩` is
/// `⟨x', x⟩/(1 − p)`.
#[test]
fn the_mean_over_many_draws_is_known() {
    let data = clusters(8, 3);
    let readout = |p: &nn::Path| {
        let last = layer::linear(p / "last", 4, 1);
        move |x: &Tensor, tape: &mut Tape| {
            let x = tape.dropout(0.25, x);
            tape.linear("last", &last, &x).squeeze_dim(1)
        }
    };
    let task = Task::new(readout).with_objective(|outputs: &Tensor, _: &Tensor| outputs.shallow_clone());
    let task = task.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let products = data.inputs().matmul(&data.inputs().transpose(0, 1)) + 1.0; // 1 from the bias, which nothing drops
    for (p, scale) in [(None, 0.75), (Some(0.5), 0.5)] {
        let draws = 400;
        let fitted = Dropout { p, draws, ..Dropout::new(GradDot::default()) }.fit(&task, &data).unwrap();
        let mean = fitted.matrix(&data).unwrap();
        let expected = (&products - 1.0) / scale + 1.0;
        // Each product is a sum of four terms `x'_k x_k m/(1 − p)²`, m of variance p (1 − p).
        let squares = data.inputs().square();
        let variance = squares.matmul(&squares.transpose(0, 1)) * ((1.0 - scale) / scale.powi(3)) / draws as f64;
        let apart = ((mean - expected) / variance.sqrt()).abs().max().double_value(&[]);
        assert!(apart < 4.5, "{apart:.2} standard errors"); // the largest of 36
        assert!(apart > 0.1, "draws differ");
    }
}

/// Attention weights, embeddings and both parts of a block.
#[test]
fn a_transformer_is_thinned_by_its_own_shares_or_by_another() {
    let tokens = Tensor::from_slice(&[1i64, 2, 3, 0, 3, 3, 1, 0, 2, 2, 1, 0]).view([4, 3]);
    let data = Dataset::new(tokens.shallow_clone(), tokens.roll([-1i64], [1i64])).unwrap();
    let gpt = |dropout: f64| {
        let options = GptOptions { vocab: 4, context: 3, width: 8, heads: 2, layers: 1, dropout, ..default() };
        Task::new(move |p: &nn::Path| Gpt::new(p, options)).train(&Trainer { epochs: 3, ..default() }, &data).unwrap()
    };
    let score = |task: &Task, p| Dropout { p, draws: 2, ..Dropout::new(GradDot::default()) }.fit(task, &data)?.matrix(&data);
    let task = gpt(0.2);
    let own = score(&task, None).unwrap();
    assert!(own.equal(&score(&task, Some(0.2)).unwrap()));
    assert!(difference(&own, &score(&task, Some(0.5)).unwrap()) > 1e-3);
    let none = gpt(0.0);
    says(score(&none, None), &["unsupported", "p = 0", "set p"]);
    assert!(score(&none, Some(0.2)).is_ok());
}

#[test]
fn dropout_says_what_it_cannot_do() {
    let train = clusters(12, 1);
    let (task, plain) = (mlp(&train), tasks::mlp());
    let plain = plain.train(&tasks::trainer(), &train).unwrap();
    let of = |draws, p| Dropout { draws, p, ..Dropout::new(GradDot::default()) };
    says(of(0, None).fit(&task, &train), &["Dropout.draws", "at least 1", "0"]);
    says(of(1, Some(1.0)).fit(&task, &train), &["Dropout.p", "below 1", "got 1"]);
    says(of(1, Some(f64::NAN)).fit(&task, &train), &["Dropout.p", "NaN"]);
    says(of(1, Some(0.5)).fit(&plain, &train), &["unsupported", "the model has no dropout"]);
    says(of(1, None).fit(&Task::new(|p: &nn::Path| Mlp::new(p, &[4, 3])), &train), &["no checkpoints"]);
    let wrong = Task::new(|p: &nn::Path| Mlp::new(p, &[4, 3]).with_dropout(1.0));
    says(wrong.train(&tasks::trainer(), &train), &["Mlp.dropout", "below 1", "got 1"]);
}
