//! Every layer of the tape: its gradients equal the loop's. A new layer is a row of the table.

use ascribe::model::layer::{AttentionOptions, ConvOptions, Embedding, LayerNorm, RmsNorm};
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::tasks::{Untaped, assert_close};

/// A network under test, and the blocks of gradients that the tape is to give.
struct Row {
    name: &'static str,
    inputs: Tensor,
    make: fn(&nn::Path) -> Box<dyn Model>,
    blocks: &'static [&'static str],
}

/// What the one block of a model is called that the tape has not seen all of.
const LOOP: &[&str] = &["all (one example at a time)"];

fn row(name: &'static str, inputs: Tensor, blocks: &'static [&'static str], make: fn(&nn::Path) -> Box<dyn Model>) -> Row {
    Row { name, inputs, make, blocks }
}

fn net(forward: impl Fn(&Tensor, &mut Tape) -> Tensor + 'static) -> Box<dyn Model> {
    Box::new(forward)
}

pub fn noise(shape: &[i64], seed: i64) -> Tensor {
    let n: i64 = shape.iter().product();
    let i = Tensor::arange(n, (Kind::Double, Device::Cpu));
    ((i * 12.9898 + seed as f64 * 78.233).sin() * 43758.5453).frac().to_kind(Kind::Float).view(shape)
}

fn tokens() -> Tensor {
    Tensor::from_slice(&[0i64, 1, 1, 2, 0, 0, 3, 0, 4, 4, 2, 1]).view([4, 3])
}

fn mean(x: &Tensor, over: &[i64]) -> Tensor {
    x.mean_dim(over, false, None::<Kind>)
}

fn sum(x: &Tensor) -> Tensor {
    x.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)
}

fn padded(p: nn::Path) -> Embedding {
    Embedding { padding: Some(0), ..layer::embedding(p, 5, 6) }
}

fn linear() -> Vec<Row> {
    vec![
        row("linear", noise(&[7, 5], 1), &["fc"], |p| {
            let fc = layer::linear(p / "fc", 5, 3);
            net(move |x, tape| tape.linear("fc", &fc, x))
        }),
        row("linear without bias", noise(&[7, 5], 1), &["fc"], |p| {
            let fc = nn::linear(p / "fc", 5, 3, nn::LinearConfig { bias: false, ..Default::default() });
            net(move |x, tape| tape.linear("fc", &fc, x))
        }),
        row("linear on a short sequence", noise(&[6, 2, 5], 2), &["a", "b"], on_a_sequence),
        row("linear on a long sequence", noise(&[6, 40, 5], 2), &["a", "b"], on_a_sequence),
        row("linear used twice", noise(&[7, 5], 3), &["again", "last"], |p| {
            let (again, last) = (layer::linear(p / "again", 5, 5), layer::linear(p / "last", 5, 3));
            net(move |x, tape| {
                let once = tape.linear("again", &again, x).tanh();
                let twice = tape.linear("again", &again, &once).tanh();
                tape.linear("last", &last, &twice)
            })
        }),
        row("a parameter outside any layer", noise(&[5, 4], 8), LOOP, |p| {
            let (shift, fc) = (p.var("shift", &[4], nn::Init::Const(0.1)), layer::linear(p / "fc", 4, 3));
            net(move |x, tape| tape.linear("fc", &fc, &(x + &shift)))
        }),
    ]
}

fn on_a_sequence(p: &nn::Path) -> Box<dyn Model> {
    let (a, b) = (layer::linear(p / "a", 5, 4), layer::linear(p / "b", 4, 3));
    net(move |x, tape| {
        let hidden = mean(&tape.linear("a", &a, x).tanh(), &[1]);
        tape.linear("b", &b, &hidden)
    })
}

const PLAIN: ConvOptions = ConvOptions { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, bias: true };
const EVERYTHING: ConvOptions = ConvOptions { stride: [2, 1], padding: [1, 2], dilation: [2, 1], groups: 2, bias: true };
const DEPTHWISE: ConvOptions = ConvOptions { stride: [1, 2], padding: [1, 1], dilation: [1, 1], groups: 4, bias: false };

fn conv(p: &nn::Path, inputs: i64, outputs: i64, options: ConvOptions) -> Box<dyn Model> {
    let (conv, fc) = (layer::conv2d(p / "conv", inputs, outputs, 3, options), layer::linear(p / "fc", outputs, 3));
    net(move |x, tape| {
        let hidden = mean(&tape.conv2d("conv", &conv, x).tanh(), &[2, 3]);
        tape.linear("fc", &fc, &hidden)
    })
}

