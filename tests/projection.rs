//! What every projection promises, for each kind: unbiased inner products, less noise in more dimensions, one map however it is used.

use std::sync::Arc;

use ascribe::gradient::Layout;
use ascribe::prelude::*;
use ascribe::projection::{
    Elementwise, Factor, FactoredSparse, Gaussian, Grass, Hadamard, Identity, Kronecker, Rademacher, RandomMask, SparseJl,
    TensorSketch,
};
use ascribe::tch::{self, Device, Kind};

use crate::layers::noise;
use crate::tasks::{self, assert_close, says};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Each kind with about `4^power` numbers (a layer), except for the identity.
fn kinds(power: u32, seed: u64) -> Vec<Box<dyn Projection>> {
    let dim = 4i64.pow(power);
    vec![
        Box::new(Gaussian { dim, seed }),
        Box::new(Rademacher { dim, seed }),
        Box::new(SparseJl { dim, nonzeros: 1, seed }),
        Box::new(SparseJl { dim, nonzeros: 3, seed }),
        Box::new(Hadamard { dim, seed }),
        Box::new(RandomMask { dim, seed }),
        Box::new(Grass { dim, multiplier: 2, seed }),
        Box::new(Kronecker { input: 2i64.pow(power), output: 2i64.pow(power), factor: Factor::Gaussian, seed }),
        Box::new(Kronecker { input: 2i64.pow(power), output: 2i64.pow(power), factor: Factor::Mask, seed }),
        Box::new(FactoredSparse { dim, blowup: 4, seed }),
        Box::new(Elementwise { dim, seed }),
        Box::new(TensorSketch { dim, seed }),
    ]
}

fn first_word(projection: &dyn Projection) -> String {
    projection.name().split(',').next().unwrap_or_default().to_string()
}

/// Linear layers with biases; a table of rows beside a shared layer; a parameter outside any layer; convolutions, one of them in
/// groups, with a norm; and a transformer without biases.
fn networks() -> Vec<(&'static str, Snapshot, Gradients)> {
    let mut networks: Vec<_> = tasks::all().into_iter().map(|(name, task, train, _)| (name, task, train)).collect();
    let trainer = || Trainer { epochs: 2, batch_size: 8, learning_rate: 0.03, ..default() };
    let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2, 0, 1]);
    let images = Dataset::new(noise(&[8, 2, 5, 5], 1), labels.shallow_clone()).unwrap();
    networks.push(("conv", Task::new(convolutions).train(&trainer(), &images).unwrap(), images));
    let tokens = (noise(&[8, 6], 2).abs() * 7.0).to_kind(Kind::Int64).clamp(0, 6);
    let tokens = Dataset::new(tokens.narrow(1, 0, 5), tokens.narrow(1, 1, 5)).unwrap();
    let shape = GptOptions { vocab: 7, context: 5, width: 8, heads: 2, layers: 1, ..default() };
    networks.push(("gpt", Task::new(move |p: &nn::Path| Gpt::new(p, shape)).train(&trainer(), &tokens).unwrap(), tokens));
    let gradients = |(name, task, train): (&'static str, Task, Dataset)| {
        let snapshot = task.snapshot(0).unwrap();
        let gradients = snapshot.gradients(Of::Objective, &train.head(6).unwrap()).unwrap();
        (name, snapshot, gradients)
    };
    networks.into_iter().map(gradients).collect()
}

fn convolutions(p: &nn::Path) -> impl Model + use<> {
    let (first, norm) = (layer::conv2d(p / "first", 2, 6, 3, Default::default()), layer::layer_norm(p / "norm", &[6]));
    let second = layer::conv2d(p / "second", 6, 4, 3, layer::ConvOptions { groups: 2, ..Default::default() });
    let last = layer::linear(p / "last", 4, 3);
    move |x: &Tensor, tape: &mut Tape| {
        let x = tape.conv2d("first", &first, x).tanh().permute([0, 2, 3, 1]);
        let x = tape.layer_norm("norm", &norm, &x).permute([0, 3, 1, 2]);
        let x = tape.conv2d("second", &second, &x).tanh().flatten(1, -1);
        tape.linear("last", &last, &x)
    }
}

