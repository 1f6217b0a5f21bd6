//! Lasso by coordinate descent on the examples in use, for all test examples side by side.
//!
//! Each round takes the products of all columns with the residuals of the unfinished test examples as one matrix product, brings in
//! the examples whose product is above λ, and solves for those in use. A test example is finished when no other wants in.

use tch::{Kind, Tensor};

use super::design::{Design, rows};
use super::ridge::mean;
use super::{Fit, active::Active};
use crate::error::{Error, Result};

const GRID: i64 = 20;
/// The last of the grid, as a share of the first.
const LEAST: f64 = 0.05;
/// A path goes down by no more than this at once.
const STEP: f64 = 0.7;
/// How far a product may be above λ, as a share of it.
const TOLERANCE: f64 = 1e-7;
const ROUNDS: usize = 500;

pub(super) struct Lasso {
    design: Design,
    /// Centred masks, `[subsets, n]`.
    x: Tensor,
    /// `[n_test, subsets]`, centred, row by row.
    values: Vec<f64>,
    mean_value: Tensor,
    n_test: usize,
}

impl Lasso {
    pub(super) fn new(masks: &Tensor, values: &Tensor) -> Result<Lasso> {
        let mean_value = mean(values);
        let centred = rows(&(values - &mean_value).transpose(0, 1))?;
        let n_test = values.size()[1] as usize;
        Ok(Lasso {
            design: Design::new(masks)?,
            x: masks - mean(masks),
            values: centred,
            mean_value: mean_value.squeeze_dim(0),
            n_test,
        })
    }

    /// `[grid, n_test]`, descending from the least λ at which all weights are zero.
    pub(super) fn grid(&self) -> Result<Tensor> {
        let all: Vec<usize> = (0..self.n_test).collect();
        let products = self.products(&self.values, &all)?;
        let first: Vec<f64> =
            products.chunks(self.design.n).map(|row| row.iter().fold(0.0, |top: f64, c| top.max(c.abs()))).collect();
        // Nothing to explain: any λ gives zero weights.
        let first: Vec<f64> = first.into_iter().map(|top| if top > 0.0 { top } else { 1.0 }).collect();
        let powers = Tensor::linspace(0.0, LEAST.log10(), GRID, (Kind::Double, self.mean_value.device()));
        Ok(Tensor::pow_scalar(10.0, &powers).unsqueeze(1) * Tensor::from_slice(&first).unsqueeze(0))
    }

    /// Sums of squared errors on other subsets along a descending grid, `[grid, n_test]`.
    pub(super) fn errors(&self, masks: &Tensor, values: &Tensor, grid: &Tensor) -> Result<Tensor> {
        let held = masks.size()[0] as usize;
        let inside = rows(&masks.transpose(0, 1))?; // [n, held]
        let wanted = rows(&(values - &self.mean_value).transpose(0, 1))?; // [n_test, held]
        let mut active = self.none_active();
        let mut errors = Vec::with_capacity(grid.numel());
        for row in 0..grid.size()[0] {
            self.descend(&rows(&grid.get(row))?, &mut active)?;
            for (active, wanted) in active.iter().zip(wanted.chunks(held)) {
                let mut residual = wanted.to_vec();
                for (j, weight) in active.weights() {
                    let column = &inside[j * held..(j + 1) * held];
                    residual.iter_mut().zip(column).for_each(|(r, inside)| *r -= weight * (inside - self.design.mean[j]));
                }
                errors.push(residual.iter().map(|r| r * r).sum::<f64>());
            }
        }
        Ok(Tensor::from_slice(&errors).view_as(grid))
    }

