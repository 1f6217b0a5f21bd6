//! The lasso of one test example on the train examples in use.

use super::design::Design;
use crate::error::{Error, Result};

/// Passes of coordinate descent before exact steps on the signs found.
const PASSES: usize = 4;
const MOST: usize = 500;
/// Train examples that come in at once.
const MOST_AT_ONCE: usize = 32;
/// Pivots below this share of their diagonal are rounding.
const SINGULAR: f64 = 1e-9;

/// Train examples in use and their weights.
#[derive(Default)]
pub(super) struct Active {
    columns: Vec<usize>,
    weights: Vec<f64>,
    /// Products of each of these columns with those up to it.
    gram: Vec<Vec<f64>>,
    /// λ of the last solution.
    lambda: f64,
}

impl Active {
    /// Weights that are not zero.
    pub(super) fn weights(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.columns.iter().copied().zip(self.weights.iter().copied()).filter(|(_, weight)| *weight != 0.0)
    }

    /// Takes in the first of what wants in and solves; false if nothing was to be done. `products` are those with the residual as it is.
    pub(super) fn meet(
        &mut self,
        design: &Design,
        products: &[f64],
        wanting: &[usize],
        lambda: f64,
        tolerance: f64,
    ) -> Result<bool> {
        if self.columns.len() > 2 * self.weights().count() + MOST_AT_ONCE {
            self.drop_unused();
        }
        let fresh: Vec<usize> = wanting.iter().copied().filter(|j| !self.columns.contains(j)).collect();
        if fresh.is_empty() && self.lambda == lambda {
            return Ok(false);
        }
        for j in fresh.into_iter().take(MOST_AT_ONCE) {
            self.columns.push(j);
            self.weights.push(0.0);
            self.gram.push(self.columns.iter().map(|&k| design.product(j, k)).collect());
        }
        self.lambda = lambda;
        let mut left: Vec<f64> = self.columns.iter().map(|&j| products[j]).collect();
        for _ in 0..MOST {
            (0..PASSES).for_each(|_| self.pass(&mut left, lambda));
            // To the best weights with the signs found; a weight that would change its sign stops there and becomes zero.
            while !self.settled(&left, lambda, tolerance) && self.step(&mut left, lambda) {}
            if self.settled(&left, lambda, tolerance) {
                return Ok(true);
            }
        }
        Err(Error::numerical("lasso", format!("coordinate descent did not settle at λ = {lambda:e}; raise λ")))
    }

    fn drop_unused(&mut self) {
        let kept: Vec<usize> = (0..self.columns.len()).filter(|&at| self.weights[at] != 0.0).collect();
        self.gram = kept.iter().map(|&a| kept.iter().filter(|&&b| b <= a).map(|&b| self.gram[a][b]).collect()).collect();
        self.columns = kept.iter().map(|&at| self.columns[at]).collect();
        self.weights = kept.iter().map(|&at| self.weights[at]).collect();
    }

    fn product(&self, a: usize, b: usize) -> f64 {
        if a >= b { self.gram[a][b] } else { self.gram[b][a] }
    }

    /// Moves one weight and what the residual still has along each column.
    fn shift(&mut self, at: usize, by: f64, left: &mut [f64]) {
        self.weights[at] += by;
        let (below, above) = left.split_at_mut(at + 1);
        below.iter_mut().zip(&self.gram[at]).for_each(|(left, product)| *left -= by * product);
        above.iter_mut().zip(&self.gram[at + 1..]).for_each(|(left, row)| *left -= by * row[at]);
    }

    /// Every weight once to its best given the others.
    fn pass(&mut self, left: &mut [f64], lambda: f64) {
        for at in 0..self.columns.len() {
            let (own, before) = (self.gram[at][at], self.weights[at]);
            let pull = left[at] + own * before;
            let best = if pull.abs() <= lambda { 0.0 } else { (pull - lambda.copysign(pull)) / own };
            if best != before {
                self.shift(at, best - before, left);
                self.weights[at] = best;
            }
        }
    }