/// The layout of one linear layer of `output × input` with a bias.
fn layer_layout(input: i64, output: i64) -> Arc<Layout> {
    let data = Dataset::new(Tensor::zeros([output, input], CPU), Tensor::arange(output, (Kind::Int64, Device::Cpu))).unwrap();
    let task = Task::new(move |p: &nn::Path| Logistic::new(p, input, output));
    let task = task.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    task.snapshot(0).unwrap().layout().clone()
}

/// A fixed vector that looks like none of the draws.
fn wave(p: i64, step: f64) -> Tensor {
    ((Tensor::arange(p, CPU) + 1.0).square() * step).sin().unsqueeze(0)
}

/// Mean and standard deviation of `⟨Pu, Pv⟩` over many members.
fn estimates(projection: &dyn Projection, layout: &Arc<Layout>, u: &Tensor, v: &Tensor, members: u64) -> (f64, f64) {
    let both = Tensor::cat(&[u, v], 0);
    let products: Vec<f64> = (0..members)
        .map(|member| {
            let short = projection.fit(layout, member).unwrap().rows(&both).unwrap();
            short.get(0).dot(&short.get(1)).double_value(&[])
        })
        .collect();
    let mean = products.iter().sum::<f64>() / members as f64;
    let variance = products.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (members - 1) as f64;
    (mean, variance.sqrt())
}

#[test]
fn every_kind_is_tested() {
    let tested: Vec<String> = kinds(2, 0).iter().map(|kind| first_word(kind.as_ref())).collect();
    for kind in projection::all() {
        let name = first_word(kind.as_ref());
        assert!(name == "identity" || tested.contains(&name), "{name} is not in the table of this file");
    }
}

#[test]
fn inner_products_are_unbiased() {
    let members = 400;
    for (network, snapshot, gradients) in networks() {
        let layout = snapshot.layout();
        let dense = gradients.dense().unwrap();
        // What is left of a gradient shares a direction with it, as gradients of different examples do.
        let (u, v) = (dense.narrow(0, 0, 1), dense.narrow(0, 3, 1) + wave(layout.p(), 0.37) * 0.1);
        let (truth, size) = ((&u * &v).sum(None::<Kind>).double_value(&[]), (u.norm() * v.norm()).double_value(&[]));
        for kind in kinds(2, 5) {
            let (mean, spread) = estimates(kind.as_ref(), layout, &u, &v, members);
            let error = spread / (members as f64).sqrt();
            let name = kind.name();
            assert!((mean - truth).abs() <= 4.0 * error + 1e-5 * size, "{name} on {network}: {mean} ± {error}, truth {truth}");
            assert!(error < 0.12 * size, "{name} on {network}: too noisy to tell a bias: {error} of {size}");
        }
    }
}

#[test]
fn four_times_the_dimensions_halve_the_noise() {
    let layout = layer_layout(63, 40);
    let (u, v) = (wave(layout.p(), 0.37), wave(layout.p(), 0.37) + wave(layout.p(), 0.11));
    for (few, many) in kinds(2, 1).iter().zip(kinds(3, 1)) {
        let spread = |kind: &dyn Projection| estimates(kind, &layout, &u, &v, 300).1;
        let ratio = spread(few.as_ref()) / spread(many.as_ref());
        assert!((1.6..2.5).contains(&ratio), "{}: {ratio}", many.name());
    }
}

#[test]
fn the_map_does_not_depend_on_how_it_is_used() {
    for (network, snapshot, gradients) in networks() {
        let dense = gradients.dense().unwrap();
        for kind in kinds(2, 2) {
            let what = format!("{} on {network}", kind.name());
            let projector = kind.fit(snapshot.layout(), 1).unwrap();
            let whole = projector.rows(&dense).unwrap();
            assert_eq!(whole.size(), [6, projector.k()], "{what}");
            let split: Vec<Tensor> =
                [(0, 1), (1, 3), (4, 2)].map(|(i, n)| projector.rows(&dense.narrow(0, i, n)).unwrap()).into();
            assert_close(&Tensor::cat(&split, 0), &whole, 1e-5, &format!("{what}, in batches"));
            assert_close(&projector.project(&gradients).unwrap(), &whole, 1e-5, &format!("{what}, factored"));
            let again = kind.fit(snapshot.layout(), 1).unwrap().rows(&dense).unwrap();
            assert!(again.equal(&whole), "{what}: fitted twice, two maps");
            assert_eq!(projector.rows(&dense.narrow(0, 0, 0)).unwrap().size(), [0, projector.k()], "{what}: no rows");
        }
    }
}

