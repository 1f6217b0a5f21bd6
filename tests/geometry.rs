//! Curvature that is a mean of squares, against dense matrices built by brute force.

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind};

use crate::tasks::{self, assert_close, clusters, difference, says};

const WIDE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn cnn() -> Task {
    use ascribe::model::layer::ConvOptions;
    Task::new(|p: &nn::Path| {
        let options = ConvOptions { padding: [1, 1], groups: 2, ..Default::default() };
        let (conv, norm) = (layer::conv2d(p / "conv", 2, 4, 2, options), layer::group_norm(p / "norm", 2, 4));
        let fc = layer::linear(p / "fc", 4, 3);
        move |x: &Tensor, tape: &mut Tape| {
            let x = tape.conv2d("conv", &conv, &x.reshape([-1, 2, 2, 1])).tanh();
            let x = tape.group_norm("norm", &norm, &x).mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
            tape.linear("fc", &fc, &x)
        }
    })
}

/// (name, task with one checkpoint, train, test).
fn all() -> Vec<(&'static str, Task, Dataset, Dataset)> {
    let (train, test) = (clusters(24, 1), clusters(30, 2).select(&[25, 26, 27, 28, 29]).unwrap());
    let named = [
        ("logistic", tasks::logistic()),
        ("mlp", tasks::mlp()),
        ("sequence", tasks::sequence()),
        ("loop", tasks::looped()),
        ("cnn", cnn()),
    ];
    let trainer = Trainer { keep: Keep::Last, ..tasks::trainer() };
    named.into_iter().map(|(name, task)| (name, task.train(&trainer, &train).unwrap(), train.clone(), test.clone())).collect()
}

fn rows(task: &Task, of: Of, data: &Dataset) -> Tensor {
    task.snapshot(0).unwrap().gradients(of, data).unwrap().dense().unwrap().to_kind(Kind::Double)
}

/// `(1/n) Σ J_iᵀ (diag p − p pᵀ) J_i`, the Jacobian one output after the other.
fn gauss_newton(task: &Task, data: &Dataset) -> Tensor {
    let jacobian: Vec<Tensor> = (0..3)
        .map(|c| rows(&task.clone().with_measurement(move |o: &Tensor, _: &Tensor| o.select(1, c)), Of::Measurement, data))
        .collect();
    let j = Tensor::stack(&jacobian, 1); // [n, 3, p]
    let p = task.snapshot(0).unwrap().outputs(data).unwrap().to_kind(Kind::Double).softmax(-1, None::<Kind>);
    let b = p.diag_embed(0, 1, 2) - p.unsqueeze(2) * p.unsqueeze(1);
    j.transpose(1, 2).matmul(&b).matmul(&j).mean_dim([0i64].as_slice(), false, None::<Kind>)
}

fn operator(task: &Task, data: &Dataset, matrix: Matrix) -> Box<dyn Operator> {
    curvature::operator(task.snapshot(0).unwrap(), data, matrix).unwrap()
}

#[test]
fn matrices_are_those_of_brute_force() {
    for (name, task, train, _) in all() {
        let g = rows(&task, Of::Objective, &train);
        let empirical = g.transpose(0, 1).matmul(&g) / train.len() as f64;
        let newton = gauss_newton(&task, &train);
        for (matrix, expected) in [(Matrix::EmpiricalFisher, &empirical), (Matrix::GaussNewton, &newton)] {
            let operator = operator(&task, &train, matrix);
            assert_close(&operator.dense().unwrap(), expected, 1e-5, &format!("{name}: {matrix:?}"));
            let diagonal = expected.diagonal(0, 0, 1);
            assert_close(&operator.diagonal().unwrap(), &diagonal, 1e-5, &format!("{name}: diagonal of {matrix:?}"));
            let mean = diagonal.mean(Kind::Double).double_value(&[]);
            assert!((operator.mean_eigenvalue().unwrap() - mean).abs() < 1e-5 * mean, "{name}: {matrix:?}");
        }
    }
}

