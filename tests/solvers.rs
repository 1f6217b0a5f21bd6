//! Inverse curvature by every route: against dense inverses and closed forms.

use ascribe::prelude::*;
use ascribe::tch::{self, Kind};

use crate::products::{Net, noise};
use crate::tasks::{self, Untaped, assert_close, clusters, difference, says};

const CPU: (Kind, tch::Device) = (Kind::Float, tch::Device::Cpu);

// ---- Every solver against the dense inverse ----

/// A symmetric matrix held as float64.
struct Held(Tensor);

impl Operator for Held {
    fn p(&self) -> i64 {
        self.0.size()[0]
    }

    fn product(&self, vectors: &Tensor) -> Result<Tensor, Error> {
        Ok(vectors.to_kind(Kind::Double).matmul(&self.0).to_kind(Kind::Float))
    }
}

/// Eigenvalues from `largest` down by a factor to `least`, in a random basis.
fn spread(p: i64, largest: f64, least: f64) -> Held {
    let (q, _) = Tensor::linalg_qr(&noise(&[p, p], 11).to_kind(Kind::Double), "reduced");
    let ratio = (least / largest).powf(1.0 / (p - 1) as f64);
    let values: Vec<f64> = (0..p).map(|i| largest * ratio.powi(i as i32)).collect();
    Held((&q * Tensor::from_slice(&values)).matmul(&q.transpose(0, 1)))
}

fn dense_inverse(matrix: &Held, damping: f64) -> Tensor {
    (&matrix.0 + Tensor::eye(matrix.p(), (Kind::Double, tch::Device::Cpu)) * damping).inverse()
}

/// Largest distance of a row from what it should be, relative to the latter.
fn row_error(rows: &Tensor, expected: &Tensor) -> f64 {
    let length = |x: &Tensor| x.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt();
    let expected = expected.to_kind(Kind::Double);
    let error = length(&(rows.to_kind(Kind::Double) - &expected)) / length(&expected).clamp_min(1e-30);
    assert!(error.isfinite().all().int64_value(&[]) != 0);
    error.max().double_value(&[])
}

const FREE: Damping = Damping::Absolute(0.0);

#[test]
fn conjugate_gradients_on_right_hand_sides_of_every_kind() {
    let matrix = spread(40, 10.0, 0.05);
    let inverse = dense_inverse(&matrix, 0.1);
    let rows = noise(&[6, 40], 2);
    let _ = rows.get(1).fill_(0.0);
    let _ = rows.get(2).g_mul_scalar_(1e-6);
    rows.get(3).copy_(&(rows.get(0) * 1e4)); // parallel
    rows.get(4).copy_(&rows.get(0)); // equal
    rows.get(5).copy_(&(rows.get(0) + rows.get(2) * 1e6)); // dependent
    let many = noise(&[95, 40], 5); // more than dimensions
    for shared in [true, false] {
        for precondition in [Precondition::None, Precondition::Diagonal] {
            let damping = Damping::Absolute(0.1);
            let options = ConjugateGradient { damping, tolerance: 1e-6, shared, precondition, ..default() };
            let name = format!("shared {shared}, {precondition:?}");
            for v in [&rows, &many, &rows.narrow(0, 0, 1)] {
                let solved = curvature::ihvp_cg(&matrix, v, &options).unwrap();
                let expected = v.to_kind(Kind::Double).matmul(&inverse);
                let error = row_error(&solved, &expected);
                assert!(error < 3e-5, "{name}, {:?}: {error:.1e}", v.size());
            }
            let zeros = curvature::ihvp_cg(&matrix, &rows, &options).unwrap().get(1);
            assert_eq!(zeros.abs().max().double_value(&[]), 0.0);
            assert_eq!(curvature::ihvp_cg(&matrix, &rows.narrow(0, 0, 0), &options).unwrap().size(), [0, 40]);
        }
    }
}

/// Long after convergence nothing is divided by zero.
#[test]
fn conjugate_gradients_stay_finite_past_convergence() {
    for shared in [true, false] {
        let options = ConjugateGradient { damping: FREE, tolerance: 1e-300, iterations: 60, truncate: true, shared, ..default() };
        for (matrix, v) in [
            (spread(12, 3.0, 0.5), noise(&[5, 12], 1)),
            (Held(Tensor::eye(12, (Kind::Double, tch::Device::Cpu))), noise(&[30, 12], 1)),
        ] {
            // Independent systems stop by themselves where the residual is exactly zero.
            match curvature::ihvp_cg(&matrix, &v, &options) {
                Ok(solved) => {
                    let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&matrix, 0.0));
                    assert!(row_error(&solved, &expected) < 1e-4);
                }
                Err(error) => assert!(error.to_string().contains("conjugate gradients"), "{error}"),
            }
        }
    }
}

