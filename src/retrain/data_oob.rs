//! Answers: do networks that never saw an example agree with its label? Low values are suspects for wrong labels.
//! Formula: `value(z_j) = mean { m(z_j; θ_S) : j ∉ S }`, with the train examples as the test examples of a [`Retrained`].
//! Parts: measurements only; with 0 or 1 for a right answer it is out-of-bag accuracy, with a log-likelihood out-of-sample loss.
//! Cost: sums over `[subsets, n]`. Defaults: none.
//! Misleads: a value of agreement, not of usefulness: rare but right examples look like wrong ones. Subsets here are drawn without
//! repetition, where bagging draws with it.
//! Reference: Kwon and Zou 2023, section 3 (arXiv 2304.07718).

use tch::{Kind, Tensor};

use super::retrained::Retrained;
use super::valuation::Valuation;
use crate::error::{Error, Result, guarded};

/// Out-of-bag values of the train examples.
///
/// ```
/// use ascribe::prelude::*;
/// let train = dataset::digits()?.head(60)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).with_measurement(Margin);
/// let trainer = Trainer { epochs: 10, learning_rate: 0.01, ..default() };
/// let subsets = Subsets::fraction(&train, 0.6, 12, 0)?;
/// // The train examples are what is measured; `Retrained::measured_on` does the same for networks already trained.
/// let truth = Retraining { trainer, ..default() }.run(&task, &train, &train, &subsets)?;
/// let values = DataOob::of(&truth)?;
/// assert_eq!(values.frame()?.height(), 60);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataOob;

impl DataOob {
    /// Values of every train example, larger is better; standard errors over subsets.
    ///
    /// Errors: [`Error::Data`] unless the train examples were measured, or naming one that is in every subset.
    pub fn of(retrained: &Retrained) -> Result<Valuation> {
        let subsets = retrained.subsets();
        let (tests, trains) = (retrained.side(), subsets.side());
        if tests.examples()? != trains.examples()? || tests.digests != trains.digests {
            let reason = "expected measurements of the train examples; see Retrained::measured_on";
            return Err(Error::data("retrained", reason));
        }
        let values = retrained.mean()?;
        let ids = trains.examples()?;
        guarded(|| {
            let outside = subsets.masks().logical_not().to_kind(Kind::Double);
            let total = |numbers: Tensor| numbers.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>);
            let counts = total(outside.shallow_clone());
            if let Some(always) = Vec::<f64>::try_from(&counts)?.iter().position(|count| *count == 0.0) {
                let reason = format!("it is in each of the {} subsets: no network has not seen it", subsets.len());
                return Err(Error::data(format!("train example {}", ids[always]), reason));
            }
            let mean = total(&values * &outside) / &counts;
            let spread = total((values - &mean).square() * outside);
            let errors = (spread / (&counts * (&counts - 1.0))).sqrt();
            Ok(Valuation::new(mean, errors, subsets.train(), "Data-OOB"))
        })
    }
}
