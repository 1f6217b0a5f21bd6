//! The scores of every damping from one Krylov space for each test example.
//!
//! Conjugate gradients look for `(H + λ)⁻¹ g` in `span{g, Hg, …, Hᵗ⁻¹g}`, which is the same space whatever λ. With an orthonormal basis `V` of it
//! (Lanczos) and `T = VᵀHV` `[t, t]`, what they reach after t iterations is `|g| V (T + λ)⁻¹ e₁`; so t products serve all dampings.

use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::Method;
use super::influence::Influence;
use crate::curvature::{ConjugateGradient, Damping, Precondition};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::stream::{batch_size, each_batch};
use crate::gradient::{Gradients, Operator};
use crate::progress::Progress;
use crate::scores::Scores;
use crate::snapshot::{Of, Snapshot, all_finite, finite};
use crate::task::Task;

/// Memory for the bases of the test examples treated together.
const BASIS_BYTES: i64 = 256 << 20;

/// A direction whose length is this much of its neighbour's is rounding: the space is closed.
const CLOSED: f64 = 1e-6;

/// The influence function by conjugate gradients for every damping at once; see [`ConjugateGradient::path`].
pub struct KrylovPath {
    options: ConjugateGradient,
    train: Dataset,
    points: Vec<(Rc<Snapshot>, Box<dyn Operator>)>,
}

impl ConjugateGradient {
    /// Fits for every damping at once: `damping` is not looked at, [`KrylovPath::score`] takes any number of them.
    ///
    /// Each test example has a Krylov space of its own (`shared` plays no part) of `iterations` products, kept orthogonal in full.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(100, 10, 0)?;
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 3, ..default() }, &train)?;
    /// let few = ConjugateGradient { iterations: 5, truncate: true, shared: false, ..default() };
    /// let dampings = [Damping::Absolute(1.0), Damping::Absolute(0.1)];
    /// let path = few.path(&task, &train)?.score(&test, &dampings)?;
    /// let alone = Influence::new(ConjugateGradient { damping: dampings[1], ..few }).fit(&task, &train)?.score(&test)?;
    /// let (a, b) = (path[1].get(2, 3)?, alone.get(2, 3)?);
    /// assert!((a - b).abs() < 1e-3 * b.abs());
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    ///
    /// Errors: [`Error::Option`]; a preconditioner would make the space another one for each damping.
    pub fn path(&self, task: &Task, train: &Dataset) -> Result<KrylovPath> {
        self.check()?;
        if self.precondition != Precondition::None {
            let expected = "None, as the Krylov space must not depend on the damping";
            return Err(Error::option("ConjugateGradient.precondition", expected, format!("{:?}", self.precondition)));
        }
        let points = (0..task.checkpoints().len().max(1)).map(|index| {
            let snapshot = Rc::new(task.snapshot(index)?);
            snapshot.check(train, snapshot.measurement(Of::Objective))?;
            let operator = self.matrix.operator(&snapshot, train)?;
            Ok((snapshot, operator))
        });
        Ok(KrylovPath { options: *self, train: train.clone(), points: points.collect::<Result<Vec<_>>>()? })
    }
}

/// The spaces of some gradients.
struct Krylov {
    /// `[k, t, p]`, orthonormal rows; zeros where a space is closed.
    basis: Tensor,
    /// `T`, float64 `[k, t, t]`; an identity where a space is closed.
    inside: Tensor,
    /// How long the next direction would have been, `[k]`.
    beyond: Tensor,
    /// `|g|`, `[k]`.
    lengths: Tensor,
}

impl KrylovPath {
    /// The scores that separate fits with these dampings would give, in their order.
    ///
    /// Cost: `iterations` products with H for each test example, and as many inner products with the train gradients.
    ///
    /// Errors: [`Error::Numerical`] where `H + λ` is not positive definite in a space, or a system did not converge and `truncate` is off.
    pub fn score(&self, test: &Dataset, dampings: &[Damping]) -> Result<Vec<Scores>> {
        let (m, n) = (test.len() as i64, self.train.len() as i64);
        let size = || Ok(Tensor::f_zeros([m, n], (Kind::Float, Device::Cpu))?);
        let totals = guarded(|| dampings.iter().map(|_| size()).collect::<Result<Vec<_>>>())?;
        let name = Influence::new(self.options).name();
        let mut progress = Progress::new(&format!("{name} scores"), (m * self.points.len() as i64) as u64);
        for (snapshot, operator) in &self.points {
            snapshot.check(test, snapshot.measurement(Of::Measurement))?;
            let lambdas = dampings.iter().map(|damping| damping.of("dampings", operator.as_ref())).collect::<Result<Vec<_>>>()?;
            let each = 4 * snapshot.p() * (self.options.iterations as i64 + 3);
            let many = (BASIS_BYTES / each).max(1);
            for from in (0..m).step_by(many as usize) {
                let positions: Vec<usize> = (from as usize..(from + many).min(m) as usize).collect();
                self.add(snapshot, operator.as_ref(), &test.select(&positions)?, &lambdas, from, &totals)?;
                progress.add(positions.len() as u64);
            }
        }
        progress.finish();
        let scores = totals.into_iter().zip(dampings).map(|(total, damping)| {
            let hint = "a score overflowed; look for very large weights or inputs";
            let mean = guarded(|| Ok(total / self.points.len() as f64))?;
            Scores::new(finite(&name, mean, hint)?, format!("{name}, {damping:?}"), test, &self.train)
        });
        scores.collect()
    }