#[test]
fn a_shared_space_is_at_least_as_good_as_spaces_of_ones_own() {
    let matrix = spread(120, 10.0, 0.1);
    let v = noise(&[10, 120], 3);
    let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&matrix, 0.01));
    let error = |shared: bool, iterations: usize| {
        let options = ConjugateGradient { iterations, truncate: true, shared, tolerance: 1e-7, ..default() };
        row_error(&curvature::ihvp_cg(&matrix, &v, &options).unwrap(), &expected)
    };
    for iterations in [1, 2, 4, 8] {
        assert!(error(true, iterations) <= error(false, iterations) * 1.01, "{iterations} iterations");
    }
    // Ten systems in 120 dimensions have met all of them after twelve products.
    assert!(error(true, 13) < 0.1 * error(false, 13), "{:.2e} {:.2e}", error(true, 13), error(false, 13));
}

#[test]
fn conjugate_gradients_with_a_preconditioner_of_ones_own() {
    struct Known(Tensor);
    impl Preconditioner for Known {
        fn apply(&self, rows: &Tensor) -> Result<Tensor, Error> {
            Ok(rows.to_kind(Kind::Double).matmul(&self.0).to_kind(Kind::Float))
        }
    }
    let matrix = spread(60, 100.0, 0.001);
    let v = noise(&[7, 60], 4);
    let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&matrix, 0.01));
    for shared in [true, false] {
        let options = ConjugateGradient { iterations: 4, shared, ..default() };
        says(curvature::ihvp_cg(&matrix, &v, &options), &["did not converge in 4"]);
        let nearly = Known(dense_inverse(&matrix, 0.0105));
        let solved = curvature::ihvp_cg_preconditioned(&matrix, &v, &options, &nearly).unwrap();
        assert!(row_error(&solved, &expected) < 1e-3, "shared {shared}");
        let negative = Known(-dense_inverse(&matrix, 0.01));
        says(curvature::ihvp_cg_preconditioned(&matrix, &v, &options, &negative), &["conjugate gradients", "positive"]);
    }
}

#[test]
fn indefinite_matrices_are_errors() {
    let mut matrix = spread(20, 5.0, 0.1);
    matrix.0 = &matrix.0 - Tensor::eye(20, (Kind::Double, tch::Device::Cpu)) * 1.0;
    let v = noise(&[3, 20], 1);
    for shared in [true, false] {
        let options = ConjugateGradient { shared, ..default() };
        says(curvature::ihvp_cg(&matrix, &v, &options), &["not positive", "raise the damping", "GaussNewton"]);
    }
    says(curvature::ihvp_explicit(&matrix, &v, Damping::Absolute(0.01)), &["not positive definite", "least eigenvalue"]);
    says(curvature::ihvp_nystrom(&matrix, &v, &Nystrom::default()), &["negative curvature", "GaussNewton"]);
    let lissa = Lissa { scale: Some(6.0), depth: 500, ..default() };
    says(curvature::ihvp_lissa(&matrix, &v, &lissa), &["diverges", "damping"]);
    // Arnoldi counts magnitudes, or drops what is negative.
    let (values, _) = curvature::eigenpairs(&matrix, &Arnoldi { rank: 20, ..default() }).unwrap();
    assert!(values.min().double_value(&[]) < -0.5);
    let positive = Arnoldi { rank: 20, keep: Spectrum::Positive, ..default() };
    let (values, vectors) = curvature::eigenpairs(&matrix, &positive).unwrap();
    assert!(values.min().double_value(&[]) > 0.0 && vectors.size()[0] < 20);
    assert!(curvature::ihvp_arnoldi(&matrix, &v, &positive).unwrap().isfinite().all().int64_value(&[]) != 0);
}

#[test]
fn options_are_checked() {
    let (matrix, v) = (spread(8, 2.0, 0.5), noise(&[2, 8], 1));
    says(curvature::ihvp_nystrom(&matrix, &v, &Nystrom { damping: FREE, ..default() }), &["Nystrom.damping", "more than 0"]);
    says(curvature::ihvp_nystrom(&matrix, &v, &Nystrom { rank: 0, ..default() }), &["Nystrom.rank"]);
    says(curvature::ihvp_arnoldi(&matrix, &v, &Arnoldi { rank: 0, ..default() }), &["Arnoldi.rank"]);
    says(curvature::ihvp_arnoldi(&matrix, &v, &Arnoldi { rank: 9, iterations: 8, ..default() }), &["Arnoldi.iterations", "9"]);
    let outside = Arnoldi { damping: FREE, complement: true, ..default() };
    says(curvature::ihvp_arnoldi(&matrix, &v, &outside), &["Arnoldi.damping", "more than 0"]);
    says(curvature::ihvp_lissa(&matrix, &v, &Lissa { depth: 0, ..default() }), &["Lissa.depth"]);
    says(curvature::ihvp_lissa(&matrix, &v, &Lissa { scale: Some(0.0), ..default() }), &["Lissa.scale"]);
    says(curvature::ihvp_lissa(&matrix, &v, &Lissa { scale: Some(0.3), ..default() }), &["LiSSA", "raise the scale"]);
    let negative = Damping::Absolute(-1.0);
    says(curvature::ihvp_lissa(&matrix, &v, &Lissa { damping: negative, ..default() }), &["Lissa.damping", "at least 0"]);
    says(curvature::ihvp_cg(&matrix, &noise(&[2, 7], 1), &default()), &["[k, 8]", "[2, 7]"]);
    let infinite = &v * f64::INFINITY;
    says(curvature::ihvp_cg(&matrix, &infinite, &default()), &["right-hand side"]);
}

