//! What is measured: a model, a method and how the peer's scores compare with ours.

use std::path::PathBuf;

use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::{Outcome, report};

#[derive(Clone, Copy, PartialEq)]
pub enum Network {
    /// 784-128-64-10, 109,386 parameters.
    Mlp,
    /// 7,850 parameters.
    Logistic,
    /// Two convolutions and a linear layer, 9,098 parameters.
    Cnn,
}

pub const NETWORKS: [Network; 3] = [Network::Mlp, Network::Logistic, Network::Cnn];

/// How the peer's scores are held against ours.
#[derive(Clone, Copy)]
pub enum Against {
    /// Both compute the same numbers: largest difference over the largest score.
    Same,
    /// The peer estimates them otherwise (from random projections; from another start of a truncated iteration): Pearson
    /// correlation with ours.
    Alike,
}

/// One row of the comparison; `name` is also the name of the work in `peer.py`.
pub struct Work {
    pub name: &'static str,
    pub network: Network,
    pub method: fn() -> Box<dyn Method>,
    /// Each train example for itself instead of test × train.
    pub itself: bool,
    pub against: Against,
    /// Runs of ours before and after each run of the peer, and runs of the peer.
    pub repeats: (usize, usize),
    /// What both should have found, where both stop short of it: the distance of each from it is told too.
    pub truth: Option<fn() -> Box<dyn Method>>,
    /// Train and test examples where the peer does not finish, or not in memory, with all.
    pub sizes: Option<(usize, usize)>,
    /// Whether the linear datamodeling score of both is told: against networks trained on halves of the train examples.
    pub lds: bool,
}

const fn work(name: &'static str, network: Network, method: fn() -> Box<dyn Method>, against: Against) -> Work {
    Work { name, network, method, itself: false, against, repeats: (5, 1), truth: None, sizes: None, lds: false }
}

const FEW: Option<(usize, usize)> = Some((1000, 100));

pub const WORKS: [Work; 25] = [
    work("grad_dot_mlp", Network::Mlp, grad_dot, Against::Alike),
    work("grad_dot_mlp_exact", Network::Mlp, grad_dot, Against::Same),
    Work { repeats: (5, 3), ..work("grad_dot_logistic", Network::Logistic, grad_dot, Against::Alike) },
    Work { repeats: (5, 3), ..work("grad_dot_logistic_exact", Network::Logistic, grad_dot, Against::Same) },
    work("grad_cos_mlp", Network::Mlp, grad_cos, Against::Alike),
    Work { itself: true, ..work("self_influence_mlp", Network::Mlp, grad_dot, Against::Alike) },
    Work { repeats: (2, 1), ..work("influence_explicit_logistic", Network::Logistic, explicit, Against::Same) },
    Work {
        repeats: (2, 1),
        truth: Some(explicit),
        ..work("influence_cg_logistic", Network::Logistic, conjugate_gradient, Against::Alike)
    },
    Work {
        repeats: (2, 1),
        sizes: FEW,
        truth: Some(solved),
        ..work("influence_cg_mlp", Network::Mlp, damped_conjugate_gradient, Against::Alike)
    },
    Work { repeats: (2, 1), truth: Some(undamped), ..work("lissa_logistic", Network::Logistic, lissa, Against::Alike) },
    Work { repeats: (2, 1), ..work("arnoldi_logistic", Network::Logistic, arnoldi, Against::Same) },
    Work { sizes: FEW, ..work("data_inf_logistic", Network::Logistic, data_inf, Against::Same) },
    Work { sizes: FEW, ..work("data_inf_mlp", Network::Mlp, data_inf, Against::Same) },
    Work { repeats: (2, 1), ..work("ekfac_dattri_mlp", Network::Mlp, ekfac, Against::Alike) },
    Work { repeats: (2, 1), ..work("ekfac_mlp", Network::Mlp, ekfac, Against::Same) },
    Work { repeats: (2, 1), ..work("ekfac_mlp_short", Network::Mlp, ekfac_short, Against::Alike) },
    Work { repeats: (2, 1), ..work("ekfac_cnn", Network::Cnn, ekfac, Against::Same) },
    Work { repeats: (2, 1), ..work("kfac_mlp", Network::Mlp, kfac, Against::Same) },
    Work { repeats: (2, 1), ..work("diagonal_mlp", Network::Mlp, diagonal, Against::Same) },
    Work { lds: true, ..work("trak_mlp", Network::Mlp, trak_512, Against::Alike) },
    Work { lds: true, ..work("trak_exact_mlp", Network::Mlp, trak, Against::Alike) },
    Work { lds: true, ..work("traker_mlp", Network::Mlp, trak_512, Against::Alike) },
    work("knn_shapley", Network::Logistic, knn_shapley, Against::Same),
    Work { sizes: FEW, ..work("representer_logistic", Network::Logistic, representer, Against::Alike) },
    Work { repeats: (2, 0), ..work("empirical_fisher_mlp", Network::Mlp, empirical_fisher, Against::Same) },
];

