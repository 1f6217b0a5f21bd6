//! Features of examples: projected gradients `[n, k]`, computed in one place, kept or computed again.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::gradient::stream::{batch_size, each_batch};
use crate::progress::Progress;
use crate::projection::Projector;
use crate::snapshot::{Of, Snapshot, finite};

/// Bytes of train features or gradients that all members keep; more are computed again whenever they are met.
pub(super) const HELD_BYTES: i64 = 2 << 30;

/// Bytes of features that are formed, widened or met at once.
pub(super) const BATCH_BYTES: i64 = 256 << 20;

/// Bytes of gradients that are formed at once to be projected.
const FORMED_BYTES: i64 = 512 << 20;

/// How one member of an ensemble turns examples into features.
pub(crate) struct FeatureMap {
    pub snapshot: Rc<Snapshot>,
    pub projector: Box<dyn Projector>,
    /// Of the projection: features on disk are known by it, and by what it was fitted with.
    pub name: String,
    pub member: u64,
}

impl FeatureMap {
    pub fn k(&self) -> i64 {
        self.projector.k()
    }

    /// Many, because a large random matrix is drawn again for each batch; a map of all parameters at once forms gradients.
    fn at_once(&self, data: &Dataset) -> Result<i64> {
        let many = batch_size(&self.snapshot, data, false)?.at_once;
        Ok(match self.projector.parts() {
            [_] => many.min((FORMED_BYTES / (4 * self.snapshot.p())).max(1)),
            _ => many,
        })
    }

    /// Calls `each` with the position of the first example and the features of every batch, in order.
    pub fn each(&self, of: Of, data: &Dataset, mut each: impl FnMut(i64, Tensor) -> Result<()>) -> Result<()> {
        if let Some(stored) = self.snapshot.stored_rows(of, data, &self.name, self.member) {
            let n = data.len() as i64;
            let size = (BATCH_BYTES / (8 * self.k())).clamp(1, n);
            return (0..n)
                .step_by(size as usize)
                .try_for_each(|start| each(start, guarded(|| Ok(stored(start, (start + size).min(n))?.to_kind(Kind::Float)))?));
        }
        each_batch(&self.snapshot, of, data, self.at_once(data)?, |start, gradients| {
            let rows = guarded(|| self.projector.project(&gradients))?;
            each(start, finite("the projection", rows, "a feature is NaN or infinite; look for very large gradients")?)
        })
    }

    /// All of them, `[n, k]`, float32.
    pub fn features(&self, of: Of, data: &Dataset) -> Result<Tensor> {
        let features = guarded(|| Ok(Tensor::f_empty([data.len() as i64, self.k()], (Kind::Float, Device::Cpu))?))?;
        self.each(of, data, |start, rows| {
            features.narrow(0, start, rows.size()[0]).copy_(&rows);
            Ok(())
        })?;
        Ok(features)
    }
}

/// Features in memory.
pub(crate) struct Held {
    /// `[n, k]`, float32, or float16 in units of `scale`.
    values: Tensor,
    /// `[n, 1]`, powers of two that bring the largest number of a row near 1, so that float16 neither overflows nor underflows.
    scale: Option<Tensor>,
}

impl Held {
    /// Room for `[n, k]`.
    fn empty(n: i64, k: i64, half: bool) -> Result<Held> {
        let kind = if half { Kind::Half } else { Kind::Float };
        let scale = if half { Some(Tensor::f_empty([n, 1], (Kind::Float, Device::Cpu))?) } else { None };
        Ok(Held { values: Tensor::f_empty([n, k], (kind, Device::Cpu))?, scale })
    }

    /// Features as they are.
    #[cfg(test)]
    pub fn of(values: Tensor) -> Held {
        Held { values, scale: None }
    }

    fn write(&self, start: i64, rows: &Tensor) {
        let count = rows.size()[0];
        match &self.scale {
            Some(scale) => {
                let largest = rows.abs().amax([1i64].as_slice(), true);
                let unit = largest.log2().floor().exp2().where_scalarother(&largest.gt(0.0), 1.0);
                self.values.narrow(0, start, count).copy_(&(rows / &unit));
                scale.narrow(0, start, count).copy_(&unit);
            }
            None => self.values.narrow(0, start, count).copy_(rows),
        }
    }

    /// Some of the rows, float64.
    fn rows(&self, start: i64, len: i64) -> Tensor {
        let rows = self.values.narrow(0, start, len).to_kind(Kind::Double);
        match &self.scale {
            Some(scale) => rows * scale.narrow(0, start, len),
            None => rows,
        }
    }
}

/// Train features of one member.
pub(crate) enum Rows {
    Held(Held),
    Streamed(Dataset),
}

impl Rows {
    /// Computes them once where they fit into what is left of `room`.
    pub fn new(map: &FeatureMap, train: &Dataset, half: bool, room: &mut i64) -> Result<Rows> {
        let (n, k) = (train.len() as i64, map.k());
        let bytes = n * k * (if half { 2 } else { 4 });
        if bytes > *room {
            return Ok(Rows::Streamed(train.clone()));
        }
        *room -= bytes;
        let held = guarded(|| Held::empty(n, k, half))?;
        let mut progress = Progress::new("train features", n as u64);
        map.each(Of::Objective, train, |start, rows| {
            progress.add(rows.size()[0] as u64);
            guarded(|| {
                held.write(start, &rows);
                Ok(())
            })
        })?;
        Ok(Rows::Held(held))
    }

    /// Error of an inner product of two features relative to their lengths: features are the gradients up to their own rounding,
    /// and a matrix of their inner products, exact in float64, has the square of it where it should have nothing.
    pub fn rounding(&self) -> f64 {
        match self {
            Rows::Held(Held { values, .. }) => match values.kind() {
                Kind::Half => 1e-6,
                Kind::Double => 1e-14,
                _ => 1e-12,
            },
            Rows::Streamed(_) => 1e-12,
        }
    }

    /// Calls `each` with the position of the first example and float64 features `[b, k]`, in order.
    pub fn each(&self, map: &FeatureMap, mut each: impl FnMut(i64, &Tensor) -> Result<()>) -> Result<()> {
        match self {
            Rows::Held(held) => each_held(held, each),
            Rows::Streamed(train) => {
                map.each(Of::Objective, train, |start, rows| guarded(|| each(start, &rows.to_kind(Kind::Double))))
            }
        }
    }
}

pub(super) fn each_held(held: &Held, mut each: impl FnMut(i64, &Tensor) -> Result<()>) -> Result<()> {
    let size = held.values.size();
    let (n, k) = (size[0], size[1]);
    let at_once = (BATCH_BYTES / (8 * k)).clamp(1, n);
    for start in (0..n).step_by(at_once as usize) {
        guarded(|| each(start, &held.rows(start, at_once.min(n - start))))?;
    }
    Ok(())
}