#[test]
fn low_rank_at_full_rank_is_the_inverse() {
    let matrix = spread(30, 4.0, 0.3);
    let v = noise(&[5, 30], 2);
    let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&matrix, 0.01));
    for seed in [0, 1] {
        let arnoldi = curvature::ihvp_arnoldi(&matrix, &v, &Arnoldi { seed, ..default() }).unwrap();
        assert!(row_error(&arnoldi, &expected) < 1e-4, "Arnoldi {:.1e}", row_error(&arnoldi, &expected));
        let nystrom = curvature::ihvp_nystrom(&matrix, &v, &Nystrom { seed, ..default() }).unwrap();
        assert!(row_error(&nystrom, &expected) < 1e-4, "Nyström {:.1e}", row_error(&nystrom, &expected));
    }
    // A part of the spectrum: exact on it, and 1/λ or nothing outside.
    let (values, vectors) = curvature::eigenpairs(&matrix, &Arnoldi { rank: 4, iterations: 30, ..default() }).unwrap();
    let along = v.matmul(&vectors.transpose(0, 1));
    let expected = (&along / (&values + 0.01).to_kind(Kind::Float)).matmul(&vectors);
    let few = Arnoldi { rank: 4, iterations: 30, ..default() };
    let inside = curvature::ihvp_arnoldi(&matrix, &v, &few).unwrap();
    assert_close(&inside, &expected, 1e-5, "dropped");
    let outside = (&v - along.matmul(&vectors)) / 0.01;
    let both = curvature::ihvp_arnoldi(&matrix, &v, &Arnoldi { complement: true, ..few }).unwrap();
    assert_close(&both, &(inside + outside), 1e-4, "complement");
}

/// Repeated eigenvalues are invisible to one start vector; a zero eigenvalue cannot be inverted.
#[test]
fn invariant_subspaces_do_not_stop_arnoldi() {
    let values = [3.0, 3.0, 3.0, 1.0, 1.0, 0.5];
    let matrix = Held(Tensor::from_slice(&values).diag_embed(0, 0, 1));
    let (found, vectors) = curvature::eigenpairs(&matrix, &Arnoldi::default()).unwrap();
    assert_close(&found, &Tensor::from_slice(&values), 1e-5, "eigenvalues");
    assert_close(&vectors.matmul(&vectors.transpose(0, 1)), &Tensor::eye(6, CPU), 1e-5, "orthonormal");
    let singular = Held(Tensor::from_slice(&[2.0, 1.0, 0.0, 0.0]).diag_embed(0, 0, 1));
    let v = noise(&[2, 4], 1);
    says(curvature::ihvp_arnoldi(&singular, &v, &Arnoldi { damping: FREE, ..default() }), &["Arnoldi", "lower the rank"]);
    let two = Arnoldi { damping: FREE, rank: 2, ..default() };
    let solved = curvature::ihvp_arnoldi(&singular, &v, &two).unwrap();
    assert_close(&solved, &(&v * Tensor::from_slice(&[0.5f32, 1.0, 0.0, 0.0])), 1e-5, "pseudo-inverse");
    let nothing = Held(Tensor::zeros([3, 3], (Kind::Double, tch::Device::Cpu)));
    let v = noise(&[2, 3], 1);
    says(curvature::ihvp_arnoldi(&nothing, &v, &Arnoldi { damping: FREE, ..default() }), &["Arnoldi"]);
    assert_close(&curvature::ihvp_nystrom(&nothing, &v, &default()).unwrap(), &(&v / 0.01), 1e-5, "no curvature");
    assert_close(&curvature::ihvp_cg(&nothing, &v, &default()).unwrap(), &(&v / 0.01), 1e-5, "no curvature");
    assert_close(&curvature::ihvp_lissa(&nothing, &v, &default()).unwrap(), &(&v / 0.01), 1e-3, "no curvature");
}

// ---- On networks ----

