//! Which scores can be told from the noise of training.

use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::Posterior;
use super::frames::Table;
use super::pairs::Pair;
use crate::error::{Error, Result, guarded};
use crate::statistics::{Pi0, Student, benjamini_hochberg, bootstrap_mean, sign_flip_test, sign_test, storey, two_sided_normal};

/// How "this score is zero but for the noise" is tested. With `R` runs, `C` draws in each, and `τ̄_r` the mean over the draws of run r:
/// `μ` is the mean of `τ̄_r` over runs, `σ` their standard deviation (dividing by R − 1).
///
/// All p-values are two-sided. Where `σ = 0` none is defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    /// Student's `t = √R · μ / σ` with R − 1 degrees of freedom: of the mean score being zero.
    #[default]
    T,
    /// What the published code of Nguyen et al. computes: the normal tail of `μ / σ`, without √R. Not a test of the mean: it asks whether
    /// one *further run* would give a score as far from zero, and does not get smaller with more runs.
    Ratio,
    /// Student's t of all R · C draws as if they were independent, which those of one run are not: p-values are too small.
    AllDraws,
    /// The exact sign test: how many of the R runs agree about the sign. Needs six runs for p < 0.05.
    Sign,
    /// The permutation test that flips the signs of runs, exact up to 20 runs, else by 2¹⁶ draws of seed 0: no normality is assumed.
    SignFlip,
}

impl Test {
    /// For tables: `t over runs`.
    pub fn name(self) -> &'static str {
        match self {
            Test::T => "t over runs",
            Test::Ratio => "mean / std, as published",
            Test::AllDraws => "t over all draws",
            Test::Sign => "signs of runs",
            Test::SignFlip => "flipped signs of runs",
        }
    }

    fn needs_draws(self) -> bool {
        matches!(self, Test::Sign | Test::SignFlip)
    }
}

/// A test at work on so many runs with so many draws each.
pub(super) struct Tester {
    test: Test,
    runs: usize,
    steps: usize,
    student: Student,
}

impl Tester {
    fn new(test: Test, runs: usize, steps: usize) -> Tester {
        let freedom = if test == Test::AllDraws { runs * steps - 1 } else { runs - 1 };
        Tester { test, runs, steps, student: Student::new(freedom) }
    }

    /// Standard deviation, statistic and p of a pair; NaN where not defined.
    fn of(&self, pair: &Pair<'_>) -> [f64; 3] {
        let (runs, draws) = (self.runs as f64, (self.runs * self.steps) as f64);
        let variance = match self.test {
            Test::AllDraws => (pair.within + self.steps as f64 * pair.between) / (draws - 1.0),
            _ => pair.between / (runs - 1.0),
        };
        let std = variance.max(0.0).sqrt();
        // Equal draws may differ by the rounding of their sum.
        if std <= 1e-12 * pair.mean.abs() {
            return [0.0, f64::NAN, f64::NAN];
        }
        let ratio = pair.mean / std;
        let (statistic, p) = match self.test {
            Test::Ratio => (ratio, two_sided_normal(ratio)),
            Test::T => (ratio * runs.sqrt(), self.student.p(ratio * runs.sqrt())),
            Test::AllDraws => (ratio * draws.sqrt(), self.student.p(ratio * draws.sqrt())),
            Test::Sign => sign_test(pair.means).map_or((0.0, 1.0), |s| (s.positive as f64 - s.negative as f64, s.p)),
            Test::SignFlip => (pair.mean, sign_flip_test(pair.means, 1 << 16, 0).map_or(f64::NAN, |flipped| flipped.p)),
        };
        [std, statistic, p]
    }

    fn within(&self) -> bool {
        self.test == Test::AllDraws
    }
}

/// Mean, noise and p-value of every pair as matrices, `[n_test, n_train]`, float32; NaN where p is not defined.
pub struct Noise {
    /// Mean over runs.
    pub mean: Tensor,
    /// Standard deviation over runs ([`Test::AllDraws`]: over all draws).
    pub std: Tensor,
    /// Two-sided p-value; below 1e-45 it is 0.
    pub p: Tensor,
}

