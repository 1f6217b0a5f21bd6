//! Speed of the projections: bytes of gradients read in a second, and seconds for the gradients of 5500 examples.
//!
//!     cargo bench --profile dev --bench projection -- [--quick]
//!
//! Best of several runs. Writes `target/bench/projection.csv`; see `benches/README.md` for its columns.

#[allow(dead_code, reason = "shared with compare")]
mod machine;
#[allow(dead_code, reason = "shared with compare")]
mod measure;
#[allow(dead_code, reason = "shared with compare")]
mod report;

use std::sync::Arc;
use std::{env, fs};

use ascribe::gradient::Layout;
use ascribe::prelude::*;
use ascribe::projection::{
    Elementwise, FactoredSparse, Gaussian, Grass, Hadamard, Kronecker, Rademacher, RandomMask, SparseJl, TensorSketch,
};
use ascribe::tch::{Device, Kind};

use measure::Times;
use report::{Table, known, number};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

fn main() -> Outcome<()> {
    let quick = env::args().any(|argument| argument == "--quick");
    fs::create_dir_all(report::folder())?;
    let mut table = Table::new(&["name", "gradients", "p", "k", "n", "fit_seconds", "seconds", "gb_per_second", "share_of_copy"]);
    let copy = machine::copy()?;
    println!("copy: {} GB/s, read and written", number(copy));
    throughput(&mut table, copy, quick)?;
    whole(&mut table, copy, quick)?;
    let file = table.save("projection")?;
    println!("{}{}", table.text(&[]), file.display());
    Ok(())
}

/// Rows of 4.8 million parameters, one and several at once.
fn throughput(table: &mut Table, copy: f64, quick: bool) -> Outcome<()> {
    let (snapshot, _) = network(&[4799, 1000])?;
    let p = snapshot.p();
    for n in [1, 16] {
        let rows = Tensor::randn([n, p], CPU);
        for dim in [512, 4096] {
            let kinds: [Box<dyn Projection>; 5] = [
                Box::new(SparseJl { dim, ..default() }),
                Box::new(SparseJl { dim, nonzeros: 4, ..default() }),
                Box::new(Hadamard { dim, ..default() }),
                Box::new(RandomMask { dim, ..default() }),
                Box::new(Grass { dim, ..default() }),
            ];
            for kind in kinds {
                let (projector, fit) = fitted(kind.as_ref(), snapshot.layout())?;
                let seconds = best(if quick { 3 } else { 10 }, || Ok(projector.rows(&rows)?))?;
                push(table, kind.as_ref(), "rows", p, projector.k(), n, fit, seconds, copy);
            }
        }
    }
    Ok(())
}

/// The gradients of 5500 examples in a network of 109,386 parameters, as rows and as factors, in batches of 500.
fn whole(table: &mut Table, copy: f64, quick: bool) -> Outcome<()> {
    let (snapshot, data) = network(&[784, 128, 64, 10])?;
    let (batches, gradients) = (11, snapshot.gradients(Of::Objective, &data)?);
    let (p, n, dim) = (snapshot.p(), batches * gradients.n(), 512);
    let rows = gradients.dense()?;
    let kinds: [Box<dyn Projection>; 11] = [
        Box::new(Gaussian { dim, ..default() }),
        Box::new(Rademacher { dim, ..default() }),
        Box::new(SparseJl { dim, ..default() }),
        Box::new(SparseJl { dim, nonzeros: 4, ..default() }),
        Box::new(Hadamard { dim, ..default() }),
        Box::new(RandomMask { dim, ..default() }),
        Box::new(Grass { dim, ..default() }),
        Box::new(Kronecker { input: 32, output: 16, ..default() }),
        Box::new(FactoredSparse { dim, ..default() }),
        Box::new(Elementwise { dim, ..default() }),
        Box::new(TensorSketch { dim, ..default() }),
    ];
    for kind in kinds {
        let (projector, fit) = fitted(kind.as_ref(), snapshot.layout())?;
        let repeats = if quick { 1 } else { 3 };
        let all = |map: &dyn Fn() -> Outcome<Tensor>| -> Outcome<f64> {
            best(repeats, || {
                for _ in 1..batches {
                    drop(map()?);
                }
                map()
            })
        };
        let seconds = all(&|| Ok(projector.rows(&rows)?))?;
        push(table, kind.as_ref(), "rows", p, projector.k(), n, fit, seconds, copy);
        let seconds = all(&|| Ok(projector.project(&gradients)?))?;
        push(table, kind.as_ref(), "factors", p, projector.k(), n, fit, seconds, copy);
    }
    Ok(())
}

fn network(widths: &[i64]) -> Outcome<(Snapshot, Dataset)> {
    let n = 500;
    let targets = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(10);
    let data = Dataset::new(Tensor::randn([n, widths[0]], CPU), targets)?;
    let widths = widths.to_vec();
    let task = Task::new(move |p: &nn::Path| Mlp::new(p, &widths)).train(&Trainer { epochs: 1, ..default() }, &data)?;
    Ok((task.snapshot(0)?, data))
}

fn fitted(kind: &dyn Projection, layout: &Arc<Layout>) -> Outcome<(Box<dyn Projector>, f64)> {
    let mut times = Times::default();
    let projector = times.run(|| Ok(kind.fit(layout, 0)?))?;
    Ok((projector, times.low().unwrap_or(f64::NAN)))
}

fn best(repeats: usize, mut work: impl FnMut() -> Outcome<Tensor>) -> Outcome<f64> {
    let mut times = Times::default();
    for _ in 0..=repeats {
        drop(times.run(&mut work)?);
    }
    Ok(times.low().unwrap_or(f64::NAN))
}

#[allow(clippy::too_many_arguments, reason = "one for each column")]
fn push(table: &mut Table, kind: &dyn Projection, gradients: &str, p: i64, k: i64, n: i64, fit: f64, seconds: f64, copy: f64) {
    // Masks do not read all, and factors are fewer numbers.
    let reads_all = gradients == "rows" && !["mask", "GraSS", "factored"].iter().any(|kind_of| kind.name().contains(kind_of));
    let rate = reads_all.then(|| 4.0 * (n * p) as f64 / seconds / 1e9);
    let share = rate.map(|rate| rate / copy);
    let name = kind.name().replace(", seed 0", "");
    let numbers = [p, k, n].map(|number| number.to_string());
    let mut row = vec![name, gradients.to_string()];
    row.extend(numbers);
    row.extend([number(fit), number(seconds), known(rate), known(share)]);
    eprintln!("{}", row.join("  "));
    table.push(row);
}