#[test]
fn every_route_on_networks() {
    let train = clusters(30, 1);
    for (name, task) in [("logistic", tasks::logistic()), ("mlp", tasks::mlp())] {
        let task = task.train(&Trainer { epochs: 10, batch_size: 10, learning_rate: 0.05, ..default() }, &train).unwrap();
        let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
        let hessian = curvature::operator(snapshot.clone(), &train, Matrix::Hessian).unwrap();
        let damping = Damping::Absolute(0.5);
        let v = noise(&[4, hessian.p()], 7);
        let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&Held(hessian.dense().unwrap()), 0.5));
        let rank = hessian.p() as usize;
        let mut routes: Vec<(Box<dyn Curvature>, f64)> = vec![
            (Box::new(Explicit { damping, ..default() }), 1e-4),
            (Box::new(ConjugateGradient { damping, tolerance: 1e-6, ..default() }), 1e-4),
            (Box::new(ConjugateGradient { damping, tolerance: 1e-6, shared: false, ..default() }), 1e-4),
            (Box::new(ConjugateGradient { damping, tolerance: 1e-6, precondition: Precondition::Diagonal, ..default() }), 1e-4),
            (Box::new(Lissa { damping, batch_size: 30, depth: 400, ..default() }), 1e-3),
            (Box::new(Lissa { damping, batch_size: 10, depth: 400, repeats: 20, ..default() }), 0.2),
        ];
        if name == "logistic" {
            routes.push((Box::new(Arnoldi { damping, rank, iterations: rank, complement: true, ..default() }), 1e-3));
            routes.push((Box::new(Nystrom { damping, rank, ..default() }), 1e-3));
        }
        for (route, tolerance) in routes {
            let fitted = route.fit(&snapshot, &train).unwrap();
            let solved = fitted.apply(&v).unwrap();
            let error = row_error(&solved, &expected);
            assert!(error < tolerance, "{} on {name}: {error:.1e}", route.name());
            let own = (&v * &solved).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
            assert_close(&fitted.quadratic(&v).unwrap(), &own, 1e-3, &format!("{} on {name}, quadratic", route.name()));
            // Parts of the rows alone.
            let alone = fitted.apply(&v.narrow(0, 1, 2)).unwrap();
            assert_close(&alone, &solved.narrow(0, 1, 2), 1e-4, &format!("{} on {name}, apart", route.name()));
        }
        // Without damping only what is positive definite can be inverted, and the message says so.
        says(Explicit { damping: FREE, ..default() }.fit(&snapshot, &train), &["positive definite", "raise the damping"]);
    }
}

#[test]
fn the_closed_form_without_its_null_space() {
    // A constant input, one that is always zero, and the softmax: 7 inputs and a bias leave 5 + 1 directions times 3 − 1.
    let data = clusters(30, 1);
    let constant = Tensor::full([30, 1], 0.7, CPU);
    let inputs = Tensor::cat(&[&constant, data.inputs(), &constant.zeros_like(), &(&constant * -2.0)], 1);
    let train = Dataset::new(inputs, data.targets().shallow_clone()).unwrap();
    let make = |p: &nn::Path| layer::linear(p / "fc", 7, 3);
    let task = Task::new(move |p: &nn::Path| Net(make(p), |m, x, tape| tape.linear("fc", m, x)));
    let task = task.train(&Trainer { epochs: 5, ..default() }, &train).unwrap();
    let hidden = Task::new(move |p: &nn::Path| Untaped(Net(make(p), |m, x, tape| tape.linear("fc", m, x))));
    let hidden = hidden.with_checkpoints(task.checkpoints().to_vec()).unwrap();
    let operator = |task: &Task| curvature::operator(task.snapshot(0).unwrap(), &train, Matrix::Hessian).unwrap();
    let (closed, looped) = (operator(&task), operator(&hidden));
    let whole = looped.dense().unwrap();
    assert_close(&closed.dense().unwrap(), &whole, 1e-5, "dense");
    assert_close(&closed.diagonal().unwrap(), &whole.diagonal(0, 0, 1), 1e-5, "diagonal");
    let small = closed.compressed().unwrap().unwrap();
    assert_eq!(small.matrix.p(), 10);
    let basis = small.space.vectors(&Tensor::eye(10, CPU)).unwrap();
    assert_close(&basis.matmul(&basis.transpose(0, 1)), &Tensor::eye(10, CPU), 1e-5, "orthonormal");
    let again = small.space.coordinates(&basis).unwrap();
    assert_close(&again, &Tensor::eye(10, CPU), 1e-5, "coordinates");
    let q = basis.to_kind(Kind::Double);
    let rebuilt = q.transpose(0, 1).matmul(&small.matrix.dense().unwrap()).matmul(&q);
    assert_close(&rebuilt, &whole, 1e-5, "Q M Qᵀ");
    let v = noise(&[3, 24], 4);
    let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&Held(whole), 0.05));
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    let damping = Damping::Absolute(0.05);
    for route in [
        Box::new(Explicit { damping, ..default() }) as Box<dyn Curvature>,
        Box::new(ConjugateGradient { damping, tolerance: 1e-6, ..default() }),
    ] {
        let solved = route.fit(&snapshot, &train).unwrap().apply(&v).unwrap();
        assert!(row_error(&solved, &expected) < 1e-4, "{}: {:.1e}", route.name(), row_error(&solved, &expected));
    }
}

#[test]
fn batches_are_keyed_and_unbiased() {
    let train = clusters(30, 1);
    for task in [tasks::logistic(), tasks::mlp()] {
        let task = task.train(&Trainer { epochs: 5, ..default() }, &train).unwrap();
        let hessian = curvature::operator(task.snapshot(0).unwrap(), &train, Matrix::Hessian).unwrap();
        let v = noise(&[3, hessian.p()], 7);
        let of = |examples, seed, step| hessian.minibatch(examples, seed, step).unwrap().unwrap().product(&v).unwrap();
        assert!(of(5, 1, 2).equal(&of(5, 1, 2)));
        assert!(difference(&of(5, 1, 2), &of(5, 1, 3)) > 1e-3 && difference(&of(5, 1, 2), &of(5, 2, 2)) > 1e-3);
        let whole = hessian.product(&v).unwrap();
        assert_close(&of(30, 0, 0), &whole, 1e-5, "all examples");
        assert_close(&of(300, 0, 0), &whole, 1e-5, "no more than all");
        let mean = (0..300).fold(whole.zeros_like(), |sum, step| sum + of(10, 0, step) / 300.0);
        assert!(difference(&mean, &whole) < 0.1, "{:.2}", difference(&mean, &whole));
    }
}

