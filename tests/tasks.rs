//! Tiny tasks that the other modules share.

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

/// Three noisy clusters in four dimensions, labels 0, 1, 2; a function of the seed.
pub fn clusters(n: usize, seed: u64) -> Dataset {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut normal = || {
        let sum: f64 = (0..12)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            })
            .sum();
        (sum - 6.0) as f32
    };
    let labels: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
    let centre = |label: i64, d: usize| if d as i64 == label { 1.5 } else { -0.5 };
    let inputs: Vec<f32> =
        labels.iter().flat_map(|&l| (0..4).map(move |d| centre(l, d))).map(|c: f32| c + 0.7 * normal()).collect();
    Dataset::new(Tensor::from_slice(&inputs).view([n as i64, 4]), Tensor::from_slice(&labels)).unwrap().named("clusters")
}

pub fn logistic() -> Task {
    Task::new(|p: &nn::Path| Logistic::new(p, 4, 3))
}

pub fn mlp() -> Task {
    Task::new(|p: &nn::Path| Mlp::new(p, &[4, 6, 3]))
}

/// The four inputs as a sequence of two steps, through a shared layer and an embedding of the step.
pub fn sequence() -> Task {
    Task::new(|p: &nn::Path| {
        let (step, table, last) =
            (layer::linear(p / "step", 2, 5), layer::embedding(p / "table", 2, 5), layer::linear(p / "last", 5, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let n = x.size()[0];
            let index = Tensor::from_slice(&[0i64, 1]).expand([n, 2], false);
            let steps = tape.linear("step", &step, &x.reshape([n, 2, 2])) + tape.embedding("table", &table, &index);
            tape.linear("last", &last, &steps.tanh().mean_dim([1i64].as_slice(), false, None::<Kind>))
        }
    })
}

/// A network with a parameter outside any layer, so that gradients come from the loop.
pub fn looped() -> Task {
    Task::new(|p: &nn::Path| {
        let (shift, mlp) = (p.var("shift", &[4], nn::Init::Const(0.1)), Mlp::new(p, &[4, 6, 3]));
        move |x: &Tensor, tape: &mut Tape| mlp.forward(&(x + &shift), tape)
    })
}

pub fn trainer() -> Trainer {
    Trainer { epochs: 6, batch_size: 8, learning_rate: 0.03, keep: Keep::LastEpochs(2), ..default() }
}

/// (name, task, train, test); every task has two checkpoints of one run.
pub fn all() -> Vec<(&'static str, Task, Dataset, Dataset)> {
    let (train, test) = (clusters(24, 1), clusters(30, 2).select(&[25, 26, 27, 28, 29]).unwrap());
    let named = [("logistic", logistic()), ("mlp", mlp()), ("sequence", sequence()), ("loop", looped())];
    named.into_iter().map(|(name, task)| (name, task.train(&trainer(), &train).unwrap(), train.clone(), test.clone())).collect()
}

/// Methods with options that suit tiny tasks: enough damping for an indefinite Hessian.
pub fn methods() -> Vec<Box<dyn Method>> {
    let strong = Damping::Absolute(2.0);
    let mut methods = method::all();
    for method in &mut methods {
        let suited = match method.name().as_str() {
            "Influence (explicit Hessian)" => Influence::new(Explicit { damping: strong, ..default() }),
            "Influence (conjugate gradients)" => Influence::new(ConjugateGradient { damping: strong, ..default() }),
            "Influence (LiSSA)" => Influence::new(Lissa { damping: strong, depth: 40, batch_size: 1000, ..default() }),
            "Influence (Arnoldi)" => Influence::new(Arnoldi { damping: strong, complement: true, ..default() }),
            // A sum of few outer products is chosen anew for each train set.
            "Influence (EK-FAC)" => Influence::new(Ekfac { tolerance: 0.0, ..default() }),
            _ => continue,
        };
        *method = Box::new(suited);
    }
    methods
}

/// Whether a method has no answer for networks whose parameters the tape does not see.
pub fn needs_tape(method: &dyn Method) -> bool {
    method.name().contains("K-FAC")
}

/// A model whose layers the tape does not see: gradients come from the loop.
pub struct Untaped<M>(pub M);

impl<M: Model> Model for Untaped<M> {
    fn forward(&self, inputs: &Tensor, _: &mut Tape) -> Tensor {
        self.0.forward(inputs, &mut Tape::off())
    }
}

/// Largest absolute difference, relative to the largest absolute value.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let scale = b.abs().max().double_value(&[]).max(1e-30);
    (a - b).abs().max().double_value(&[]) / scale
}

#[track_caller]
pub fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64, what: &str) {
    let found = difference(a, b);
    assert!(found <= tolerance, "{what}: relative difference {found:.2e} above {tolerance:.0e}");
}

/// The error is one line that says all of these.
#[track_caller]
pub fn says<T>(result: Result<T, Error>, parts: &[&str]) {
    let message = match result {
        Ok(_) => panic!("expected an error that says {parts:?}"),
        Err(error) => format!("{error:?}"),
    };
    assert!(!message.contains('\n'), "one line: {message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

/// A folder of its own for one test, removed when dropped.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ascribe-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
