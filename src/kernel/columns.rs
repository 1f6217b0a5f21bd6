//! What each train example's scores are multiplied by.

use tch::{Device, Kind, Tensor};

use super::member::Member;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::snapshot::Of;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Columns {
    Plain,
    /// Q: how fast the objective rises with the output, meaned over checkpoints.
    Residual,
    /// One over the root mean square length of the features over checkpoints.
    Length,
}

impl Columns {
    pub(super) fn sum(self, train: &Dataset) -> Sum {
        Sum { kind: self, total: Tensor::zeros([train.len() as i64], (Kind::Double, Device::Cpu)) }
    }
}

/// What the checkpoints so far add up to.
pub(super) struct Sum {
    kind: Columns,
    total: Tensor,
}

impl Sum {
    pub fn add(&mut self, member: &Member, train: &Dataset, options: &str) -> Result<()> {
        let values = match self.kind {
            Columns::Plain => return Ok(()),
            Columns::Length => member.squared_lengths()?,
            Columns::Residual => {
                let output = member.snapshot.measurement(Of::Objective);
                let outputs = member.snapshot.outputs(train)?;
                match guarded(|| Ok(output.residual(&outputs, train.targets())))? {
                    Some(residual) if residual.size() == self.total.size() => residual,
                    Some(residual) => {
                        let (expected, got) = (format!("{:?}", self.total.size()), format!("{:?}", residual.size()));
                        return Err(Error::shape(format!("residual of the {}", output.name()), expected, got));
                    }
                    None => {
                        let expected = format!("false, or an output with Measurement::residual ({} has none)", output.name());
                        return Err(Error::option(format!("{options}.weighting"), expected, true));
                    }
                }
            }
        };
        guarded(|| {
            let _ = self.total.g_add_(&values);
            Ok(())
        })
    }

    pub fn finish(self, count: usize) -> Result<Option<Tensor>> {
        guarded(|| {
            let mean = self.total / count as f64;
            Ok(match self.kind {
                Columns::Plain => None,
                Columns::Residual => Some(mean),
                Columns::Length => Some(mean.rsqrt().where_scalarother(&mean.gt(0.0), 0.0)),
            })
        })
    }
}
