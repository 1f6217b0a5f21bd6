//! The scores of every damping from one eigendecomposition.

use tch::{Device, Kind, Tensor};

use super::factor::{Noise, Spectrum};
use super::member::Member;
use super::{Inverse, Threshold, finished};
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::scores::Scores;
use crate::snapshot::{Of, finite};

/// A method of this family fitted for every damping at once; see [`Trak::path`](crate::method::Trak::path).
pub struct DampingPath {
    pub(super) name: String,
    pub(super) option: String,
    pub(super) train: Dataset,
    pub(super) points: Vec<(Member, Vec<Spectrum>)>,
    pub(super) columns: Option<Tensor>,
    pub(super) inverse: Inverse,
    pub(super) threshold: Threshold,
}

impl DampingPath {
    /// The scores that separate fits with these dampings would give, in their order.
    ///
    /// Cost: the test gradients once, then `2 m r²` multiplications for each damping, r the smaller of examples and features.
    ///
    /// Errors: [`Error::Numerical`](crate::Error::Numerical) for a damping that rounding drowns.
    pub fn score(&self, test: &Dataset, dampings: &[Damping]) -> Result<Vec<Scores>> {
        let (m, n) = (test.len() as i64, self.train.len() as i64);
        let size = || Ok(Tensor::f_zeros([m, n], (Kind::Float, Device::Cpu))?);
        let totals = guarded(|| dampings.iter().map(|_| size()).collect::<Result<Vec<_>>>())?;
        for (member, spectra) in &self.points {
            member.snapshot.check(test, member.snapshot.measurement(Of::Measurement))?;
            let noise = Noise { option: &self.option, rounding: member.rounding() };
            member.each_chunk(test, |from, chunk| {
                let sides = member.meet(Of::Measurement, chunk)?;
                let turned: Vec<Tensor> = spectra.iter().zip(&sides).map(|(spectrum, side)| spectrum.turn(side)).collect();
                for (damping, total) in dampings.iter().zip(&totals) {
                    let solved = spectra.iter().zip(&turned).zip(&member.blocks).map(|((spectrum, turned), block)| {
                        let lambda = self.inverse.lambda(*damping, &self.option, spectrum.trace(), n, block.len)?;
                        spectrum.apply(turned, lambda, noise)
                    });
                    let scores = member.finish(&solved.collect::<Result<Vec<_>>>()?)? / self.points.len() as f64;
                    let _ = total.narrow(0, from, chunk.len() as i64).g_add_(&scores);
                }
                Ok(())
            })?;
        }
        let scores = totals.into_iter().zip(dampings).map(|(total, damping)| {
            let total = guarded(|| Ok(finished(total, &self.columns, self.threshold)))?;
            let hint = "a score overflowed; look for very large weights or inputs";
            Scores::new(finite(&self.name, total, hint)?, format!("{}, {damping:?}", self.name), test, &self.train)
        });
        scores.collect()
    }
}
