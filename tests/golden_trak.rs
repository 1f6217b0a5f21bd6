//! Scores of `golden/trak_family.py`; `golden/TRAK.md` says what each file is and how peers scale.

use std::sync::Arc;

use ascribe::gradient::{Entry, Layout};
use ascribe::prelude::*;
use ascribe::projection::Part;
use ascribe::tch::{Kind, no_grad};
use ndarray::Array2;

use crate::golden::{digits, golden_cnn, npy, path};
use crate::tasks::assert_close;

/// A file of signs, divided by the square root of its columns.
fn signs(name: &str) -> Tensor {
    let array: Array2<i8> = ndarray_npy::read_npy(path(name)).unwrap();
    let (rows, columns) = array.dim();
    let values: Vec<f32> = array.iter().map(|&sign| f32::from(sign) / (columns as f32).sqrt()).collect();
    Tensor::from_slice(&values).view([rows as i64, columns as i64])
}

/// The stored projection of all parameters of a model, the same at every checkpoint.
#[derive(Debug)]
struct Stored(&'static str);

struct Fitted {
    matrix: Tensor,
    parts: Vec<Part>,
}

impl Projection for Stored {
    fn name(&self) -> String {
        "stored".into()
    }

    fn fit(&self, layout: &Arc<Layout>, _: u64) -> Result<Box<dyn Projector>, Error> {
        let all = signs(&format!("trak-{}-projection.npy", self.0));
        // The file's rows follow torch: each layer's weight before its bias.
        let layer = |entry: &Entry| entry.name.rsplit_once('.').unwrap().0.to_string();
        let entries = layout.entries();
        let mut ordered: Vec<&Entry> = entries.iter().collect();
        ordered.sort_by_key(|entry| {
            let first = entries.iter().position(|other| layer(other) == layer(entry));
            (first, entry.name.ends_with("bias"))
        });
        let (mut at, matrix) = (0, all.zeros_like());
        for entry in ordered {
            matrix.narrow(0, entry.offset, entry.len).copy_(&all.narrow(0, at, entry.len));
            at += entry.len;
        }
        assert_eq!(all.size()[0], at);
        let parts = vec![Part { name: "all".into(), offset: 0, len: all.size()[1] }];
        Ok(Box::new(Fitted { matrix, parts }))
    }
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor, Error> {
        Ok(rows.matmul(&self.matrix))
    }
}

fn matrix(method: &dyn Method, task: &Task) -> Tensor {
    let (train, test) = digits();
    method.fit(task, &train).unwrap().matrix(&test).unwrap()
}

/// dattri needs no factor; traker has divided each checkpoint's inverse by the mean of its absolute entries.
#[test]
fn trak_equals_that_of_dattri_and_of_traker() {
    let models = [
        ("logistic", Task::new(|p: &nn::Path| Logistic::new(p, 64, 10))),
        ("mlp", Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10]))),
        ("cnn", Task::new(golden_cnn)),
    ];
    for (model, task) in models {
        let load = |i: usize| Checkpoint::load(path(&format!("{model}-{i}.safetensors"))).unwrap();
        let both = task.clone().with_checkpoints(vec![load(0), load(1)]).unwrap();
        let [first, last] = [0, 1].map(|c| task.clone().with_checkpoints(vec![load(c)]).unwrap());
        let file = |name: &str| npy(&format!("trak-{model}-{name}.npy"));
        let check = |scores: &Tensor, name: &str| assert_close(scores, &file(name), 1e-4, &format!("{model} {name}"));
        let exact = Trak { damping: Damping::Absolute(1.0), ..default() };
        let projected = Trak { projection: Some(Arc::new(Stored(model))), ..exact.clone() };
        for name in ["identity", "identity-exact"] {
            check(&matrix(&exact, &both), name);
        }
        for name in ["projected", "projected-exact"] {
            check(&matrix(&projected, &both), name);
        }
        let factors = file("traker_factors-exact");
        let own = matrix(&projected, &last);
        check(&own, "projected_last-exact");
        check(&(own / factors.double_value(&[1])), "traker_last");
        check(&file("traker_last-exact"), "traker_last");
        // Of two checkpoints: ours without Q, each by its own factor, times the mean Q.
        let plain = Trak { weighting: false, ..projected.clone() };
        let parts = matrix(&plain, &first) / factors.double_value(&[0]) + matrix(&plain, &last) / factors.double_value(&[1]);
        let sums = |method: &Trak| matrix(method, &both).abs().sum_dim_intlist([0i64].as_slice(), false, Kind::Float);
        check(&(parts / 2.0 * (sums(&projected) / sums(&plain))), "traker");
    }
}