// ---- Closed forms of functions ----

fn sines(x: &[f32]) -> (Function, Tensor) {
    let x = Tensor::from_slice(x);
    (Function::hessian(|x: &[Tensor]| x[0].sin().sum(None::<Kind>), &[x.shallow_clone()]).unwrap(), x)
}

#[test]
fn functions_in_closed_form() {
    let v = noise(&[5, 2], 3);
    // Σ sin x has the Hessian −diag(sin x), here positive.
    let (f, x) = sines(&[-0.4, -1.3]);
    let expected = &v / -x.sin();
    assert_close(&curvature::ihvp_explicit(&f, &v, FREE).unwrap(), &expected, 1e-6, "explicit");
    let cg = ConjugateGradient { damping: FREE, iterations: 2, ..default() };
    for shared in [true, false] {
        assert_close(&curvature::ihvp_cg(&f, &v, &ConjugateGradient { shared, ..cg }).unwrap(), &expected, 1e-4, "cg");
    }
    let arnoldi = Arnoldi { damping: FREE, ..default() };
    assert_close(&curvature::ihvp_arnoldi(&f, &v, &arnoldi).unwrap(), &expected, 1e-4, "Arnoldi");
    let product = f.product(&v).unwrap();
    assert_close(&product, &(&v * -x.sin()), 1e-6, "product");
    for i in 0..5 {
        let one = curvature::hvp(|x| x[0].sin().sum(None::<Kind>), &[x.shallow_clone()], &[v.get(i)]).unwrap();
        assert_close(&one[0], &product.get(i), 1e-6, "hvp");
    }
    // In a second argument: Σ sin(x + y) at a fixed x.
    let shift = Tensor::from(2.0f32);
    let y = Tensor::from_slice(&[1.5f32, 2.5]); // sin(2 + y) < 0
    let held = shift.shallow_clone();
    let g = Function::hessian(move |y: &[Tensor]| (&held + &y[0]).sin().sum(None::<Kind>), &[y.shallow_clone()]).unwrap();
    let expected = &v / -(&shift + &y).sin();
    assert_close(&curvature::ihvp_explicit(&g, &v, FREE).unwrap(), &expected, 1e-6, "explicit, second argument");
    assert_close(&curvature::ihvp_cg(&g, &v, &cg).unwrap(), &expected, 1e-4, "cg, second argument");
    assert_close(&curvature::ihvp_arnoldi(&g, &v, &arnoldi).unwrap(), &expected, 1e-4, "Arnoldi, second argument");
    // Both arguments at once, flat in their order: the Hessian of Σ a b² has blocks.
    let (a, b) = (Tensor::from_slice(&[1.0f64, 2.0]), Tensor::from_slice(&[3.0f64, -1.0]));
    let h = Function::hessian(|x: &[Tensor]| (&x[0] * x[1].square()).sum(None::<Kind>), &[a, b]).unwrap();
    let expected = [0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0, -2.0, 6.0, 0.0, 2.0, 0.0, 0.0, -2.0, 0.0, 4.0];
    assert_close(&h.dense().unwrap(), &Tensor::from_slice(&expected).view([4, 4]), 1e-6, "two arguments");
}

#[test]
fn gauss_newton_of_functions() {
    // A small network: outputs tanh(W x), softmax cross-entropy; J and B by single backward passes in float64.
    let w = noise(&[3, 4], 1).to_kind(Kind::Double);
    let x = noise(&[4], 2).to_kind(Kind::Double);
    let network = |inputs: Tensor| move |p: &[Tensor]| p[0].view([3, 4]).mv(&inputs).tanh();
    let loss = |o: &Tensor| -o.log_softmax(0, None::<Kind>).get(1);
    let f = Function::gauss_newton(network(x.shallow_clone()), loss, &[w.shallow_clone()]).unwrap();
    let outputs = network(x.shallow_clone())(&[w.shallow_clone()]);
    // J = diag(1 − o²) ⊗ xᵀ, B = diag(q) − q qᵀ.
    let slope = (&outputs * &outputs).neg() + 1.0;
    let jacobian = Tensor::zeros([3, 12], (Kind::Double, tch::Device::Cpu));
    for i in 0..3 {
        jacobian.get(i).narrow(0, 4 * i, 4).copy_(&(&x * slope.get(i)));
    }
    let q = outputs.softmax(0, None::<Kind>);
    let b = q.diag_embed(0, 0, 1) - q.outer(&q);
    let expected = jacobian.transpose(0, 1).matmul(&b).matmul(&jacobian);
    assert_close(&f.dense().unwrap(), &expected, 1e-6, "Jᵀ B J");
    let v = noise(&[3, 4], 5).to_kind(Kind::Double);
    let one = curvature::ggn_vp(network(x), loss, &[w], &[v.shallow_clone()]).unwrap();
    assert_close(&one[0].view([12]), &expected.mv(&v.view([12])), 1e-12, "ggn_vp");
}

