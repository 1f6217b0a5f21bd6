//! What an architecture and the numbers taken of it say on a few examples: tells those of equal names and shapes apart.

use serde::Serialize;
use tch::{Device, Kind, Tensor, no_grad};

use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::measurement::Measurement;
use crate::model::Tape;
use crate::snapshot::Snapshot;
use crate::task::Task;

/// Examples of each set.
const EXAMPLES: i64 = 8;
/// How far fresh weights are moved: fresh ones may be zero, and far ones reach where an activation or a limit bends.
const MOVES: [f64; 3] = [0.0, 0.03, 1.0];
/// Size of the made-up outputs that are measured.
const SCALES: [f64; 4] = [0.1, 1.0, 10.0, 100.0];
/// Sums that the outputs for an example are condensed to.
const SUMS: i64 = 2;

/// Vectors; a number that is not finite is stored as null.
#[derive(Serialize)]
pub(super) struct Probe {
    /// Weighted sums of the outputs at moved weights: while training, then on test examples.
    outputs: Vec<Vec<f64>>,
    objective: Vec<Vec<f64>>,
    measurement: Vec<Vec<f64>>,
}

impl Probe {
    pub(super) fn new(task: &Task, train: &Dataset, test: &Dataset) -> Result<Probe> {
        let (mut outputs, mut last) = (Vec::new(), Vec::new());
        for by in MOVES {
            let network = Snapshot::fresh(task, 0)?;
            for (data, mut tape) in [(train, Tape::training([0].into(), 0, None)), (test, Tape::off())] {
                let given = guarded(|| {
                    no_grad(|| {
                        if outputs.len() % 2 == 0 {
                            network
                                .parameters()
                                .iter()
                                .for_each(|p| drop(p.shallow_clone().g_add_(&(waves(&p.size()) * by).to_kind(p.kind()))));
                        }
                        let given = network.network().forward(&first(data).0, &mut tape);
                        let flat = given.to_kind(Kind::Double).reshape([given.size()[0], -1]);
                        let sums = flat.matmul(&waves(&[flat.size()[1], SUMS]));
                        outputs.push(Vec::try_from(&sums.reshape([-1]))?);
                        Ok(given)
                    })
                })?;
                last.push(given);
            }
        }
        // Those of slightly moved weights, which are not saturated.
        let objective = measured(task.objective.as_ref(), &last[2], &first(train).1);
        let measurement = measured(task.measurement.as_ref(), &last[3], &first(test).1);
        Ok(Probe { outputs, objective, measurement })
    }
}

/// Each number of the given outputs and of made-up ones; none where it cannot be taken.
fn measured(number: &dyn Measurement, given: &Tensor, targets: &Tensor) -> Vec<Vec<f64>> {
    let made_up = SCALES.iter().map(|&scale| (waves(&given.size()) * scale).to_kind(given.kind()));
    let outputs = std::iter::once(given.shallow_clone()).chain(made_up);
    let taken = |outputs: Tensor| {
        let values = guarded(|| no_grad(|| Ok(number.measure(&outputs, targets).to_kind(Kind::Double).reshape([-1]))));
        values.and_then(|values| Ok(Vec::try_from(&values)?)).unwrap_or_default()
    };
    outputs.map(taken).collect()
}

fn first(data: &Dataset) -> (Tensor, Tensor) {
    data.slice(0, EXAMPLES.min(data.len() as i64))
}

/// Numbers between −1 and 1 without a pattern that a network would share.
fn waves(size: &[i64]) -> Tensor {
    let count: i64 = size.iter().product();
    (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 2.399_963).cos().view(size)
}
