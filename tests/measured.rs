//! Predictions, contrastive margins and language losses: by hand, by finite differences, at saturation, and what cannot be.

use ascribe::measurement::IGNORED;
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::layers::noise;
use crate::tasks::{assert_close, says};

fn unit(pairs: &Tensor) -> Tensor {
    pairs / pairs.linalg_norm(2.0, [-1i64].as_slice(), true, None::<Kind>)
}

fn tokens() -> Tensor {
    Tensor::from_slice(&[1i64, 0, 3, 2, 3, IGNORED, 1, 1]).view([2, 4])
}

/// Each with outputs in float64 and targets that suit it.
fn all() -> Vec<(Box<dyn Measurement>, Tensor, Tensor)> {
    let logits = || noise(&[2, 4, 5], 3).to_kind(Kind::Double);
    let stored = Contrastive::new(&unit(&noise(&[6, 2, 3], 7)), 1.0).unwrap();
    let numbers = Tensor::from_slice(&[0.3f64, -1.0]);
    vec![
        (Box::new(Prediction), noise(&[2, 1], 2).to_kind(Kind::Double), numbers),
        (Box::new(stored), unit(&noise(&[2, 2, 3], 8).to_kind(Kind::Double)), Tensor::from_slice(&[0i64, 0])),
        (Box::new(NextToken::default()), logits(), tokens()),
        (Box::new(NextToken::new(Margin)), logits(), tokens()),
        (Box::new(NextToken::new(MeanOverPositions::new(Margin))), logits(), tokens()),
        (Box::new(Masked::new(LogLikelihood, &[1, 3])), logits(), tokens()),
        (Box::new(Masked::new(NextToken::default(), &[2])), logits(), tokens()),
        (Box::new(MeanOverPositions::new(LogLikelihood)), logits(), tokens()),
    ]
}

fn gradient(measurement: &dyn Measurement, outputs: &Tensor, targets: &Tensor) -> Tensor {
    let outputs = outputs.detach().copy().set_requires_grad(true);
    let value = measurement.measure(&outputs, targets).sum(None::<Kind>);
    Tensor::f_run_backward(&[value], &[outputs], false, false).unwrap().remove(0)
}

#[test]
fn gradients_are_finite_differences() {
    for (measurement, outputs, targets) in all() {
        measurement.check(&outputs, &targets).unwrap();
        let value = |flat: &Tensor| measurement.measure(&flat.view(outputs.size().as_slice()), &targets).sum(Kind::Double);
        let (flat, step) = (outputs.reshape([-1]), 1e-6);
        let slope = |i: i64| {
            let along = flat.zeros_like();
            let _ = along.get(i).fill_(step);
            (value(&(&flat + &along)) - value(&(&flat - along))) / (2.0 * step)
        };
        let slopes = Tensor::stack(&(0..flat.numel() as i64).map(slope).collect::<Vec<_>>(), 0);
        let found = gradient(measurement.as_ref(), &outputs, &targets).reshape([-1]);
        assert_close(&found, &slopes, 1e-7, &measurement.name());
        assert_eq!(measurement.measure(&outputs, &targets).size(), [2], "{}", measurement.name());
    }
}

/// Read off a table of log-probabilities.
#[test]
fn language_losses_by_hand() {
    let logits = noise(&[2, 4, 5], 3).to_kind(Kind::Double);
    let table = logits.log_softmax(-1, Kind::Double);
    let log = |n: i64, t: i64, token: i64| table.double_value(&[n, t, token]);
    let odds = |n: i64, t: i64, token: i64| log(n, t, token) - (1.0 - log(n, t, token).exp()).ln();
    let measured = |m: &dyn Measurement| Vec::<f64>::try_from(m.measure(&logits, &tokens())).unwrap();
    let next = [log(0, 0, 0) + log(0, 1, 3) + log(0, 2, 2), log(1, 1, 1) + log(1, 2, 1)];
    let margin = [odds(0, 0, 0) + odds(0, 1, 3) + odds(0, 2, 2), odds(1, 1, 1) + odds(1, 2, 1)];
    let expected: [(&dyn Measurement, [f64; 2]); 6] = [
        (&NextToken::default(), next),
        (&NextToken::new(Margin), margin),
        (&NextToken::new(MeanOverPositions::new(LogLikelihood)), [next[0] / 3.0, next[1] / 2.0]),
        (&Masked::new(LogLikelihood, &[1, 3]), [log(0, 1, 0) + log(0, 3, 2), log(1, 3, 1)]),
        (&Masked::at(1), [log(0, 1, 0), 0.0]),
        (&Masked::new(NextToken::default(), &[2]), [log(0, 1, 3), log(1, 1, 1)]),
    ];
    for (measurement, expected) in expected {
        for (found, expected) in measured(measurement).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-10, "{}: {found} and {expected}", measurement.name());
        }
    }
}