fn conv1d(p: &nn::Path, outputs: i64, options: ConvOptions) -> Box<dyn Model> {
    let (conv, fc) = (layer::conv1d(p / "conv", 4, outputs, 3, options), layer::linear(p / "fc", outputs, 3));
    net(move |x, tape| {
        let hidden = mean(&tape.conv1d("conv", &conv, x).tanh(), &[2]);
        tape.linear("fc", &fc, &hidden)
    })
}

fn convolutions() -> Vec<Row> {
    const BLOCKS: &[&str] = &["conv", "fc"];
    vec![
        row("convolution", noise(&[5, 2, 9, 8], 4), BLOCKS, |p| conv(p, 2, 4, PLAIN)),
        row("convolution with everything", noise(&[5, 4, 9, 8], 4), BLOCKS, |p| conv(p, 4, 6, EVERYTHING)),
        row("depthwise convolution", noise(&[5, 4, 9, 8], 4), BLOCKS, |p| conv(p, 4, 8, DEPTHWISE)),
        row("convolution along a sequence", noise(&[5, 4, 9], 4), BLOCKS, |p| conv1d(p, 6, PLAIN)),
        row("the same with everything", noise(&[5, 4, 9], 4), BLOCKS, |p| {
            conv1d(p, 6, ConvOptions { stride: [1, 2], dilation: [1, 2], ..EVERYTHING })
        }),
        row("the same depthwise", noise(&[5, 4, 9], 4), BLOCKS, |p| conv1d(p, 8, DEPTHWISE)),
    ]
}

/// A norm of `[n, 4, 5]`, then a linear layer.
fn normed(p: &nn::Path, norm: impl Fn(&Tensor, &mut Tape) -> Tensor + 'static) -> Box<dyn Model> {
    let fc = layer::linear(p / "fc", 20, 3);
    net(move |x, tape| {
        let hidden = norm(x, tape).tanh().flatten(1, -1);
        tape.linear("fc", &fc, &hidden)
    })
}

fn norms() -> Vec<Row> {
    const BLOCKS: &[&str] = &["norm", "fc"];
    vec![
        row("layer norm", noise(&[6, 4, 5], 5), BLOCKS, |p| {
            let norm = layer::layer_norm(p / "norm", &[5]);
            normed(p, move |x, tape| tape.layer_norm("norm", &norm, x))
        }),
        row("layer norm over two dimensions, without bias, twice", noise(&[6, 4, 5], 5), BLOCKS, |p| {
            let norm = LayerNorm { weight: p.var("weight", &[4, 5], nn::Init::Const(1.1)), bias: None, epsilon: 1e-5 };
            normed(p, move |x, tape| {
                let once = tape.layer_norm("norm", &norm, x).tanh();
                tape.layer_norm("norm", &norm, &once)
            })
        }),
        row("rms norm", noise(&[6, 4, 5], 5), BLOCKS, |p| {
            let norm = layer::rms_norm(p / "norm", &[5]);
            normed(p, move |x, tape| tape.rms_norm("norm", &norm, x))
        }),
        row("rms norm over two dimensions", noise(&[6, 4, 5], 5), BLOCKS, |p| {
            let norm = RmsNorm { epsilon: 0.1, ..layer::rms_norm(p / "norm", &[4, 5]) };
            normed(p, move |x, tape| tape.rms_norm("norm", &norm, x))
        }),
        row("group norm", noise(&[6, 4, 5], 6), BLOCKS, |p| {
            let norm = layer::group_norm(p / "norm", 2, 4);
            normed(p, move |x, tape| tape.group_norm("norm", &norm, x))
        }),
        row("instance norm", noise(&[6, 4, 5], 6), BLOCKS, |p| {
            let norm = layer::instance_norm(p / "norm", 4);
            normed(p, move |x, tape| tape.instance_norm("norm", &norm, x))
        }),
        row("batch norm", noise(&[8, 4, 5], 7), BLOCKS, |p| {
            let norm = layer::batch_norm(p / "norm", 4);
            normed(p, move |x, tape| tape.batch_norm("norm", &norm, x))
        }),
    ]
}