#[test]
fn the_fisher_matrix_is_gauss_newton_on_average() {
    for (name, task, train, _) in all() {
        let expected = gauss_newton(&task, &train);
        let error = |draws: usize| {
            let fisher = operator(&task, &train, Matrix::Fisher { draws, seed: 3 }).dense().unwrap();
            (fisher - &expected).norm().double_value(&[]) / expected.norm().double_value(&[])
        };
        let (few, many) = (error(2), error(200));
        assert!(many < 0.1 && many < 0.4 * few, "{name}: {few:.3} with 2 draws, {many:.3} with 200");
        // The draws belong to the examples, not to their order.
        let order: Vec<usize> = (0..train.len()).map(|i| (i * 7 + 3) % train.len()).collect();
        let of = |data: &Dataset| operator(&task, data, Matrix::Fisher { draws: 2, seed: 3 }).dense().unwrap();
        assert_close(&of(&train.select(&order).unwrap()), &of(&train), 1e-5, name);
    }
}

#[test]
fn the_kernel_inverts_the_empirical_fisher_matrix() {
    for (name, task, train, test) in all() {
        let task = task.with_measurement(Margin);
        let (g, q) = (rows(&task, Of::Objective, &train), rows(&task, Of::Measurement, &test));
        let p = g.size()[1];
        // Little damping must not lose what the train gradients themselves say.
        for (lambda, tolerance) in [(0.02, 2e-4), (1e-5, 5e-3)] {
            let damped = g.transpose(0, 1).matmul(&g) / train.len() as f64 + Tensor::eye(p, WIDE) * lambda;
            let expected = q.matmul(&damped.inverse()).matmul(&g.transpose(0, 1));
            let explicit = Explicit { matrix: Matrix::EmpiricalFisher, damping: Damping::Absolute(lambda), ..default() };
            let fitted = Influence::new(explicit).fit(&task, &train).unwrap();
            assert_close(&fitted.matrix(&test).unwrap(), &expected, tolerance, name);
            let own = (g.matmul(&damped.inverse()) * &g).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            assert_close(&fitted.self_scores().unwrap(), &own, tolerance, &format!("{name} of itself"));
            let lengths = g.matmul(&damped.inverse()).square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>).sqrt();
            assert_close(&fitted.train_lengths().unwrap(), &lengths, tolerance, &format!("{name} lengths"));
            let sums = expected.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
            assert_close(&fitted.together(&test).unwrap(), &sums, tolerance, &format!("{name} together"));
            if lambda > 0.01 {
                let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
                let mapped = explicit.fit(&snapshot, &train).unwrap().apply(&q.to_kind(Kind::Float)).unwrap();
                assert_close(&mapped, &q.matmul(&damped.inverse()), 2e-4, &format!("{name} mapped"));
                let own = (q.matmul(&damped.inverse()) * &q).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
                assert_close(&fitted.own_scores(&test).unwrap(), &own, 2e-4, &format!("{name} of the test examples"));
            }
        }
    }
}

#[test]
fn data_inf_is_the_mean_of_inverses_of_each_layer() {
    for (name, task, train, test) in all() {
        let (g, q) = (rows(&task, Of::Objective, &train), rows(&task, Of::Measurement, &test));
        let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
        // Layers by name: weight and bias lie side by side in no fixed order.
        let mut layers: Vec<(String, Vec<i64>)> = Vec::new();
        for entry in snapshot.layout().entries() {
            let layer = if name == "loop" { "all" } else { entry.name.split('.').next().unwrap() };
            let columns = entry.offset..entry.offset + entry.len;
            match layers.iter_mut().find(|(known, _)| known == layer) {
                Some((_, all)) => all.extend(columns),
                None => layers.push((layer.to_string(), columns.collect())),
            }
        }
        for damping in [Damping::Absolute(0.05), Damping::Relative(0.1)] {
            let mut expected = Tensor::zeros([test.len() as i64, train.len() as i64], WIDE);
            for (_, columns) in &layers {
                let at = Tensor::from_slice(columns);
                let (g, q) = (g.index_select(1, &at), q.index_select(1, &at));
                let len = columns.len() as i64;
                let lambda = match damping {
                    Damping::Absolute(lambda) => lambda,
                    Damping::Relative(share) => share * g.square().mean(None::<Kind>).double_value(&[]),
                };
                for i in 0..train.len() as i64 {
                    let one = g.get(i);
                    let inverse = (one.outer(&one) + Tensor::eye(len, WIDE) * lambda).inverse();
                    expected += q.matmul(&inverse).matmul(&g.transpose(0, 1)) / train.len() as f64;
                }
            }
            let fitted = Influence::new(DataInf { damping }).fit(&task, &train).unwrap();
            assert_close(&fitted.matrix(&test).unwrap(), &expected, 1e-4, name);
            // One test example meets fewer gradients than the kernel has; the group goes by rows.
            assert_close(&fitted.matrix(&test.head(1).unwrap()).unwrap(), &expected.narrow(0, 0, 1), 1e-4, name);
            let sums = expected.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
            assert_close(&fitted.together(&test).unwrap(), &sums, 1e-4, &format!("{name} together"));
        }
    }
}

