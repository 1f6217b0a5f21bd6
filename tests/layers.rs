//! Every layer of the tape: its gradients equal the loop's.

use ascribe::model::layer::{BatchNorm, Conv2d, ConvOptions, Embedding, GroupNorm, LayerNorm};
use ascribe::prelude::*;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{Untaped, assert_close};

type Forward<M> = fn(&M, &Tensor, &mut Tape) -> Tensor;

/// A model made of parts and a function.
struct Net<M>(M, Forward<M>);

impl<M> Model for Net<M> {
    fn forward(&self, x: &Tensor, tape: &mut Tape) -> Tensor {
        (self.1)(&self.0, x, tape)
    }
}

fn noise(shape: &[i64], seed: i64) -> Tensor {
    let n: i64 = shape.iter().product();
    let i = Tensor::arange(n, (Kind::Double, ascribe::tch::Device::Cpu));
    ((i * 12.9898 + seed as f64 * 78.233).sin() * 43758.5453).frac().to_kind(Kind::Float).view(shape)
}

/// Builds the same network twice, once hidden from the tape, and compares gradients, Gram matrix, norms and products.
fn check<M: 'static>(name: &str, inputs: Tensor, blocks: usize, make: fn(&nn::Path) -> M, forward: Forward<M>) {
    let n = inputs.size()[0];
    let targets = Tensor::from_slice(&(0..n).map(|i| i % 3).collect::<Vec<_>>());
    let data = Dataset::new(inputs, targets).unwrap();
    let taped = Task::new(move |p: &nn::Path| Net(make(p), forward));
    let hidden = Task::new(move |p: &nn::Path| Untaped(Net(make(p), forward)));
    // A little training, so that no parameter is at a special value.
    let trained = taped.clone().train(&Trainer { epochs: 3, batch_size: 4, learning_rate: 0.02, ..default() }, &data).unwrap();
    let hidden = hidden.with_checkpoints(trained.checkpoints().to_vec()).unwrap();
    let gradients = |task: &Task, part: &Dataset| task.snapshot(0).unwrap().gradients(Of::Measurement, part).unwrap();
    let (tape, looped) = (gradients(&trained, &data), gradients(&hidden, &data));
    assert_eq!(looped.describe().len(), 1, "{name}: the loop has one block");
    assert_eq!(tape.describe().len(), blocks, "{name}: {:?}", tape.describe());
    let dense = looped.dense().unwrap();
    assert!(dense.abs().max().double_value(&[]) > 1e-4, "{name}: gradients vanish");
    assert_close(&tape.dense().unwrap(), &dense, 1e-5, &format!("{name}: gradients"));
    assert_close(
        &tape.norms().unwrap(),
        &dense.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt(),
        1e-5,
        &format!("{name}: norms"),
    );
    let some = gradients(&trained, &data.head(3).unwrap());
    assert_close(
        &tape.gram(&some).unwrap(),
        &dense.matmul(&dense.narrow(0, 0, 3).transpose(0, 1)),
        1e-5,
        &format!("{name}: gram"),
    );
    let vectors = noise(&[2, tape.layout().p()], 9);
    assert_close(&tape.dot(&vectors).unwrap(), &dense.matmul(&vectors.transpose(0, 1)), 1e-5, &format!("{name}: dot"));
}

#[test]
fn linear_on_vectors() {
    check("linear", noise(&[7, 5], 1), 1, |p| layer::linear(p / "fc", 5, 3), |m, x, tape| tape.linear("fc", m, x));
}

#[test]
fn linear_without_bias() {
    let make = |p: &nn::Path| nn::linear(p / "fc", 5, 3, nn::LinearConfig { bias: false, ..Default::default() });
    check("linear without bias", noise(&[7, 5], 1), 1, make, |m, x, tape| tape.linear("fc", m, x));
}

#[test]
fn linear_on_short_and_long_sequences() {
    for length in [2, 40] {
        check(
            "linear on a sequence",
            noise(&[6, length, 5], 2),
            2,
            |p| (layer::linear(p / "a", 5, 4), layer::linear(p / "b", 4, 3)),
            |m, x, tape| {
                let hidden = tape.linear("a", &m.0, x).tanh().mean_dim([1i64].as_slice(), false, None::<Kind>);
                tape.linear("b", &m.1, &hidden)
            },
        );
    }
}

#[test]
fn a_layer_used_twice() {
    check(
        "twice",
        noise(&[7, 5], 3),
        2,
        |p| (layer::linear(p / "again", 5, 5), layer::linear(p / "last", 5, 3)),
        |m, x, tape| {
            let once = tape.linear("again", &m.0, x).tanh();
            let twice = tape.linear("again", &m.0, &once).tanh();
            tape.linear("last", &m.1, &twice)
        },
    );
}

fn conv(name: &str, channels: i64, make: fn(&nn::Path) -> (Conv2d, nn::Linear)) {
    check(name, noise(&[5, channels, 9, 8], 4), 2, make, |m, x, tape| {
        let hidden = tape.conv2d("conv", &m.0, x).tanh().mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        tape.linear("fc", &m.1, &hidden)
    });
}

