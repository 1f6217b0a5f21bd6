//! Both sides of the identity that the engine stands on, without rounding to float32.

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::factor::{Factor, Noise};
use super::features::{FeatureMap, Held, Rows};
use super::fitted::Fitted;
use super::member::{Member, Source};
use super::plan::Block;
use super::route::Route;
use super::{Columns, Inverse, Kernel};
use crate::prelude::*;
use crate::projection::Identity;

/// Scores, the diagonal among the train examples and the squared length of the moves, in float64 throughout.
fn scores(features: &Tensor, tests: &Tensor, route: Route) -> Tensor {
    let (n, k) = features.size2().unwrap();
    let data = Dataset::new(Tensor::zeros([4, 3], (Kind::Float, Device::Cpu)), Tensor::zeros([4], (Kind::Int64, Device::Cpu)));
    let trainer = Trainer { epochs: 1, ..default() };
    let task = Task::new(|p: &nn::Path| Logistic::new(p, 3, 2)).train(&trainer, &data.unwrap()).unwrap();
    let snapshot = Rc::new(task.snapshot(0).unwrap());
    let projector = Identity::default().fit(snapshot.layout(), 0).unwrap();
    let map = FeatureMap { snapshot: snapshot.clone(), projector, name: "identity".into(), member: 0 };
    let source = Source::Features(map, Rows::Held(Held::of(features.shallow_clone())));
    // Two blocks of one route, so that sums over blocks and their places count.
    let (first, rest) = (k / 3, k - k / 3);
    let blocks = vec![Block { offset: 0, len: first, route }, Block { offset: first, len: rest, route }];
    let member = Member { snapshot, n, source, blocks };
    let noise = Noise { option: "damping", rounding: member.rounding() };
    let sides = member.meet_rows(tests).unwrap();
    let solved = member.matrices().unwrap().into_iter().zip(&sides).map(|(matrix, side)| {
        let factor = Factor::new(matrix, 0.01, noise).unwrap();
        factor.apply(side)
    });
    member.finish(&solved.collect::<Vec<_>>()).unwrap()
}

#[test]
fn among_examples_and_among_features_agree_in_float64() {
    let random = |n: i64, k: i64, s: f64| {
        ((Tensor::arange(n * k, (Kind::Double, Device::Cpu)) * 12.9898 + s).sin() * 43758.5453).frac().view([n, k])
    };
    for (n, k) in [(7, 12), (12, 12), (40, 12)] {
        let (features, tests) = (random(n, k, 0.3), random(5, k, 0.7));
        let (primal, dual) = (scores(&features, &tests, Route::Primal), scores(&features, &tests, Route::Dual));
        let apart = (&primal - &dual).abs().max().double_value(&[]);
        assert!(apart < 1e-8 * primal.abs().max().double_value(&[]), "{n} examples, {k} features: {apart:.1e}");
        assert!(primal.abs().max().double_value(&[]) > 0.1);
    }
}

/// Three checkpoints, room for the features of two: the third streams, and the scores are the same.
#[test]
fn checkpoints_share_the_room_for_features() {
    let (train, test) = crate::dataset::digits().unwrap().split(60, 7, 0).unwrap();
    let trainer = Trainer { epochs: 3, keep: Keep::Every(1), ..default() };
    let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&trainer, &train).unwrap();
    assert_eq!(task.checkpoints().len(), 3);
    let gaussian: Arc<dyn Projection> = Arc::new(projection::Gaussian { dim: 16, seed: 0 });
    for projection in [Some(&gaussian), None] {
        let fit = |room: i64| {
            let inverse = Inverse::Sum(Damping::Relative(1.0));
            let (columns, threshold, name) = (Columns::Plain, Threshold::None, "TRAK".to_string());
            let kernel = Kernel { options: "Trak", name, projection, inverse, columns, threshold, half: false };
            kernel.fit_within(&task, &train, room).unwrap()
        };
        let held = |fitted: &Fitted| {
            let bytes = fitted.points.iter().map(|point| match &point.member.source {
                Source::Features(_, Rows::Held(_)) => 4 * 60 * 16,
                Source::Features(_, Rows::Streamed(_)) => 0,
                Source::Gradients(side) => side.held_bytes(),
            });
            bytes.collect::<Vec<i64>>()
        };
        let all = fit(1 << 30);
        let one = held(&all)[0];
        assert!(one > 0);
        assert_eq!(held(&all), [one; 3]);
        let some = fit(3 * one - 1);
        assert_eq!(held(&some), [one, one, 0]);
        let (a, b) = (all.matrix(&test).unwrap(), some.matrix(&test).unwrap());
        assert!((&a - b).abs().max().double_value(&[]) < 1e-6 * a.abs().max().double_value(&[]));
    }
}