/// With one example and one covector each layer's matrix is one outer product, so both factored forms are exact.
#[test]
fn kronecker_factors_of_one_example_are_exact_in_each_layer() {
    let (train, test) = (clusters(24, 1).head(1).unwrap(), clusters(30, 2).select(&[26, 28]).unwrap());
    let task = tasks::mlp().train(&tasks::trainer(), &clusters(24, 1)).unwrap().last();
    let (g, q) = (rows(&task, Of::Objective, &train), rows(&task, Of::Objective, &test));
    let lambda = 0.03;
    let mut expected = Tensor::zeros([2, 1], WIDE);
    for (start, len) in [(0, 6 * 4 + 6), (30, 3 * 6 + 3)] {
        let (g, q) = (g.narrow(1, start, len), q.narrow(1, start, len));
        let damped = g.transpose(0, 1).matmul(&g) + Tensor::eye(len, WIDE) * lambda;
        expected += q.matmul(&damped.inverse()).matmul(&g.transpose(0, 1));
    }
    let (matrix, damping) = (Matrix::EmpiricalFisher, Damping::Absolute(lambda));
    for curvature in [
        Influence::new(Kfac { matrix, damping, ..default() }),
        Influence::new(Ekfac { matrix, damping, tolerance: 1e-6 }),
        Influence::new(Ekfac { matrix, damping, tolerance: 0.0 }),
    ] {
        let scores = curvature.fit(&task, &train).unwrap().matrix(&test).unwrap();
        assert_close(&scores, &expected, 1e-4, &curvature.name());
    }
}