#[test]
fn functions_say_what_is_wrong() {
    let x = Tensor::from_slice(&[1.0f32, 2.0]);
    let square = |x: &[Tensor]| x[0].square().sum(None::<Kind>);
    says(Function::hessian(square, &[]).map(|_| ()), &["at least one tensor"]);
    says(Function::hessian(square, &[Tensor::from_slice(&[1i64])]).map(|_| ()), &["argument 0", "Int64"]);
    says(curvature::hvp(square, &[x.shallow_clone()], &[Tensor::from(1.0f32)]), &["[[2]]", "[[]]"]);
    says(curvature::hvp(|x| x[0].square(), &[x.shallow_clone()], &[x.shallow_clone()]), &["one number", "[2]"]);
    says(curvature::hvp(|_| Tensor::from(1.0f32), &[x.shallow_clone()], &[x.shallow_clone()]), &["does not depend"]);
    let linear = curvature::hvp(|x| x[0].sum(None::<Kind>), &[x.shallow_clone()], &[x.shallow_clone()]).unwrap();
    assert_eq!(linear[0].abs().max().double_value(&[]), 0.0);
}

/// Linear(3,3)-ReLU-Linear(3,1) on one example with squared error: 16 numbers, one system of all ones.
#[test]
fn conjugate_gradients_on_a_tiny_network_equal_the_inverse() {
    let data = Dataset::new(noise(&[1, 3], 5), noise(&[1, 1], 6)).unwrap();
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[3, 3, 1])).with_objective(NegativeSquaredError);
    let task = task.train(&Trainer { epochs: 60, learning_rate: 0.05, ..default() }, &data).unwrap();
    let hessian = curvature::operator(task.snapshot(0).unwrap(), &data, Matrix::Hessian).unwrap();
    assert_eq!(hessian.p(), 16);
    let ones = Tensor::ones([1, 16], CPU);
    let damping = Damping::Absolute(1e-1);
    let exact = curvature::ihvp_explicit(hessian.as_ref(), &ones, damping).unwrap();
    let cg = ConjugateGradient { damping, iterations: 10, truncate: true, ..default() };
    assert_close(&curvature::ihvp_cg(hessian.as_ref(), &ones, &cg).unwrap(), &exact, 5e-2, "10 iterations");
}

/// Linear regression: the recursion over batches against H = 2 XᵀX / n.
#[test]
fn lissa_on_regression() {
    let n = 500;
    let x = noise(&[n, 2], 1) - 0.2;
    let theta = Tensor::from_slice(&[1.0f32, -2.0]).view([2, 1]);
    let y = x.matmul(&theta) + noise(&[n, 1], 8) * 0.05;
    let data = Dataset::new(x.shallow_clone(), y).unwrap();
    let no_bias = |p: &nn::Path| {
        let layer = nn::linear(p / "w", 2, 1, nn::LinearConfig { bias: false, ..Default::default() });
        move |x: &Tensor, tape: &mut Tape| tape.linear("w", &layer, x)
    };
    let weights = vec![("w.weight".to_string(), theta.transpose(0, 1).contiguous())];
    let task = Task::new(no_bias).with_objective(NegativeSquaredError);
    let task = task.with_checkpoints(vec![Checkpoint::new(0, 1, 0.1, weights)]).unwrap();
    let hessian = curvature::operator(task.snapshot(0).unwrap(), &data, Matrix::Hessian).unwrap();
    let v = Tensor::from_slice(&[0.7f32, -0.3]).view([1, 2]);
    let exact = curvature::ihvp_explicit(hessian.as_ref(), &v, FREE).unwrap();
    let error = |options: Lissa| {
        // Over seeds, so that what is left is bias and not one draw's noise.
        let seeds = if options.batch_size == 500 { 1 } else { 20 };
        let solved = (0..seeds).map(|seed| curvature::ihvp_lissa(hessian.as_ref(), &v, &Lissa { seed, ..options }).unwrap());
        let mean = Tensor::cat(&solved.collect::<Vec<_>>(), 0).mean_dim([0i64].as_slice(), true, None::<Kind>);
        (mean - &exact).abs().max().double_value(&[])
    };
    let some = Lissa { damping: FREE, depth: 100, ..default() };
    assert!(error(Lissa { batch_size: 500, ..some }) < 1e-3);
    for options in [Lissa { batch_size: 1, repeats: 20, ..some }, Lissa { batch_size: 4, repeats: 10, ..some }] {
        assert!(error(options) < 0.08 * exact.abs().max().double_value(&[]).max(1.0), "{options:?}: {:.3}", error(options));
    }
}

// ---- What is not finite, not float32, or empty ----

type Solve = fn(&dyn Operator, &Tensor, Damping) -> Result<Tensor, Error>;