    /// With a λ for each test example, down a path that ends there.
    pub(super) fn solve(&self, lambda: &Tensor) -> Result<Fit> {
        let last = rows(lambda)?;
        let first = rows(&self.grid()?.get(0))?;
        let mut active = self.none_active();
        let farthest = first.iter().zip(&last).fold(1.0f64, |far, (first, last)| far.min(last / first));
        let steps = (farthest.ln() / STEP.ln()).ceil().max(1.0) as usize;
        for step in 1..=steps {
            let share = step as f64 / steps as f64;
            let between = |(first, last): (&f64, &f64)| first.max(*last) * (last / first.max(*last)).powf(share);
            self.descend(&first.iter().zip(&last).map(between).collect::<Vec<_>>(), &mut active)?;
        }
        let n = self.design.n;
        let mut weights = vec![0.0; self.n_test * n];
        for (row, active) in weights.chunks_mut(n).zip(&active) {
            active.weights().for_each(|(j, weight)| row[j] = weight);
        }
        let weights = Tensor::from_slice(&weights).view([self.n_test as i64, n as i64]);
        let intercepts = &self.mean_value - weights.matmul(&Tensor::from_slice(&self.design.mean));
        Ok(Fit { weights, intercepts })
    }

    fn none_active(&self) -> Vec<Active> {
        (0..self.n_test).map(|_| Active::default()).collect()
    }

    /// Solves at the λ of each test example, starting where it is.
    fn descend(&self, lambda: &[f64], active: &mut [Active]) -> Result<()> {
        let s = self.design.subsets;
        let mut unfinished: Vec<usize> = (0..self.n_test).collect();
        for _ in 0..ROUNDS {
            let mut residuals = Vec::with_capacity(unfinished.len() * s);
            for &test in &unfinished {
                let start = residuals.len();
                residuals.extend_from_slice(&self.values[test * s..(test + 1) * s]);
                active[test].weights().for_each(|(j, weight)| self.design.add(j, -weight, &mut residuals[start..]));
            }
            let products = self.products(&residuals, &unfinished)?;
            let left = self.meet(lambda, active, &unfinished, &products)?;
            if left.is_empty() {
                return Ok(());
            }
            unfinished = left;
        }
        let reason = format!("{} of {} test examples did not converge; raise λ", unfinished.len(), self.n_test);
        Err(Error::numerical("lasso", reason))
    }

    /// Brings in what wants in and solves, on every processor core; which test examples had something to do.
    fn meet(&self, lambda: &[f64], active: &mut [Active], unfinished: &[usize], products: &[f64]) -> Result<Vec<usize>> {
        let (design, n) = (&self.design, self.design.n);
        let mut wanted = vec![false; self.n_test];
        unfinished.iter().for_each(|&test| wanted[test] = true);
        let active = active.iter_mut().enumerate().filter(|(test, _)| wanted[*test]);
        let mut jobs: Vec<_> = active.zip(products.chunks(n)).collect();
        let part = jobs.len().div_ceil(tch::get_num_threads().max(1) as usize).max(1);
        let solve = |((test, active), products): &mut ((usize, &mut Active), &[f64])| {
            let above = lambda[*test] * (1.0 + TOLERANCE);
            let mut wanting: Vec<usize> = (0..n).filter(|&j| products[j].abs() > above).collect();
            // The strongest explain most of the others.
            wanting.sort_by(|&a, &b| products[b].abs().total_cmp(&products[a].abs()));
            Ok(active.meet(design, products, &wanting, lambda[*test], TOLERANCE)?.then_some(*test))
        };
        let found: Vec<Result<Vec<usize>>> = std::thread::scope(|scope| {
            let solve = &solve;
            let work =
                |jobs| scope.spawn(move || Iterator::filter_map(<[_]>::iter_mut(jobs), |job| solve(job).transpose()).collect());
            let workers: Vec<_> = jobs.chunks_mut(part).map(work).collect();
            let ended = |worker: std::thread::ScopedJoinHandle<'_, Result<Vec<usize>>>| {
                worker.join().unwrap_or_else(|_| Err(Error::numerical("lasso", "a thread panicked")))
            };
            workers.into_iter().map(ended).collect()
        });
        Ok(found.into_iter().collect::<Result<Vec<_>>>()?.concat())
    }

    /// Products of every column with these residuals, divided by the number of subsets, `[tests, n]`.
    fn products(&self, residuals: &[f64], tests: &[usize]) -> Result<Vec<f64>> {
        let s = self.design.subsets;
        let residuals = Tensor::from_slice(residuals).view([tests.len() as i64, s as i64]);
        rows(&(residuals.matmul(&self.x) / s as f64))
    }
}
