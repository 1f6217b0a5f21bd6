//! Against brute force, closed forms and finite differences.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, Untaped, assert_close, clusters};

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.to_kind(Kind::Double).contiguous().view([-1])).unwrap()
}

/// The measurement of each test example with a parameter vector added to the weights.
fn measured_at(task: &Task, shift: &Tensor, data: &Dataset) -> Tensor {
    let checkpoint = &task.checkpoints()[0];
    let layout = task.snapshot(0).unwrap().layout().clone();
    let tensors = layout.entries().iter().map(|e| {
        let moved = checkpoint.tensor(&e.name).unwrap() + shift.narrow(0, e.offset, e.len).view(e.shape.as_slice());
        (e.name.clone(), moved)
    });
    let moved = Checkpoint::new(0, 0, 0.1, tensors.collect());
    task.clone().with_checkpoints(vec![moved]).unwrap().snapshot(0).unwrap().measure(Of::Measurement, data).unwrap()
}

#[test]
fn gradients_are_finite_differences() {
    let data = clusters(12, 5);
    for measurement in 0..3 {
        let task = tasks::mlp();
        let task = match measurement {
            0 => task,
            1 => task.with_measurement(Margin),
            _ => task.with_measurement(Logit),
        };
        let task = task.train(&Trainer { epochs: 5, ..default() }, &data).unwrap();
        let gradients = task.snapshot(0).unwrap().gradients(Of::Measurement, &data).unwrap();
        let p = gradients.layout().p();
        let direction = Tensor::arange(p, (Kind::Float, ascribe::tch::Device::Cpu)).sin();
        let analytic = gradients.dot(&direction.unsqueeze(0)).unwrap().squeeze_dim(1);
        let h = 1e-3;
        let numeric = (measured_at(&task, &(&direction * h), &data) - measured_at(&task, &(&direction * -h), &data)) / (2.0 * h);
        assert_close(&analytic, &numeric, 5e-3, "directional derivative");
    }
}

#[test]
fn margin_is_exact_where_probabilities_saturate() {
    let outputs = Tensor::from_slice(&[80.0f32, 0.0, -80.0]).view([1, 3]).set_requires_grad(true);
    let margin = Margin.measure(&outputs, &Tensor::from_slice(&[0i64]));
    assert!((margin.double_value(&[0]) - 80.0).abs() < 1e-5);
    let gradient = Tensor::run_backward(&[margin.sum(None::<Kind>)], &[&outputs], false, false).remove(0);
    assert_eq!(numbers(&gradient)[0], 1.0);
    assert!((numbers(&gradient)[1] + 1.0).abs() < 1e-6);
    let outputs = Tensor::from_slice(&[0.3f32, -0.2, 0.9]).view([1, 3]);
    let p = numbers(&outputs.softmax(-1, None::<Kind>))[2];
    assert!((Margin.measure(&outputs, &Tensor::from_slice(&[2i64])).double_value(&[0]) - (p / (1.0 - p)).ln()).abs() < 1e-6);
}

#[test]
fn measurements_by_hand() {
    let outputs = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 0.0]).view([2, 2]);
    let targets = Tensor::from_slice(&[1i64, 1]);
    assert_eq!(numbers(&Logit.measure(&outputs, &targets)), vec![3.0, 0.0]);
    let expected: Vec<f64> = [3.0 - (1f64.exp() + 3f64.exp()).ln(), 0.0 - (2f64.exp() + 1.0).ln()].to_vec();
    for (a, b) in numbers(&LogLikelihood.measure(&outputs, &targets)).iter().zip(expected) {
        assert!((a - b).abs() < 1e-6);
    }
    let wanted = Tensor::from_slice(&[1.0f32, 1.0, 2.0, 2.0]).view([2, 2]);
    assert_eq!(numbers(&NegativeSquaredError.measure(&outputs, &wanted)), vec![-4.0, -4.0]);
    // A sequence sums over its positions.
    let sequence = Tensor::from_slice(&[1.0f32, 3.0, 2.0, 0.0]).view([1, 2, 2]);
    assert_eq!(numbers(&Logit.measure(&sequence, &Tensor::from_slice(&[1i64, 1]).view([1, 2]))), vec![3.0]);
}