/// Every solver over operators, with enough rank to be exact on a few dimensions.
fn solvers() -> [(&'static str, Solve); 5] {
    [
        ("explicit", |h, v, damping| curvature::ihvp_explicit(h, v, damping)),
        ("conjugate gradients", |h, v, damping| curvature::ihvp_cg(h, v, &ConjugateGradient { damping, ..default() })),
        ("LiSSA", |h, v, damping| curvature::ihvp_lissa(h, v, &Lissa { damping, depth: 50, ..default() })),
        ("Arnoldi", |h, v, damping| curvature::ihvp_arnoldi(h, v, &Arnoldi { damping, ..default() })),
        ("Nyström", |h, v, damping| curvature::ihvp_nystrom(h, v, &Nystrom { damping, ..default() })),
    ]
}

#[test]
fn solvers_take_and_give_finite_float32_rows() {
    let (matrix, v) = (spread(6, 2.0, 0.5), noise(&[3, 6], 1));
    let zero = Held(Tensor::zeros([6, 6], (Kind::Double, tch::Device::Cpu)));
    let broken = Held(Tensor::full([6, 6], f64::NAN, (Kind::Double, tch::Device::Cpu)));
    let damping = Damping::Absolute(0.1);
    for (name, solve) in solvers() {
        assert!(solve(&matrix, &v, damping).is_ok(), "{name}");
        for value in [f64::NAN, f64::INFINITY] {
            let wrong = v.copy();
            let _ = wrong.get(1).get(2).fill_(value);
            says(solve(&matrix, &wrong, damping), &[name, "right-hand side is NaN or infinite"]);
        }
        says(solve(&broken, &v, damping), &["numerical trouble", "NaN or infinite"]);
        says(solve(&matrix, &v.to_kind(Kind::Double), damping), &["gradients", "expected float32, got Double"]);
        says(solve(&matrix, &v.narrow(1, 0, 5), damping), &["[k, 6]", "[3, 5]"]);
        assert_eq!(solve(&matrix, &v.narrow(0, 0, 0), damping).unwrap().size(), [0, 6], "{name}");
        // Nothing to be relative to, and nothing to invert.
        says(solve(&zero, &v, Damping::Relative(0.1)), &["mean eigenvalue is 0", "Damping::Absolute"]);
        says(solve(&zero, &v, FREE), &[]);
        assert!(solve(&broken, &v, Damping::Relative(0.1)).is_err(), "{name}");
    }
    let f = Function::hessian(|x: &[Tensor]| x[0].exp().sum(None::<Kind>), &[Tensor::from_slice(&[0.0f32, 1.0])]).unwrap();
    says(f.product(&Tensor::ones([1, 2], (Kind::Double, tch::Device::Cpu))), &["vectors", "expected float32, got Double"]);
}

/// Every route on a fitted network takes no rows as it takes some.
#[test]
fn no_rows_give_no_rows() {
    let train = clusters(20, 1);
    for task in [tasks::logistic(), tasks::mlp()] {
        let task = task.train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
        let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
        let damping = Damping::Absolute(10.0);
        let routes: [Box<dyn Curvature>; 6] = [
            Box::new(Explicit { damping, ..default() }),
            Box::new(ConjugateGradient { damping, ..default() }),
            Box::new(Lissa { damping, depth: 20, ..default() }),
            Box::new(Arnoldi { damping, rank: 5, iterations: 10, ..default() }),
            Box::new(Nystrom { damping, ..default() }),
            Box::new(Diagonal::default()),
        ];
        for route in routes {
            let fitted = route.fit(&snapshot, &train).unwrap();
            let none = Tensor::zeros([0, snapshot.p()], CPU);
            assert_eq!(fitted.apply(&none).unwrap().size(), none.size(), "{}", route.name());
            assert_eq!(fitted.quadratic(&none).unwrap().size(), [0], "{}", route.name());
            let double = Tensor::zeros([1, snapshot.p()], (Kind::Double, tch::Device::Cpu));
            says(fitted.apply(&double), &["gradients", "expected float32, got Double"]);
        }
    }
}

// ---- Damping relative to an estimated trace ----

#[test]
fn a_relative_damping_needs_a_mean_eigenvalue() {
    // Large entries beside the diagonal: the estimate says nothing about a trace of 40.
    let p = 40;
    let beside = noise(&[p, p], 5).to_kind(Kind::Double) * 100.0;
    let matrix = Held(Tensor::eye(p, (Kind::Double, tch::Device::Cpu)) + (&beside + beside.transpose(0, 1)).triu(1));
    let matrix = Held(&matrix.0 + matrix.0.transpose(0, 1) - Tensor::eye(p, (Kind::Double, tch::Device::Cpu)));
    let (mean, error) = matrix.estimate_mean_eigenvalue().unwrap();
    assert!((mean - 1.0).abs() < 5.0 * error && error > 1.0, "{mean} ± {error}");
    let v = noise(&[2, p], 1);
    for (name, solve) in solvers().into_iter().skip(1) {
        let message = solve(&matrix, &v, Damping::Relative(0.1)).expect_err(name).to_string();
        let parts = ["a relative damping has no meaning", "±", "Damping::Absolute", "Matrix::GaussNewton"];
        assert!(parts.iter().all(|part| message.contains(part)), "{name}: {message}");
    }
    // The explicit inverse has the trace.
    let sound = spread(20, 3.0, 0.1);
    let lambda = 0.1 * sound.0.trace().double_value(&[]) / 20.0;
    let v = noise(&[3, 20], 2);
    let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&sound, lambda));
    let solved = curvature::ihvp_explicit(&sound, &v, Damping::Relative(0.1)).unwrap();
    assert!(row_error(&solved, &expected) < 1e-5);
    let negative = Held(&sound.0 * -1.0);
    for (name, solve) in solvers() {
        assert!(solve(&negative, &v, Damping::Relative(0.1)).is_err(), "{name}");
    }
    says(curvature::ihvp_explicit(&negative, &v, Damping::Relative(0.1)), &["mean eigenvalue is -", "Damping::Absolute"]);
    // Fitted, in the smaller space of a softmax and in the whole.
    let train = clusters(30, 1);
    for task in [tasks::logistic(), tasks::mlp()] {
        let task = task.train(&Trainer { epochs: 10, batch_size: 10, learning_rate: 0.05, ..default() }, &train).unwrap();
        let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
        let hessian = Held(curvature::operator(snapshot.clone(), &train, Matrix::GaussNewton).unwrap().dense().unwrap());
        let lambda = 0.5 * hessian.0.trace().double_value(&[]) / hessian.p() as f64;
        let v = noise(&[3, hessian.p()], 2);
        let expected = v.to_kind(Kind::Double).matmul(&dense_inverse(&hessian, lambda));
        let explicit = Explicit { matrix: Matrix::GaussNewton, damping: Damping::Relative(0.5), ..default() };
        let solved = explicit.fit(&snapshot, &train).unwrap().apply(&v).unwrap();
        assert!(row_error(&solved, &expected) < 1e-4);
    }
}