/// Tokens as targets, shifted inside, train and attribute as shifted targets do.
#[test]
fn next_tokens_are_targets_shifted_by_one() {
    let tokens = Tensor::from_slice(&[1i64, 2, 3, 0, 3, 3, 1, 0, 2, 2, 1, 0]).view([3, 4]);
    let shifted = tokens.roll([-1i64], [1i64]);
    let _ = shifted.select(1, 3).fill_(IGNORED);
    let gpt =
        || Task::new(|p: &nn::Path| Gpt::new(p, GptOptions { vocab: 4, context: 4, width: 8, heads: 2, layers: 1, ..default() }));
    let scores = |task: Task, targets: &Tensor| {
        let data = Dataset::new(tokens.shallow_clone(), targets.shallow_clone()).unwrap();
        let task = task.train(&Trainer { epochs: 3, ..default() }, &data).unwrap();
        let influence = Influence::new(Diagonal { matrix: Matrix::Fisher { draws: 2, seed: 0 }, ..default() });
        [
            GradDot::default().fit(&task, &data).unwrap().matrix(&data).unwrap(),
            influence.fit(&task, &data).unwrap().matrix(&data).unwrap(),
        ]
    };
    let (a, b) = (scores(gpt().with_objective(NextToken::default()), &tokens), scores(gpt(), &shifted));
    assert_close(&a[0], &b[0], 1e-5, "scores");
    assert_eq!(a[1].isfinite().all().int64_value(&[]), 1, "targets can be drawn");
}

#[test]
fn next_tokens_are_drawn_after_the_first() {
    let outputs = Tensor::from_slice(&[0.0f32, 1.0, 0.0]).log().view([1, 1, 3]).repeat([2, 4, 1]);
    let uniform = Tensor::full([2, 4], 0.5, (Kind::Float, Device::Cpu));
    let drawn = NextToken::default().sample(&outputs, &tokens(), &uniform).unwrap();
    assert_eq!(Vec::<i64>::try_from(drawn.reshape([-1])).unwrap(), [1, 1, 1, 1, 3, IGNORED, 1, 1]);
    let drawn = Masked::at(3).sample(&outputs, &tokens(), &uniform).unwrap();
    assert_eq!(Vec::<i64>::try_from(drawn.get(0)).unwrap(), [IGNORED, IGNORED, IGNORED, 1]);
    assert!(NextToken::new(MeanOverPositions::new(LogLikelihood)).sample(&outputs, &tokens(), &uniform).is_none());
}

