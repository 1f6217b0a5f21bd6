//! Wrong input gives one line that names the thing, what was expected and what came; nothing panics.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, Folder, clusters, says};

fn floats(shape: &[i64]) -> Tensor {
    Tensor::ones(shape, (Kind::Float, ascribe::tch::Device::Cpu))
}

#[test]
fn datasets() {
    says(Dataset::new(floats(&[0, 4]), Tensor::from_slice::<i64>(&[])), &["at least one example", "none"]);
    says(Dataset::new(floats(&[3, 4]), Tensor::from_slice(&[0i64, 1])), &["targets", "3 rows", "2 rows"]);
    says(Dataset::new(floats(&[1, 4]), Tensor::from_slice(&[-1i64])), &["label", "-1"]);
    let broken = floats(&[3, 4]);
    let _ = broken.get(1).get(2).fill_(f64::NAN);
    says(Dataset::new(broken, Tensor::from_slice(&[0i64, 1, 0])), &["inputs", "NaN", "example 1"]);
    let permuted = Tensor::ones([3, 2, 2], (Kind::Float, ascribe::tch::Device::Cpu)).permute([0, 2, 1]);
    let _ = permuted.get(2).get(0).get(1).fill_(f64::INFINITY);
    says(Dataset::new(permuted, Tensor::from_slice(&[0i64, 1, 0])), &["inputs", "infinity", "example 2"]);
    let data = clusters(6, 1);
    says(data.clone().with_column(Series::new("score".into(), [1i64; 6])), &["score", "tables of results"]);
    says(data.select(&[]), &["at least one position"]);
    says(data.select(&[0, 6]), &["position 6", "6 examples"]);
    says(data.head(7), &["7", "6"]);
    says(data.split(5, 2, 0), &["6 examples", "5 + 2"]);
    says(data.with_labels(&[1]), &["labels", "6", "1"]);
    says(data.clone().with_column(Series::new("label".into(), [1i64; 6])), &["label", "tables of results"]);
    says(data.with_column(Series::new("x".into(), [1i64; 5])), &["x", "6 rows", "5"]);
}

use polars_series::NamedFrom;
mod polars_series {
    pub use ascribe::polars::prelude::NamedFrom;
}

#[test]
fn trainer_options() {
    let train = clusters(6, 1);
    let train_with = |trainer: Trainer| tasks::logistic().train(&trainer, &train);
    says(train_with(Trainer { epochs: 0, ..default() }), &["Trainer.epochs", "at least 1", "0"]);
    says(train_with(Trainer { batch_size: 0, ..default() }), &["Trainer.batch_size"]);
    says(train_with(Trainer { learning_rate: -1.0, ..default() }), &["Trainer.learning_rate", "positive", "-1"]);
    says(train_with(Trainer { learning_rate: f64::NAN, ..default() }), &["Trainer.learning_rate", "NaN"]);
    says(train_with(Trainer { keep: Keep::Epochs(vec![21]), ..default() }), &["Trainer.keep", "1 to 20", "21"]);
    says(train_with(Trainer { optimizer: Optimizer::sgd(1.0, 0.0), ..default() }), &["momentum", "below 1"]);
    says(train_with(Trainer { schedule: Schedule::OneCycle { peak: 0.0 }, ..default() }), &["peak"]);
    says(
        train_with(Trainer { learning_rate: 1e300, optimizer: Optimizer::sgd(0.0, 0.0), ..default() }),
        &["training", "lower the learning rate"],
    );
}

#[test]
fn labels_outside_the_classes_and_shapes_that_do_not_fit() {
    let train = clusters(6, 1);
    let far = train.with_labels(&[0, 1, 2, 3, 0, 1]).unwrap();
    says(tasks::logistic().train(&Trainer::default(), &far), &["targets", "0 to 2", "3 outputs", "got 3"]);
    let wide = Dataset::new(floats(&[6, 5]), train.targets().shallow_clone()).unwrap();
    says(tasks::logistic().train(&Trainer::default(), &wide), &["torch", "shape"]);
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap();
    says(GradDot::default().fit(&task, &wide), &["torch", "shape"]);
    says(GradDot::default().fit(&task, &train).unwrap().score(&far), &["targets", "got 3"]);
    let real = Dataset::new(train.inputs().shallow_clone(), floats(&[6])).unwrap();
    says(GradDot::default().fit(&task, &real), &["targets", "int64", "Float"]);
}

