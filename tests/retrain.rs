//! Leave-one-out against closed forms and brute force in float64.

use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{self, Untaped, assert_close, clusters};

const LAMBDA: f64 = 0.05;

fn newton() -> Newton {
    Newton { penalty: LAMBDA, ..default() }
}

fn data() -> (Dataset, Dataset) {
    (clusters(30, 1), clusters(40, 2).select(&[31, 32, 33, 37]).unwrap())
}

fn no_bias(p: &nn::Path) -> impl Model + use<> {
    let layer = nn::linear(p / "w", 4, 1, nn::LinearConfig { bias: false, ..Default::default() });
    move |x: &Tensor, tape: &mut Tape| tape.linear("w", &layer, x)
}

/// Ridge regression: weights in closed form, with the divisor n kept.
fn ridge(x: &Tensor, y: &Tensor, n: f64) -> Tensor {
    let normal = x.transpose(0, 1).matmul(x) * (2.0 / n) + Tensor::eye(4, (Kind::Double, Device::Cpu)) * LAMBDA;
    normal.inverse().matmul(&(x.transpose(0, 1).matmul(y) * (2.0 / n)))
}

#[test]
fn leave_one_out_on_ridge_regression_is_the_closed_form() {
    let x = clusters(40, 3).inputs().shallow_clone();
    let y = x.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>).sin() + x.narrow(1, 0, 1) * 0.5;
    let data = Dataset::new(x, y).unwrap();
    let (train, test) = (data.head(30).unwrap(), data.select(&[36, 37, 38, 39]).unwrap());
    let (a, b, t) = (train.inputs().to_kind(Kind::Double), train.targets().to_kind(Kind::Double), test.inputs());
    let whole = ridge(&a, &b, 30.0);
    let without = (0..30i64).map(|i| {
        let rest = Tensor::from_slice(&(0..30).filter(|&j| j != i).collect::<Vec<i64>>());
        let theta = ridge(&a.index_select(0, &rest), &b.index_select(0, &rest), 30.0);
        t.to_kind(Kind::Double).matmul(&(theta - &whole)) * -30.0
    });
    let expected = Tensor::cat(&without.collect::<Vec<_>>(), 1);
    let task =
        Task::new(no_bias).with_objective(NegativeSquaredError).with_measurement(|o: &Tensor, _: &Tensor| o.squeeze_dim(1));
    let trained = newton().train(&task, &train).unwrap();
    let weights = trained.checkpoints()[0].tensor("w.weight").unwrap().transpose(0, 1);
    assert_close(&weights, &whole, 1e-6, "weights");
    let all: Vec<usize> = (0..30).collect();
    let truth = LeaveOneOut { newton: newton() }.score(&trained, &train, &test, &all).unwrap();
    assert_close(truth.tensor(), &expected, 1e-6, "leave-one-out");
    let step = OneStep { newton: newton() }.score(&trained, &train, &test, &all).unwrap();
    assert_close(step.tensor(), &expected, 1e-5, "one Newton step of a quadratic");
}

/// Logistic regression without anything of the crate: plain Newton with the Hessian written out, one problem at a time.
fn brute_force(x: &Tensor, labels: &Tensor, weights: &Tensor) -> Tensor {
    let (n, d) = (x.size()[0], x.size()[1] + 1);
    let f64 = (Kind::Double, Device::Cpu);
    let a = Tensor::cat(&[x.to_kind(Kind::Double), Tensor::ones([n, 1], f64)], 1);
    let hot = labels.one_hot(3).to_kind(Kind::Double);
    let mut theta = Tensor::zeros([3, d], f64);
    for _ in 0..30 {
        let p = a.matmul(&theta.transpose(0, 1)).softmax(1, None::<Kind>);
        let g = ((&p - &hot) * weights.unsqueeze(1)).transpose(0, 1).matmul(&a) / n as f64 + &theta * LAMBDA;
        let mut hessian = Tensor::eye(3 * d, f64) * LAMBDA;
        for i in 0..n {
            let (q, z) = (p.get(i), a.get(i));
            let curve = (q.diag(0) - q.outer(&q)).kron(&z.outer(&z));
            hessian += curve * (weights.double_value(&[i]) / n as f64);
        }
        theta -= hessian.inverse().matmul(&g.reshape([-1, 1])).view([3, d]);
    }
    theta
}

fn log_likelihood(theta: &Tensor, test: &Dataset) -> Tensor {
    let a = test.inputs().to_kind(Kind::Double);
    let s = a.matmul(&theta.narrow(1, 0, 4).transpose(0, 1)) + theta.select(1, 4);
    s.log_softmax(1, None::<Kind>).gather(1, &test.targets().unsqueeze(1), false)
}