/// Few coordinates are taken from the factors of a layer, many from its formed gradient: the same numbers.
#[test]
fn a_mask_reads_factors_as_it_reads_rows() {
    for (network, snapshot, gradients) in networks() {
        let (dense, p) = (gradients.dense().unwrap(), snapshot.layout().p());
        for dim in [1, 2, 5, p / 4, p / 2, p - 1, p] {
            let kinds: [Box<dyn Projection>; 2] =
                [Box::new(RandomMask { dim: dim.max(1), seed: 3 }), Box::new(Grass { dim: dim.max(1), multiplier: 1, seed: 3 })];
            for kind in kinds {
                let projector = kind.fit(snapshot.layout(), 0).unwrap();
                let what = format!("{} on {network}", kind.name());
                assert_close(&projector.project(&gradients).unwrap(), &projector.rows(&dense).unwrap(), 1e-5, &what);
            }
        }
    }
}

/// Large enough for several threads and several blocks of draws.
#[test]
fn threads_change_nothing() {
    let layout = layer_layout(2000, 150);
    let rows = Tensor::cat(&[wave(layout.p(), 0.37), wave(layout.p(), 0.11)], 0);
    for kind in kinds(3, 3) {
        let map = |threads: i32| {
            let (kind, layout, rows) = (&kind, &layout, rows.shallow_clone());
            std::thread::scope(|scope| {
                scope
                    .spawn(move || {
                        let before = tch::get_num_threads();
                        tch::set_num_threads(threads); // of this thread
                        let short = kind.fit(layout, 0).and_then(|projector| projector.rows(&rows));
                        tch::set_num_threads(before);
                        short.unwrap()
                    })
                    .join()
                    .unwrap()
            })
        };
        assert_close(&map(1), &map(3), 1e-6, &kind.name());
    }
}

#[test]
fn maps_are_linear() {
    for (network, snapshot, gradients) in networks() {
        let dense = gradients.dense().unwrap();
        let (u, v) = (dense.narrow(0, 0, 2), dense.narrow(0, 2, 2));
        for kind in kinds(2, 4) {
            let projector = kind.fit(snapshot.layout(), 0).unwrap();
            let map = |rows: &Tensor| projector.rows(rows).unwrap();
            assert_close(&map(&(&u * 2.0 - &v)), &(map(&u) * 2.0 - map(&v)), 1e-5, &format!("{} on {network}", kind.name()));
        }
    }
}

#[test]
fn members_and_seeds_have_maps_of_their_own() {
    let layout = layer_layout(16, 9);
    let u = wave(layout.p(), 0.37);
    for (first, second) in kinds(2, 0).iter().zip(kinds(2, 1)) {
        let map = |kind: &dyn Projection, member| kind.fit(&layout, member).unwrap().rows(&u).unwrap();
        let here = map(first.as_ref(), 0);
        for (other, what) in [(map(first.as_ref(), 1), "member"), (map(second.as_ref(), 0), "seed")] {
            assert!(tasks::difference(&here, &other) > 0.1, "{}: another {what}, the same map", first.name());
        }
        assert_ne!(first.name(), second.name());
    }
}

#[test]
fn parts_lie_one_after_another() {
    for (network, snapshot, _) in networks() {
        for kind in kinds(2, 0) {
            let projector = kind.fit(snapshot.layout(), 0).unwrap();
            let mut offset = 0;
            for part in projector.parts() {
                assert_eq!(part.offset, offset, "{} on {network}, {}", kind.name(), part.name);
                offset += part.len;
            }
            assert_eq!(offset, projector.k());
        }
    }
}

/// More dimensions than parameters are a map like any other.
#[test]
fn more_dimensions_than_parameters() {
    let layout = layer_layout(4, 3);
    let (u, v) = (wave(layout.p(), 0.37), wave(layout.p(), 0.37) + wave(layout.p(), 0.11));
    let truth = (&u * &v).sum(None::<Kind>).double_value(&[]);
    for kind in kinds(5, 0) {
        let (mean, spread) = estimates(kind.as_ref(), &layout, &u, &v, 50);
        assert!(
            (mean - truth).abs() < 4.0 * spread / 50f64.sqrt() + 1e-5 * truth.abs(),
            "{}: {mean}, truth {truth}",
            kind.name()
        );
        assert!(spread < 0.2 * (u.norm() * v.norm()).double_value(&[]), "{}: {spread}", kind.name());
    }
}