/// dattri's representer values are divided by n = 60 once more, and its layer is not fine-tuned to the end.
#[test]
fn representer_points_and_shapley_values_equal_those_of_dattri() {
    let last = Checkpoint::load(path("logistic-1.safetensors")).unwrap();
    let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).with_checkpoints(vec![last]).unwrap();
    let points = matrix(&Representer { strength: 0.01, ..default() }, &task);
    assert_close(&points, &npy("trak-logistic-rps-exact.npy"), 1e-5, "representer points");
    assert_close(&points, &(npy("trak-logistic-rps.npy") * 60.0), 5e-3, "representer points of dattri");
    let shapley = matrix(&KnnShapley { neighbours: 5, ..default() }, &task);
    for file in ["trak-logistic-knn-exact.npy", "trak-logistic-knn.npy"] {
        assert_close(&shapley, &npy(file), 1e-6, file);
    }
}

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

/// The stored projection of each linear layer: rows of outputs, then inputs with the bias as the last.
#[derive(Debug)]
struct StoredLayers(&'static str);

struct FittedLayers {
    layers: Vec<(Entry, Entry, Tensor, Tensor)>,
    parts: Vec<Part>,
}

impl Projection for StoredLayers {
    fn name(&self) -> String {
        "stored layers".into()
    }

    fn fit(&self, layout: &Arc<Layout>, _: u64) -> Result<Box<dyn Projector>, Error> {
        let (mut layers, mut parts) = (Vec::new(), Vec::new());
        for weight in layout.entries() {
            let Some(name) = weight.name.strip_suffix(".weight") else { continue };
            let bias = layout.entries().iter().find(|entry| entry.name == format!("{name}.bias")).unwrap();
            let side = |side: &str| signs(&format!("trak-{}-{name}-{side}.npy", self.0));
            layers.push((weight.clone(), bias.clone(), side("out"), side("in")));
            parts.push(Part { name: name.into(), offset: 16 * parts.len() as i64, len: 16 });
        }
        Ok(Box::new(FittedLayers { layers, parts }))
    }
}

impl Projector for FittedLayers {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor, Error> {
        let layers = self.layers.iter().map(|(weight, bias, out, entered)| {
            let part = |entry: &Entry, shape: &[i64]| rows.narrow(1, entry.offset, entry.len).reshape(shape);
            let (outputs, inputs) = (weight.shape[0], weight.shape[1]);
            let whole = Tensor::cat(&[part(weight, &[-1, outputs, inputs]), part(bias, &[-1, outputs, 1])], 2);
            out.transpose(0, 1).matmul(&whole).matmul(entered).flatten(1, -1)
        });
        Ok(Tensor::cat(&layers.collect::<Vec<_>>(), 1))
    }
}

#[test]
fn block_projected_equals_that_of_dattri() {
    let models = [
        ("logistic", Task::new(|p: &nn::Path| Logistic::new(p, 64, 10))),
        ("mlp", Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10]))),
    ];
    for (model, task) in models {
        let last = Checkpoint::load(path(&format!("{model}-1.safetensors"))).unwrap();
        let task = task.with_checkpoints(vec![last]).unwrap();
        let method = BlockProjected { damping: Damping::Relative(0.1), ..BlockProjected::new(StoredLayers(model)) };
        for file in [format!("trak-{model}-layers-exact.npy"), format!("trak-{model}-layers.npy")] {
            assert_close(&matrix(&method, &task), &npy(&file), 1e-5, &file);
        }
    }
}