fn tables() -> Vec<Row> {
    vec![
        row("embedding with repeated tokens", tokens(), &["table", "fc"], |p| {
            let (table, fc) = (layer::embedding(p / "table", 5, 6), layer::linear(p / "fc", 6, 3));
            net(move |x, tape| {
                let hidden = sum(&tape.embedding("table", &table, x).tanh());
                tape.linear("fc", &fc, &hidden)
            })
        }),
        row("embedding with padding", tokens(), &["table", "fc"], |p| {
            let (table, fc) = (padded(p / "table"), layer::linear(p / "fc", 6, 3));
            net(move |x, tape| {
                let hidden = sum(&tape.embedding("table", &table, x).tanh());
                tape.linear("fc", &fc, &hidden)
            })
        }),
        row("a bag of words with padding", tokens(), &["table", "fc"], |p| {
            let (table, fc) = (padded(p / "table"), layer::linear(p / "fc", 6, 3));
            net(move |x, tape| {
                let bag = sum(&tape.embedding("table", &table, x));
                tape.linear("fc", &fc, &bag)
            })
        }),
        // Two layers feed one sum, so autograd gives both the same gradient tensor; one of them masks its padding row.
        row("two tables, one with padding", tokens(), &["token", "place", "fc"], |p| {
            let (token, place) = (padded(p / "token"), layer::embedding(p / "place", 3, 6));
            let fc = layer::linear(p / "fc", 6, 3);
            net(move |x, tape| {
                let places = Tensor::from_slice(&[0i64, 1, 2]).expand([x.size()[0], 3], false);
                let both = tape.embedding("token", &token, x) + tape.embedding("place", &place, &places);
                tape.linear("fc", &fc, &sum(&both.tanh()))
            })
        }),
        row("tied weights", tokens(), &["table"], |p| {
            let table = layer::embedding(p / "table", 5, 6);
            let head = nn::Linear { ws: table.weight.shallow_clone(), bs: None };
            net(move |x, tape| {
                let hidden = mean(&tape.embedding("table", &table, x).tanh(), &[1]);
                tape.linear("head", &head, &hidden)
            })
        }),
        // The tape saw each parameter once, and yet not all of it.
        row("a table also multiplied outside the tape", tokens(), LOOP, |p| {
            let table = layer::embedding(p / "table", 5, 6);
            net(move |x, tape| {
                let hidden = mean(&tape.embedding("table", &table, x).tanh(), &[1]);
                hidden.matmul(&table.weight.transpose(0, 1))
            })
        }),
        // Positions [t] without a batch dimension, for as many examples as positions.
        row("a table without a batch dimension", noise(&[4, 4, 5], 3), LOOP, |p| {
            let (table, fc) = (layer::embedding(p / "table", 4, 5), layer::linear(p / "fc", 5, 3));
            net(move |x, tape| {
                let places = tape.embedding("table", &table, &Tensor::arange(4, (Kind::Int64, Device::Cpu)));
                tape.linear("fc", &fc, &mean(&(x + places).tanh(), &[1]))
            })
        }),
    ]
}

/// Attention over `[n, 4, 6]` with padding where the first input is positive, then the mean and a linear layer.
fn attended(p: &nn::Path, options: AttentionOptions, padding: bool) -> Box<dyn Model> {
    let (attention, fc) = (layer::attention(p / "at", 6, options), layer::linear(p / "fc", 6, 3));
    net(move |x, tape| {
        let keys = padding.then(|| x.select(2, 0).le(0.0));
        let hidden = mean(&tape.attention("at", &attention, x, keys.as_ref()).tanh(), &[1]);
        tape.linear("fc", &fc, &hidden)
    })
}