#[test]
fn checkpoints() {
    let train = clusters(6, 1);
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    says(GradDot::default().fit(&tasks::mlp(), &train), &["no checkpoints"]);
    says(task.snapshot(5), &["0 to 1", "5"]);
    let tensors = |edit: fn(&str, &Tensor) -> Option<Tensor>| {
        let kept = task.checkpoints()[0].tensors().iter().filter_map(|(n, t)| edit(n, t).map(|t| (n.clone(), t)));
        vec![Checkpoint::new(0, 1, 0.1, kept.collect())]
    };
    let lacking = tensors(|n, t| (n != "fc2.bias").then(|| t.shallow_clone()));
    says(tasks::mlp().with_checkpoints(lacking), &["fc2.bias is missing"]);
    let misshapen = tensors(|n, t| Some(if n == "fc1.weight" { t.narrow(0, 0, 2) } else { t.shallow_clone() }));
    says(tasks::mlp().with_checkpoints(misshapen), &["fc1.weight", "[6, 4]", "[2, 4]"]);
    let nan = tensors(|n, t| Some(if n == "fc1.bias" { t * f64::NAN } else { t.shallow_clone() }));
    says(tasks::mlp().with_checkpoints(nan), &["fc1.bias", "NaN"]);
    let unweighted = tasks::mlp()
        .with_checkpoints(vec![Checkpoint::new(
            0,
            1,
            0.0,
            task.checkpoints()[0].tensors().iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect(),
        )])
        .unwrap();
    says(TracIn::default().fit(&unweighted, &train), &["learning rate", "got 0"]);
}