#[test]
fn grad_dot_and_cosine_are_products_of_dense_rows() {
    for (name, task, train, test) in tasks::all() {
        let mut expected = Tensor::zeros([test.len() as i64, train.len() as i64], (Kind::Double, ascribe::tch::Device::Cpu));
        let (mut cosine, mut traced) = (expected.zeros_like(), expected.zeros_like());
        for (i, checkpoint) in task.checkpoints().iter().enumerate() {
            let snapshot = task.snapshot(i).unwrap();
            let rows = |data: &Dataset| snapshot.gradients(Of::Objective, data).unwrap().dense().unwrap().to_kind(Kind::Double);
            let (g, q) = (rows(&train), rows(&test));
            let products = q.matmul(&g.transpose(0, 1));
            let length = |x: &Tensor| x.square().sum_dim_intlist([1i64].as_slice(), true, None::<Kind>).sqrt();
            cosine += &products / length(&q) / length(&g).transpose(0, 1) * 0.5;
            traced += &products * checkpoint.learning_rate;
            expected += products * 0.5;
        }
        let score = |method: &dyn Method| method.fit(&task, &train).unwrap().matrix(&test).unwrap();
        assert_close(&score(&GradDot::default()), &expected, 1e-5, name);
        assert_close(&score(&GradCos::default()), &cosine, 1e-5, name);
        assert_close(&score(&TracIn::default()), &traced, 1e-5, name);
    }
}

/// The Hessian of minus the mean objective by central differences of gradients.
fn numeric_hessian(task: &Task, train: &Dataset) -> Tensor {
    let p = task.snapshot(0).unwrap().p();
    let gradient = |shift: &Tensor| {
        let moved = shifted(task, shift);
        moved.snapshot(0).unwrap().gradients(Of::Objective, train).unwrap().dense().unwrap().to_kind(Kind::Double).mean_dim(
            [0i64].as_slice(),
            false,
            None::<Kind>,
        )
    };
    let h = 2e-3;
    let rows: Vec<Tensor> = (0..p)
        .map(|i| {
            let unit = Tensor::zeros([p], (Kind::Float, ascribe::tch::Device::Cpu));
            let _ = unit.get(i).fill_(h);
            (gradient(&-&unit) - gradient(&unit)) / (2.0 * h)
        })
        .collect();
    let hessian = Tensor::stack(&rows, 0);
    (&hessian + hessian.transpose(0, 1)) * 0.5
}

fn shifted(task: &Task, shift: &Tensor) -> Task {
    let layout = task.snapshot(0).unwrap().layout().clone();
    let checkpoint = &task.checkpoints()[0];
    let tensors = layout.entries().iter().map(|e| {
        (e.name.clone(), checkpoint.tensor(&e.name).unwrap() + shift.narrow(0, e.offset, e.len).view(e.shape.as_slice()))
    });
    task.clone().with_checkpoints(vec![Checkpoint::new(0, 0, 0.1, tensors.collect())]).unwrap()
}

#[test]
fn influence_is_the_dense_formula() {
    let hidden = |p: &nn::Path| Untaped(Logistic::new(p, 4, 3));
    for (name, task) in
        [("logistic, closed form", tasks::logistic()), ("logistic, autograd", Task::new(hidden)), ("mlp", tasks::mlp())]
    {
        let train = clusters(30, 1);
        let test = clusters(40, 2).select(&[31, 32, 33]).unwrap();
        let task = task
            .with_measurement(Margin)
            .train(&Trainer { epochs: 10, batch_size: 10, learning_rate: 0.05, ..default() }, &train)
            .unwrap();
        let snapshot = task.snapshot(0).unwrap();
        let rows = |of: Of, data: &Dataset| snapshot.gradients(of, data).unwrap().dense().unwrap().to_kind(Kind::Double);
        let damping = 0.5;
        let hessian = numeric_hessian(&task, &train);
        let damped = &hessian + Tensor::eye(snapshot.p(), (Kind::Double, ascribe::tch::Device::Cpu)) * damping;
        let expected =
            rows(Of::Measurement, &test).matmul(&damped.inverse()).matmul(&rows(Of::Objective, &train).transpose(0, 1));
        let itself = rows(Of::Objective, &train);
        let own = (itself.matmul(&damped.inverse()) * &itself).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        let explicit = Influence::new(Explicit { damping: Damping::Absolute(damping), ..default() });
        let iterated = Influence::new(ConjugateGradient { damping: Damping::Absolute(damping), tolerance: 1e-6, ..default() });
        for method in [explicit, iterated] {
            let fitted = method.fit(&task, &train).unwrap();
            assert_close(&fitted.matrix(&test).unwrap(), &expected, 2e-3, &format!("{name}, {}", fitted.name()));
            assert_close(&fitted.self_scores().unwrap(), &own, 2e-3, &format!("{name}, {} of itself", fitted.name()));
        }
        let relative = Damping::Relative(damping / (hessian.trace().double_value(&[]) / snapshot.p() as f64));
        let fitted = Influence::new(Explicit { damping: relative, ..default() }).fit(&task, &train).unwrap();
        assert_close(&fitted.matrix(&test).unwrap(), &expected, 2e-2, &format!("{name}, relative damping"));
    }
}