/// What no memory could hold is refused by its option, in every kind, before anything is allocated.
#[test]
fn large_dimensions_are_refused() {
    let layout = layer_layout(40, 20);
    let dim = 1 << 30;
    let kinds: Vec<(Box<dyn Projection>, &str)> = vec![
        (Box::new(Gaussian { dim, seed: 0 }), "Gaussian.dim"),
        (Box::new(Rademacher { dim, seed: 0 }), "Rademacher.dim"),
        (Box::new(SparseJl { dim, ..default() }), "SparseJl.dim"),
        (Box::new(SparseJl { dim: 10_000_000, nonzeros: 10_000_000, seed: 0 }), "SparseJl.nonzeros"),
        (Box::new(Hadamard { dim, seed: 0 }), "Hadamard.dim"),
        (Box::new(Grass { dim, ..default() }), "Grass.dim"),
        (Box::new(FactoredSparse { dim, ..default() }), "FactoredSparse.dim"),
        (Box::new(Elementwise { dim, seed: 0 }), "Elementwise.dim"),
        (Box::new(TensorSketch { dim, seed: 0 }), "TensorSketch.dim"),
    ];
    for (projection, option) in kinds {
        says(projection.fit(&layout, 0).map(|_| ()), &[option, "expected 1 to", "bytes", "got 10"]);
    }
    // These keep no more than there is.
    assert_eq!(RandomMask { dim, seed: 0 }.fit(&layout, 0).unwrap().k(), layout.p());
}

#[test]
fn bad_options_and_shapes_are_said() {
    let layout = layer_layout(4, 3);
    let bad: Vec<(Box<dyn Projection>, [&str; 2])> = vec![
        (Box::new(Gaussian { dim: 0, ..default() }), ["Gaussian.dim", "got 0"]),
        (Box::new(Rademacher { dim: -1, ..default() }), ["Rademacher.dim", "got -1"]),
        (Box::new(SparseJl { dim: 1 << 40, ..default() }), ["SparseJl.dim", "got 1099511627776"]),
        (Box::new(SparseJl { nonzeros: 0, ..default() }), ["SparseJl.nonzeros", "got 0"]),
        (Box::new(SparseJl { dim: 4, nonzeros: 5, ..default() }), ["1 to dim (4)", "got 5"]),
        (Box::new(Hadamard { dim: 0, ..default() }), ["Hadamard.dim", "got 0"]),
        (Box::new(RandomMask { dim: 0, ..default() }), ["RandomMask.dim", "got 0"]),
        (Box::new(Grass { dim: 0, ..default() }), ["Grass.dim", "got 0"]),
        (Box::new(Grass { multiplier: 0, ..default() }), ["Grass.multiplier", "got 0"]),
        (Box::new(Kronecker { input: 0, ..default() }), ["Kronecker.input", "got 0"]),
        (Box::new(Kronecker { output: 0, ..default() }), ["Kronecker.output", "got 0"]),
        (Box::new(FactoredSparse { dim: 0, ..default() }), ["FactoredSparse.dim", "got 0"]),
        (Box::new(FactoredSparse { blowup: 0, ..default() }), ["FactoredSparse.blowup", "got 0"]),
        (Box::new(Elementwise { dim: 0, ..default() }), ["Elementwise.dim", "got 0"]),
        (Box::new(TensorSketch { dim: 0, ..default() }), ["TensorSketch.dim", "got 0"]),
    ];
    for (kind, parts) in bad {
        says(kind.fit(&layout, 0).map(|_| ()), &parts);
    }
    for kind in kinds(1, 0).iter().chain([&(Box::new(Identity::default()) as Box<dyn Projection>)]) {
        let projector = kind.fit(&layout, 0).unwrap();
        says(projector.rows(&Tensor::zeros([2, 7], CPU)), &["[n, 15]", "[2, 7]"]);
        says(projector.rows(&Tensor::zeros([15], CPU)), &["[n, 15]", "[15]"]);
    }
}
