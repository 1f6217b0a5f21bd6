//! Gradients of a whole dataset, batch by batch, in bounded memory.

use super::Gradients;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::model::Record;
use crate::snapshot::{Of, Snapshot};

/// Bytes a batch of recorded inputs, outputs and their gradients may take.
const BATCH_BYTES: i64 = 48 << 20;

/// How much of a dataset to treat at once. Scores do not depend on it: sums are over one example's own numbers.
pub(crate) struct Room {
    /// Examples to record at once.
    pub at_once: i64,
    /// Bytes that the gradients of one example occupy while they are held.
    pub held: i64,
}

/// Measures one example. `formed` says that dense gradients will be made of the batch.
pub(crate) fn batch_size(snapshot: &Snapshot, data: &Dataset, formed: bool) -> Result<Room> {
    guarded(|| {
        let (inputs, _) = data.slice(0, (data.len() as i64).min(2));
        let taped = snapshot.taped(&inputs)?;
        let (outputs, records) = snapshot.record(&inputs.narrow(0, 0, 1));
        let kept = |r: &Record| {
            // Convolutions are unfolded: one input number becomes up to kernel² numbers.
            r.input.numel() as i64 * r.weight.size().iter().skip(2).product::<i64>() + r.output.numel() as i64
        };
        let factors = records.iter().map(kept).sum::<i64>() + outputs.numel() as i64;
        let passing = factors + 2 * records.iter().map(|r| r.output.numel() as i64).sum::<i64>() + outputs.numel() as i64;
        let held = if taped && !formed { factors } else { snapshot.p() };
        let working = match (taped, formed) {
            (true, false) => passing,
            (true, true) => passing + 2 * snapshot.p(),
            (false, _) => passing + 3 * snapshot.p(),
        };
        let most = if taped { 2048 } else { 256 };
        Ok(Room { at_once: (BATCH_BYTES / (4 * working.max(1))).clamp(1, most), held: 4 * held.max(1) })
    })
}

/// Calls `each` with the position of the first example and the gradients of every batch, in order: recorded ones where the snapshot has
/// them, else computed.
pub(crate) fn each_batch(
    snapshot: &Snapshot,
    of: Of,
    data: &Dataset,
    size: i64,
    mut each: impl FnMut(i64, Gradients) -> Result<()>,
) -> Result<()> {
    let n = data.len() as i64;
    let stored = snapshot.stored(of, data);
    let mut start = 0;
    while start < n {
        let mut end = (start + size).min(n);
        let gradients = match &stored {
            Some(stored) => {
                end = stored.end(start, end);
                stored.read(start, end)?
            }
            None => {
                let (inputs, targets) = data.slice(start, end);
                guarded(|| Gradients::compute(snapshot, of, &inputs, &targets))?
            }
        };
        each(start, gradients)?;
        start = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor, nn};

    use super::each_batch;
    use crate::prelude::*;

    /// A model with a convolution, a table of positions outside the batch, and a sequence.
    #[test]
    fn batch_size_changes_nothing() {
        let n = 8;
        let values: Vec<f32> = (0..n * 16).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
        let targets: Vec<i64> = (0..n).map(|i| i % 3).collect();
        let data = Dataset::new(Tensor::from_slice(&values).view([n, 1, 4, 4]), Tensor::from_slice(&targets)).unwrap();
        for positions in [false, true] {
            let task = Task::new(move |p: &nn::Path| {
                let conv = layer::conv2d(p / "conv", 1, 4, 3, Default::default());
                let table = layer::embedding(p / "table", 4, 4);
                let last = layer::linear(p / "last", 4, 3);
                move |x: &Tensor, tape: &mut Tape| {
                    let steps = tape.conv2d("conv", &conv, x).tanh().flatten(2, -1).transpose(1, 2); // [n, 4, 4]
                    let index = Tensor::arange(4, (Kind::Int64, tch::Device::Cpu));
                    let index = if positions { index } else { index.expand([x.size()[0], 4], false) };
                    let hidden = (steps + tape.embedding("table", &table, &index)).tanh();
                    tape.linear("last", &last, &hidden.mean_dim([1i64].as_slice(), false, None::<Kind>))
                }
            });
            let task = task.train(&Trainer { epochs: 2, ..default() }, &data).unwrap();
            let snapshot = task.snapshot(0).unwrap();
            let rows = |size: i64| {
                let mut parts = Vec::new();
                let keep = |_: i64, g: Gradients| {
                    parts.push(g.dense()?);
                    Ok(())
                };
                each_batch(&snapshot, Of::Objective, &data, size, keep).unwrap();
                Tensor::cat(&parts, 0)
            };
            let alone = rows(1);
            for size in [2, 3, 4, 8] {
                let apart = (rows(size) - &alone).abs().max().double_value(&[]);
                assert!(apart < 1e-6, "batches of {size}: {apart:.1e}");
            }
        }
    }
}