    /// Adds the scores of some test examples at one checkpoint, whose first has row `from`.
    fn add(
        &self,
        snapshot: &Snapshot,
        operator: &dyn Operator,
        test: &Dataset,
        lambdas: &[f64],
        from: i64,
        totals: &[Tensor],
    ) -> Result<()> {
        let (inputs, targets) = test.slice(0, test.len() as i64);
        let gradients = guarded(|| Gradients::compute(snapshot, Of::Measurement, &inputs, &targets))?;
        let space = guarded(|| self.space(operator, gradients.dense()?))?;
        let solved = lambdas.iter().map(|&lambda| space.solve(lambda, &self.options)).collect::<Result<Vec<_>>>()?;
        let (k, t) = (space.basis.size()[0], space.basis.size()[1]);
        let rows = Gradients::of_rows_like(&space.basis.view([k * t, -1]), &gradients);
        each_batch(snapshot, Of::Objective, &self.train, batch_size(snapshot, &self.train, true)?.at_once, |start, batch| {
            let products = batch.gram(&rows)?; // [b, k · t]
            guarded(|| {
                let products = products.view([batch.n(), k, t]).permute([1, 0, 2]); // [k, b, t]
                for (solved, total) in solved.iter().zip(totals) {
                    let scores = products.matmul(&solved.unsqueeze(2)).squeeze_dim(2); // [k, b]
                    let _ = total.narrow(0, from, k).narrow(1, start, batch.n()).g_add_(&scores);
                }
                Ok(())
            })
        })
    }

    /// Lanczos' iteration for every row by itself, each new direction orthogonalised twice against all before.
    fn space(&self, operator: &dyn Operator, rows: Tensor) -> Result<Krylov> {
        let ([k, p], t) = ([rows.size()[0], rows.size()[1]], (self.options.iterations as i64).min(operator.p()));
        let (double, lengths) = ((Kind::Double, Device::Cpu), length(&rows));
        let (basis, inside) = (Tensor::zeros([k, t, p], (Kind::Float, Device::Cpu)), Tensor::eye(t, double).repeat([k, 1, 1]));
        let unit = |rows: &Tensor, lengths: &Tensor, open: &Tensor| {
            let inverse = open.to_kind(Kind::Double) / lengths.clamp_min(f64::MIN_POSITIVE);
            rows * inverse.to_kind(Kind::Float).unsqueeze(1)
        };
        let mut open = lengths.gt(0.0);
        let mut next = unit(&rows, &lengths, &open);
        let mut beyond = lengths.zeros_like();
        for j in 0..t {
            basis.select(1, j).copy_(&next);
            let product = operator.product(&next)?;
            if !all_finite(&product) {
                return Err(Error::numerical("conjugate gradients", "a product with the matrix is NaN or infinite"));
            }
            let (reach, known) = (length(&product), basis.narrow(1, 0, j + 1));
            let mut rest = product.unsqueeze(2); // [k, p, 1]
            let mut along = Tensor::zeros([k, j + 1, 1], (Kind::Float, Device::Cpu));
            for _ in 0..2 {
                let some = known.matmul(&rest);
                rest -= known.transpose(1, 2).matmul(&some);
                along += some;
            }
            let diagonal = along.select(1, j).squeeze_dim(1).to_kind(Kind::Double);
            inside.select(1, j).select(1, j).copy_(&diagonal.where_self(&open, &diagonal.ones_like()));
            let rest = rest.squeeze_dim(2);
            beyond = length(&rest);
            open = open.logical_and(&beyond.gt_tensor(&(reach * CLOSED)));
            beyond = &beyond * open.to_kind(Kind::Double);
            if j + 1 < t {
                inside.select(1, j).select(1, j + 1).copy_(&beyond);
                inside.select(1, j + 1).select(1, j).copy_(&beyond);
                next = unit(&rest, &beyond, &open);
            }
        }
        Ok(Krylov { basis, inside, beyond, lengths })
    }
}

impl Krylov {
    /// `|g| (T + λ)⁻¹ e₁`, `[k, t]`.
    fn solve(&self, damping: f64, options: &ConjugateGradient) -> Result<Tensor> {
        guarded(|| {
            let (values, vectors) = self.inside.linalg_eigh("L"); // [k, t], [k, t, t]
            let values = values + damping;
            let least = values.min().double_value(&[]);
            if least <= 0.0 {
                return Err(options.indefinite(least, damping));
            }
            let first = vectors.select(1, 0) / values; // [k, t]
            let solved = vectors.matmul(&first.unsqueeze(2)).squeeze_dim(2);
            // What a step more would have to undo.
            let last = solved.select(1, solved.size()[1] - 1).abs();
            let worst = (last * &self.beyond).max().double_value(&[]);
            if !options.truncate && worst > options.tolerance {
                return Err(options.unsolved(worst, damping));
            }
            Ok((solved * self.lengths.unsqueeze(1)).to_kind(Kind::Float))
        })
    }
}

/// Lengths of rows, float64 `[k]`.
fn length(rows: &Tensor) -> Tensor {
    rows.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double).sqrt()
}
