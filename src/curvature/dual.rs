//! The empirical Fisher matrix inverted among the examples instead of among the parameters.

use std::rc::Rc;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::explicit::Factored;
use super::train_side::TrainSide;
use super::{Damping, Preconditioner, check_finite_rows};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::{Gradients, Layout};
use crate::snapshot::Snapshot;

/// `((1/n) GᵀG + λ)⁻¹` through the kernel `K = G Gᵀ` `[n, n]` of train gradients, which is smaller where n < p.
///
/// `(GᵀG/n + λ)⁻¹ v = (1/λ) [v − Gᵀ (K + nλ)⁻¹ G v]` (Woodbury), and scores against the train examples are `n X (K + nλ)⁻¹` with
/// `X = Q Gᵀ` `[m, n]`: inner products of gradients suffice, and nothing of size p is formed.
pub(super) struct Dual {
    train: TrainSide,
    lambda: f64,
    /// Of `K + nλ`, float64.
    factor: Factored,
    layout: Arc<Layout>,
}

impl Dual {
    pub fn fit(snapshot: &Rc<Snapshot>, train: &Dataset, damping: Damping) -> Result<Dual> {
        damping.positive("Explicit.damping")?;
        let train = TrainSide::new(snapshot, train)?;
        let n = train.n();
        let kernel = Tensor::zeros([n, n], (Kind::Double, Device::Cpu));
        train.each_pair(|(row, rows), (column, columns)| {
            let tile = rows.gram(columns)?;
            let part = |r: i64, h: i64, c: i64, w: i64| kernel.narrow(0, r, h).narrow(1, c, w);
            part(row, rows.n(), column, columns.n()).copy_(&tile);
            part(column, columns.n(), row, rows.n()).copy_(&tile.transpose(0, 1));
            Ok(())
        })?;
        guarded(|| {
            let (n, p) = (n as f64, snapshot.p());
            let trace = || Ok(kernel.diagonal(0, 0, 1).sum(Kind::Double).double_value(&[]) / n / p as f64);
            let lambda = damping.value("Explicit.damping", trace)?;
            let factor = Factored::new(kernel, n * lambda)?;
            Ok(Dual { train, lambda, factor, layout: snapshot.layout().clone() })
        })
    }

    /// `Q Gᵀ`, `[m, n]`.
    fn products(&self, test: &Gradients) -> Result<Tensor> {
        self.layout.check_same("gradients", test.layout())?;
        let x = Tensor::empty([test.n(), self.train.n()], (Kind::Float, Device::Cpu));
        self.train.each(|start, gradients| {
            x.narrow(1, start, gradients.n()).copy_(&test.gram(gradients)?);
            Ok(())
        })?;
        Ok(x)
    }
}

impl Preconditioner for Dual {
    fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        check_finite_rows(rows, self.layout.p())?;
        let x = Tensor::empty([self.train.n(), rows.size()[0]], (Kind::Float, Device::Cpu));
        self.train.each(|start, gradients| {
            x.narrow(0, start, gradients.n()).copy_(&gradients.dot(rows)?);
            Ok(())
        })?;
        let y = self.factor.apply(&x.transpose(0, 1))?.transpose(0, 1);
        let mut rest = rows.copy();
        self.train.each(|start, gradients| {
            let _ = rest.g_sub_(&gradients.combine(&y.narrow(0, start, gradients.n()))?);
            Ok(())
        })?;
        guarded(|| Ok(rest.g_div_scalar_(self.lambda)))
    }

    fn scores_directly(&self, _: i64) -> bool {
        true
    }

    fn scores(&self, test: &Gradients) -> Result<Tensor> {
        let solved = self.factor.apply(&self.products(test)?)?;
        guarded(|| Ok(solved * self.train.n() as f64))
    }

    fn quadratic_of(&self, gradients: &Gradients) -> Result<Tensor> {
        let (squares, explained) =
            (gradients.norms()?.square(), guarded(|| Ok(self.factor.squares(&self.products(gradients)?)))?);
        guarded(|| {
            let values = (squares.to_kind(Kind::Double) - explained) / self.lambda;
            // Gradients are float32: below this, what is left of the difference is their rounding.
            let rounding = squares.to_kind(Kind::Double) * (1e-6 / self.lambda);
            match values.lt_tensor(&rounding).logical_and(&squares.gt(0.0)).any().int64_value(&[]) {
                0 => Ok(values.to_kind(Kind::Float)),
                _ => Err(Error::numerical(
                    "the empirical Fisher matrix",
                    format!(
                        "a gradient's share outside the train gradients is lost in rounding; raise the damping ({:.1e})",
                        self.lambda
                    ),
                )),
            }
        })
    }

    /// With `A = (K + nλ)⁻¹`: `n (1 − nλ A_ii)` and `n √(A_ii − nλ (A²)_ii)`, in float64.
    fn of_train(&self) -> Result<Option<(Tensor, Tensor)>> {
        guarded(|| {
            let n = self.train.n() as f64;
            let (diagonal, squares) = self.factor.inverse_diagonals();
            let own: Tensor = (&diagonal * (-n * self.lambda) + 1.0) * n;
            let lengths = (diagonal - squares * (n * self.lambda)).clamp_min(0.0).sqrt() * n;
            Ok(Some((own.clamp_min(0.0).to_kind(Kind::Float), lengths.to_kind(Kind::Float))))
        })
    }

    fn keeps_factors(&self) -> bool {
        true
    }
}