/// A table of rows is a linear layer on one-hot inputs, and its factors must be the same.
#[test]
fn an_embedding_is_a_linear_layer_on_one_hot_inputs() {
    let (n, t, words) = (30, 3, 5);
    let tokens: Vec<i64> = (0..n * t).map(|i| (i * i + i / 4) % words).collect();
    let tokens = Tensor::from_slice(&tokens).view([n, t]);
    let targets = Tensor::from_slice(&(0..n).map(|i| (i / 2) % 3).collect::<Vec<i64>>());
    let one_hot = tokens.one_hot(words).to_kind(Kind::Float);
    let (looked_up, multiplied) =
        (Dataset::new(tokens, targets.shallow_clone()).unwrap(), Dataset::new(one_hot, targets).unwrap());
    let last = |hidden: Tensor, fc: &nn::Linear, tape: &mut Tape| {
        tape.linear("fc", fc, &hidden.tanh().mean_dim([1i64].as_slice(), false, None::<Kind>))
    };
    let embedded = Task::new(move |p: &nn::Path| {
        let (table, fc) = (layer::embedding(p / "table", words, 4), layer::linear(p / "fc", 4, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.embedding("table", &table, x);
            last(hidden, &fc, tape)
        }
    });
    let embedded = embedded.train(&Trainer { epochs: 3, ..default() }, &looked_up).unwrap();
    let linear = Task::new(move |p: &nn::Path| {
        let config = nn::LinearConfig { bias: false, ..Default::default() };
        let (table, fc) = (nn::linear(p / "table", words, 4, config), layer::linear(p / "fc", 4, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.linear("table", &table, x);
            last(hidden, &fc, tape)
        }
    });
    let checkpoint = &embedded.checkpoints()[0];
    let part = |name: &str| (name.to_string(), checkpoint.tensor(name).unwrap().shallow_clone());
    let turned = ("table.weight".to_string(), checkpoint.tensor("table.weight").unwrap().transpose(0, 1).contiguous());
    let weights = vec![turned, part("fc.weight"), part("fc.bias")];
    let linear = linear.with_checkpoints(vec![Checkpoint::new(0, 0, 0.1, weights)]).unwrap();
    for curvature in ["kfac", "ekfac", "diagonal"] {
        let scores = |task: &Task, data: &Dataset| {
            let damping = Damping::Relative(0.1);
            let method = match curvature {
                "kfac" => Influence::new(Kfac { damping, ..default() }),
                "ekfac" => Influence::new(Ekfac { damping, tolerance: 0.0, ..default() }),
                _ => Influence::new(Diagonal { damping, ..default() }),
            };
            let fitted = method.fit(task, data).unwrap();
            (fitted.matrix(&data.head(4).unwrap()).unwrap(), fitted.self_scores().unwrap())
        };
        let ((a, b), (c, d)) = (scores(&embedded, &looked_up), scores(&linear, &multiplied));
        assert_close(&a, &c, 1e-4, curvature);
        assert_close(&b, &d, 1e-4, &format!("{curvature} of itself"));
    }
}

/// Norms have no Kronecker form; their block is small and kept whole.
#[test]
fn a_norm_keeps_its_whole_block() {
    let (_, task, train, test) = all().remove(4);
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    let lambda = 0.02;
    let damping = Damping::Absolute(lambda);
    let factors = Ekfac { matrix: Matrix::EmpiricalFisher, damping, tolerance: 0.0 }.factors(&snapshot, &train).unwrap();
    let table = factors.table().unwrap();
    let kinds: Vec<&str> = table.column("kind").unwrap().str().unwrap().iter().flatten().collect();
    assert_eq!(kinds, ["Kronecker", "whole block", "Kronecker"]);
    let at: Vec<i64> = snapshot
        .layout()
        .entries()
        .iter()
        .filter(|e| e.name.starts_with("norm"))
        .flat_map(|e| e.offset..e.offset + e.len)
        .collect();
    let at = Tensor::from_slice(&at);
    let (g, q) = (rows(&task, Of::Objective, &train), rows(&task, Of::Objective, &test));
    let part = g.index_select(1, &at);
    let damped = part.transpose(0, 1).matmul(&part) / train.len() as f64 + Tensor::eye(8, WIDE) * lambda;
    let expected = q.index_select(1, &at).matmul(&damped.inverse());
    let mapped = factors.apply(&q.to_kind(Kind::Float)).unwrap().index_select(1, &at);
    assert_close(&mapped, &expected, 1e-4, "the norm's block");
}

/// Padding that a mask names leaves factors and scores as if it were not there.
#[test]
fn masked_positions_do_not_count() {
    let n = 24;
    let data = clusters(n, 5);
    let padded =
        Tensor::cat(&[data.inputs().view([n as i64, 2, 2]), Tensor::zeros([n as i64, 3, 2], (Kind::Float, Device::Cpu))], 1);
    let padded = Dataset::new(padded, data.targets().shallow_clone()).unwrap();
    let build = |length: i64| {
        Task::new(move |p: &nn::Path| {
            let (step, last) = (layer::linear(p / "step", 2, 5), layer::linear(p / "last", 5, 3));
            move |x: &Tensor, tape: &mut Tape| {
                let x = x.reshape([-1, length, 2]);
                let counts = (x.ones_like().select(2, 0)).cumsum(1, None::<Kind>).le(2.0); // the first two positions
                tape.mask(&counts);
                let hidden = tape.linear("step", &step, &x).tanh() * counts.unsqueeze(-1);
                tape.unmask();
                tape.linear("last", &last, &hidden.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
            }
        })
    };
    let short = build(2).train(&tasks::trainer(), &data).unwrap().last();
    let long = build(5).with_checkpoints(short.checkpoints().to_vec()).unwrap();
    for method in [Influence::new(Kfac::default()), Influence::new(Ekfac { tolerance: 0.0, ..default() })] {
        let scores = |task: &Task, data: &Dataset| method.fit(task, data).unwrap().matrix(&data.head(5).unwrap()).unwrap();
        assert_close(&scores(&long, &padded), &scores(&short, &data), 1e-4, &method.name());
    }
}

#[test]
fn a_short_sum_of_outer_products_keeps_its_promise() {
    let (train, test) = dataset::digits().unwrap().split(300, 40, 0).unwrap();
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 48, 10])).train(&Trainer { epochs: 5, ..default() }, &train).unwrap();
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    let scores =
        |tolerance: f64| Influence::new(Ekfac { tolerance, ..default() }).fit(&task, &train).unwrap().matrix(&test).unwrap();
    let exact = scores(0.0);
    for tolerance in [1e-1, 1e-2, 1e-3] {
        let factors = Ekfac { tolerance, ..default() }.factors(&snapshot, &train).unwrap();
        let table = factors.table().unwrap();
        let terms = table.column("terms").unwrap().f64().unwrap().get(0).unwrap_or(f64::NAN);
        let rms = |x: &Tensor| x.square().mean(Kind::Double).sqrt().double_value(&[]);
        let error = rms(&(scores(tolerance) - &exact)) / rms(&exact);
        // The promise is a model of independent entries: it must hold in size.
        assert!(error < 3.0 * tolerance, "tolerance {tolerance}: error {error:.1e} with {terms} terms");
    }
}