/// `∂o/∂f` of a change of the outputs that moves f alone.
#[test]
fn residuals_are_slopes_of_the_objective() {
    let ratio = |o: &dyn Fn(&Tensor) -> Tensor, f: &dyn Measurement, at: &Tensor, step: &Tensor, y: &Tensor| {
        let (up, down) = (at + step, at - step);
        (o(&up) - o(&down)) / (f.measure(&up, y) - f.measure(&down, y))
    };
    let (outputs, targets) = (Tensor::from_slice(&[0.5f64, -2.0, 3.0]).view([3, 1]), Tensor::from_slice(&[1.0f64, -2.5, 3.0]));
    let step = outputs.ones_like() * 1e-5;
    let slope = ratio(&|x| NegativeSquaredError.measure(x, &targets), &Prediction, &outputs, &step, &targets);
    let found = Prediction.residual(&outputs, &targets).unwrap();
    assert!((&found - &slope).abs().max().double_value(&[]) < 1e-9, "{found:?} {slope:?}");

    // Stored pairs have nothing in the last direction, so a step of u in it moves u·v and no other product.
    let flat = unit(&noise(&[6, 2, 3], 7).to_kind(Kind::Double));
    let stored = Tensor::cat(&[flat, Tensor::zeros([6, 2, 1], (Kind::Double, Device::Cpu))], 2);
    let contrastive = Contrastive::new(&stored, 1.0).unwrap();
    let pairs = unit(&noise(&[5, 2, 4], 8).to_kind(Kind::Double));
    let likelihood = |pairs: &Tensor| {
        let (u, v) = (pairs.select(1, 0), pairs.select(1, 1));
        let own = (&u * &v).sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
        let side = |x: &Tensor, at: i64| {
            let logits = Tensor::cat(&[own.shallow_clone(), x.matmul(&stored.select(1, at).transpose(0, 1))], 1);
            logits.log_softmax(-1, Kind::Double).select(1, 0)
        };
        side(&u, 1) + side(&v, 0)
    };
    let step = pairs.zeros_like();
    let _ = step.select(1, 0).select(1, 3).fill_(1e-5);
    let labels = Tensor::zeros([5], (Kind::Int64, Device::Cpu));
    let slope = ratio(&likelihood, &contrastive, &pairs, &step, &labels);
    // Stored numbers are float32.
    assert_close(&contrastive.residual(&pairs, &labels).unwrap(), &slope, 1e-6, "contrastive");
    let next = NextToken::new(Margin).residual(&noise(&[2, 4, 5], 3), &tokens()).unwrap();
    let shifted = Margin.residual(&noise(&[2, 4, 5], 3).narrow(1, 0, 3), &tokens().narrow(1, 1, 3)).unwrap();
    assert!(next.equal(&shifted));
}

#[test]
fn nothing_is_lost_at_saturation() {
    let logits = Tensor::from_slice(&[1.0f32, 0.0, 0.0, -1.0, 0.0, 0.0]).view([1, 2, 3]) * 1e4;
    let zeros = Tensor::zeros([1, 2], (Kind::Int64, Device::Cpu));
    for measurement in [Box::new(NextToken::new(Margin)) as Box<dyn Measurement>, Box::new(Masked::new(Margin, &[0]))] {
        let value = measurement.measure(&logits, &zeros).double_value(&[0]);
        assert!((value - (1e4 - std::f64::consts::LN_2)).abs() < 1e-2, "{}: {value}", measurement.name());
        let slopes = Vec::<f32>::try_from(gradient(measurement.as_ref(), &logits, &zeros).get(0).get(0)).unwrap();
        assert_eq!(slopes, [1.0, -0.5, -0.5], "{}", measurement.name());
    }
    let stored = Tensor::from_slice(&[0.0f32, 1.0, 0.0, 1.0]).view([1, 2, 2]);
    let contrastive = Contrastive::new(&stored, 50.0).unwrap();
    let pair = Tensor::from_slice(&[1.0f32, 0.0, 1.0, 0.0]).view([1, 2, 2]); // p = 1 − e⁻⁵⁰
    let residual = contrastive.residual(&pair, &zeros.get(0)).unwrap().double_value(&[0]);
    assert!((residual / (-50f64).exp() - 1.0).abs() < 1e-4, "{residual:e}");
    assert!(gradient(&contrastive, &pair, &zeros.get(0)).abs().max().double_value(&[]) >= 1.0);
}

/// A network that gives back its input twice.
fn twice(width: i64) -> Task {
    let model = move |p: &nn::Path| {
        let both = layer::linear(p / "both", width, 2 * width);
        move |x: &Tensor, tape: &mut Tape| tape.linear("both", &both, x).reshape([-1, 2, width])
    };
    let eye = Tensor::eye(width, (Kind::Float, Device::Cpu));
    let bias = Tensor::zeros([2 * width], (Kind::Float, Device::Cpu));
    let weights = vec![("both.weight".to_string(), Tensor::cat(&[&eye, &eye], 0)), ("both.bias".to_string(), bias)];
    Task::new(model).with_checkpoints(vec![Checkpoint::new(0, 1, 0.1, weights)]).unwrap()
}