/// What both sides of the Kronecker-factored works use.
const FISHER: Matrix = Matrix::EmpiricalFisher;
const SMALL: Damping = Damping::Absolute(1e-4);
const LARGE: Damping = Damping::Absolute(0.01);

fn lissa() -> Box<dyn Method> {
    let options = Lissa { damping: Damping::Absolute(0.0), scale: Some(50.0), batch_size: 50, depth: 100, ..default() };
    Box::new(Influence::new(options))
}

fn arnoldi() -> Box<dyn Method> {
    Box::new(Influence::new(Arnoldi { damping: LARGE, iterations: 50, rank: 10, ..default() }))
}

fn data_inf() -> Box<dyn Method> {
    Box::new(Influence::new(DataInf { damping: LARGE }))
}

fn ekfac() -> Box<dyn Method> {
    Box::new(Influence::new(Ekfac { matrix: FISHER, damping: SMALL, tolerance: 0.0 }))
}

fn ekfac_short() -> Box<dyn Method> {
    Box::new(Influence::new(Ekfac { matrix: FISHER, damping: SMALL, tolerance: 0.1 }))
}

fn kfac() -> Box<dyn Method> {
    Box::new(Influence::new(Kfac { matrix: FISHER, damping: SMALL, ..default() }))
}

fn diagonal() -> Box<dyn Method> {
    Box::new(Influence::new(Diagonal { matrix: FISHER, damping: SMALL }))
}

fn empirical_fisher() -> Box<dyn Method> {
    Box::new(Influence::new(Explicit { matrix: FISHER, damping: LARGE, ..default() }))
}

/// The peers add theirs to a matrix of features that are divided by the square root of the number of parameters; about the mean squared
/// length of the features.
const TRAK: Damping = Damping::Absolute(2e-2 * 109_386.0);

fn trak() -> Box<dyn Method> {
    Box::new(Trak { damping: TRAK, ..Trak::exact() })
}

fn trak_512() -> Box<dyn Method> {
    Box::new(Trak { damping: TRAK, ..Trak::new(projection::TensorSketch { dim: 512, ..default() }) })
}

fn knn_shapley() -> Box<dyn Method> {
    Box::new(KnnShapley { neighbours: 5, ..default() })
}

fn representer() -> Box<dyn Method> {
    Box::new(Representer { strength: 0.003, ..default() })
}

fn grad_dot() -> Box<dyn Method> {
    Box::new(GradDot::default())
}

fn grad_cos() -> Box<dyn Method> {
    Box::new(GradCos::default())
}

fn explicit() -> Box<dyn Method> {
    Box::new(Influence::new(Explicit { damping: Damping::Absolute(0.01), ..default() }))
}

/// As few shared iterations as leave a smaller error than the peer's ten.
fn conjugate_gradient() -> Box<dyn Method> {
    let few = ConjugateGradient { damping: LARGE, iterations: 3, truncate: true, ..default() };
    Box::new(Influence::new(few))
}

/// The MLP's Hessian has eigenvalues down to about −0.5; with this damping all are positive.
fn damped_conjugate_gradient() -> Box<dyn Method> {
    let few = ConjugateGradient { damping: Damping::Absolute(1.0), iterations: 3, truncate: true, ..default() };
    Box::new(Influence::new(few))
}

fn solved() -> Box<dyn Method> {
    let exact = ConjugateGradient { damping: Damping::Absolute(1.0), tolerance: 1e-5, ..default() };
    Box::new(Influence::new(exact))
}

