//! TRAK and its kin against brute force, closed forms and each other.

use std::sync::Arc;

use ascribe::gradient::Layout;
use ascribe::prelude::*;
use ascribe::projection::Part;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, difference};

/// A dense map with entries from a fixed formula, one for the whole network.
#[derive(Debug)]
struct Dense {
    k: i64,
}

struct Fitted {
    matrix: Tensor,
    parts: Vec<Part>,
}

/// `[p, k]`, entries near N(0, 1/k) by a sum of sines; a function of the member.
fn entries(p: i64, k: i64, member: u64) -> Tensor {
    let index = Tensor::arange(p * k, (Kind::Double, ascribe::tch::Device::Cpu)) + (1.0 + 1e4 * member as f64);
    let hashed = ((&index * 12.9898).sin() * 43758.5453).frac() + ((&index * 78.233).sin() * 12543.137).frac();
    (hashed * (1.5 / k as f64).sqrt()).to_kind(Kind::Float).view([p, k])
}

impl Projection for Dense {
    fn name(&self) -> String {
        format!("dense {}", self.k)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> ascribe::Result<Box<dyn Projector>> {
        let parts = vec![Part { name: "all".into(), offset: 0, len: self.k }];
        Ok(Box::new(Fitted { matrix: entries(layout.p(), self.k, member), parts }))
    }
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> ascribe::Result<Tensor> {
        Ok(rows.matmul(&self.matrix))
    }
}

fn rows(task: &Task, index: usize, output: impl Measurement + 'static, data: &Dataset) -> Tensor {
    let task = task.clone().with_objective(output);
    task.snapshot(index).unwrap().gradients(Of::Objective, data).unwrap().dense().unwrap().to_kind(Kind::Double)
}

/// `Φ_t (ΦᵀΦ + λ)⁻¹ Φᵀ` as it is written.
fn formula(features: &Tensor, tests: &Tensor, lambda: f64) -> Tensor {
    let k = features.size()[1];
    let moment = features.transpose(0, 1).matmul(features) + Tensor::eye(k, (Kind::Double, ascribe::tch::Device::Cpu)) * lambda;
    tests.matmul(&moment.inverse()).matmul(&features.transpose(0, 1))
}

fn residuals(task: &Task, index: usize, data: &Dataset) -> Tensor {
    let outputs = task.snapshot(index).unwrap().outputs(data).unwrap();
    1.0 - outputs.softmax(-1, Kind::Double).gather(1, &data.targets().unsqueeze(1), false).squeeze_dim(1)
}

fn score(method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset) -> Tensor {
    method.fit(task, train).unwrap().matrix(test).unwrap()
}

#[test]
fn every_route_gives_the_formula() {
    for (name, task, train, test) in tasks::all() {
        let plain = |projection: Option<Arc<dyn Projection>>| {
            let trak = Trak { damping: Damping::Absolute(0.3), projection, weighting: false, ..default() };
            score(&trak, &task, &train, &test)
        };
        let (first, second) = (0, 1);
        let of = |map: &dyn Fn(&Tensor, u64) -> Tensor| {
            let member = |c: usize| {
                let (mine, theirs) = (rows(&task, c, Margin, &train), rows(&task, c, Margin, &test));
                formula(&map(&mine, c as u64), &map(&theirs, c as u64), 0.3)
            };
            (member(first) + member(second)) / 2.0
        };
        let exact = of(&|rows, _| rows.shallow_clone());
        assert_close(&plain(None), &exact, 2e-5, &format!("{name}, exact"));
        assert_close(&plain(Some(Arc::new(projection::Identity::default()))), &exact, 2e-5, &format!("{name}, identity"));
        for k in [10, 24, 40] {
            let projected = of(&|rows, c| rows.matmul(&entries(rows.size()[1], k, c).to_kind(Kind::Double)));
            assert_close(&plain(Some(Arc::new(Dense { k }))), &projected, 2e-5, &format!("{name}, {k} features of 24 examples"));
        }
    }
}

#[test]
fn weights_are_the_mean_doubt_of_the_checkpoints() {
    let (_, task, train, test) = tasks::all().remove(1);
    let plain = score(&Trak { weighting: false, ..default() }, &task, &train, &test);
    let weighted = score(&Trak::default(), &task, &train, &test);
    let doubt = (residuals(&task, 0, &train) + residuals(&task, 1, &train)) / 2.0;
    assert_close(&weighted, &(plain * doubt), 1e-6, "Q");
}
