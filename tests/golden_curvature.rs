//! Curvature methods computed by other software; `golden/curvature.py` wrote them and `golden/CURVATURE.md` says what they are.

use ascribe::model::layer::ConvOptions;
use ascribe::prelude::*;

use crate::golden::{digits, golden_cnn, npy, path};
use crate::tasks::assert_close;

fn plain_cnn(p: &nn::Path) -> impl Model + use<> {
    let same = ConvOptions { padding: [1, 1], ..Default::default() };
    let (conv1, conv2) = (layer::conv2d(p / "conv1", 1, 4, 3, same), layer::conv2d(p / "conv2", 4, 8, 3, same));
    let fc = layer::linear(p / "fc", 32, 10);
    move |x: &Tensor, tape: &mut Tape| {
        let x = tape.conv2d("conv1", &conv1, &x.reshape([-1, 1, 8, 8])).relu().max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let x = tape.conv2d("conv2", &conv2, &x).relu().max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        tape.linear("fc", &fc, &x.flatten(1, -1))
    }
}

fn tasks() -> Vec<(&'static str, Task)> {
    let tasks = vec![
        ("logistic", Task::new(|p: &nn::Path| Logistic::new(p, 64, 10))),
        ("mlp", Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10]))),
        ("cnn", Task::new(golden_cnn)),
        ("cnn_plain", Task::new(plain_cnn)),
    ];
    let load = |name: &str| Checkpoint::load(path(&format!("{name}-1.safetensors"))).unwrap();
    tasks.into_iter().map(|(name, task)| (name, task.with_checkpoints(vec![load(name)]).unwrap())).collect()
}

/// Compares with the float64 file, and with the peer's where it computes the same thing; self-influence too.
fn check(model: &str, name: &str, method: &dyn Method, task: &Task, tolerance: f64) {
    let (train, test) = digits();
    let fitted = method.fit(task, &train).unwrap();
    let scores = fitted.matrix(&test).unwrap();
    let mut compared = 0;
    for file in [format!("{model}-{name}.npy"), format!("{model}-{name}-exact.npy")] {
        if path(&file).exists() {
            assert_close(&scores, &npy(&file), tolerance, &file);
            compared += 1;
        }
    }
    assert!(compared > 0, "{model}-{name} has no file");
    let own = format!("{model}-{name}_self-exact.npy");
    if path(&own).exists() {
        assert_close(&fitted.self_scores().unwrap(), &npy(&own), tolerance, &own);
    }
    // One after the other, and the whole set as a group.
    let rows: Vec<Tensor> = (0..2).map(|i| fitted.matrix(&test.select(&[i]).unwrap()).unwrap()).collect();
    assert_close(&Tensor::cat(&rows, 0), &scores.narrow(0, 0, 2), 1e-4, &format!("{model}-{name} in parts"));
    let sums = scores.sum_dim_intlist([0i64].as_slice(), false, None::<ascribe::tch::Kind>);
    assert_close(&fitted.together(&test).unwrap(), &sums, 1e-4, &format!("{model}-{name} as a group"));
}

#[test]
fn kronecker_factors_are_those_of_kronfluence() {
    let matrix = Matrix::EmpiricalFisher;
    for (model, task) in tasks() {
        let of = |curvature: &str, damping: Damping, tolerance: f64| match curvature {
            "diagonal" => Influence::new(Diagonal { matrix, damping }),
            "ekfac" => Influence::new(Ekfac { matrix, damping, tolerance }),
            _ => Influence::new(Kfac { matrix, damping, tolerance, factored: false }),
        };
        let convolutions = model.starts_with("cnn");
        for curvature in ["diagonal", "kfac", "ekfac"] {
            // Several positions: kronfluence leaves out their number, Grosse & Martens do not.
            let file = if convolutions && curvature == "kfac" { "kfac_positions" } else { curvature };
            check(model, file, &of(curvature, Damping::Absolute(0.01), 0.0), &task, 2e-5);
            check(model, file, &of(curvature, Damping::Absolute(0.01), 1e-6), &task, 2e-4);
            let heuristic = path(&format!("{model}-{curvature}_heuristic.npy")).exists();
            if heuristic && !(convolutions && curvature == "kfac") {
                check(model, &format!("{curvature}_heuristic"), &of(curvature, Damping::Relative(0.1), 0.0), &task, 2e-5);
            }
        }
    }
}

#[test]
fn data_inf_is_that_of_dattri() {
    for (model, task) in tasks() {
        check(model, "data_inf", &Influence::new(DataInf { damping: Damping::Absolute(0.1) }), &task, 1e-5);
    }
}

#[test]
fn relative_influence_is_that_of_dattri() {
    for (model, task) in tasks() {
        let lambda = match model {
            "logistic" => 0.01,
            "cnn_plain" => 1.0,
            _ => 0.5,
        };
        for (file, by) in [("relatif_l", Relative::Loss), ("relatif_theta", Relative::Parameters)] {
            let explicit = Influence::new(Explicit { damping: Damping::Absolute(lambda), ..default() });
            check(model, file, &RelatIf::new(explicit, by), &task, 1e-4);
        }
    }
}