const PLAIN: ConvOptions = ConvOptions { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, bias: true };
const EVERYTHING: ConvOptions = ConvOptions { stride: [2, 1], padding: [1, 2], dilation: [2, 1], groups: 2, bias: true };
const DEPTHWISE: ConvOptions = ConvOptions { stride: [1, 2], padding: [1, 1], dilation: [1, 1], groups: 4, bias: false };

#[test]
fn convolution_plain() {
    conv("conv", 2, |p| (layer::conv2d(p / "conv", 2, 4, 3, PLAIN), layer::linear(p / "fc", 4, 3)));
}

#[test]
fn convolution_with_stride_padding_dilation_and_groups() {
    conv("conv with all", 4, |p| (layer::conv2d(p / "conv", 4, 6, 3, EVERYTHING), layer::linear(p / "fc", 6, 3)));
}

#[test]
fn convolution_depthwise() {
    conv("depthwise", 4, |p| (layer::conv2d(p / "conv", 4, 8, 3, DEPTHWISE), layer::linear(p / "fc", 8, 3)));
}

#[test]
fn layer_norm() {
    struct Parts(LayerNorm, nn::Linear);
    check(
        "layer norm",
        noise(&[6, 4, 5], 5),
        2,
        |p| Parts(layer::layer_norm(p / "norm", &[5]), layer::linear(p / "fc", 20, 3)),
        |m, x, tape| {
            let hidden = tape.layer_norm("norm", &m.0, x).flatten(1, -1);
            tape.linear("fc", &m.1, &hidden)
        },
    );
}

#[test]
fn group_norm() {
    struct Parts(GroupNorm, nn::Linear);
    check(
        "group norm",
        noise(&[6, 4, 5], 6),
        2,
        |p| Parts(layer::group_norm(p / "norm", 2, 4), layer::linear(p / "fc", 20, 3)),
        |m, x, tape| {
            let hidden = tape.group_norm("norm", &m.0, x).flatten(1, -1);
            tape.linear("fc", &m.1, &hidden)
        },
    );
}

#[test]
fn batch_norm_in_eval_mode() {
    struct Parts(BatchNorm, nn::Linear);
    check(
        "batch norm",
        noise(&[8, 4, 5], 7),
        2,
        |p| Parts(layer::batch_norm(p / "norm", 4), layer::linear(p / "fc", 20, 3)),
        |m, x, tape| {
            let hidden = tape.batch_norm("norm", &m.0, x).tanh().flatten(1, -1);
            tape.linear("fc", &m.1, &hidden)
        },
    );
}

#[test]
fn embedding_with_repeated_tokens() {
    struct Parts(Embedding, nn::Linear);
    let tokens = Tensor::from_slice(&[0i64, 1, 1, 2, 3, 3, 3, 0, 4, 4, 2, 1]).view([4, 3]);
    check(
        "embedding",
        tokens,
        2,
        |p| Parts(layer::embedding(p / "table", 5, 6), layer::linear(p / "fc", 6, 3)),
        |m, x, tape| {
            let hidden = tape.embedding("table", &m.0, x).tanh().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            tape.linear("fc", &m.1, &hidden)
        },
    );
}

#[test]
fn embedding_ignores_its_padding_row() {
    struct Parts(Embedding, nn::Linear);
    let make = |p: &nn::Path| {
        Parts(Embedding { padding: Some(0), ..layer::embedding(p / "table", 5, 6) }, layer::linear(p / "fc", 6, 3))
    };
    let tokens = Tensor::from_slice(&[0i64, 1, 1, 2, 0, 0, 3, 0, 4, 4, 2, 1]).view([4, 3]);
    check("padding", tokens, 2, make, |m, x, tape| {
        let hidden = tape.embedding("table", &m.0, x).tanh().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        tape.linear("fc", &m.1, &hidden)
    });
}

#[test]
fn a_parameter_outside_any_layer_falls_back_to_the_loop() {
    check(
        "free parameter",
        noise(&[5, 4], 8),
        1,
        |p| (p.var("shift", &[4], nn::Init::Const(0.1)), layer::linear(p / "fc", 4, 3)),
        |m, x, tape| tape.linear("fc", &m.1, &(x + &m.0)),
    );
}

#[test]
fn small_cnn_and_its_parameters() {
    let task = Task::new(|p: &nn::Path| Cnn::new(p, 8, 10));
    let data = Dataset::new(noise(&[4, 64], 3), Tensor::from_slice(&[0i64, 3, 9, 1])).unwrap();
    let task = task.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let snapshot = task.snapshot(0).unwrap();
    assert_eq!(snapshot.p(), 80 + 1168 + 10 * (16 * 4 + 1));
    assert_eq!(snapshot.gradients(Of::Objective, &data).unwrap().describe().len(), 3);
}

fn tokens() -> Tensor {
    Tensor::from_slice(&[0i64, 1, 1, 2, 0, 0, 3, 0, 4, 4, 2, 1]).view([4, 3])
}