#[test]
fn leave_one_out_on_logistic_regression_is_brute_force() {
    let (train, test) = data();
    let chosen = [0usize, 7, 8, 29];
    let ones = || Tensor::ones([30], (Kind::Double, Device::Cpu));
    let whole = log_likelihood(&brute_force(train.inputs(), train.targets(), &ones()), &test);
    let columns = chosen.iter().map(|&i| {
        let weights = ones();
        let _ = weights.get(i as i64).fill_(0.0);
        (log_likelihood(&brute_force(train.inputs(), train.targets(), &weights), &test) - &whole) * -30.0
    });
    let expected = Tensor::cat(&columns.collect::<Vec<_>>(), 1);
    let truth = |task: Task| LeaveOneOut { newton: newton() }.score(&task, &train, &test, &chosen).unwrap();
    let batched = truth(tasks::logistic());
    assert_close(batched.tensor(), &expected, 1e-6, "side by side");
    let looped = truth(Task::new(|p: &nn::Path| Untaped(Logistic::new(p, 4, 3))));
    assert_close(looped.tensor(), &expected, 1e-6, "one after the other");
    assert_eq!(batched.train().column("example").unwrap().u32().unwrap().into_no_null_iter().collect::<Vec<_>>(), [0, 7, 8, 29]);
    assert_eq!(batched.method(), "Leave-one-out");
    // Where training stopped does not matter: the minimum is found first.
    let elsewhere = tasks::logistic().train(&Trainer { epochs: 2, ..default() }, &train).unwrap();
    assert_close(truth(elsewhere).tensor(), &expected, 1e-6, "from other weights");
    // One Newton step is nearer than the derivative.
    let trained = newton().train(&tasks::logistic(), &train).unwrap();
    let step = OneStep { newton: newton() }.score(&trained, &train, &test, &chosen).unwrap();
    let influence = Influence::new(Explicit { damping: Damping::Absolute(LAMBDA), ..default() }).fit(&trained, &train).unwrap();
    let index = Tensor::from_slice(&chosen.map(|i| i as i64));
    let first_order = influence.matrix(&test).unwrap().index_select(1, &index);
    let (near, far) = (tasks::difference(step.tensor(), &expected), tasks::difference(&first_order, &expected));
    assert!(near < 0.1 && near < far / 3.0, "{near} {far}");
}

#[test]
fn little_penalty_and_much_leverage_converge_too() {
    let (train, test) = data();
    let newton = Newton { penalty: 1e-4, ..default() };
    let all: Vec<usize> = (0..30).collect();
    let task = newton.train(&tasks::logistic(), &train).unwrap();
    let together = LeaveOneOut { newton }.score(&task, &train, &test, &all).unwrap();
    for i in [0usize, 13, 29] {
        let alone = LeaveOneOut { newton }.score(&task, &train, &test, &[i]).unwrap();
        let column = together.tensor().narrow(1, i as i64, 1);
        assert_close(alone.tensor(), &column, 1e-5, "alone or together");
    }
}

#[test]
fn what_newton_refuses() {
    let (train, test) = data();
    let message = |newton: Newton, task: Task| newton.train(&task, &train).err().unwrap().to_string();
    let wrong = Newton { penalty: 0.0, ..default() };
    assert_eq!(message(wrong, tasks::logistic()), "option Newton.penalty: expected a positive number, got 0");
    assert!(message(Newton { tolerance: -1.0, ..default() }, tasks::logistic()).contains("Newton.tolerance"));
    assert!(message(Newton { steps: 0, ..default() }, tasks::logistic()).contains("at least 1"));
    assert!(message(Newton { steps: 1, ..default() }, tasks::logistic()).contains("after 1 steps"));
    assert!(message(Newton { tolerance: 1e-300, ..default() }, tasks::logistic()).contains("raise it"));
    assert!(message(Newton { penalty: 1e-6, ..default() }, tasks::mlp()).contains("not convex"));
    assert!(message(newton(), Task::new(|p: &nn::Path| Logistic::new(p, 4, 2))).contains("labels 0 to 1"));
    let loo = LeaveOneOut { newton: newton() };
    assert!(matches!(loo.score(&tasks::logistic(), &train, &test, &[]), Err(Error::Data { .. })));
    assert!(matches!(loo.score(&tasks::logistic(), &train, &test, &[30]), Err(Error::Data { .. })));
    let untaped = Task::new(|p: &nn::Path| Untaped(Logistic::new(p, 4, 3)));
    assert!(matches!(OneStep { newton: newton() }.score(&untaped, &train, &test, &[0]), Err(Error::Unsupported(_))));
}

#[test]
fn newton_adds_a_run() {
    let (train, _) = data();
    let task = newton().train(&tasks::logistic().train(&tasks::trainer(), &train).unwrap(), &train).unwrap();
    assert_eq!(task.runs(), [0, 1]);
    assert_eq!(task.checkpoints().last().unwrap().learning_rate, 1.0);
    let text = serde_json::to_string(&LeaveOneOut { newton: newton() }).unwrap();
    assert_eq!(serde_json::from_str::<LeaveOneOut>(&text).unwrap(), LeaveOneOut { newton: newton() });
}
