use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the learning rate moves over a run, as a factor of its peak.
///
/// With progress `u` from 0 at the first step to (almost) 1 at the last:
///
/// ```
/// use ascribe::train::Schedule;
/// assert_eq!(Schedule::Constant.factor(7, 10), 1.0);
/// assert_eq!(Schedule::Linear.factor(5, 10), 0.5);
/// assert!((Schedule::Cosine.factor(5, 10) - 0.5).abs() < 1e-12);
/// let cycle = Schedule::OneCycle { peak: 0.2 };
/// assert_eq!((cycle.factor(1, 10), cycle.factor(2, 10), cycle.factor(6, 10)), (0.5, 1.0, 0.5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields stand in each variant's formula
pub enum Schedule {
    /// 1.
    Constant,
    /// 1 − u.
    Linear,
    /// (1 + cos πu) / 2.
    Cosine,
    /// A triangle: rises to 1 at `u = peak`, then falls to 0. TRAK and the similarity baseline train with `peak = 5/24`.
    OneCycle { peak: f64 },
}

impl Schedule {
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Schedule::OneCycle { peak } if !(*peak > 0.0 && *peak < 1.0) => {
                Err(Error::option("Schedule::OneCycle.peak", "a share of the run, between 0 and 1", peak))
            }
            _ => Ok(()),
        }
    }

    /// Factor for step `step` (from 0) of `total`.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        let u = step as f64 / total.max(1) as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - u,
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * u).cos()),
            Schedule::OneCycle { peak } if u < *peak => u / peak,
            Schedule::OneCycle { peak } => (1.0 - u) / (1.0 - peak),
        }
    }
}