/// What the recursion would reach with more steps, and no noise.
fn undamped() -> Box<dyn Method> {
    Box::new(Influence::new(Explicit { damping: Damping::Absolute(1e-3), ..default() }))
}

impl Work {
    /// `5000 x 500`, or `5000` for self-influence.
    pub fn size(&self, n_train: usize, n_test: usize) -> String {
        match self.itself {
            true => n_train.to_string(),
            false => format!("{n_train} x {n_test}"),
        }
    }

    /// The scores that both should have found.
    pub fn truth(&self, task: &Task, train: &Dataset, test: &Dataset) -> Outcome<Option<Tensor>> {
        let Some(method) = self.truth else { return Ok(None) };
        Ok(Some(method().fit(task, train)?.matrix(test)?))
    }

    /// Fits and scores: what is timed.
    pub fn run(&self, task: &Task, train: &Dataset, test: &Dataset) -> Outcome<Tensor> {
        let fitted = (self.method)().fit(task, train)?;
        Ok(match self.itself {
            true => fitted.self_scores()?,
            false => fitted.score(test)?.tensor().shallow_clone(),
        })
    }

    /// `difference 2e-7` or `correlation 0.98`, and where there is a truth the distances of both from it.
    pub fn agreement(&self, ours: &Tensor, theirs: &Tensor, truth: Option<&Tensor>) -> Outcome<String> {
        if ours.size() != theirs.size() {
            return Err(format!("{}: our scores are {:?}, the peer's {:?}", self.name, ours.size(), theirs.size()).into());
        }
        let (ours, theirs) = (ours.to_kind(Kind::Double), theirs.to_kind(Kind::Double));
        if let Some(truth) = truth {
            let truth = truth.to_kind(Kind::Double);
            let error = |x: &Tensor| (x - &truth).norm().double_value(&[]) / truth.norm().double_value(&[]);
            return Ok(format!("error {:.1e}, peer's {:.1e}", error(&ours), error(&theirs)));
        }
        Ok(match self.against {
            Against::Same => {
                let scale = ours.abs().max().double_value(&[]);
                format!("difference {:.1e}", (ours - theirs).abs().max().double_value(&[]) / scale)
            }
            Against::Alike => {
                let centred = |x: Tensor| &x - x.mean(Kind::Double);
                let (a, b) = (centred(ours), centred(theirs));
                let product = (&a * &b).sum(Kind::Double).double_value(&[]);
                let lengths = a.norm().double_value(&[]) * b.norm().double_value(&[]);
                format!("correlation {:.4}", product / lengths)
            }
        })
    }
}

fn trainer() -> Trainer {
    Trainer { epochs: 3, ..default() }
}

impl Network {
    fn name(self) -> &'static str {
        match self {
            Network::Mlp => "mlp",
            Network::Logistic => "logistic",
            Network::Cnn => "cnn",
        }
    }

    /// Where the trained weights lie, for the peer and for the processes that measure memory.
    pub fn weights(self) -> PathBuf {
        report::folder().join(format!("{}.safetensors", self.name()))
    }

    fn task(self) -> Task {
        match self {
            Network::Mlp => Task::new(|p: &nn::Path| Mlp::new(p, &[784, 128, 64, 10])),
            Network::Logistic => Task::new(|p: &nn::Path| Logistic::new(p, 784, 10)),
            Network::Cnn => Task::new(|p: &nn::Path| Cnn::new(p, 28, 10)),
        }
    }

    /// Trains for a few epochs and saves the weights.
    pub fn train(self, train: &Dataset) -> Outcome<Task> {
        let task = self.task().train(&trainer(), train)?;
        task.checkpoints()[0].save(self.weights())?;
        Ok(task)
    }

    /// What networks that were trained on 50 random halves of the train examples say about the margins of the test examples.
    pub fn halves(self, train: &Dataset, test: &Dataset) -> Outcome<Retrained> {
        let retraining = Retraining { trainer: trainer(), ..default() };
        Ok(retraining.run(&self.task().with_measurement(Margin), train, test, &Subsets::fraction(train, 0.5, 50, 0)?)?)
    }

    /// The task with the weights saved before.
    pub fn load(self) -> Outcome<Task> {
        Ok(self.task().with_checkpoints(vec![Checkpoint::load(self.weights())?])?)
    }
}