fn attention() -> Vec<Row> {
    const FUSED: &[&str] = &["at.qkv", "at.out", "fc"];
    const SEPARATE: &[&str] = &["at.query", "at.key", "at.value", "at.out", "fc"];
    vec![
        row("attention", noise(&[5, 4, 6], 11), FUSED, |p| attended(p, AttentionOptions { heads: 2, ..default() }, false)),
        row("attention, causal, without bias", noise(&[5, 4, 6], 11), FUSED, |p| {
            attended(p, AttentionOptions { heads: 3, causal: true, bias: false, ..default() }, false)
        }),
        row("attention, separate projections, padding", noise(&[5, 4, 6], 11), SEPARATE, |p| {
            attended(p, AttentionOptions { heads: 2, fused: false, bias: false, ..default() }, true)
        }),
        row("attention, causal and padding, dropout while training", noise(&[5, 4, 6], 11), FUSED, |p| {
            attended(p, AttentionOptions { heads: 1, causal: true, dropout: 0.3, ..default() }, true)
        }),
        row("attention to a memory", noise(&[5, 7, 6], 12), SEPARATE, |p| {
            let options = AttentionOptions { heads: 2, fused: false, ..default() };
            let (attention, fc) = (layer::attention(p / "at", 6, options), layer::linear(p / "fc", 6, 3));
            net(move |x, tape| {
                let (x, memory) = (x.narrow(1, 0, 3), x.narrow(1, 3, 4));
                let keys = memory.select(2, 0).le(0.5);
                let hidden = mean(&tape.cross_attention("at", &attention, &x, &memory, Some(&keys)).tanh(), &[1]);
                tape.linear("fc", &fc, &hidden)
            })
        }),
        row(
            "transformer block",
            noise(&[5, 4, 6], 13),
            &["b.norm1", "b.attention.qkv", "b.attention.out", "b.norm2", "b.expand", "b.shrink", "fc"],
            |p| {
                let options = AttentionOptions { heads: 2, causal: true, dropout: 0.1, ..default() };
                let (block, fc) = (layer::transformer_block(p / "b", 6, options), layer::linear(p / "fc", 6, 3));
                net(move |x, tape| {
                    let hidden = mean(&tape.transformer_block("b", &block, x, None), &[1]);
                    tape.linear("fc", &fc, &hidden)
                })
            },
        ),
    ]
}

/// Builds the same network twice, once hidden from the tape, and compares gradients, Gram matrix, norms and products.
fn check(Row { name, inputs, make, blocks }: Row) {
    let n = inputs.size()[0];
    let targets = Tensor::from_slice(&(0..n).map(|i| i % 3).collect::<Vec<_>>());
    let data = Dataset::new(inputs, targets).unwrap();
    let taped = Task::new(make);
    let hidden = Task::new(move |p: &nn::Path| Untaped(make(p)));
    // A little training, so that no parameter is at a special value.
    let trained = taped.train(&Trainer { epochs: 3, batch_size: 4, learning_rate: 0.02, ..default() }, &data).unwrap();
    let hidden = hidden.with_checkpoints(trained.checkpoints().to_vec()).unwrap();
    let gradients = |task: &Task, part: &Dataset| task.snapshot(0).unwrap().gradients(Of::Measurement, part).unwrap();
    let (tape, looped) = (gradients(&trained, &data), gradients(&hidden, &data));
    let names = |g: &Gradients| g.describe().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&looped), LOOP, "{name}: the loop has one block");
    assert_eq!(names(&tape), blocks, "{name}");
    let dense = looped.dense().unwrap();
    assert!(dense.abs().max().double_value(&[]) > 1e-4, "{name}: gradients vanish");
    assert_close(&tape.dense().unwrap(), &dense, 1e-5, &format!("{name}: gradients"));
    let lengths = dense.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt();
    assert_close(&tape.norms().unwrap(), &lengths, 1e-5, &format!("{name}: norms"));
    let some = gradients(&trained, &data.head(3).unwrap());
    let products = dense.matmul(&dense.narrow(0, 0, 3).transpose(0, 1));
    assert_close(&tape.gram(&some).unwrap(), &products, 1e-5, &format!("{name}: gram"));
    let vectors = noise(&[2, tape.layout().p()], 9);
    let products = dense.matmul(&vectors.transpose(0, 1));
    assert_close(&tape.dot(&vectors).unwrap(), &products, 1e-5, &format!("{name}: dot"));
}

#[test]
fn linear_layers() {
    linear().into_iter().for_each(check);
}

#[test]
fn convolution_layers() {
    convolutions().into_iter().for_each(check);
}

#[test]
fn norm_layers() {
    norms().into_iter().for_each(check);
}

#[test]
fn table_layers() {
    tables().into_iter().for_each(check);
}

#[test]
fn attention_layers() {
    attention().into_iter().for_each(check);
}

