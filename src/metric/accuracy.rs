use polars::df;
use polars::prelude::DataFrame;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::statistics::wilson;
use crate::task::Task;

/// Share of examples whose largest output is the label, with the last checkpoint, and a 95 % Wilson interval.
///
/// One row; columns: `data`, `n`, `accuracy`, `low`, `high`. Errors: as [`Task::accuracy`].
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 100, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer::default(), &train)?;
/// assert_eq!(metric::accuracy(&task, &test)?.height(), 1);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn accuracy(task: &Task, data: &Dataset) -> Result<DataFrame> {
    let (share, n) = (task.accuracy(data)?, data.len());
    let (low, high) = wilson((share * n as f64).round(), n as f64);
    Ok(df!("data" => [data.name()], "n" => [n as u32], "accuracy" => [share], "low" => [low], "high" => [high])?)
}
