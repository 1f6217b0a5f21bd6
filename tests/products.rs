//! Hessian-vector products, many at once, and dense Hessians: against one double backward pass per row.

use ascribe::model::layer::{BatchNorm, Conv2d, ConvOptions, Embedding, GroupNorm, LayerNorm};
use ascribe::prelude::*;
use ascribe::tch::{self, Kind};

use crate::tasks::{Untaped, assert_close};

pub fn noise(shape: &[i64], seed: i64) -> Tensor {
    let n: i64 = shape.iter().product();
    let i = Tensor::arange(n, (Kind::Double, tch::Device::Cpu));
    ((i * 12.9898 + seed as f64 * 78.233).sin() * 43758.5453).frac().to_kind(Kind::Float).view(shape)
}

pub type Forward<M> = fn(&M, &Tensor, &mut Tape) -> Tensor;

pub struct Net<M>(pub M, pub Forward<M>);

impl<M> Model for Net<M> {
    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        (self.1)(&self.0, x, tape)
    }
}

/// Products by replicated batches against one double backward pass per row, on a network hidden from the tape.
fn check<M: 'static>(name: &str, inputs: Tensor, make: fn(&nn::Path) -> M, forward: Forward<M>) {
    let n = inputs.size()[0];
    let data = Dataset::new(inputs, Tensor::from_slice(&(0..n).map(|i| i % 3).collect::<Vec<_>>())).unwrap();
    let taped = Task::new(move |p: &nn::Path| Net(make(p), forward));
    let hidden = Task::new(move |p: &nn::Path| Untaped(Net(make(p), forward)));
    let taped = taped.train(&Trainer { epochs: 2, batch_size: 4, learning_rate: 0.05, ..default() }, &data).unwrap();
    let hidden = hidden.with_checkpoints(taped.checkpoints().to_vec()).unwrap();
    let operator = |task: &Task| curvature::operator(task.snapshot(0).unwrap(), &data, Matrix::Hessian).unwrap();
    let (many, single) = (operator(&taped), operator(&hidden));
    let vectors = noise(&[5, many.p()], 3);
    let expected = single.product(&vectors).unwrap();
    assert!(expected.abs().max().double_value(&[]) > 1e-4, "{name}: no curvature");
    assert_close(&many.product(&vectors).unwrap(), &expected, 2e-5, name);
    assert_close(&many.dense().unwrap(), &single.dense().unwrap(), 2e-5, &format!("{name}, dense"));
}

#[test]
fn many_products_are_single_products_linear() {
    check("mlp", noise(&[7, 5], 1), |p| Mlp::new(p, &[5, 6, 4, 3]), |m, x, tape| m.forward(x, tape));
    check(
        "a layer used twice",
        noise(&[7, 5], 3),
        |p| (layer::linear(p / "again", 5, 5), layer::linear(p / "last", 5, 3)),
        |m, x, tape| {
            let once = tape.linear("again", &m.0, x).tanh();
            let twice = tape.linear("again", &m.0, &once).tanh() + &once;
            tape.linear("last", &m.1, &twice)
        },
    );
    check(
        "no activation, input used again",
        noise(&[7, 5], 3),
        |p| (layer::linear(p / "a", 5, 4), layer::linear(p / "b", 4, 4), layer::linear(p / "c", 4, 3)),
        |m, x, tape| {
            let hidden = tape.linear("a", &m.0, x);
            let gate = tape.linear("b", &m.1, &hidden).sigmoid();
            tape.linear("c", &m.2, &(hidden * gate))
        },
    );
    check(
        "sequence",
        noise(&[6, 4, 5], 2),
        |p| (layer::linear(p / "a", 5, 4), layer::linear(p / "b", 4, 3)),
        |m, x, tape| {
            let hidden = tape.linear("a", &m.0, x).tanh().mean_dim([1i64].as_slice(), false, None::<Kind>);
            tape.linear("b", &m.1, &hidden)
        },
    );
}

const EVERYTHING: ConvOptions = ConvOptions { stride: [2, 1], padding: [1, 2], dilation: [2, 1], groups: 2, bias: true };

#[test]
fn many_products_are_single_products_convolution() {
    struct Parts(Conv2d, Conv2d, nn::Linear);
    let make = |p: &nn::Path| {
        let second = ConvOptions { padding: [1, 1], bias: false, ..default() };
        Parts(
            layer::conv2d(p / "one", 4, 6, 3, EVERYTHING),
            layer::conv2d(p / "two", 6, 4, 3, second),
            layer::linear(p / "fc", 4, 3),
        )
    };
    check("conv", noise(&[5, 4, 9, 8], 4), make, |m, x, tape| {
        let hidden = tape.conv2d("one", &m.0, x).tanh();
        let hidden = tape.conv2d("two", &m.1, &hidden).relu().mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        tape.linear("fc", &m.2, &hidden)
    });
    check("cnn", noise(&[4, 64], 4), |p| Cnn::new(p, 8, 10), |m, x, tape| m.forward(x, tape));
}

#[test]
fn many_products_are_single_products_norms() {
    struct Parts(nn::Linear, LayerNorm, GroupNorm, BatchNorm, nn::Linear);
    let make = |p: &nn::Path| {
        Parts(
            layer::linear(p / "in", 5, 6),
            layer::layer_norm(p / "layer", &[6]),
            layer::group_norm(p / "group", 2, 4),
            layer::batch_norm(p / "batch", 4),
            layer::linear(p / "fc", 24, 3),
        )
    };
    check("norms", noise(&[6, 4, 5], 5), make, |m, x, tape| {
        let hidden = tape.linear("in", &m.0, x);
        let hidden = tape.layer_norm("layer", &m.1, &hidden).tanh();
        let hidden = tape.group_norm("group", &m.2, &hidden);
        let hidden = tape.batch_norm("batch", &m.3, &hidden).tanh().flatten(1, -1);
        tape.linear("fc", &m.4, &hidden)
    });
}

#[test]
fn many_products_are_single_products_tables() {
    struct Parts(Embedding, Embedding, nn::Linear);
    let tokens = Tensor::from_slice(&[0i64, 1, 1, 2, 0, 0, 3, 0, 4, 4, 2, 1]).view([4, 3]);
    let make = |p: &nn::Path| {
        let padded = Embedding { padding: Some(0), ..layer::embedding(p / "token", 5, 6) };
        Parts(padded, layer::embedding(p / "place", 3, 6), layer::linear(p / "fc", 6, 3))
    };
    check("two tables", tokens, make, |m, x, tape| {
        let places = Tensor::from_slice(&[0i64, 1, 2]).expand([x.size()[0], 3], false);
        let sum = tape.embedding("token", &m.0, x) + tape.embedding("place", &m.1, &places);
        tape.linear("fc", &m.2, &sum.tanh().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
    });
}
