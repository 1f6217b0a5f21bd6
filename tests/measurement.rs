//! Measurements on sequences with ignored targets, at saturated probabilities, and targets drawn from the model.

use ascribe::measurement::IGNORED;
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::layers::noise;
use crate::tasks::assert_close;

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

fn all() -> Vec<Box<dyn Measurement>> {
    vec![Box::new(LogLikelihood), Box::new(Margin), Box::new(Logit)]
}

fn gradient(measurement: &dyn Measurement, outputs: &Tensor, targets: &Tensor) -> Tensor {
    let outputs = outputs.detach().copy().set_requires_grad(true);
    let value = measurement.measure(&outputs, targets).sum(None::<Kind>);
    Tensor::f_run_backward(&[value], &[outputs], false, false).unwrap().remove(0)
}

#[test]
fn ignored_targets_are_left_out_of_the_sum() {
    let outputs = noise(&[3, 4, 5], 1);
    let targets = Tensor::from_slice(&[1i64, IGNORED, 4, 0, 2, 3, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED]);
    let targets = targets.view([3, 4]);
    for measurement in all() {
        let name = measurement.name();
        measurement.check(&outputs, &targets).unwrap();
        let values = measurement.measure(&outputs, &targets);
        for (example, counted) in [(0, vec![0i64, 2, 3]), (1, vec![0, 1]), (2, vec![])] {
            let one =
                |at: i64| measurement.measure(&outputs.get(example).narrow(0, at, 1), &targets.get(example).narrow(0, at, 1));
            let alone: f64 = counted.into_iter().map(|at| one(at).double_value(&[0])).sum();
            assert!((values.double_value(&[example]) - alone).abs() < 1e-5, "{name}, example {example}");
        }
        let slopes = gradient(measurement.as_ref(), &outputs, &targets);
        assert_eq!(slopes.get(2).abs().max().double_value(&[]), 0.0, "{name}: an example with no target");
        assert_eq!(slopes.get(0).get(1).abs().max().double_value(&[]), 0.0, "{name}: an ignored position");
        assert!(slopes.get(0).get(0).abs().max().double_value(&[]) > 0.0, "{name}");
        let wrong = targets.masked_fill(&targets.eq(IGNORED), -99);
        let message = format!("{:?}", measurement.check(&outputs, &wrong).unwrap_err());
        assert_eq!(message, "data targets: expected labels 0 to 4 (the model has 5 outputs) or -100, got -99");
    }
}

/// Training, attribution and its self-influence with examples that have no target at all.
#[test]
fn an_example_without_targets_scores_zero() {
    let tokens = Tensor::from_slice(&[1i64, 2, 3, 0, 3, 3, 1, 0, 2]).view([3, 3]);
    let targets = Tensor::from_slice(&[2i64, 3, IGNORED, 3, IGNORED, 1, IGNORED, IGNORED, IGNORED]).view([3, 3]);
    let data = Dataset::new(tokens, targets).unwrap();
    let task = Task::new(|p: &nn::Path| Gpt::new(p, GptOptions { vocab: 4, context: 3, width: 8, layers: 1, ..default() }));
    let task = task.with_measurement(Margin).train(&Trainer { epochs: 2, ..default() }, &data).unwrap();
    for method in [Box::new(GradDot::default()) as Box<dyn Method>, Box::new(GradCos::default())] {
        let fitted = method.fit(&task, &data).unwrap();
        let scores = fitted.matrix(&data).unwrap();
        assert_eq!(scores.isfinite().all().int64_value(&[]), 1);
        assert_eq!(scores.get(2).abs().max().double_value(&[]) + scores.select(1, 2).abs().max().double_value(&[]), 0.0);
        assert!(scores.double_value(&[0, 0]) > 0.0);
        assert_eq!(fitted.self_scores().unwrap().double_value(&[2]), 0.0);
    }
}

#[test]
fn the_margin_stays_exact_where_probabilities_round() {
    for size in [30.0, 200.0, 1e4] {
        let outputs = Tensor::from_slice(&[1.0f32, 0.0, 0.0, -1.0, 0.0, 0.0]).view([2, 3]) * size;
        let targets = Tensor::from_slice(&[0i64, 0]);
        let two = std::f64::consts::LN_2;
        let values = Vec::<f64>::try_from(Margin.measure(&outputs, &targets)).unwrap();
        for (value, expected) in values.iter().zip([size - two, -size - two]) {
            assert!((value - expected).abs() <= 1e-6 * size, "{value} and {expected}");
        }
        let expected = Tensor::from_slice(&[1.0f32, -0.5, -0.5, 1.0, -0.5, -0.5]).view([2, 3]);
        assert_close(&gradient(&Margin, &outputs, &targets), &expected, 1e-6, "margin");
    }
}

/// Gradients of the margin of a network whose logits `hidden` of the last example of nine are set to a value.
fn with_logits(value: f64, hidden: [bool; 3]) -> Result<Tensor, Error> {
    let data = crate::tasks::clusters(9, 1);
    let broken = move |p: &nn::Path| {
        let fc = layer::linear(p / "fc", 4, 3);
        move |x: &Tensor, tape: &mut Tape| {
            let marked = x.select(1, 0).gt(100.0).unsqueeze(1).logical_and(&Tensor::from_slice(&hidden));
            tape.linear("fc", &fc, x).masked_fill(&marked, value)
        }
    };
    let task = Task::new(broken).with_measurement(Margin).train(&Trainer { epochs: 1, ..default() }, &data)?;
    let inputs = data.inputs().copy();
    let _ = inputs.get(8).get(0).fill_(1e3);
    let marked = Dataset::new(inputs, data.targets().shallow_clone())?;
    task.snapshot(0)?.gradients(Of::Measurement, &marked)?.dense()
}