/// With one stored pair, f is 0 for that pair itself and 2 for the others.
#[test]
fn every_example_is_as_likely_to_be_stored() {
    let eye = Tensor::eye(5, (Kind::Float, Device::Cpu));
    let data = Dataset::new(eye.shallow_clone(), Tensor::from_slice(&[0i64; 5])).unwrap();
    let (task, mut counts) = (twice(5), [0; 5]);
    let snapshot = task.snapshot(0).unwrap();
    for seed in 0..1000 {
        let values = snapshot_values(&Contrastive::fit(&snapshot, &data, 1, seed).unwrap(), &snapshot, &data);
        let at = values.iter().position(|&v| v == 0.0).unwrap();
        assert_eq!(values.iter().filter(|&&v| v == 2.0).count(), 4);
        counts[at] += 1;
    }
    assert!(counts.iter().all(|&count| (140..260).contains(&count)), "{counts:?}"); // 200 ± 4.7 deviations
    // All of them: each meets itself once and four others.
    let values = snapshot_values(&Contrastive::fit(&snapshot, &data, 5, 0).unwrap(), &snapshot, &data);
    let expected = -2.0 * (1.0 + 4.0 * (-1f64).exp()).ln();
    assert!(values.iter().all(|v| (v - expected).abs() < 1e-5), "{values:?}");
}

fn snapshot_values(measurement: &Contrastive, snapshot: &Snapshot, data: &Dataset) -> Vec<f64> {
    Vec::<f64>::try_from(measurement.measure(&snapshot.outputs(data).unwrap(), data.targets())).unwrap()
}

#[test]
fn measurements_say_what_they_cannot_measure() {
    let (logits, numbers) = (noise(&[2, 4, 5], 3), Tensor::from_slice(&[1.0f32, 2.0]));
    says(Prediction.check(&noise(&[2, 3], 1), &noise(&[2, 3], 2)), &["outputs", "[n] or [n, 1], one prediction", "[2, 3]"]);
    says(Prediction.check(&noise(&[2, 1], 1), &noise(&[2, 3], 2)), &["targets"]);
    let next = NextToken::default();
    says(next.check(&logits, &tokens().narrow(1, 0, 1)), &["targets", "t at least 2", "[2, 1]"]);
    says(next.check(&logits, &tokens().to_kind(Kind::Float)), &["targets", "int64", "Float"]);
    says(next.check(&logits.narrow(1, 0, 3), &tokens()), &["logits [n, 4, vocab], one for each token", "[2, 3, 5]"]);
    says(next.check(&logits.narrow(2, 0, 3), &tokens()), &["labels 0 to 2", "got 3"]);
    says(Masked::new(LogLikelihood, &[]).check(&logits, &tokens()), &["Masked.positions", "at least one"]);
    says(Masked::at(4).check(&logits, &tokens()), &["Masked.positions", "0 to 3 (the targets have 4)", "got 4"]);
    says(Masked::at(0).check(&logits, &numbers), &["targets", "[n, t]", "[2]"]);
    says(MeanOverPositions::new(LogLikelihood).check(&logits, &numbers), &["targets", "[n, t]"]);
    let pairs = unit(&noise(&[4, 2, 3], 1));
    says(Contrastive::new(&pairs, 0.0), &["Contrastive.logit_scale", "positive", "0"]);
    says(Contrastive::new(&pairs.select(1, 0), 1.0), &["stored pairs", "[n, 2, d]", "[4, 3]"]);
    says(Contrastive::new(&(&pairs * 2.0), 1.0), &["stored pairs", "length 1", "2.000 to 2.000"]);
    let contrastive = Contrastive::new(&pairs, 1.0).unwrap();
    says(contrastive.check(&unit(&noise(&[4, 2, 7], 1)), &numbers), &["embeddings of 3 numbers", "got 7"]);
    says(contrastive.check(&(pairs * 0.5), &numbers), &["outputs", "length 1", "0.500"]);
    says(contrastive.with_logit_scale(f64::NAN), &["Contrastive.logit_scale", "NaN"]);
    let data = Dataset::new(Tensor::eye(3, (Kind::Float, Device::Cpu)), Tensor::from_slice(&[0i64; 3])).unwrap();
    let task = twice(3);
    for count in [0, 4] {
        says(Contrastive::fit(&task.snapshot(0).unwrap(), &data, count, 0), &["1 to 3 stored embeddings", &count.to_string()]);
    }
}
