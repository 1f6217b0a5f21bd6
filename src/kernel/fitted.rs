//! What a fitted method of this family does.

use tch::{Device, Kind, Tensor};

use super::factor::Factor;
use super::member::{Member, Source, squares};
use super::route::Route;
use super::{Threshold, finished};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::method::Attributor;
use crate::progress::Progress;
use crate::snapshot::{Of, finite};

const OVERFLOWED: &str = "a score overflowed; look for very large weights or inputs";

/// A checkpoint with the inverse of each block; None where features meet as they are.
pub(super) struct Solved {
    pub member: Member,
    pub factors: Vec<Option<Factor>>,
    /// Of all its scores.
    pub scale: f64,
}

pub(super) struct Fitted {
    pub name: String,
    pub options: &'static str,
    pub train: Dataset,
    pub points: Vec<Solved>,
    /// `[n]`, one factor for each train example.
    pub columns: Option<Tensor>,
    pub threshold: Threshold,
}

/// A number of a train example by its block: known among the examples, or of the rows of its features.
enum OfBlock {
    Known(Tensor),
    Of(fn(&Factor, &Tensor) -> Tensor),
}

impl Solved {
    /// Scores `[m, n]` from what test examples met.
    fn scores(&self, sides: Vec<Tensor>) -> Result<Tensor> {
        let solved = sides.into_iter().zip(&self.factors).map(|(side, factor)| match factor {
            Some(factor) => factor.apply(&side),
            None => side,
        });
        let solved = guarded(|| Ok(solved.collect::<Vec<_>>()))?;
        guarded(|| Ok(self.member.finish(&solved)? * self.scale))
    }

    /// A sum over blocks for each train example, `[n]`; without an inverse the squared length.
    fn of_train(&self, of_block: impl Fn(&Factor, Route) -> OfBlock) -> Result<Tensor> {
        let member = &self.member;
        if self.factors.iter().all(Option::is_none) {
            return member.squared_lengths();
        }
        let total = Tensor::zeros([member.n], (Kind::Double, Device::Cpu));
        let mut of_rows = Vec::new();
        for (block, factor) in member.blocks.iter().zip(&self.factors) {
            let Some(factor) = factor else { continue };
            match guarded(|| Ok(of_block(factor, block.route)))? {
                OfBlock::Known(values) => {
                    let _ = total.shallow_clone().g_add_(&values);
                }
                OfBlock::Of(function) => of_rows.push((block, factor, function)),
            }
        }
        if let Source::Features(map, rows) = &member.source
            && !of_rows.is_empty()
        {
            rows.each(map, |start, batch| {
                for (block, factor, function) in &of_rows {
                    let _ = total.narrow(0, start, batch.size()[0]).g_add_(&function(factor, &block.columns(batch)));
                }
                Ok(())
            })?;
        }
        Ok(total)
    }

    /// `φᵀ (ΦᵀΦ + λ)⁻¹ φ` of the train examples; among the examples `1 − λ A_ii` with `A = (K + λ)⁻¹`.
    fn own_of_train(&self) -> Result<Tensor> {
        let own = self.of_train(|factor, route| match route {
            Route::Primal => OfBlock::Of(Factor::squares),
            Route::Dual => OfBlock::Known((factor.inverse_diagonals(false).0 * -factor.lambda + 1.0).clamp_min(0.0)),
        })?;
        guarded(|| Ok(own * self.scale))
    }

    /// `‖(ΦᵀΦ + λ)⁻¹ φ‖²` of the train examples; among the examples `(A K A)_ii = A_ii − λ (A²)_ii`.
    fn squared_moves(&self) -> Result<Tensor> {
        let moves = self.of_train(|factor, route| match route {
            Route::Primal => OfBlock::Of(|factor, rows| squares(&factor.apply(rows))),
            Route::Dual => {
                let (diagonal, squares) = factor.inverse_diagonals(true);
                OfBlock::Known((diagonal - squares * factor.lambda).clamp_min(0.0))
            }
        })?;
        guarded(|| Ok(moves * self.scale * self.scale))
    }

    /// `φᵀ (ΦᵀΦ + λ)⁻¹ φ` of any examples; among the train examples `(φᵀφ − x (K + λ)⁻¹ xᵀ) / λ` with `x = φᵀΦᵀ` (Woodbury).
    fn own(&self, of: Of, data: &Dataset, options: &str) -> Result<Tensor> {
        let (lengths, sides) = self.member.meet_with_lengths(of, data)?;
        let total = Tensor::zeros([data.len() as i64], (Kind::Double, Device::Cpu));
        let blocks = self.member.blocks.iter().zip(&self.factors).zip(lengths.iter().zip(&sides));
        guarded(|| {
            for ((block, factor), (lengths, side)) in blocks {
                let own = match (factor, block.route) {
                    (None, _) => lengths.shallow_clone(),
                    (Some(factor), Route::Primal) => factor.squares(side),
                    (Some(factor), Route::Dual) => {
                        let left = lengths - factor.squares(side);
                        let noise = lengths * self.member.rounding();
                        match factor.lambda > 0.0
                            && left.lt_tensor(&noise).logical_and(&lengths.gt(0.0)).any().int64_value(&[]) == 0
                        {
                            true => left / factor.lambda,
                            false => return Err(lost(options, factor.lambda)),
                        }
                    }
                };
                let _ = total.shallow_clone().g_add_(&own);
            }
            Ok(total * self.scale)
        })
    }
}

