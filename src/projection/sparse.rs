//! Answers: what do gradients say when each coordinate is added to a few random outputs? Formula: `x S`, S `[p, k]` with s entries
//! `±1/√s` in each row, in s different columns.
//! Cost: n · p · s additions, at about the speed of reading the gradients; 4 · p · s bytes are kept.
//! Defaults: s = 1, the count sketch, is the fastest and as good as any for gradients that no few coordinates dominate.
//! Misleads: with s = 1 two large coordinates that meet in one output are confused; a larger s halves what each such meeting costs.
//! Reference: Charikar et al. 2002; Kane & Nelson 2014 (arXiv:1012.1577); for attribution Hu et al. 2025 (arXiv:2505.18976).

use std::sync::Arc;
use std::thread;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::draw::Draw;
use super::{Part, Projection, Projector, check_dim, check_width};
use crate::error::{Error, Result, guarded};
use crate::gradient::Layout;

/// A sparse Johnson-Lindenstrauss map: the fast one.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::SparseJl { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SparseJl {
    /// `k`, length of a projected gradient.
    pub dim: i64,
    /// `s`, how many outputs each coordinate is added to; at most `dim`.
    pub nonzeros: i64,
    /// Another seed gives another matrix.
    pub seed: u64,
}

impl Default for SparseJl {
    fn default() -> SparseJl {
        SparseJl { dim: 512, nonzeros: 1, seed: 0 }
    }
}

impl Projection for SparseJl {
    fn name(&self) -> String {
        format!("sparse JL, dim {}, nonzeros {}, seed {}", self.dim, self.nonzeros, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("SparseJl.dim", self.dim, Table::output_bytes(layout.p()))?;
        if !(1..=self.dim).contains(&self.nonzeros) {
            let expected = format!("1 to dim ({})", self.dim);
            return Err(Error::option("SparseJl.nonzeros", expected, self.nonzeros));
        }
        check_dim("SparseJl.nonzeros", self.nonzeros, 4 * layout.p())?;
        let table = Table::new(layout.p(), self.dim, self.nonzeros, Draw::new(self.seed, member));
        Ok(Box::new(Fitted { parts: Part::all(self.dim), table }))
    }
}

struct Fitted {
    parts: Vec<Part>,
    table: Table,
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.table.p)?;
        guarded(|| Ok(self.table.apply(rows)))
    }
}

/// Coordinates that are summed before they are added to others: a constant, so that threads change nothing.
const SEGMENT: usize = 1 << 17;
/// Sums held at once, over segments and rows.
const AT_ONCE: usize = 1 << 22;
/// Numbers that are worth a thread.
const SHARE: usize = 1 << 15;
pub(super) const SIGN: u32 = 1 << 31;

/// A sparse matrix. The outputs are cut into as many runs as there are nonzeros, and each coordinate has a place in every run, so its
/// places differ; two coordinates share as many as with places drawn freely, on average s² / k where the runs are equally long.
pub(super) struct Table {
    p: i64,
    k: i64,
    /// For each run the places of all coordinates, with a sign in the highest bit.
    runs: Vec<Vec<u32>>,
}

impl Table {
    pub fn new(p: i64, k: i64, nonzeros: i64, draw: Draw) -> Table {
        let end = |run: i64| (i128::from(run) * i128::from(k) / i128::from(nonzeros)) as u32;
        let runs = (0..nonzeros).map(|run| {
            let mut places = vec![0; p as usize];
            draw.of(run as u64).places(end(run), end(run + 1), &mut places);
            places
        });
        Table { p, k, runs: runs.collect() }
    }

    /// Bytes for each output while a gradient of `p` numbers is mapped.
    pub fn output_bytes(p: i64) -> i64 {
        4 * (p as u64).div_ceil(SEGMENT as u64) as i64 + 8
    }

    /// One place for each coordinate, with a sign in the highest bit.
    pub fn of_places(places: Vec<u32>, k: i64) -> Table {
        Table { p: places.len() as i64, k, runs: vec![places] }
    }

    pub fn k(&self) -> i64 {
        self.k
    }

