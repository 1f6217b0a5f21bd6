//! Gradients of a whole dataset, batch by batch, in bounded memory.

use super::Gradients;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::snapshot::{Of, Snapshot};

/// Bytes a batch of recorded inputs, outputs and their gradients may take.
const BATCH_BYTES: i64 = 48 << 20;

/// How many examples to record at once. Scores do not depend on it: sums are over one example's own numbers.
///
/// `formed` says that each example's dense gradient will be formed too.
pub(crate) fn batch_size(snapshot: &Snapshot, data: &Dataset, formed: bool) -> Result<i64> {
    guarded(|| {
        let (outputs, records) = snapshot.record(&data.slice(0, 1).0);
        let layer = |r: &crate::model::Record| {
            // Convolutions are unfolded: one input number becomes up to kernel² numbers.
            let unfold = r.weight.size().iter().skip(2).product::<i64>();
            r.input.numel() as i64 * unfold + 3 * r.output.numel() as i64
        };
        let recorded: i64 = records.iter().map(layer).sum::<i64>() + 2 * outputs.numel() as i64;
        let dense = if formed { 2 * snapshot.p() } else { 0 };
        Ok((BATCH_BYTES / (4 * (recorded + dense).max(1))).clamp(1, 2048))
    })
}

/// Calls `each` with the position of the first example and the gradients of every batch, in order.
pub(crate) fn each_batch(
    snapshot: &Snapshot,
    of: Of,
    data: &Dataset,
    size: i64,
    mut each: impl FnMut(i64, Gradients) -> Result<()>,
) -> Result<()> {
    let n = data.len() as i64;
    let mut start = 0;
    while start < n {
        let end = (start + size).min(n);
        let (inputs, targets) = data.slice(start, end);
        each(start, guarded(|| Gradients::compute(snapshot, of, &inputs, &targets))?)?;
        start = end;
    }
    Ok(())
}