impl Posterior {
    /// Mean, noise and significance of every pair, one row each, test by test: `n_test · n_train` rows.
    ///
    /// Columns: `test`, `train` (example ids), `mean`, `std`, `snr` (mean / std), `t` (the statistic of the test: for signs how many more
    /// are positive than negative, for flipped signs the mean), `p`, and over all pairs of the table `q` (Benjamini & Hochberg 1995: of the
    /// pairs with q ≤ α at most a share α is expected to be noise) and `q_storey` (Storey 2002: the same times the estimated share of pairs
    /// that are noise). Null where all runs give the same score. Pairs of one test example depend on each other; Benjamini and Hochberg's q
    /// holds for positive dependence.
    ///
    /// Errors: [`Error::Data`] for fewer than two runs, or runs with different numbers of draws; [`Error::Unsupported`] for a test that needs
    /// draws of running moments.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// use ascribe::posterior::Test;
    /// let (train, test) = dataset::digits()?.split(40, 10, 0)?;
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &train)?;
    /// let mut posterior = Posterior::new();
    /// for seed in 0..10 {
    ///     // Scores that mean nothing: their p-values are uniform, so of 400 about 20 are below 0.05; hardly one survives.
    ///     posterior.add(seed, 0, &Random { seed: seed as u64 }.fit(&task, &train)?.score(&test)?)?;
    /// }
    /// let noise = posterior.noise(Test::T)?;
    /// let below = noise.column("p")?.f64()?.iter().flatten().filter(|p| *p < 0.05).count();
    /// assert!((8..36).contains(&below));
    /// assert!(posterior.reliable(Test::T, 0.05)?.height() < 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn noise(&self, test: Test) -> Result<DataFrame> {
        let [mean, std, t, p] = self.tested(test)?;
        let snr = mean.iter().zip(&std).map(|(mean, std)| if *std > 0.0 { mean / std } else { f64::NAN }).collect();
        let known = known(&p);
        let q_storey = storey(&known, Pi0::default()).map_or_else(|| vec![None; p.len()], |found| found.q);
        let (q, q_storey) = (numbers(benjamini_hochberg(&known)), numbers(q_storey));
        let mut table = Table::of_pairs(self)?;
        for (name, values) in [("mean", mean), ("std", std), ("snr", snr), ("t", t), ("p", p), ("q", q), ("q_storey", q_storey)] {
            table.push(name, values);
        }
        table.finish()
    }

    /// Mean, noise and p-value as three matrices, for data too large for a table; nothing else is held.
    ///
    /// Errors: those of [`Posterior::noise`].
    pub fn matrices(&self, test: Test) -> Result<Noise> {
        let (runs, tester) = self.ready(test)?;
        let [mean, std, p] = self.each(&runs, tester.within(), |pair| {
            let [std, _, p] = tester.of(pair);
            [pair.mean as f32, std as f32, p as f32]
        })?;
        let size = self.shape();
        let matrix = |values: Vec<f32>| guarded(|| Ok(Tensor::from_slice(&values).view(size)));
        Ok(Noise { mean: matrix(mean)?, std: matrix(std)?, p: matrix(p)? })
    }

    /// The pairs that survive: those whose Benjamini-Hochberg q is at most `alpha`, smallest p first.
    ///
    /// Columns: those of [`Posterior::noise`], then the metadata of both examples.
    ///
    /// Errors: those of [`Posterior::noise`]; [`Error::Option`] for `alpha` outside 0 to 1.
    pub fn reliable(&self, test: Test, alpha: f64) -> Result<DataFrame> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(Error::option("alpha", "0 to 1", alpha));
        }
        let [mean, std, t, p] = self.tested(test)?;
        let q = numbers(benjamini_hochberg(&known(&p)));
        let mut chosen: Vec<usize> = (0..p.len()).filter(|&at| q[at] <= alpha).collect();
        chosen.sort_by(|&a, &b| p[a].total_cmp(&p[b]).then(mean[b].abs().total_cmp(&mean[a].abs())));
        let mut table = Table::of_some(self, &chosen)?;
        let snr: Vec<f64> = mean.iter().zip(&std).map(|(mean, std)| mean / std).collect();
        for (name, values) in [("mean", mean), ("std", std), ("snr", snr), ("t", t), ("p", p), ("q", q)] {
            table.push(name, chosen.iter().map(|&at| values[at]).collect());
        }
        table.with_metadata(self, &chosen)
    }

    /// One row: how much of the scores is noise.
    ///
    /// Columns: `method`, `test` (which), `runs`, `draws` (in each run), `pairs` (with a p-value), `mean_p` with `mean_p_low` and
    /// `mean_p_high` (a 95 % bootstrap interval over test examples, 2,000 samples, seed 0: what other test examples would give, not other
    /// runs), `below` (share of pairs with p < 0.05), `reliable` (share with q ≤ 0.05 after Benjamini and Hochberg), `noise` (Storey's estimate of
    /// the share of pairs whose score is nothing but noise).
    ///
    /// Errors: those of [`Posterior::noise`].
    pub fn summary(&self, test: Test) -> Result<DataFrame> {
        let (runs, tester) = self.ready(test)?;
        let [p] = self.each(&runs, tester.within(), |pair| [tester.of(pair)[2]])?;
        let (_, n) = self.size();
        let means = p.chunks(n).filter_map(|row| {
            let known: Vec<f64> = row.iter().copied().filter(|p| !p.is_nan()).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        });
        let mean = bootstrap_mean(&means.collect::<Vec<_>>(), 2_000, 0);
        let p = known(&p);
        let pairs = p.iter().flatten().count();
        let share = |count: usize| (pairs > 0).then(|| count as f64 / pairs as f64);
        let below = share(p.iter().flatten().filter(|p| **p < 0.05).count());
        let reliable = share(benjamini_hochberg(&p).iter().flatten().filter(|q| **q <= 0.05).count());
        let noise = storey(&p, Pi0::default()).map(|found| found.pi0);
        Ok(polars::df!(
            "method" => [self.method()],
            "test" => [test.name()],
            "runs" => [tester.runs as u32],
            "draws" => [tester.steps as u32],
            "pairs" => [pairs as u32],
            "mean_p" => [mean.map(|e| e.mean)],
            "mean_p_low" => [mean.map(|e| e.low)],
            "mean_p_high" => [mean.map(|e| e.high)],
            "below" => [below],
            "reliable" => [reliable],
            "noise" => [noise],
        )?)
    }

    /// Mean, standard deviation, statistic and p of every pair.
    pub(super) fn tested(&self, test: Test) -> Result<[Vec<f64>; 4]> {
        let (runs, tester) = self.ready(test)?;
        self.each(&runs, tester.within(), |pair| {
            let [std, statistic, p] = tester.of(pair);
            [pair.mean, std, statistic, p]
        })
    }

    /// Draws of each run, and what tests them.
    fn ready(&self, test: Test) -> Result<(Vec<Vec<usize>>, Tester)> {
        self.about()?;
        if test.needs_draws() {
            self.kept(test.name())?;
        }
        let runs = self.balanced(2)?;
        let tester = Tester::new(test, runs.len(), runs[0].len());
        Ok((runs, tester))
    }
}

/// NaN is what is not defined.
fn known(p: &[f64]) -> Vec<Option<f64>> {
    p.iter().map(|p| (!p.is_nan()).then_some(*p)).collect()
}

fn numbers(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}
