use polars::df;
use polars::prelude::{DataFrame, IdxCa, IdxSize};
use tch::{Kind, Tensor};

use super::subsets::Subsets;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::scores::Side;
use crate::snapshot::{Of, Snapshot, all_finite};
use crate::task::Task;

/// What networks trained on subsets say about the test examples: the measurement, larger is better, `[subsets, runs, n_test]`.
///
/// Made by [`Retraining`](super::Retraining), or from numbers computed elsewhere.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 5, 0)?;
/// let subsets = Subsets::fraction(&train, 0.5, 3, 0)?;
/// let losses = Tensor::from_slice(&[0.5f32; 15]).view([3, 1, 5]);
/// let truth = Retrained::new(-losses, &subsets, &test)?;
/// assert_eq!(truth.mean()?.size(), [3, 5]);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Retrained {
    values: Tensor,
    subsets: Subsets,
    test: DataFrame,
    /// Digest of each.
    test_digests: Vec<i64>,
    measurement: String,
    checkpoints: Vec<Checkpoint>,
}

impl Clone for Retrained {
    fn clone(&self) -> Retrained {
        Retrained {
            values: self.values.shallow_clone(),
            subsets: self.subsets.clone(),
            test: self.test.clone(),
            test_digests: self.test_digests.clone(),
            measurement: self.measurement.clone(),
            checkpoints: self.checkpoints.clone(),
        }
    }
}

impl std::fmt::Debug for Retrained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (subsets, runs) = (self.subsets.len(), self.runs());
        let each = if runs == 1 { "1 run" } else { &format!("{runs} runs") };
        write!(f, "Retrained ({} of {} test examples, {subsets} subsets, {each} each)", self.measurement, self.n_test())
    }
}

impl Retrained {
    /// Measurements `[subsets, runs, n_test]` or `[subsets, n_test]`, larger is better: turn the sign of losses.
    ///
    /// Errors: [`Error::Shape`] for another shape; [`Error::Numerical`] if a number is not finite.
    pub fn new(values: Tensor, subsets: &Subsets, test: &Dataset) -> Result<Retrained> {
        let values = match values.dim() {
            2 => values.unsqueeze(1),
            _ => values,
        };
        let (size, m, n) = (values.size(), subsets.len() as i64, test.len() as i64);
        if size.len() != 3 || size[0] != m || size[1] == 0 || size[2] != n {
            return Err(Error::shape("retrained", format!("[{m}, runs, {n}]"), format!("{size:?}")));
        }
        let values = guarded(|| Ok(values.detach().to_kind(Kind::Float).contiguous()))?;
        if !all_finite(&values) {
            return Err(Error::numerical("retraining", "a measurement is NaN or infinite"));
        }
        let (test, test_digests) = (test.frame().clone(), test.digests()?);
        Ok(Retrained {
            values,
            subsets: subsets.clone(),
            test,
            test_digests,
            measurement: "measurement".into(),
            checkpoints: Vec::new(),
        })
    }

    pub(super) fn trained(mut self, measurement: String, checkpoints: Vec<Checkpoint>) -> Retrained {
        (self.measurement, self.checkpoints) = (measurement, checkpoints);
        self
    }

    /// `[subsets, runs, n_test]`, float32.
    pub fn tensor(&self) -> &Tensor {
        &self.values
    }

    /// The mean over runs, `[subsets, n_test]`, float64.
    pub fn mean(&self) -> Result<Tensor> {
        guarded(|| Ok(self.values.to_kind(Kind::Double).mean_dim([1i64].as_slice(), false, None::<Kind>)))
    }

    /// What the networks were trained on.
    pub fn subsets(&self) -> &Subsets {
        &self.subsets
    }

    /// Metadata of the test examples.
    pub fn test(&self) -> &DataFrame {
        &self.test
    }

    /// How many test examples.
    pub fn n_test(&self) -> usize {
        self.test.height()
    }

    /// Networks trained on each subset.
    pub fn runs(&self) -> usize {
        self.values.size()[1] as usize
    }

    /// The weights, subset by subset and run by run; empty unless they were to be kept.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The task with the weights of all these networks, each a run of its own: an ensemble for methods that average over models.
    ///
    /// Errors: [`Error::Checkpoint`] if weights were not kept.
    pub fn ensemble(&self, task: &Task) -> Result<Task> {
        match self.checkpoints.is_empty() {
            true => Err(Error::checkpoint("retrained", "its weights were not kept; set Retraining.keep_checkpoints")),
            false => task.clone().with_checkpoints(self.checkpoints.clone()),
        }
    }

