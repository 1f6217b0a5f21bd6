//! Many minimisations side by side: quasi-Newton steps (L-BFGS) over one shared, factored curvature.

use tch::{Kind, Tensor};

use super::double::F64;
use crate::curvature::Preconditioner;
use crate::error::Result;

/// Pairs of steps and gradient changes kept: one example taken away changes the curvature by a matrix of a rank below the number
/// of outputs.
const PAIRS: usize = 10;
/// A step smaller than this share of a Newton step helps no more.
const LEAST_STEP: f64 = 1e-10;

/// Progress is slow where so many steps do not shorten the gradient to this share.
const WINDOW: usize = 5;
const SLOW: f64 = 0.3;

/// Values `[k]` and gradients `[k, p]` at `theta` `[k, p]`, whose rows are the minimisations of these numbers.
pub(super) type Loss<'a> = dyn Fn(&Tensor, &[usize]) -> Result<(Tensor, Tensor)> + 'a;

/// Where the minimisations start from, and when they end.
pub(super) struct Descent<'a> {
    pub(super) loss: &'a Loss<'a>,
    pub(super) preconditioner: &'a dyn Preconditioner,
    /// On the gradient's length.
    pub(super) tolerance: f64,
    /// At most so many evaluations.
    pub(super) steps: usize,
    /// Ends early where progress is slow: then a curvature from nearer by is worth its price.
    pub(super) impatient: bool,
}

/// What was reached.
pub(super) struct Reached {
    /// `[k, p]`
    pub(super) theta: Tensor,
    /// Evaluations after the first.
    pub(super) steps: usize,
    /// The longest gradient.
    pub(super) norm: f64,
    /// Whether no step along the direction lowered the value.
    pub(super) stuck: bool,
}

/// One minimisation per row.
struct Rows {
    active: Vec<usize>,
    theta: Tensor,
    value: Tensor,
    gradient: Tensor,
    /// Share of the next step, `[k, 1]`.
    share: Tensor,
    pairs: Vec<[Tensor; 3]>,
}

fn dot(a: &Tensor, b: &Tensor) -> Tensor {
    (a * b).sum_dim_intlist([1i64].as_slice(), true, None::<Kind>) // [k, 1]
}

impl Descent<'_> {
    /// Minimises every row of `start` `[k, p]`; the caller looks at the norm.
    pub(super) fn run(&self, start: &Tensor) -> Result<Reached> {
        let k = start.size()[0];
        let result = start.copy();
        let active: Vec<usize> = (0..k as usize).collect();
        let (value, gradient) = (self.loss)(start, &active)?;
        let share = Tensor::ones([k, 1], F64);
        let mut rows = Rows { active, theta: start.copy(), value: value.unsqueeze(1), gradient, share, pairs: Vec::new() };
        let (mut steps, mut checked) = (0, (0, rows.norms()?.first().copied().unwrap_or(0.0)));
        loop {
            let norms = rows.norms()?;
            let norm =
                norms.iter().fold(0.0, |longest: f64, norm| if norm.is_finite() { longest.max(*norm) } else { f64::INFINITY });
            let open: Vec<i64> = (0..norms.len() as i64).filter(|&row| norms[row as usize] > self.tolerance).collect();
            let stuck = rows.share.min().double_value(&[]) < LEAST_STEP;
            if open.is_empty() || steps == self.steps || stuck || !norm.is_finite() {
                rows.store(&result);
                return Ok(Reached { theta: result, steps, norm, stuck });
            }
            if self.impatient && steps == checked.0 + WINDOW {
                if norm > SLOW * checked.1 {
                    rows.store(&result);
                    return Ok(Reached { theta: result, steps, norm, stuck });
                }
                checked = (steps, norm);
            }
            if open.len() < rows.active.len() {
                rows.store(&result);
                rows.keep(&open);
            }
            self.step(&mut rows)?;
            steps += 1;
        }
    }

    /// One step of every row; a row whose step does not lower its value keeps its place and tries half of it next time.
    fn step(&self, rows: &mut Rows) -> Result<()> {
        let direction = self.direction(rows)?;
        let slope = dot(&rows.gradient, &direction);
        let trial = &rows.theta + &direction * &rows.share;
        let (value, gradient) = (self.loss)(&trial, &rows.active)?;
        let value = value.unsqueeze(1);
        let lower = value.le_tensor(&(&rows.value + &slope * &rows.share * 1e-4));
        // Near the minimum values differ by rounding only; there the gradient tells.
        let level = (&value - &rows.value).abs().le_tensor(&((rows.value.abs() + 1.0) * 1e-12));
        let shorter = dot(&gradient, &gradient).le_tensor(&(dot(&rows.gradient, &rows.gradient) * 2.0));
        let accepted = lower.logical_or(&level.logical_and(&shorter));
        let moved = (&trial - &rows.theta).where_scalarother(&accepted, 0.0);
        let change = (&gradient - &rows.gradient).where_scalarother(&accepted, 0.0);
        let product = dot(&moved, &change);
        let enough = (dot(&moved, &moved) * dot(&change, &change)).sqrt() * 1e-6;
        let scale = product.reciprocal().where_scalarother(&product.gt_tensor(&enough), 0.0);
        if rows.pairs.len() == PAIRS {
            drop(rows.pairs.remove(0));
        }
        rows.pairs.push([moved, change, scale]);
        rows.theta = trial.where_self(&accepted, &rows.theta);
        rows.value = value.where_self(&accepted, &rows.value);
        rows.gradient = gradient.where_self(&accepted, &rows.gradient);
        rows.share = rows.share.ones_like().where_self(&accepted, &(&rows.share * 0.5));
        Ok(())
    }

    /// The two loops of L-BFGS (Nocedal & Wright 2006, algorithm 7.4) about the factored curvature.
    fn direction(&self, rows: &Rows) -> Result<Tensor> {
        let mut q = rows.gradient.copy();
        let mut shares = Vec::with_capacity(rows.pairs.len());
        for [moved, change, scale] in rows.pairs.iter().rev() {
            let share = dot(moved, &q) * scale;
            q -= change * &share;
            shares.push(share);
        }
        let mut r = self.preconditioner.apply(&q.to_kind(Kind::Float))?.to_kind(Kind::Double);
        for ([moved, change, scale], share) in rows.pairs.iter().zip(shares.iter().rev()) {
            r += moved * (share - dot(change, &r) * scale);
        }
        Ok(-r)
    }
}

impl Rows {
    fn norms(&self) -> Result<Vec<f64>> {
        Ok(Vec::<f64>::try_from(dot(&self.gradient, &self.gradient).sqrt().squeeze_dim(1))?)
    }

    fn store(&self, result: &Tensor) {
        let index = Tensor::from_slice(&self.active.iter().map(|&row| row as i64).collect::<Vec<_>>());
        let _ = result.shallow_clone().index_copy_(0, &index, &self.theta);
    }

    /// Goes on with these rows only.
    fn keep(&mut self, open: &[i64]) {
        let index = Tensor::from_slice(open);
        let some = |tensor: &Tensor| tensor.index_select(0, &index);
        self.active = open.iter().map(|&row| self.active[row as usize]).collect();
        for tensor in [&mut self.theta, &mut self.value, &mut self.gradient, &mut self.share] {
            *tensor = some(tensor);
        }
        for pair in &mut self.pairs {
            *pair = [some(&pair[0]), some(&pair[1]), some(&pair[2])];
        }
    }
}