/// Inputs of a ReLU that are zero but for rounding, which differs with the size of the batch.
#[test]
fn rounding_at_a_kink_does_not_send_a_network_to_the_loop() {
    let (weight, x) = (noise(&[64, 512], 5), noise(&[1, 512], 6));
    let data = Dataset::new(x.repeat([3, 1]), Tensor::from_slice(&[0i64, 1, 2])).unwrap();
    let bias = -(x.to_kind(Kind::Double).matmul(&weight.to_kind(Kind::Double).transpose(0, 1))).squeeze().to_kind(Kind::Float);
    let tensors = [("a.weight", weight), ("a.bias", bias), ("b.weight", noise(&[3, 64], 7)), ("b.bias", noise(&[3], 8))];
    let tensors = tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
    let task = Task::new(|p: &nn::Path| {
        let (a, b) = (layer::linear(p / "a", 512, 64), layer::linear(p / "b", 64, 3));
        net(move |x, tape| {
            let hidden = tape.linear("a", &a, x).relu();
            tape.linear("b", &b, &hidden)
        })
    });
    let task = task.with_checkpoints(vec![Checkpoint::new(0, 1, 0.1, tensors)]).unwrap();
    assert_eq!(task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap().describe().len(), 2);
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

/// Gradients of a smooth function of the outputs in the parameters, in the order the constructor made them.
fn gradients(model: &dyn Model, x: &Tensor, parameters: &[Tensor], create: bool) -> Vec<Tensor> {
    let value = model.forward(x, &mut Tape::off()).tanh().square().sum(None::<Kind>);
    Tensor::f_run_backward(&[value], parameters, create, create).unwrap()
}

/// Every layer can be differentiated twice: Hessian products equal finite differences of gradients, in float64.
#[test]
fn second_derivatives_of_every_layer() {
    for Row { name, inputs, make, .. } in [linear(), convolutions(), norms(), tables(), attention()].into_iter().flatten() {
        let mut store = nn::VarStore::new(Device::Cpu);
        let model = make(&store.root());
        store.double();
        let parameters = store.trainable_variables();
        let x = if inputs.kind() == Kind::Float { inputs.to_kind(Kind::Double) } else { inputs };
        let first = gradients(model.as_ref(), &x, &parameters, true);
        // A padding row counts as constant, so it must not be moved: its gradient is zero.
        let direction = |(i, g): (usize, &Tensor)| noise(&g.size(), i as i64).to_kind(Kind::Double) * g.detach().not_equal(0.0);
        let directions: Vec<Tensor> = first.iter().enumerate().map(direction).collect();
        let flat = |tensors: &[Tensor]| Tensor::cat(&tensors.iter().map(|t| t.flatten(0, -1)).collect::<Vec<_>>(), 0);
        let along = first.iter().zip(&directions).map(|(g, v)| (g * v).sum(None::<Kind>)).reduce(|a, b| a + b).unwrap();
        let second = Tensor::f_run_backward(&[along], &parameters, false, false).unwrap();
        let moved = |step: f64| {
            let shift = |by: f64| {
                ascribe::tch::no_grad(|| {
                    for (p, v) in parameters.iter().zip(&directions) {
                        let _ = p.shallow_clone().g_add_(&(v * by));
                    }
                });
            };
            shift(step);
            let there = flat(&gradients(model.as_ref(), &x, &parameters, false));
            shift(-step);
            there
        };
        let differences = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert_close(&flat(&second), &differences, 1e-6, &format!("{name}: second derivatives"));
    }
}

#[track_caller]
fn says(task: &Task, data: &Dataset, message: &str) {
    let error = task.clone().train(&Trainer { epochs: 1, ..default() }, data).and_then(|task| {
        let snapshot = task.snapshot(0)?;
        snapshot.gradients(Of::Objective, data)
    });
    assert_eq!(format!("{:?}", error.map(|_| ()).unwrap_err()), message);
}

fn classes(inputs: Tensor) -> Dataset {
    let targets = (0..inputs.size()[0]).map(|i| i % 3).collect::<Vec<_>>();
    Dataset::new(inputs, Tensor::from_slice(&targets)).unwrap()
}

#[test]
fn what_attention_cannot_take_is_said_in_one_line() {
    let data = classes(noise(&[5, 4, 6], 1));
    let task = |options: AttentionOptions, forward: fn(&layer::Attention, &Tensor, &mut Tape) -> Tensor| {
        Task::new(move |p: &nn::Path| {
            let attention = layer::attention(p / "at", 6, options);
            net(move |x, tape| mean(&forward(&attention, x, tape), &[1]))
        })
    };
    let usual = AttentionOptions { heads: 2, ..default() };
    let separate = AttentionOptions { fused: false, ..usual };
    says(
        &task(usual, |at, x, tape| tape.attention("at", at, x, Some(&x.narrow(1, 0, 3).select(2, 0).le(0.0)))),
        &data,
        "layer at: mask expected [n, t] = [2, 4], got [2, 3]",
    );
    says(
        &task(usual, |at, x, tape| tape.attention("at", at, x, Some(&x.select(2, 0)))),
        &data,
        "layer at: mask expected bool (true may be attended to), got Float",
    );
    says(
        &task(usual, |at, x, tape| tape.attention("at", at, &x.narrow(2, 0, 5), None)),
        &data,
        "layer at: input expected [n, t, width] = [n, t, 6], got [2, 4, 5]",
    );
    says(
        &task(separate, |at, x, tape| tape.cross_attention("at", at, x, &x.narrow(0, 0, 1), None)),
        &data,
        "layer at: memory expected [n, t, width] = [2, t, 6], got [1, 4, 6]",
    );
    says(
        &task(usual, |at, x, tape| tape.cross_attention("at", at, x, &(x * 2.0), None)),
        &data,
        "layer at: attention to a memory needs separate projections, got a fused one",
    );
    says(
        &task(AttentionOptions { causal: true, ..separate }, |at, x, tape| {
            tape.cross_attention("at", at, x, &x.narrow(1, 0, 3), None)
        }),
        &data,
        "layer at: causal attention expected as many keys as the 4 queries, got 3",
    );
    says(
        &task(AttentionOptions { heads: 4, ..usual }, |at, x, tape| tape.attention("at", at, x, None)),
        &data,
        "option AttentionOptions.heads: expected a divisor of the width 6, got 4",
    );
    let outside = Task::new(|p: &nn::Path| {
        let (table, fc) = (layer::embedding(p / "table", 4, 3), layer::linear(p / "fc", 3, 3));
        net(move |x, tape| {
            let rows = mean(&tape.embedding("table", &table, x), &[1]);
            tape.linear("fc", &fc, &rows)
        })
    });
    says(&outside, &classes(tokens()), "layer table: index expected 0 to 3, got 4");
}

/// Padding is not seen: other numbers there change nothing, and where nothing may be attended to, nothing is NaN.
#[test]
fn attention_does_not_see_padding() {
    let store = nn::VarStore::new(Device::Cpu);
    let attention = layer::attention(store.root(), 6, AttentionOptions { heads: 2, ..default() });
    let (x, other) = (noise(&[2, 4, 6], 3), noise(&[2, 4, 6], 4));
    let keys = Tensor::from_slice(&[true, true, true, false, false, false, false, false]).view([2, 4]);
    let kept = keys.unsqueeze(-1);
    let changed = x.where_self(&kept, &other);
    let outputs = |x: &Tensor| Tape::off().attention("at", &attention, x, Some(&keys));
    assert_eq!(outputs(&x).get(0).narrow(0, 0, 3), outputs(&changed).get(0).narrow(0, 0, 3));
    let bias = attention.out.bs.as_ref().unwrap();
    assert_eq!((outputs(&x).get(1) - bias).abs().max().double_value(&[]), 0.0, "nothing to attend to");
}

#[test]
fn a_mask_of_positions_changes_no_gradient_and_must_fit_a_layer() {
    let data = classes(noise(&[5, 4, 6], 1));
    let task = |mask: Option<fn(&Tensor) -> Tensor>| {
        Task::new(move |p: &nn::Path| {
            let (steps, fc) = (layer::linear(p / "steps", 6, 5), layer::linear(p / "fc", 5, 3));
            net(move |x, tape| {
                mask.into_iter().for_each(|mask| tape.mask(&mask(x)));
                let hidden = tape.linear("steps", &steps, x).tanh();
                tape.linear("fc", &fc, &mean(&hidden, &[1]))
            })
        })
    };
    let plain = task(None).train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let masked = task(Some(|x| x.select(2, 0).le(0.0))).with_checkpoints(plain.checkpoints().to_vec()).unwrap();
    let rows = |task: &Task| task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap().dense().unwrap();
    assert_eq!(rows(&plain), rows(&masked));
    says(
        &task(Some(|x| x.narrow(1, 0, 3).select(2, 0).le(0.0))),
        &data,
        "layer steps: mask expected [n, t] = [1, 4], got [1, 3]",
    );
    says(&task(Some(|x| x.select(2, 0))), &data, "layer tape: mask expected [n, t] of Bool, got [2, 4] of Float");
    says(&task(Some(|x| x.le(0.0))), &data, "layer tape: mask expected [n, t] of Bool, got [2, 4, 6] of Bool");
}
