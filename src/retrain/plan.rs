//! What retraining will take, before it is started.

use std::time::Instant;

use polars::prelude::DataFrame;

use super::retraining::Retraining;
use super::subsets::Subsets;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::plan;
use crate::task::Task;
use crate::train::{Keep, Trainer};

/// Subsets for each thread that are trained for an epoch: as many as a stack may hold.
const FEW: usize = 16;

impl Retraining {
    /// What [`run`](Retraining::run) will take, as [`Method::plan`](crate::method::Method::plan) tells it of a method; `gflops` is empty.
    ///
    /// Takes an epoch, or six where they are short, for the first few subsets, up to 16 for each thread, trained as all will be.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(200, 10, 0)?;
    /// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
    /// let halves = Subsets::fraction(&train, 0.5, 500, 0)?;
    /// let plan = Retraining::default().plan(&task, &train, &test, &halves)?;
    /// assert_eq!(plan.column("gradients")?.i64()?.get(0), Some(500 * 20 * 100)); // subsets, epochs, examples
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan(&self, task: &Task, train: &Dataset, test: &Dataset, subsets: &Subsets) -> Result<DataFrame> {
        let sizes = subsets.sizes()?;
        let threads = self.threads.unwrap_or_else(|| tch::get_num_threads().max(1) as usize);
        let count = sizes.len().min(FEW * threads.max(1));
        let few = subsets.select(&(0..count).collect::<Vec<_>>())?;
        let epochs = |epochs: usize| -> Result<f64> {
            let trainer = Trainer { epochs, keep: Keep::Last, ..self.trainer.clone() };
            let short = Retraining { trainer, runs: 1, keep_checkpoints: false, cache: None, ..self.clone() };
            let begun = Instant::now();
            short.run(task, train, test, &few)?;
            Ok(begun.elapsed().as_secs_f64())
        };
        // The first one pays for what the next find ready. Where epochs are short, what is done once counts apart.
        let first = epochs(1)?;
        let (once, each) = match first < 1.0 {
            true => {
                let (one, four) = (epochs(1)?, epochs(4)?);
                let each = ((four - one) / 3.0).max(0.0);
                ((one - each).max(0.0), each)
            }
            false => (0.0, first),
        };
        let sum = |sizes: &[usize]| sizes.iter().sum::<usize>() as f64;
        let times = (self.trainer.epochs * self.runs) as f64;
        let p: usize = if self.keep_checkpoints { crate::snapshot::Snapshot::fresh(task, 0)?.p() as usize } else { 0 };
        let file = |size: &usize| (8 * size + 4 * test.len() + 4 * p + 1024) * self.runs;
        let bytes: usize = sizes.iter().map(file).sum();
        let disk = if self.cache.is_some() { bytes as f64 } else { 0.0 };
        let kept = if self.keep_checkpoints { (4 * p * sizes.len() * self.runs) as f64 } else { 0.0 };
        let row = plan::Row {
            part: "train",
            gradients: Some(times * sum(&sizes)),
            flops: None,
            seconds: (once + each * self.trainer.epochs as f64) * self.runs as f64 * sum(&sizes) / sum(&sizes[..count]).max(1.0),
            memory: kept + (4 * sizes.len() * self.runs * test.len()) as f64,
            disk,
            cheaper: Some("keep_checkpoints: false"),
        };
        plan::table(&[row])
    }
}