    /// `[n, p] → [n, k]`
    pub fn apply(&self, rows: &Tensor) -> Tensor {
        let rows = rows.to_kind(Kind::Float).contiguous();
        let (p, segments) = (self.p as usize, (self.p as usize).div_ceil(SEGMENT).max(1));
        let at_once = (AT_ONCE / (segments * self.k as usize)).max(1);
        let parts: Vec<Tensor> = numbers(&rows)
            .chunks(at_once * p)
            .map(|rows| {
                let sums = Tensor::from_slice(&self.sums(rows, segments)).view([segments as i64, -1, self.k]);
                sums.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>) / (self.runs.len() as f64).sqrt()
            })
            .collect();
        match parts.len() {
            0 => Tensor::zeros([rows.size()[0], self.k], (Kind::Float, Device::Cpu)),
            _ => Tensor::cat(&parts, 0),
        }
    }

    /// Sums of each segment of some rows: `[segments, n, k]`.
    fn sums(&self, rows: &[f32], segments: usize) -> Vec<f32> {
        let (p, k) = (self.p as usize, self.k as usize);
        let n = rows.len() / p;
        let mut sums = vec![0.0f32; segments * n * k];
        // Neighbouring rows of a segment share its part of the table while it is in the cache.
        let work = |first: usize, sums: &mut [f32]| {
            for (i, sum) in sums.chunks_exact_mut(k).enumerate() {
                let (segment, row) = ((first + i) / n, (first + i) % n);
                let (from, to) = (segment * SEGMENT, ((segment + 1) * SEGMENT).min(p));
                for places in &self.runs {
                    add(&rows[row * p + from..row * p + to], &places[from..to], sum);
                }
            }
        };
        let threads = (tch::get_num_threads().max(1) as usize).min(rows.len() / SHARE + 1);
        if threads == 1 {
            work(0, &mut sums);
            return sums;
        }
        let share = (segments * n).div_ceil(threads);
        thread::scope(|scope| {
            for (worker, sums) in sums.chunks_mut(share * k).enumerate() {
                let work = &work;
                scope.spawn(move || work(worker * share, sums));
            }
        });
        sums
    }

    /// The matrix `[p, k]`.
    #[cfg(test)]
    pub fn dense(&self) -> Tensor {
        let mut values = vec![0.0f32; (self.p * self.k) as usize];
        for (i, &place) in self.runs.iter().flat_map(|places| places.iter().enumerate()) {
            let sign = if place & SIGN == 0 { 1.0 } else { -1.0 };
            values[i * self.k as usize + (place & !SIGN) as usize] = sign / (self.runs.len() as f32).sqrt();
        }
        Tensor::from_slice(&values).view([self.p, self.k])
    }
}

/// Adds the coordinates to their outputs.
fn add(x: &[f32], places: &[u32], sum: &mut [f32]) {
    for (x, &place) in x.iter().zip(places) {
        sum[(place & !SIGN) as usize] += f32::from_bits(x.to_bits() ^ (place & SIGN));
    }
}

/// The memory of a contiguous float tensor.
fn numbers(tensor: &Tensor) -> &[f32] {
    assert!(tensor.is_contiguous() && tensor.kind() == Kind::Float && tensor.device() == Device::Cpu);
    if tensor.numel() == 0 {
        return &[];
    }
    // SAFETY: the tensor is float32, on the CPU and contiguous, so `numel` numbers lie there, for as long as the tensor is held;
    // the caller's borrow of it outlives the slice, and nothing here writes to it.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_sparse_matrix() {
        for (p, k, s) in [(50, 7, 1), (50, 7, 3), (50, 3, 3), (50, 7, 7), (SEGMENT as i64 + 100, 5, 2)] {
            let table = Table::new(p, k, s, Draw::new(3, 0));
            let dense = table.dense();
            assert!(
                (dense.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>) - 1.0).abs().max().double_value(&[])
                    < 1e-6
            );
            let used = dense.ne(0.0).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
            assert!(used.eq(s).all().int64_value(&[]) == 1, "{s} different outputs a coordinate");
            let rows = Tensor::randn([4, p], (Kind::Float, Device::Cpu));
            let apart = (table.apply(&rows) - rows.matmul(&dense)).abs().max().double_value(&[]);
            assert!(apart < 1e-5 * (p as f64).sqrt(), "p {p}, k {k}, s {s}: {apart:.1e}");
        }
    }
}