    /// What the same networks say about other examples, by the task's measurement: the train examples, say, for
    /// [`DataOob`](super::DataOob).
    ///
    /// Errors: [`Error::Checkpoint`] if weights were not kept.
    pub fn measured_on(&self, task: &Task, data: &Dataset) -> Result<Retrained> {
        let ensemble = self.ensemble(task)?;
        let mut rows = Vec::with_capacity(self.checkpoints.len());
        for checkpoint in ensemble.checkpoints() {
            rows.push(Snapshot::new(&ensemble, checkpoint)?.measure(Of::Measurement, data)?);
        }
        let size = [self.subsets.len() as i64, self.runs() as i64, data.len() as i64];
        let values = guarded(|| Ok(Tensor::stack(&rows, 0).view(size)))?;
        Ok(Retrained::new(values, &self.subsets, data)?.trained(task.measurement.name(), self.checkpoints.clone()))
    }

    /// The first `count` subsets only.
    pub fn head(&self, count: usize) -> Result<Retrained> {
        let subsets = self.subsets.select(&(0..count).collect::<Vec<_>>())?;
        let mut head = self.clone();
        head.values = self.values.narrow(0, 0, count as i64);
        head.subsets = subsets;
        head.checkpoints.truncate(count * self.runs());
        Ok(head)
    }

    /// The first so many runs of every subset only.
    ///
    /// Errors: [`Error::Data`] unless there are as many, and at least one.
    pub fn first_runs(&self, runs: usize) -> Result<Retrained> {
        let all = self.runs();
        if runs == 0 || runs > all {
            return Err(Error::data("runs", format!("expected 1 to {all}, got {runs}")));
        }
        let mut first = self.clone();
        first.values = guarded(|| Ok(self.values.narrow(1, 0, runs as i64).contiguous()))?;
        first.checkpoints = self.checkpoints.chunks(all).flat_map(|subset| subset[..runs].iter().cloned()).collect();
        Ok(first)
    }

    /// The test examples at these positions only.
    ///
    /// Errors: [`Error::Data`] for no position or one outside.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(100, 5, 0)?;
    /// let subsets = Subsets::fraction(&train, 0.5, 2, 0)?;
    /// let values = Tensor::from_slice(&[0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]).view([2, 5]);
    /// let two = Retrained::new(values, &subsets, &test)?.select(&[4, 1])?;
    /// assert_eq!(Vec::<f32>::try_from(&two.tensor().get(1).get(0))?, [9.0, 6.0]);
    /// assert_eq!(two.test(), test.select(&[4, 1])?.frame());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select(&self, tests: &[usize]) -> Result<Retrained> {
        if tests.is_empty() {
            return Err(Error::data("test", "a selection needs at least one position, got none"));
        }
        if let Some(outside) = tests.iter().find(|&&at| at >= self.n_test()) {
            return Err(Error::data("test", format!("expected positions 0 to {}, got {outside}", self.n_test() - 1)));
        }
        let index: Vec<i64> = tests.iter().map(|&at| at as i64).collect();
        let rows = IdxCa::from_vec("".into(), tests.iter().map(|&at| at as IdxSize).collect());
        Ok(Retrained {
            values: guarded(|| Ok(self.values.index_select(2, &Tensor::from_slice(&index))))?,
            test: self.test.take(&rows)?,
            test_digests: tests.iter().map(|&at| self.test_digests[at]).collect(),
            ..self.clone()
        })
    }

    /// One row per subset, run and test example. Columns: `subset` (its number), `run`, `test` (example id), `value`.
    pub fn frame(&self) -> Result<DataFrame> {
        let tests: Vec<u32> = column(&self.test, "example")?.u32()?.into_no_null_iter().collect();
        let (runs, m) = (self.runs(), tests.len());
        let numbers = self.subsets.numbers();
        Ok(df!(
            "subset" => numbers.iter().flat_map(|&number| std::iter::repeat_n(number as u32, runs * m)).collect::<Vec<_>>(),
            "run" => numbers.iter().flat_map(|_| (0..runs as u32).flat_map(|run| std::iter::repeat_n(run, m))).collect::<Vec<_>>(),
            "test" => (0..numbers.len() * runs).flat_map(|_| tests.iter().copied()).collect::<Vec<_>>(),
            "value" => guarded(|| Ok(Vec::<f32>::try_from(&self.values.contiguous().view([-1]))?))?,
        )?)
    }

    /// The test examples, for comparison with those of scores.
    pub(crate) fn side(&self) -> Side<'_> {
        Side { frame: &self.test, digests: &self.test_digests }
    }
}