/// Two layers feed one sum, so autograd gives both the same gradient tensor; one of them masks its padding row.
#[test]
fn a_padding_mask_does_not_leak_into_another_layer() {
    struct Parts(Embedding, Embedding, nn::Linear);
    let make = |p: &nn::Path| {
        let padded = Embedding { padding: Some(0), ..layer::embedding(p / "token", 5, 6) };
        Parts(padded, layer::embedding(p / "place", 3, 6), layer::linear(p / "fc", 6, 3))
    };
    check("two tables", tokens(), 3, make, |m, x, tape| {
        let places = Tensor::from_slice(&[0i64, 1, 2]).expand([x.size()[0], 3], false);
        let sum = tape.embedding("token", &m.0, x) + tape.embedding("place", &m.1, &places);
        tape.linear("fc", &m.2, &sum.tanh().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
    });
}

#[test]
fn a_bag_of_words_with_padding() {
    struct Parts(Embedding, nn::Linear);
    let make = |p: &nn::Path| {
        Parts(Embedding { padding: Some(0), ..layer::embedding(p / "table", 5, 6) }, layer::linear(p / "fc", 6, 3))
    };
    check("bag of words", tokens(), 2, make, |m, x, tape| {
        let bag = tape.embedding("table", &m.0, x).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        tape.linear("fc", &m.1, &bag)
    });
}

/// A table that is also multiplied outside the tape: the tape saw each parameter once, and yet not all of it.
#[test]
fn a_weight_also_used_outside_the_tape_falls_back_to_the_loop() {
    check(
        "tied",
        tokens(),
        1,
        |p| layer::embedding(p / "table", 5, 6),
        |m, x, tape| {
            let hidden = tape.embedding("table", m, x).tanh().mean_dim([1i64].as_slice(), false, None::<Kind>);
            hidden.matmul(&m.weight.transpose(0, 1))
        },
    );
}

/// Positions `[t]` without a batch dimension, for as many examples as positions.
#[test]
fn a_table_without_a_batch_dimension_falls_back_to_the_loop() {
    struct Parts(Embedding, nn::Linear);
    check(
        "positions",
        noise(&[4, 4, 5], 3),
        1,
        |p| Parts(layer::embedding(p / "table", 4, 5), layer::linear(p / "fc", 5, 3)),
        |m, x, tape| {
            let places = tape.embedding("table", &m.0, &Tensor::arange(4, (Kind::Int64, ascribe::tch::Device::Cpu)));
            tape.linear("fc", &m.1, &(x + places).tanh().mean_dim([1i64].as_slice(), false, None::<Kind>))
        },
    );
}

/// The products of all positions with all positions go in tiles: more than one here, with remainders.
#[test]
fn long_sequences_are_tiled() {
    let (n, t) = (90, 70);
    let tokens: Vec<i64> = (0..n * t).map(|i| (i * i + i / 7) % 11).collect();
    let targets: Vec<i64> = (0..n).map(|i| i % 3).collect();
    let data = Dataset::new(Tensor::from_slice(&tokens).view([n, t]), Tensor::from_slice(&targets)).unwrap();
    let task = Task::new(|p: &nn::Path| {
        let (table, fc) = (layer::embedding(p / "table", 11, 3), layer::linear(p / "fc", 3, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.embedding("table", &table, x).tanh().mean_dim([1i64].as_slice(), false, None::<Kind>);
            tape.linear("fc", &fc, &hidden)
        }
    });
    let task = task.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let gradients = task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap();
    let dense = gradients.dense().unwrap();
    assert!(n * n * t * t > 1 << 24);
    assert_close(&gradients.gram(&gradients).unwrap(), &dense.matmul(&dense.transpose(0, 1)), 1e-5, "tiles");
}

#[test]
fn layer_norm_over_two_dimensions_without_bias_and_used_twice() {
    struct Parts(LayerNorm, nn::Linear);
    let data = noise(&[6, 4, 5], 5);
    let twice = |m: &Parts, x: &Tensor, tape: &mut Tape| {
        let once = tape.layer_norm("norm", &m.0, x).tanh();
        let hidden = tape.layer_norm("norm", &m.0, &once).flatten(1, -1);
        tape.linear("fc", &m.1, &hidden)
    };
    let task = Task::new(move |p: &nn::Path| {
        let norm = LayerNorm { weight: p.var("weight", &[4, 5], nn::Init::Const(1.1)), bias: None, epsilon: 1e-5 };
        Net(Parts(norm, layer::linear(p / "fc", 20, 3)), twice)
    });
    let data = Dataset::new(data, Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2])).unwrap();
    let task = task.train(&Trainer { epochs: 2, ..default() }, &data).unwrap();
    let tape = task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap();
    assert_eq!(tape.describe().len(), 2);
    let hidden = Task::new(move |p: &nn::Path| {
        let norm = LayerNorm { weight: p.var("weight", &[4, 5], nn::Init::Const(1.1)), bias: None, epsilon: 1e-5 };
        Untaped(Net(Parts(norm, layer::linear(p / "fc", 20, 3)), twice))
    });
    let hidden = hidden.with_checkpoints(task.checkpoints().to_vec()).unwrap();
    let looped = hidden.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap();
    assert_close(&tape.dense().unwrap(), &looped.dense().unwrap(), 1e-5, "layer norm");
}