#[test]
fn wrappers_divide_by_the_methods_own_lengths() {
    for (name, task, train, test) in tasks::all() {
        let task = task.with_measurement(Margin);
        let plain = |method: &dyn Method| method.fit(&task, &train).unwrap();
        let explicit = || Influence::new(Explicit { damping: Damping::Absolute(2.0), ..default() });
        let inner = plain(&explicit());
        let scores = inner.matrix(&test).unwrap();
        let relative = plain(&RelatIf::new(explicit(), Relative::Loss)).matrix(&test).unwrap();
        assert_close(&relative, &(&scores / inner.self_scores().unwrap().sqrt()), 1e-5, name);
        let relative = plain(&RelatIf::new(explicit(), Relative::Parameters)).matrix(&test).unwrap();
        assert_close(&relative, &(&scores / inner.train_lengths().unwrap()), 1e-5, name);
        let unit = plain(&UnitNorm::new(explicit()));
        let cosine = unit.matrix(&test).unwrap();
        let lengths = inner.own_scores(&test).unwrap().sqrt().unsqueeze(1) * inner.self_scores().unwrap().sqrt();
        assert_close(&cosine, &(&scores / lengths), 1e-5, name);
        assert!(cosine.abs().max().double_value(&[]) <= 1.0 + 1e-4, "{name}: a cosine");
        assert!(difference(&unit.self_scores().unwrap(), &Tensor::ones([train.len() as i64], (Kind::Float, Device::Cpu))) < 1e-4);
        // One checkpoint: unit norm of GradDot is GradCos.
        let one = task.clone().with_measurement(LogLikelihood).last();
        let cosines = UnitNorm::new(GradDot::default()).fit(&one, &train).unwrap().matrix(&test).unwrap();
        assert_close(&cosines, &GradCos::default().fit(&one, &train).unwrap().matrix(&test).unwrap(), 1e-5, name);
    }
}

/// Scores of the train examples for themselves are 1 wherever `UnitNorm` fits; elsewhere it says so before any work.
#[test]
fn a_unit_norm_has_a_diagonal_of_ones() {
    let (name, task, train, _) = tasks::all().into_iter().next().unwrap();
    let ones = Tensor::ones([train.len() as i64], (Kind::Float, Device::Cpu));
    let methods: Vec<Box<dyn Method>> = vec![
        Box::new(UnitNorm::new(Trak::exact())),
        Box::new(UnitNorm::new(Trak::new(projection::Gaussian { dim: 8, seed: 0 }))),
        Box::new(UnitNorm::new(DTrak::default())),
        Box::new(UnitNorm::new(LoGra::default())),
    ];
    for method in methods {
        let fitted = method.fit(&task, &train).unwrap();
        assert_close(&fitted.matrix(&train).unwrap().diagonal(0, 0, 1), &ones, 1e-3, &format!("{name}, {}", method.name()));
        assert_close(&fitted.self_scores().unwrap(), &ones, 1e-6, &method.name());
    }
    let untrained = tasks::logistic();
    for method in method::all() {
        let (inner, has) = (method.name(), method.has_own_scores());
        let fitted = method.fit(&task, &train).unwrap();
        assert_eq!(!matches!(fitted.own_scores(&train), Err(Error::Unsupported(_))), has, "{inner}");
        if !has {
            says(UnitNorm { method }.fit(&untrained, &train), &["unsupported", "UnitNorm", &inner, "for itself"]);
        }
    }
    says(UnitNorm::new(DataValueEmbedding::default()).fit(&untrained, &train), &["UnitNorm of Data value embedding"]);
}

