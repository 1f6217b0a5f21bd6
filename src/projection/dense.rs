//! Matrices of independent entries, drawn in blocks of coordinates and never whole where they are large.

use tch::{Device, Kind, Tensor};

use super::draw::Draw;
use super::{Part, Projector, check_width};
use crate::error::{Result, guarded};

/// Bytes of a matrix that are kept; a larger one is drawn anew each time, block by block.
const KEPT: i64 = 256 << 20;
/// Bytes for each output of the least that is drawn at once: 64 rows, and what normal numbers are made from.
pub(super) const OUTPUT_BYTES: i64 = 64 * 24;
/// Entries drawn at once.
const AT_ONCE: i64 = 1 << 22;

/// How entries of mean 0 and variance 1 are drawn: from a position, so many.
pub(super) type Entries = fn(Draw, usize, usize) -> Tensor;

/// `x → x R / √k` with a random matrix R `[p, k]`.
pub(super) struct Dense {
    parts: Vec<Part>,
    p: i64,
    draw: Draw,
    entries: Entries,
    kept: Option<Vec<Tensor>>,
}

impl Dense {
    pub fn new(p: i64, k: i64, draw: Draw, entries: Entries) -> Result<Dense> {
        Dense::within(p, k, draw, entries, KEPT)
    }

    /// Keeps the matrix only if it takes at most `budget` bytes; which changes no number.
    fn within(p: i64, k: i64, draw: Draw, entries: Entries, budget: i64) -> Result<Dense> {
        let mut dense = Dense { parts: Part::all(k), p, draw, entries, kept: None };
        if p.saturating_mul(4 * k) <= budget {
            dense.kept = Some(guarded(|| Ok((0..p).step_by(dense.step() as usize).map(|start| dense.block(start)).collect()))?);
        }
        Ok(dense)
    }

    /// Coordinates in a block; a multiple of 64, so that a block starts where both kinds of entries can.
    fn step(&self) -> i64 {
        ((AT_ONCE / self.k()) / 64 * 64).max(64)
    }

    /// Rows `start..` of the matrix, `[step, k]`.
    fn block(&self, start: i64) -> Tensor {
        let (k, len) = (self.k(), self.step().min(self.p - start));
        (self.entries)(self.draw, (start * k) as usize, (len * k) as usize).view([len, k]) / (k as f64).sqrt()
    }
}

impl Projector for Dense {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.p)?;
        guarded(|| {
            let mut total = Tensor::zeros([rows.size()[0], self.k()], (Kind::Float, Device::Cpu));
            for (i, start) in (0..self.p).step_by(self.step() as usize).enumerate() {
                let block = match &self.kept {
                    Some(blocks) => blocks[i].shallow_clone(),
                    None => self.block(start),
                };
                let _ = total.addmm_(&rows.narrow(1, start, block.size()[0]), &block);
            }
            Ok(total)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The map is the same whether the matrix is kept or drawn anew, and any of its blocks is a part of the whole.
    #[test]
    fn memory_changes_nothing() {
        let (p, k) = (200_001, 33); // two blocks, the last cut short
        let rows = Tensor::randn([3, p], (Kind::Float, Device::Cpu));
        for entries in [Draw::normals as Entries, Draw::signs] {
            let map = |budget| Dense::within(p, k, Draw::new(1, 0), entries, budget).unwrap();
            let (kept, drawn) = (map(i64::MAX), map(0));
            assert!(kept.kept.is_some() && drawn.kept.is_none());
            assert!(drawn.step() < p);
            assert!(kept.rows(&rows).unwrap().equal(&drawn.rows(&rows).unwrap()));
            let whole = entries(Draw::new(1, 0), 0, (p * k) as usize).view([p, k]) / (k as f64).sqrt();
            assert!(Tensor::cat(kept.kept.as_ref().unwrap(), 0).equal(&whole));
        }
    }

    #[test]
    fn entries_have_mean_0_and_variance_1() {
        let count = 1 << 21;
        for (entries, fourth) in [(Draw::normals as Entries, 3.0), (Draw::signs, 1.0)] {
            let x = entries(Draw::new(7, 3), 0, count).to_kind(Kind::Double);
            let mean = |x: Tensor| x.mean(None::<Kind>).double_value(&[]);
            let room = 5.0 / (count as f64).sqrt(); // five standard errors of the mean
            assert!(mean(x.shallow_clone()).abs() < room);
            assert!((mean(x.square()) - 1.0).abs() < 1.5 * room);
            assert!((mean(x.pow_tensor_scalar(4)) - fourth).abs() < 10.0 * room);
            let lagged = mean(x.narrow(0, 0, count as i64 - 1) * x.narrow(0, 1, count as i64 - 1));
            assert!(lagged.abs() < room, "neighbours correlate: {lagged}");
        }
        let x = Draw::normals(Draw::new(7, 3), 0, count);
        assert!(x.isfinite().all().int64_value(&[]) == 1);
    }
}
