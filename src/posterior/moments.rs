//! Running means and variances over runs and over the draws within them.

/// For every pair, by Welford's recursion: squares are summed about the mean so far, so that nothing cancels.
#[derive(Clone, Default)]
pub(super) struct Moments {
    /// Runs that are complete.
    runs: f64,
    /// Draws of the run under way.
    steps: f64,
    /// Mean of the complete runs' means, and their summed squares about it.
    mean: Vec<f64>,
    between: Vec<f64>,
    /// Mean of the run under way.
    current: Vec<f64>,
    /// Summed squares of all draws about the means of their runs.
    within: Vec<f64>,
}

impl Moments {
    pub(super) fn add(&mut self, values: &[f32], new_run: bool) {
        if self.mean.is_empty() {
            for vector in [&mut self.mean, &mut self.between, &mut self.current, &mut self.within] {
                *vector = vec![0.0; values.len()];
            }
        }
        if new_run && self.steps > 0.0 {
            self.runs += 1.0;
            for ((mean, between), current) in self.mean.iter_mut().zip(&mut self.between).zip(&self.current) {
                (*mean, *between) = with_another(*mean, *between, *current, self.runs);
            }
        }
        self.steps = if new_run { 1.0 } else { self.steps + 1.0 };
        for ((current, within), &value) in self.current.iter_mut().zip(&mut self.within).zip(values) {
            let before = if new_run { 0.0 } else { *current };
            (*current, *within) = with_another(before, *within, f64::from(value), self.steps);
        }
    }

    /// Mean of the runs' means, their summed squares about it, and those of draws about the means of their runs.
    pub(super) fn of(&self, pair: usize) -> (f64, f64, f64) {
        let (mean, between) = with_another(self.mean[pair], self.between[pair], self.current[pair], self.runs + 1.0);
        (mean, between, self.within[pair])
    }
}

/// Mean and summed squares with the `count`-th value.
fn with_another(mean: f64, squares: f64, value: f64, count: f64) -> (f64, f64) {
    let apart = value - mean;
    let mean = mean + apart / count;
    (mean, squares + apart * (value - mean))
}
