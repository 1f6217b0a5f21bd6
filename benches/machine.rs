//! What this machine can do at best, and how much of it GradDot reaches.

use ascribe::tch::{Device, Kind, Tensor};

use crate::Outcome;
use crate::measure::Times;
use crate::report::{Table, number};

const WIDTHS: [f64; 4] = [784.0, 128.0, 64.0, 10.0];
const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Rates of a large matrix product and a large copy, beside those of GradDot on the MLP in `seconds`.
///
/// All are best of several runs, so that other work on the machine disturbs them least.
pub fn measure(seconds: f64, n_train: usize, n_test: usize) -> Outcome<Table> {
    let (n, m) = (n_train as f64, n_test as f64);
    let mut table = Table::new(&["name", "machine", "grad_dot_mlp", "share", "unit"]);
    let rows = [
        ("matmul 2048", matmul()?, flops(n, m) / seconds / 1e9, "GFLOP/s"),
        ("copy 512 MB", copy()?, bytes(n, m) / seconds / 1e9, "GB/s"),
    ];
    for (name, machine, reached, unit) in rows {
        table.push(vec![name.into(), number(machine), number(reached), number(reached / machine), unit.into()]);
    }
    Ok(table)
}

fn matmul() -> Outcome<f64> {
    let (a, b) = (Tensor::rand([2048, 2048], CPU), Tensor::rand([2048, 2048], CPU));
    let best = best(|| Ok(a.f_matmul(&b)?))?;
    Ok(2.0 * 2048f64.powi(3) / best / 1e9)
}

/// One read and one write of every byte.
pub fn copy() -> Outcome<f64> {
    let (source, mut target) = (Tensor::ones([1 << 27], CPU), Tensor::ones([1 << 27], CPU));
    let best = best(|| Ok(target.f_copy_(&source)?))?;
    Ok(2.0 * 4.0 * f64::from(1 << 27) / best / 1e9)
}

fn best<T>(mut work: impl FnMut() -> Outcome<T>) -> Outcome<f64> {
    let mut times = Times::default();
    for _ in 0..10 {
        times.run(&mut work)?;
    }
    times.low().ok_or_else(|| "nothing was timed".into())
}

/// Multiplications and additions that exact GradDot on the MLP needs.
///
/// Forward: 2 per weight and example. Backward to the layers' outputs: 2 per weight of all layers but the first. Gram: per
/// pair and layer 2 (in + out) for the two products, 1 for the bias, 1 to multiply them, 1 to add.
fn flops(n: f64, m: f64) -> f64 {
    let layers = || WIDTHS.windows(2).map(|pair| (pair[0], pair[1]));
    let weights: f64 = layers().map(|(input, output)| input * output).sum();
    let gradients = (n + m) * 2.0 * (2.0 * weights - WIDTHS[0] * WIDTHS[1]);
    let gram: f64 = layers().map(|(input, output)| 2.0 * (input + output) + 3.0).sum();
    gradients + n * m * gram
}

/// Bytes that must move at the least: inputs and weights read once, each layer's output and its gradient written and read
/// once, the scores written once. Intermediate matrices of pairs are not counted: they need not leave the cache.
fn bytes(n: f64, m: f64) -> f64 {
    let outputs: f64 = WIDTHS[1..].iter().sum();
    4.0 * ((n + m) * (WIDTHS[0] + 4.0 * outputs) + n * m)
}
