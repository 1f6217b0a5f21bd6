use polars::df;
use polars::prelude::DataFrame;

use super::evaluate::{Metric, Trial};
use crate::error::{Error, Result};
use crate::scores::Scores;
use crate::statistics::{Estimate, t_quantile};

/// Do different test examples get different proponents? The number of train examples among anyone's `k` strongest proponents, divided by
/// `k` and the number of test examples. Needs no retraining (Bareeva et al. 2024, quanda).
///
/// 1 means that no two test examples share a proponent, `1 / n_test` that all have the same. Compare it only over the same test examples:
/// it falls as they become more. Random scores have nearly the most.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::metric::TopCardinality;
/// let (train, test) = dataset::digits()?.split(60, 4, 0)?;
/// let same = Tensor::arange(60, (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu)).repeat([4, 1]);
/// let table = TopCardinality { k: 5 }.evaluate(&Scores::new(same, "same", &test, &train)?)?;
/// assert_eq!(table.column("value")?.f64()?.get(0), Some(0.25));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopCardinality {
    /// How many proponents of each test example.
    pub k: usize,
}

impl Default for TopCardinality {
    fn default() -> TopCardinality {
        TopCardinality { k: 10 }
    }
}

impl TopCardinality {
    /// One row. Columns: `method`, `metric`, `value`, `low`, `high` (a 95 % jackknife interval over test examples), `n`.
    ///
    /// Errors: [`Error::Data`] unless `k` is between 1 and the number of train examples.
    pub fn evaluate(&self, scores: &Scores) -> Result<DataFrame> {
        let found = self.share(scores)?;
        let name = self.name();
        Ok(df!(
            "method" => [scores.method()], "metric" => [name], "value" => [found.mean],
            "low" => [found.low], "high" => [found.high], "n" => [found.n as u32],
        )?)
    }

    fn share(&self, scores: &Scores) -> Result<Estimate> {
        if self.k == 0 || self.k > scores.n_train() {
            let expected = format!("1 to {} (the train examples)", scores.n_train());
            return Err(Error::option("TopCardinality.k", expected, self.k));
        }
        let m = scores.n_test();
        let tops = (0..m).map(|test| scores.top(test, self.k)).collect::<Result<Vec<_>>>()?;
        let mut times = vec![0usize; scores.n_train()];
        tops.iter().flatten().for_each(|&train| times[train] += 1);
        let unique = times.iter().filter(|&&times| times > 0).count() as f64;
        let mean = unique / (self.k * m) as f64;
        if m < 2 {
            return Ok(Estimate { mean, low: 0.0, high: 1.0, n: m });
        }
        // Without a test example those are gone that it alone named.
        let own = |top: &Vec<usize>| top.iter().filter(|&&train| times[train] == 1).count() as f64;
        let without: Vec<f64> = tops.iter().map(|top| (unique - own(top)) / (self.k * (m - 1)) as f64).collect();
        let centre = without.iter().sum::<f64>() / m as f64;
        let spread = without.iter().map(|w| (w - centre) * (w - centre)).sum::<f64>() * (m - 1) as f64 / m as f64;
        let reach = t_quantile(m - 1) * spread.sqrt();
        Ok(Estimate { mean, low: (mean - reach).max(0.0), high: (mean + reach).min(1.0), n: m })
    }
}

impl Metric for TopCardinality {
    fn name(&self) -> String {
        format!("top-{} cardinality", self.k)
    }

    fn estimate(&self, trial: &Trial<'_>) -> Result<Option<Estimate>> {
        self.share(trial.scores).map(Some)
    }
}