#[test]
fn layers_without_gradients_are_named() {
    // Inputs of zeros and no bias: nothing moves the outputs.
    let train = Dataset::new(Tensor::zeros([6, 4], CPU), Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2])).unwrap();
    let no_bias = |p: &nn::Path| {
        let layer = nn::linear(p / "w", 4, 3, nn::LinearConfig { bias: false, ..Default::default() });
        move |x: &Tensor, tape: &mut Tape| tape.linear("w", &layer, x)
    };
    let task = Task::new(no_bias).train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    says(Diagonal::default().fit(&snapshot, &train), &["layer w", "Damping::Absolute"]);
    says(Diagonal { damping: FREE, ..default() }.fit(&snapshot, &train), &["layer w", "above 0"]);
    let nystrom = Nystrom { damping: Damping::Relative(0.1), ..default() };
    says(nystrom.fit(&snapshot, &train), &["mean eigenvalue is 0", "Damping::Absolute"]);
}

// ---- The closed form of one linear layer: when it is taken ----

#[test]
fn gauss_newton_refuses_what_is_not_concave() {
    let train = clusters(12, 1);
    let convex = |outputs: &Tensor, _: &Tensor| outputs.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
    for hide in [false, true] {
        let make = |p: &nn::Path| layer::linear(p / "fc", 4, 3);
        let task = match hide {
            false => Task::new(move |p: &nn::Path| Net(make(p), |m, x, tape| tape.linear("fc", m, x))),
            true => Task::new(move |p: &nn::Path| Untaped(Net(make(p), |m, x, tape| tape.linear("fc", m, x)))),
        };
        let task = task.train(&Trainer { epochs: 1, ..default() }, &train).unwrap().with_objective(convex);
        let refused = curvature::operator(task.snapshot(0).unwrap(), &train, Matrix::GaussNewton);
        says(refused, &["not concave in the outputs", "Gauss-Newton"]);
        assert!(curvature::operator(task.snapshot(0).unwrap(), &train, Matrix::Hessian).is_ok());
    }
}

/// With many outputs `B` would not fit into memory: the same products come from autograd.
#[test]
fn many_outputs_go_without_the_closed_form() {
    let (n, classes) = (600, 400); // 384 MB of B
    let labels: Vec<i64> = (0..n).map(|i| i * 7 % classes).collect();
    let train = Dataset::new(noise(&[n, 3], 4), Tensor::from_slice(&labels)).unwrap();
    let task = Task::new(move |p: &nn::Path| Logistic::new(p, 3, classes));
    let task = task.train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let snapshot = std::rc::Rc::new(task.snapshot(0).unwrap());
    let hessian = |data: &Dataset| curvature::operator(snapshot.clone(), data, Matrix::Hessian).unwrap();
    let whole = hessian(&train);
    assert!(whole.compressed().unwrap().is_none());
    let halves = [(0..300), (300..600)].map(|at| train.select(&at.collect::<Vec<usize>>()).unwrap()).map(|half| hessian(&half));
    assert!(halves[0].compressed().unwrap().is_some());
    let v = noise(&[2, whole.p()], 6);
    let mean = (halves[0].product(&v).unwrap() + halves[1].product(&v).unwrap()) * 0.5;
    assert_close(&whole.product(&v).unwrap(), &mean, 1e-4, "autograd and closed form");
}