/// Ridge regression: leave-one-out has a closed form, and influence is its first-order term without the leverage.
#[test]
fn influence_on_ridge_regression_is_leave_one_out_up_to_leverage() {
    let n = 40;
    let x = clusters(n, 3).inputs().shallow_clone();
    let y = x.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>).sin() + x.narrow(1, 0, 1) * 0.5;
    let data = Dataset::new(x.shallow_clone(), y.shallow_clone()).unwrap();
    let (train, test) = (data.head(36).unwrap(), data.select(&[36, 37, 38, 39]).unwrap());
    let m = train.len() as f64;
    let no_bias = |p: &nn::Path| {
        let layer = nn::linear(p / "w", 4, 1, nn::LinearConfig { bias: false, ..Default::default() });
        move |x: &Tensor, tape: &mut Tape| tape.linear("w", &layer, x)
    };
    // Objective −(xᵀθ − y)² and penalty λ/2 ‖θ‖² on the mean: (2/n XᵀX + λ) θ = 2/n Xᵀy.
    let lambda = 0.2;
    let (a, b) = (train.inputs().to_kind(Kind::Double), train.targets().to_kind(Kind::Double));
    let eye = Tensor::eye(4, (Kind::Double, ascribe::tch::Device::Cpu));
    let normal = a.transpose(0, 1).matmul(&a) * (2.0 / m) + &eye * lambda;
    let theta = normal.inverse().matmul(&(a.transpose(0, 1).matmul(&b) * (2.0 / m)));
    let weights = vec![("w.weight".to_string(), theta.transpose(0, 1).to_kind(Kind::Float))];
    let task =
        Task::new(no_bias).with_objective(NegativeSquaredError).with_measurement(|o: &Tensor, _: &Tensor| o.squeeze_dim(1));
    let task = task.with_checkpoints(vec![Checkpoint::new(0, 1, 0.1, weights)]).unwrap();
    let fitted = Influence::new(Explicit { damping: Damping::Absolute(lambda), ..default() }).fit(&task, &train).unwrap();
    let scores = fitted.matrix(&test).unwrap().to_kind(Kind::Double);
    let leverage = (a.matmul(&normal.inverse()) * &a).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>) * (2.0 / m);
    for i in 0..train.len() {
        // Drop example i, keep the divisor n: the system loses exactly that example's terms.
        let (row, target) = (a.get(i as i64), b.get(i as i64).double_value(&[0]));
        let reduced = &normal - row.outer(&row) * (2.0 / m);
        let moment = a.transpose(0, 1).matmul(&b).squeeze_dim(1) - &row * target;
        let without = reduced.inverse().matmul(&(moment * (2.0 / m)).unsqueeze(1));
        let change = test.inputs().to_kind(Kind::Double).matmul(&(&without - &theta)).squeeze_dim(1);
        let predicted = scores.select(1, i as i64) * (-1.0 / m) / (1.0 - leverage.double_value(&[i as i64]));
        assert_close(&predicted, &change, 1e-4, "leave-one-out");
    }
}