fn lost(options: &str, lambda: f64) -> Error {
    let reason = format!("an example's score for itself is lost in rounding with λ = {lambda:.1e}; raise {options}.damping");
    Error::numerical("the kernel of train examples", reason)
}

impl Fitted {
    /// The mean over checkpoints.
    fn mean(&self, size: i64, mut of: impl FnMut(&Solved) -> Result<Tensor>) -> Result<Tensor> {
        let mut total = Tensor::zeros([size], (Kind::Double, Device::Cpu));
        for point in &self.points {
            let values = of(point)?;
            guarded(|| Ok(total.g_add_(&values))).map(drop)?;
        }
        guarded(|| Ok(total / self.points.len() as f64))
    }

    fn float(&self, values: Tensor) -> Result<Tensor> {
        finite(&self.name, guarded(|| Ok(values.to_kind(Kind::Float)))?, OVERFLOWED)
    }

    fn weighted(&self, values: Tensor) -> Result<Tensor> {
        self.float(guarded(|| Ok(finished(values.unsqueeze(0), &self.columns, Threshold::None).squeeze_dim(0)))?)
    }
}

impl Attributor for Fitted {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let (m, n) = (test.len() as i64, self.train.len() as i64);
        let total = guarded(|| Ok(Tensor::f_zeros([m, n], (Kind::Float, Device::Cpu))?))?;
        let mut progress = Progress::new(&format!("{} scores", self.name), (m * n) as u64 * self.points.len() as u64);
        for point in &self.points {
            let member = &point.member;
            member.snapshot.check(test, member.snapshot.measurement(Of::Measurement))?;
            member.each_chunk(test, |from, chunk| {
                let scores = point.scores(member.meet(Of::Measurement, chunk)?)? / self.points.len() as f64;
                let _ = total.narrow(0, from, chunk.len() as i64).g_add_(&scores);
                progress.add(chunk.len() as u64 * n as u64);
                Ok(())
            })?;
        }
        progress.finish();
        self.float(guarded(|| Ok(finished(total, &self.columns, self.threshold)))?)
    }

    /// Before the threshold, which is about the rows of test examples.
    fn self_scores(&self) -> Result<Tensor> {
        let own = self.mean(self.train.len() as i64, Solved::own_of_train)?;
        self.weighted(own)
    }

    /// Without the factors of the columns, so that it is a squared length.
    fn own_scores(&self, data: &Dataset) -> Result<Tensor> {
        let own = self.mean(data.len() as i64, |point| {
            let member = &point.member;
            member.snapshot.check(data, member.snapshot.measurement(Of::Measurement))?;
            let total = Tensor::zeros([data.len() as i64], (Kind::Double, Device::Cpu));
            member.each_chunk(data, |from, chunk| {
                total.narrow(0, from, chunk.len() as i64).copy_(&point.own(Of::Measurement, chunk, self.options)?);
                Ok(())
            })?;
            Ok(total)
        })?;
        self.float(own)
    }

    /// The factors of the columns beside the lengths, so that they cancel: a score of a train example for itself, `own · factor`, is
    /// divided by `√own` as a row and by `√own · factor` as a column.
    fn self_lengths(&self) -> Result<Tensor> {
        let own = self.mean(self.train.len() as i64, Solved::own_of_train)?;
        let lengths = self.weighted(guarded(|| Ok(own.clamp_min(0.0).sqrt()))?)?;
        guarded(|| Ok(lengths.abs()))
    }

    fn train_lengths(&self) -> Result<Tensor> {
        // Checkpoints side by side, each with its weight of 1/C.
        let count = self.points.len() as f64;
        let squares = self.mean(self.train.len() as i64, Solved::squared_moves)?;
        let lengths = self.weighted(guarded(|| Ok((squares / count).sqrt()))?)?;
        guarded(|| Ok(lengths.abs()))
    }

    fn together(&self, test: &Dataset) -> Result<Tensor> {
        if self.threshold != Threshold::None {
            let matrix = self.matrix(test)?;
            return guarded(|| Ok(matrix.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)));
        }
        let sum = self.mean(self.train.len() as i64, |point| {
            let member = &point.member;
            member.snapshot.check(test, member.snapshot.measurement(Of::Measurement))?;
            Ok(point.scores(member.meet_together(Of::Measurement, test)?)?.squeeze_dim(0))
        })?;
        self.weighted(sum)
    }
}