    fn settled(&self, left: &[f64], lambda: f64, tolerance: f64) -> bool {
        left.iter().zip(&self.weights).all(|(left, weight)| match *weight == 0.0 {
            true => left.abs() <= lambda * (1.0 + tolerance),
            false => (left - lambda.copysign(*weight)).abs() <= lambda * tolerance,
        })
    }

    /// Goes to the best weights for the signs as they are, no further than where the first weight would change its sign; whether one
    /// did, so that there is another step to take.
    fn step(&mut self, left: &mut [f64], lambda: f64) -> bool {
        let some: Vec<usize> = (0..self.columns.len()).filter(|&at| self.weights[at] != 0.0).collect();
        let pull: Vec<f64> = some.iter().map(|&at| left[at] - lambda.copysign(self.weights[at])).collect();
        let rows = some.iter().map(|&a| some.iter().map(|&b| self.product(a, b)).collect()).collect();
        let (step, full) = match solve(rows, &pull) {
            Solved::Step(step) => (step, 1.0),
            // The columns depend on each other: the fit stays as it is while the weights get smaller, until one is zero.
            Solved::Null(step) => {
                let growth: f64 = step.iter().zip(&some).map(|(step, &at)| step * self.weights[at].signum()).sum();
                let turn = if growth > 0.0 { -1.0 } else { 1.0 };
                (step.into_iter().map(|step| step * turn).collect(), f64::INFINITY)
            }
        };
        let reach = |(&at, step): (&usize, &f64)| {
            let share = -self.weights[at] / step;
            (share > 0.0 && share < full).then_some((share, at))
        };
        let first = some.iter().zip(&step).filter_map(reach).min_by(|a, b| a.0.total_cmp(&b.0));
        let share = match first {
            Some((share, _)) => share,
            None if full == 1.0 => 1.0,
            None => return false,
        };
        for (&at, step) in some.iter().zip(&step) {
            self.shift(at, step * share, left);
        }
        if let Some((_, at)) = first {
            let rest = -self.weights[at];
            self.shift(at, rest, left);
            self.weights[at] = 0.0;
        }
        first.is_some()
    }
}

enum Solved {
    Step(Vec<f64>),
    /// A direction that the matrix maps to zero.
    Null(Vec<f64>),
}

/// Solves a positive semidefinite system by Cholesky's factor.
fn solve(mut rows: Vec<Vec<f64>>, right: &[f64]) -> Solved {
    let size = rows.len();
    for j in 0..size {
        let (above, below) = rows.split_at_mut(j);
        let row = &mut below[0];
        let own = row[j];
        for (k, earlier) in above.iter().enumerate() {
            row[k] = (row[k] - dot(&row[..k], &earlier[..k])) / earlier[k];
        }
        let rest = own - dot(&row[..j], &row[..j]);
        if rest <= SINGULAR * own {
            // This column is a sum of those before it, with the factor's solution as weights.
            let mut null = vec![0.0; size];
            null[j] = -1.0;
            null[..j].copy_from_slice(&back(above, row[..j].to_vec()));
            return Solved::Null(null);
        }
        row[j] = rest.sqrt();
    }
    let mut half = right.to_vec();
    for j in 0..size {
        half[j] = (half[j] - dot(&rows[j][..j], &half[..j])) / rows[j][j];
    }
    Solved::Step(back(&rows, half))
}

/// Solves `Lᵀ x = right` by rows of L.
fn back(rows: &[Vec<f64>], mut right: Vec<f64>) -> Vec<f64> {
    for j in (0..right.len()).rev() {
        right[j] /= rows[j][j];
        let (before, own) = (&rows[j][..j], right[j]);
        right[..j].iter_mut().zip(before).for_each(|(right, entry)| *right -= entry * own);
    }
    right
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
