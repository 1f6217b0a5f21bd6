//! What measurements of classes share: sums over the positions whose target counts.

use tch::{Kind, Tensor};

use super::IGNORED;
use crate::error::{Error, Result};

/// The entry of the target class in the last dimension; of class 0 where the target is ignored.
pub(super) fn pick(values: &Tensor, targets: &Tensor) -> Tensor {
    values.gather(-1, &targets.clamp_min(0).unsqueeze(-1), false).squeeze_dim(-1)
}

pub(super) fn ones(targets: &Tensor) -> Tensor {
    Tensor::ones([targets.size().first().copied().unwrap_or(0)], (Kind::Float, targets.device()))
}

/// `1 − p(target)`, `[n]`: over the classes that are not the target, so that it keeps its digits where p rounds to 1.
pub(super) fn doubt(outputs: &Tensor, targets: &Tensor) -> Tensor {
    let own = targets.clamp_min(0).unsqueeze(-1);
    let others =
        outputs.softmax(-1, None::<Kind>).scatter_value(-1, &own, 0.0).sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>);
    let counted = sum_positions(&targets.not_equal(IGNORED).to_kind(others.kind()));
    sum_counted(&others, targets) / counted.clamp_min(1.0)
}

/// `[n, ...] → [n]` over the targets that are not ignored.
pub(super) fn sum_counted(values: &Tensor, targets: &Tensor) -> Tensor {
    sum_positions(&values.masked_fill(&targets.eq(IGNORED), 0.0))
}

/// `[n, ...] → [n]`.
pub(super) fn sum_positions(values: &Tensor) -> Tensor {
    match values.dim() {
        1 => values.shallow_clone(),
        _ => values.flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>),
    }
}

pub(super) fn shape(tensor: &Tensor) -> String {
    format!("{:?}", tensor.size())
}

/// Classes of positions, `[n, t]`, of which there must be some.
pub(super) fn check_sequences(targets: &Tensor, least: i64) -> Result<()> {
    let size = targets.size();
    if size.len() != 2 || size[1] < least {
        return Err(Error::shape("targets", format!("classes of positions, [n, t] with t at least {least}"), shape(targets)));
    }
    match targets.kind() {
        Kind::Int64 => Ok(()),
        kind => Err(Error::data("targets", format!("expected int64 class labels, got {kind:?}"))),
    }
}

/// Logits `[n, ..., classes]` against labels `[n, ...]` that lie within the classes or are ignored.
pub(super) fn check_classes(outputs: &Tensor, targets: &Tensor) -> Result<()> {
    let size = outputs.size();
    let Some((&classes, positions)) = size.split_last().filter(|(_, positions)| !positions.is_empty()) else {
        return Err(Error::shape("outputs", "[n, ..., classes]", shape(outputs)));
    };
    if targets.kind() != Kind::Int64 {
        return Err(Error::data("targets", format!("expected int64 class labels, got {:?}", targets.kind())));
    }
    // Outputs may come from a few examples only; every dimension but the first must agree.
    if targets.dim() != positions.len() || targets.size()[1..] != positions[1..] {
        return Err(Error::shape("targets", format!("{:?} to match outputs {:?}", positions, size), shape(targets)));
    }
    let counted = targets.masked_fill(&targets.eq(IGNORED), 0);
    let (low, high) = (counted.min().int64_value(&[]), counted.max().int64_value(&[]));
    if low < 0 || high >= classes {
        let got = if low < 0 { low } else { high };
        return Err(Error::data(
            "targets",
            format!("expected labels 0 to {} (the model has {classes} outputs) or {IGNORED}, got {got}", classes - 1),
        ));
    }
    Ok(())
}
