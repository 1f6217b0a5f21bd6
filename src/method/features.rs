//! What a layer of the network is given: the features that methods without gradients compare.

use tch::{Kind, Tensor, no_grad};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::model::Record;
use crate::snapshot::Snapshot;

/// Examples that pass through the network at once.
const AT_ONCE: usize = 1024;

/// Input of a layer for each example, `[n, d]`, positions one after the other; of the last layer that the tape saw if not named.
pub(super) fn features(snapshot: &Snapshot, data: &Dataset, layer: Option<&str>) -> Result<Tensor> {
    guarded(|| {
        let mut parts = Vec::new();
        each_recorded(snapshot, data, |_, records| {
            parts.push(find(&records, layer)?.input.flatten(1, -1).to_kind(Kind::Float));
            Ok(())
        })?;
        Ok(Tensor::cat(&parts, 0))
    })
}

/// Calls `each` with the outputs of every batch and what its layers saw.
pub(super) fn each_recorded(
    snapshot: &Snapshot,
    data: &Dataset,
    mut each: impl FnMut(Tensor, Vec<Record>) -> Result<()>,
) -> Result<()> {
    for start in (0..data.len() as i64).step_by(AT_ONCE) {
        let (inputs, _) = data.slice(start, (start + AT_ONCE as i64).min(data.len() as i64));
        let (outputs, records) = no_grad(|| snapshot.record(&inputs));
        each(outputs, records)?;
    }
    Ok(())
}

/// The last use of a layer, by its whole name.
pub(super) fn find<'a>(records: &'a [Record], layer: Option<&str>) -> Result<&'a Record> {
    let found = match layer {
        Some(name) => records.iter().rfind(|r| r.name == name),
        None => records.last(),
    };
    found.ok_or_else(|| match layer {
        Some(name) => {
            let known: Vec<&str> = records.iter().map(|r| r.name.as_str()).collect();
            Error::layer(name, format!("the tape saw no such layer; it saw {}", known.join(", ")))
        }
        None => Error::layer("model", "the tape saw no layer, so there are no features; call layers through the tape"),
    })
}