/// Not on the first examples, which are looked at before any work.
#[test]
fn logits_that_are_not_finite_never_give_a_gradient_that_is_not() {
    const LAST: [bool; 3] = [false, false, true]; // the target of the last example
    let others = [true, true, false];
    let not_finite = [(f64::NAN, LAST), (f64::INFINITY, LAST), (f64::NEG_INFINITY, LAST), (f64::NEG_INFINITY, others)];
    for (value, hidden) in not_finite {
        let message = format!("{:?}", with_logits(value, hidden).unwrap_err());
        assert!(message.contains("the forward pass: the margin of an example is NaN or infinite"), "{value}: {message}");
    }
    // A class that a model rules out itself, by −∞, has no gradient; the others have theirs.
    let gradients = with_logits(f64::NEG_INFINITY, [true, false, false]).unwrap().get(8);
    assert_eq!(gradients.isfinite().all().int64_value(&[]), 1);
}

#[test]
fn classes_are_drawn_with_the_model_s_probabilities() {
    let probabilities = [0.5f32, 0.0, 0.2, 0.3];
    let n = 1000;
    let outputs = Tensor::from_slice(&probabilities).log().view([1, 1, 4]).repeat([n, 2, 1]);
    let targets = Tensor::zeros([n, 2], (Kind::Int64, Device::Cpu));
    let _ = targets.get(7).fill_(IGNORED);
    let uniform = (Tensor::arange(2 * n, CPU) / (2 * n) as f64).view([n, 2]); // each quantile once
    let drawn = LogLikelihood.sample(&outputs, &targets, &uniform).unwrap();
    assert_eq!((drawn.size(), drawn.kind()), (vec![n, 2], Kind::Int64));
    assert_eq!(Vec::<i64>::try_from(drawn.get(7)).unwrap(), [IGNORED, IGNORED]);
    for (class, &p) in probabilities.iter().enumerate() {
        let share = drawn.eq(class as i64).to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]);
        assert!((share - f64::from(p)).abs() < 2e-3, "class {class}: {share} of {p}");
    }
    // The ends of the interval never give a class of probability zero.
    let ends = Tensor::from_slice(&[0.0f32, 1.0 - f32::EPSILON / 2.0]);
    let outputs = Tensor::from_slice(&[0.0f32, 0.1, 0.9, 0.0]).log().view([1, 4]).repeat([2, 1]);
    let drawn = LogLikelihood.sample(&outputs, &Tensor::from_slice(&[0i64, 0]), &ends).unwrap();
    assert_eq!(Vec::<i64>::try_from(drawn).unwrap(), [1, 2]);
    assert!(Margin.sample(&outputs, &Tensor::from_slice(&[0i64, 0]), &ends).is_none());
    assert!(Logit.sample(&outputs, &Tensor::from_slice(&[0i64, 0]), &ends).is_none());
}

#[test]
fn numbers_are_drawn_with_variance_one_half() {
    let n = 4000;
    let outputs = Tensor::full([n, 1], 3.0, CPU);
    let uniform = Tensor::arange(n, CPU) / n as f64;
    let drawn = NegativeSquaredError.sample(&outputs, &Tensor::zeros([n], CPU), &uniform).unwrap();
    assert_eq!(drawn.size(), [n]);
    assert_eq!(drawn.isfinite().all().int64_value(&[]), 1);
    let drawn = drawn.to_kind(Kind::Double);
    assert!((drawn.mean(None::<Kind>).double_value(&[]) - 3.0).abs() < 2e-3);
    assert!((drawn.var(true).double_value(&[]) - 0.5).abs() < 5e-3);
    let within = (&drawn - 3.0).abs().le(0.5f64.sqrt()).to_kind(Kind::Double).mean(None::<Kind>).double_value(&[]);
    assert!((within - 0.6827).abs() < 2e-3, "one standard deviation holds {within}");
}

/// `∂ log p / ∂f` by finite differences of the logits of a wrong class: a change of the logits that moves the margin by dm moves
/// the log-likelihood by (1 − p) dm.
#[test]
fn residual_is_the_slope_of_the_log_likelihood_in_the_margin() {
    let outputs = Tensor::from_slice(&[2.0f64, -1.0, 0.5, 0.3, 12.0, -9.0]).view([2, 3]);
    let targets = Tensor::from_slice(&[0i64, 1]);
    let step = Tensor::from_slice(&[0.0f64, 1e-5, 1e-5, 1e-5, 0.0, 1e-5]).view([2, 3]);
    let rise = |measurement: &dyn Measurement| {
        measurement.measure(&(&outputs + &step), &targets) - measurement.measure(&(&outputs - &step), &targets)
    };
    let slope = rise(&LogLikelihood) / rise(&Margin);
    assert_close(&Margin.residual(&outputs, &targets).unwrap(), &slope, 1e-5, "margin");
}
