//! Scores of `golden/trak_family.py`; `golden/TRAK.md` says what each file is and how peers scale.

use ascribe::prelude::*;
use ascribe::tch::no_grad;
use ndarray::Array2;

use crate::golden::{digits, npy, path};
use crate::tasks::assert_close;

/// A network that begins training at a checkpoint of the folder.
fn from_checkpoint<M: Model + 'static>(name: &'static str, architecture: fn(&nn::Path) -> M) -> Task {
    Task::new(move |p: &nn::Path| {
        let model = architecture(p);
        for (name, stored) in Checkpoint::load(path(&format!("{name}-0.safetensors"))).unwrap().tensors() {
            let (layer, parameter) = name.split_once('.').unwrap();
            no_grad(|| (p / layer).get(parameter).unwrap().copy_(stored));
        }
        model
    })
}

/// Twelve steps of SGD, against dattri's embeddings, its share of the second epoch, and automatic differentiation through the steps.
#[test]
fn unrolled_training_equals_that_of_dattri_and_of_brute_force() {
    let (train, test) = digits();
    let order: Array2<i64> = ndarray_npy::read_npy(path("trak-order.npy")).unwrap();
    let order: Vec<Vec<usize>> = order.rows().into_iter().map(|row| row.iter().map(|&i| i as usize).collect()).collect();
    let trainer = Trainer { optimizer: Optimizer::sgd(0.0, 0.0), epochs: 3, batch_size: 15, learning_rate: 0.1, ..default() };
    let published = DataValueEmbedding { trainer, ..default() };
    let networks = [
        ("logistic", from_checkpoint("logistic", |p| Logistic::new(p, 64, 10))),
        ("mlp", from_checkpoint("mlp", |p| Mlp::new(p, &[64, 16, 10]))),
    ];
    for (model, task) in networks {
        let check = |method: DataValueEmbedding, file: &str, tolerance: f64| {
            let (_, fitted) = method.train(task.clone(), &train).unwrap();
            assert_eq!(fitted.batches(0).unwrap(), order, "the order that the golden files were made with");
            assert_close(&fitted.matrix(&test).unwrap(), &npy(&format!("trak-{model}-{file}.npy")), tolerance, file);
        };
        check(published.clone(), "dvemb-exact", 1e-5);
        check(published.clone(), "dvemb", 1e-5);
        let second = DataValueEmbedding { epoch: Some(2), ..published.clone() };
        check(second.clone(), "dvemb_epoch2-exact", 1e-5);
        check(second, "dvemb_epoch2", 1e-5);
        check(DataValueEmbedding { curvature: StepCurvature::Hessian, ..published.clone() }, "unrolled-exact", 1e-5);
    }
}