#[test]
fn conjugate_gradients_freeze_and_give_zero_for_zero() {
    let train = clusters(30, 1);
    let task = tasks::logistic().train(&Trainer { epochs: 10, ..default() }, &train).unwrap();
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    let p = snapshot.p();
    let damping = Damping::Absolute(0.1);
    let solver = ConjugateGradient { damping, tolerance: 1e-6, ..default() }.fit(&snapshot, &train).unwrap();
    let explicit = Explicit { damping, ..default() }.fit(&snapshot, &train).unwrap();
    let rows = Tensor::arange(3 * p, (Kind::Float, ascribe::tch::Device::Cpu)).cos().view([3, p]);
    let _ = rows.get(1).fill_(0.0);
    let _ = rows.get(2).g_mul_scalar_(1e-6);
    let (iterated, exact) = (solver.apply(&rows).unwrap(), explicit.apply(&rows).unwrap());
    for i in 0..3 {
        assert_close(&iterated.get(i), &exact.get(i), 1e-4, "each system converges by its own scale");
    }
    assert_eq!(iterated.get(1).abs().max().double_value(&[]), 0.0);
}

#[test]
fn representation_similarity_by_hand() {
    let (_, task, train, test) = tasks::all().remove(1);
    let task = task.last();
    let checkpoint = &task.checkpoints()[0];
    let features = |data: &Dataset| {
        data.inputs().linear(checkpoint.tensor("fc1.weight").unwrap(), checkpoint.tensor("fc1.bias")).relu().to_kind(Kind::Double)
    };
    let (a, b) = (features(&test), features(&train));
    let length = |x: &Tensor| x.square().sum_dim_intlist([1i64].as_slice(), true, None::<Kind>).sqrt();
    let dot = a.matmul(&b.transpose(0, 1));
    let score =
        |similarity| RepresentationSimilarity { similarity, layer: None }.fit(&task, &train).unwrap().matrix(&test).unwrap();
    assert_close(&score(Similarity::Dot), &dot, 1e-5, "dot");
    assert_close(&score(Similarity::Cosine), &(&dot / length(&a) / length(&b).transpose(0, 1)), 1e-5, "cosine");
    let distance = -(a.unsqueeze(1) - b.unsqueeze(0)).square().sum_dim_intlist([2i64].as_slice(), false, None::<Kind>).sqrt();
    assert_close(&score(Similarity::Euclidean), &distance, 1e-5, "Euclidean");
}

#[test]
fn ties_are_ranked_by_position() {
    let (_, task, train, test) = tasks::all().remove(0);
    let twins = train.select(&[3, 5, 3, 7, 5, 3, 3]).unwrap();
    let scores = GradDot::default().fit(&task, &twins).unwrap().score(&test).unwrap();
    for i in 0..test.len() {
        for (whole, part) in
            [(scores.top(i, 7).unwrap(), scores.top(i, 3).unwrap()), (scores.bottom(i, 7).unwrap(), scores.bottom(i, 3).unwrap())]
        {
            assert_eq!(part, whole[..3]);
            let place = |p: usize| whole.iter().position(|&w| w == p).unwrap();
            assert!(place(0) < place(2) && place(2) < place(5) && place(5) < place(6) && place(1) < place(4), "{whole:?}");
        }
    }
}

#[test]
fn proponents_are_the_sorted_row() {
    let (_, task, train, test) = tasks::all().remove(0);
    let scores = GradDot::default().fit(&task, &train).unwrap().score(&test).unwrap();
    let row = numbers(&scores.tensor().get(2));
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    let ids = |frame: &DataFrame| {
        frame.column("train").unwrap().u32().unwrap().into_no_null_iter().map(|i| i as usize).collect::<Vec<_>>()
    };
    assert_eq!(ids(&scores.proponents(2, 5).unwrap()), order[..5]);
    order.reverse();
    assert_eq!(ids(&scores.opponents(2, 4).unwrap()), order[..4]);
    let long = scores.frame().unwrap();
    assert_eq!(long.height(), test.len() * train.len());
    assert_eq!(
        long.get_column_names().iter().map(|n| n.as_str()).take(5).collect::<Vec<_>>(),
        ["test", "train", "rank", "score", "method"]
    );
    assert_eq!(scores.top_k(3).unwrap().height(), 3 * test.len());
    let sum: f64 = long.column("score").unwrap().f32().unwrap().into_no_null_iter().map(f64::from).sum();
    assert!((sum - scores.tensor().sum(Kind::Double).double_value(&[])).abs() < 1e-3 * sum.abs().max(1.0));
}