/// The functions over tensors give what the curvatures give on the gradients of a network.
#[test]
fn functions_over_tensors_agree_with_the_curvatures() {
    let (train, test) = (clusters(24, 1), clusters(30, 2).select(&[25, 26, 27]).unwrap());
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap().last();
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    let single = |of: &Dataset| rows(&task, Of::Objective, of).to_kind(Kind::Float);
    let (g, q) = (single(&train), single(&test));
    let damping = Damping::Relative(0.1);
    let apply = |curvature: &dyn Curvature| curvature.fit(&snapshot, &train).unwrap().apply(&q).unwrap();
    let matrix = Matrix::EmpiricalFisher;
    let explicit = curvature::ifvp_explicit(&g, &q, damping).unwrap();
    assert_close(&explicit, &apply(&Explicit { matrix, damping, ..default() }), 1e-4, "explicit");
    let few = curvature::ifvp_explicit(&g.narrow(0, 0, 6), &q, damping).unwrap();
    let part = train.head(6).unwrap();
    let kernel = Explicit { matrix, damping, ..default() }.fit(&snapshot, &part).unwrap().apply(&q).unwrap();
    assert_close(&few, &kernel, 1e-4, "explicit among the examples");
    let mean = curvature::ifvp_datainf(&[g.shallow_clone()], &[q.shallow_clone()], damping).unwrap().remove(0);
    assert_close(&mean, &apply(&DataInf { damping }), 1e-4, "DataInf");
    // Logistic regression: weight [3, 4] then bias [3] in some order; δ is the bias's gradient.
    let entry = |name: &str| snapshot.layout().entries().iter().find(|e| e.name.ends_with(name)).unwrap().clone();
    let (weight, bias) = (entry("weight"), entry("bias"));
    let delta = g.narrow(1, bias.offset, 3);
    let a = Tensor::cat(&[train.inputs(), &Tensor::ones([24, 1], (Kind::Float, Device::Cpu))], 1);
    let block =
        |x: &Tensor| Tensor::cat(&[x.narrow(1, weight.offset, 12).view([-1, 3, 4]), x.narrow(1, bias.offset, 3).unsqueeze(2)], 2);
    let mapped = curvature::ifvp_ekfac(&a, &delta, &block(&q), damping).unwrap();
    assert_close(&mapped, &block(&apply(&Ekfac { matrix, damping, tolerance: 0.0 })), 1e-4, "EK-FAC");
}

/// Padding of a table, by its padding row or by a mask, and of a convolution over a sequence.
#[test]
fn padded_tables_and_sequences_do_not_count() {
    let (n, words) = (30, 6);
    let tokens: Vec<i64> = (0..n * 3).map(|i| 1 + (i * i + i / 4) % (words - 1)).collect();
    let tokens = Tensor::from_slice(&tokens).view([n, 3]);
    let padded = Tensor::cat(&[&tokens, &Tensor::zeros([n, 5], (Kind::Int64, Device::Cpu))], 1);
    let targets = Tensor::from_slice(&(0..n).map(|i| (i / 2) % 3).collect::<Vec<i64>>());
    let data = |tokens: &Tensor| Dataset::new(tokens.shallow_clone(), targets.shallow_clone()).unwrap();
    let (short, long) = (data(&tokens), data(&padded));
    let build = move |by_row: bool| {
        Task::new(move |p: &nn::Path| {
            let mut table = layer::embedding(p / "table", words, 4);
            table.padding = by_row.then_some(0);
            let (conv, fc) = (layer::conv1d(p / "conv", 4, 4, 1, Default::default()), layer::linear(p / "fc", 4, 3));
            move |x: &Tensor, tape: &mut Tape| {
                let counts = x.not_equal(0);
                tape.mask(&counts);
                let hidden = tape.embedding("table", &table, x) * counts.unsqueeze(-1);
                let hidden = tape.conv1d("conv", &conv, &hidden.transpose(1, 2)).tanh() * counts.unsqueeze(1);
                tape.unmask();
                tape.linear("fc", &fc, &hidden.sum_dim_intlist([2i64].as_slice(), false, None::<Kind>))
            }
        })
    };
    for by_row in [false, true] {
        let task = build(by_row).train(&Trainer { epochs: 3, ..default() }, &short).unwrap();
        for method in [Influence::new(Kfac::default()), Influence::new(Ekfac::default())] {
            let scores = |data: &Dataset| method.fit(&task, data).unwrap().matrix(&data.head(5).unwrap()).unwrap();
            assert_close(&scores(&long), &scores(&short), 1e-4, &format!("{}, padding row {by_row}", method.name()));
        }
    }
}