#[test]
fn files() {
    let folder = Folder::new("files");
    let (_, task, train, test) = tasks::all().remove(0);
    let file = folder.0.join("weights.safetensors");
    task.checkpoints()[0].save(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for cut in [0, 4, 9, 40, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        says(Checkpoint::load(&file), &["weights.safetensors", "not a whole and valid"]);
    }
    let mut lying = bytes.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    std::fs::write(&file, &lying).unwrap();
    says(Checkpoint::load(&file), &["not a whole and valid"]);
    says(Checkpoint::load(folder.0.join("absent")), &["absent"]);
    says(task.checkpoints()[0].save(folder.0.join("no/such/folder.safetensors")), &["no/such/folder"]);
    let scores = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
    says(scores.save(folder.0.join("scores.txt")), &["path", ".npy or .csv", "txt"]);
    scores.save(folder.0.join("scores.npy")).unwrap();
    says(Scores::load(folder.0.join("scores.npy"), &train, &train), &["test examples", "5 ids against 24"]);
    let others = clusters(24, 77);
    says(Scores::load(folder.0.join("scores.npy"), &test, &others), &["train examples", "other inputs"]);
    std::fs::write(folder.0.join("scores.npy"), b"\x93NUMPY garbage").unwrap();
    says(Scores::load(folder.0.join("scores.npy"), &test, &train), &["scores.npy", ".npy"]);
    std::fs::write(folder.0.join("scores.json"), b"{").unwrap();
    says(Scores::load(folder.0.join("scores.npy"), &test, &train), &["scores.json", "JSON"]);
}

#[test]
fn scores_positions() {
    let (_, task, train, test) = tasks::all().remove(0);
    let scores = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
    says(scores.proponents(5, 3), &["test position", "0 to 4", "5"]);
    says(scores.proponents(0, 25), &["k", "1 to 24", "25"]);
    says(scores.opponents(0, 0), &["k", "0"]);
    says(scores.get(0, 24), &["train position", "0 to 23", "24"]);
    says(Scores::new(floats(&[2, 2]), "x", &test, &train), &["[5, 24]", "[2, 2]"]);
    says(Scores::new(floats(&[5, 24]) * f64::NAN, "x", &test, &train), &["NaN"]);
}

#[test]
fn curvature_options_and_trouble() {
    let train = clusters(12, 1);
    let task = tasks::mlp().train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let explicit = |damping| Influence::new(Explicit { damping, ..default() }).fit(&task, &train);
    says(explicit(Damping::Absolute(-1.0)), &["Explicit.damping", "at least 0", "-1"]);
    says(explicit(Damping::Relative(f64::NAN)), &["Explicit.damping", "NaN"]);
    says(explicit(Damping::Absolute(0.0)), &["not positive definite", "least eigenvalue", "raise the damping"]);
    says(Influence::new(Explicit { largest_p: 10, ..default() }).fit(&task, &train), &["51 parameters", "ConjugateGradient"]);
    let conjugate = |options: ConjugateGradient| Influence::new(options).fit(&task, &train).and_then(|f| f.score(&train));
    says(
        conjugate(ConjugateGradient { damping: Damping::Absolute(0.0), ..default() }),
        &["conjugate gradients", "raise the damping"],
    );
    says(
        conjugate(ConjugateGradient { damping: Damping::Absolute(2.0), iterations: 1, tolerance: 1e-9, ..default() }),
        &["did not converge in 1", "truncate"],
    );
    says(conjugate(ConjugateGradient { iterations: 0, ..default() }), &["ConjugateGradient.iterations"]);
    says(conjugate(ConjugateGradient { tolerance: 0.0, ..default() }), &["ConjugateGradient.tolerance"]);
    assert!(conjugate(ConjugateGradient { damping: Damping::Absolute(2.0), iterations: 1, truncate: true, ..default() }).is_ok());
}

#[test]
fn models() {
    let train = clusters(6, 1);
    let unused = Task::new(|p: &nn::Path| {
        let (a, _) = (layer::linear(p / "used", 4, 3), layer::linear(p / "unused", 4, 3));
        move |x: &Tensor, tape: &mut Tape| tape.linear("used", &a, x)
    });
    says(unused.train(&Trainer::default(), &train), &["unused.", "does not depend on it"]);
    let recorded = Task::new(|p: &nn::Path| {
        let (a, b) = (layer::linear(p / "used", 4, 3), layer::linear(p / "idle", 4, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let _ = tape.linear("idle", &b, x);
            tape.linear("used", &a, x)
        }
    });
    let weights = Tensor::ones([3, 4], (Kind::Float, ascribe::tch::Device::Cpu));
    let names = ["used.weight", "idle.weight"].map(|n| (n.to_string(), weights.copy()));
    let biases = ["used.bias", "idle.bias"].map(|n| (n.to_string(), weights.select(1, 0)));
    let checkpoint = Checkpoint::new(0, 1, 0.1, names.into_iter().chain(biases).collect());
    let idle = recorded.with_checkpoints(vec![checkpoint]).unwrap();
    says(GradDot::default().fit(&idle, &train).unwrap().score(&train), &["layer idle", "does not depend on it"]);

    let mixing = Task::new(|p: &nn::Path| {
        let (a, norm) = (layer::linear(p / "a", 4, 3), nn::batch_norm1d(p / "norm", 3, Default::default()));
        move |x: &Tensor, tape: &mut Tape| {
            use ascribe::tch::nn::ModuleT;
            norm.forward_t(&tape.linear("a", &a, x), true)
        }
    });
    says(mixing.train(&Trainer::default(), &train), &["changes", "rest of the batch", "batch norm"]);

    let in_place = Task::new(|p: &nn::Path| {
        let (a, b) = (layer::linear(p / "a", 4, 8), layer::linear(p / "b", 8, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("a", &a, x).relu_();
            tape.linear("b", &b, &hidden)
        }
    });
    let in_place = in_place.train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    says(GradDot::default().fit(&in_place, &train).unwrap().score(&train), &["layer a", "in place"]);

    let constant =
        Task::new(|p: &nn::Path| Logistic::new(p, 4, 3)).with_objective(|o: &Tensor, _: &Tensor| o.detach().select(1, 0));
    says(constant.train(&Trainer::default(), &train), &["does not depend on the parameters"]);

    let empty = Task::new(|_: &nn::Path| |x: &Tensor, _: &mut Tape| x.shallow_clone());
    says(empty.train(&Trainer::default(), &train), &["no trainable parameters"]);
    let panics = Task::new(|p: &nn::Path| -> Logistic {
        let _ = p;
        panic!("my own mistake")
    });
    says(panics.train(&Trainer::default(), &train), &["panicked at tests/bad_input.rs", "my own mistake"]);
    let square = |shape: &[i64]| Dataset::new(floats(&[6, 4]), floats(shape)).unwrap();
    let regression = Task::new(|p: &nn::Path| {
        let fc = layer::linear(p / "fc", 4, 6);
        move |x: &Tensor, tape: &mut Tape| tape.linear("fc", &fc, x).view([-1, 2, 3])
    });
    let regression = regression.with_objective(NegativeSquaredError);
    says(regression.clone().train(&Trainer::default(), &square(&[6, 3, 2])), &["targets", "[2, 3]", "[3, 2]"]);
    assert!(regression.train(&Trainer { epochs: 1, ..default() }, &square(&[6, 2, 3])).is_ok());
    let scalar = tasks::logistic().with_objective(|o: &Tensor, _: &Tensor| o.sum(None::<Kind>));
    says(
        scalar.train(&Trainer::default(), &train).and_then(|t| GradDot::default().fit(&t, &train)?.score(&train)),
        &["closure", "[6]", "[]"],
    );
    let (_, task, train, _) = tasks::all().remove(1);
    says(RepresentationSimilarity { layer: Some("fc9".into()), ..default() }.fit(&task, &train), &["fc9", "fc1, fc2"]);
}

#[test]
fn a_zero_gradient_scores_zero_and_not_nan() {
    // Inputs of zero and no bias: the gradient of a linear layer vanishes.
    let make = |p: &nn::Path| {
        let layer = nn::linear(p / "w", 4, 3, nn::LinearConfig { bias: false, ..Default::default() });
        move |x: &Tensor, tape: &mut Tape| tape.linear("w", &layer, x)
    };
    let inputs = clusters(6, 1).inputs().copy();
    let _ = inputs.get(2).fill_(0.0);
    let data = Dataset::new(inputs, clusters(6, 1).targets().shallow_clone()).unwrap();
    let task = Task::new(make).train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let scores = GradCos::default().fit(&task, &data).unwrap().score(&data).unwrap();
    assert_eq!(scores.get(2, 2).unwrap(), 0.0);
    assert!((scores.get(1, 1).unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(GradCos::default().fit(&task, &data).unwrap().self_scores().unwrap().double_value(&[2]), 0.0);
}

#[test]
fn one_example_or_one_class_is_enough() {
    let one = clusters(24, 1).head(1).unwrap();
    let task = tasks::mlp().train(&tasks::trainer(), &one).unwrap();
    for method in tasks::methods() {
        let fitted = method.fit(&task, &one).unwrap();
        assert_eq!(fitted.score(&one).unwrap().proponents(0, 1).unwrap().height(), 1, "{}", method.name());
    }
    let same = clusters(9, 1).with_labels(&[2; 9]).unwrap();
    let task = tasks::mlp().train(&tasks::trainer(), &same).unwrap();
    assert!(GradCos::default().fit(&task, &same).unwrap().score(&same).is_ok());
    says(dataset::flip_labels(&one, 1, 0), &["class"]);
}

#[test]
fn factored_curvature_options_and_trouble() {
    let train = clusters(12, 1);
    let task = tasks::mlp().train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let fit = |influence: Influence| influence.fit(&task, &train);
    let zero = Damping::Absolute(0.0);
    says(fit(Influence::new(DataInf { damping: zero })), &["DataInf.damping", "above 0"]);
    says(fit(Influence::new(DataInf { damping: Damping::Relative(f64::NAN) })), &["DataInf.damping", "NaN"]);
    let kernel = Explicit { matrix: Matrix::EmpiricalFisher, damping: zero, ..default() };
    says(fit(Influence::new(kernel)), &["Explicit.damping", "above 0"]);
    for curvature in [
        Influence::new(Kfac { damping: Damping::Absolute(-1.0), ..default() }),
        Influence::new(Ekfac { damping: Damping::Absolute(-1.0), ..default() }),
        Influence::new(Diagonal { damping: Damping::Absolute(-1.0), ..default() }),
    ] {
        says(fit(curvature), &["damping", "at least 0", "-1"]);
    }
    says(fit(Influence::new(Ekfac { tolerance: 1.5, ..default() })), &["Ekfac.tolerance", "below 1"]);
    says(fit(Influence::new(Ekfac { matrix: Matrix::Hessian, ..default() })), &["Hessian", "GaussNewton"]);
    says(fit(Influence::new(Kfac { matrix: Matrix::Fisher { draws: 0, seed: 0 }, ..default() })), &["draws", "at least 1"]);
    // A measurement that cannot draw targets, and one that is not concave in the outputs.
    let margin = tasks::mlp().with_objective(Margin).train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let fisher = Influence::new(Diagonal { matrix: Matrix::Fisher { draws: 1, seed: 0 }, ..default() });
    says(fisher.fit(&margin, &train), &["margin", "cannot draw targets"]);
    let convex = |o: &Tensor, _: &Tensor| o.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
    let convex = tasks::mlp().with_objective(convex).with_checkpoints(task.checkpoints().to_vec()).unwrap();
    says(Influence::new(Ekfac::default()).fit(&convex, &train), &["not concave", "Gauss-Newton"]);
}

/// The same number of parameters is not the same network.
#[test]
fn a_curvature_fitted_on_another_network() {
    let train = clusters(12, 1);
    let trained = |widths: &'static [i64]| {
        let task = Task::new(move |p: &nn::Path| Mlp::new(p, widths)).train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
        std::rc::Rc::new(task.snapshot(0).unwrap())
    };
    // 51 parameters in both: 24 + 6 + 18 + 3 and 12 + 3 + 3 (9 + 3).
    let (fitted, same_p, other) = (trained(&[4, 6, 3]), trained(&[4, 3, 3, 3, 3]), trained(&[4, 5, 3]));
    let gradients = |s: &Snapshot| s.gradients(Of::Objective, &train);
    assert_eq!(fitted.p(), same_p.p());
    assert_ne!(fitted.p(), other.p());
    for curvature in
        [Box::new(Ekfac::default()) as Box<dyn Curvature>, Box::new(DataInf::default()), Box::new(Diagonal::default())]
    {
        let preconditioner = curvature.fit(&fitted, &train).unwrap();
        says(preconditioner.map(gradients(&other).unwrap()), &["gradients"]);
        says(preconditioner.quadratic_of(&gradients(&other).unwrap()), &["gradients"]);
    }
    for curvature in
        [Box::new(Ekfac::default()) as Box<dyn Curvature>, Box::new(DataInf::default()), Box::new(Diagonal::default())]
    {
        let broken = Tensor::full([2, fitted.p()], f64::NAN, (Kind::Float, ascribe::tch::Device::Cpu));
        says(curvature.fit(&fitted, &train).unwrap().apply(&broken), &["gradients", "NaN"]);
        let none = Tensor::zeros([0, fitted.p()], (Kind::Float, ascribe::tch::Device::Cpu));
        assert_eq!(curvature.fit(&fitted, &train).unwrap().apply(&none).unwrap().size(), [0, fitted.p()]);
    }
    let preconditioner = Ekfac::default().fit(&fitted, &train).unwrap();
    says(preconditioner.map(gradients(&same_p).unwrap()), &["fc1.bias [6]", "fc1.bias [3]"]);
}

/// All predictions certain: gradients and curvature vanish, and nothing becomes NaN.
#[test]
fn vanishing_gradients_under_every_curvature() {
    let train = clusters(12, 1);
    let labels = train.targets().shallow_clone();
    let certain = Dataset::new(labels.one_hot(3).to_kind(Kind::Float), labels).unwrap();
    let weights = Tensor::eye(3, (Kind::Float, ascribe::tch::Device::Cpu)) * 1e4;
    let weights = vec![
        ("linear.weight".to_string(), weights),
        ("linear.bias".to_string(), Tensor::zeros([3], (Kind::Float, ascribe::tch::Device::Cpu))),
    ];
    let task =
        Task::new(|p: &nn::Path| Logistic::new(p, 3, 3)).with_checkpoints(vec![Checkpoint::new(0, 1, 0.1, weights)]).unwrap();
    for method in method::all() {
        match method.fit(&task, &certain).and_then(|fitted| Ok((fitted.score(&certain)?, fitted.self_scores()?))) {
            Ok((scores, own)) => {
                assert!(scores.tensor().isfinite().all().int64_value(&[]) == 1, "{}", method.name());
                assert!(own.isfinite().all().int64_value(&[]) == 1, "{}", method.name());
            }
            // Relative to gradients that vanish there is no damping.
            Err(error) => assert!(error.to_string().contains("damping"), "{}: {error}", method.name()),
        }
    }
}

#[test]
fn a_mask_that_leaves_nothing_and_a_cosine_of_a_curvature() {
    let train = clusters(12, 1);
    let hidden = Task::new(|p: &nn::Path| {
        let (step, last) = (layer::linear(p / "step", 2, 5), layer::linear(p / "last", 5, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let x = x.reshape([-1, 2, 2]);
            tape.mask(&x.select(2, 0).not_equal_tensor(&x.select(2, 0)));
            let hidden = tape.linear("step", &step, &x).tanh();
            tape.unmask();
            tape.linear("last", &last, &hidden.mean_dim([1i64].as_slice(), false, None::<Kind>))
        }
    });
    let hidden = hidden.train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    says(Influence::new(Ekfac::default()).fit(&hidden, &train), &["layer step", "no position counts"]);
    let task = tasks::mlp().train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let curvature = Ekfac::default();
    let cosine = method::InnerProduct {
        name: "cosine".into(),
        explain: Of::Objective,
        unit_norm: true,
        curvature: Some(&curvature),
        weighting: method::Weighting::Mean,
    };
    says(cosine.fit(&task, &train), &["unit_norm", "UnitNorm"]);
}
