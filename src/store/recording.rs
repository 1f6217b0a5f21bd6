//! What to record.

use std::sync::Arc;

use super::Shard;
use crate::error::{Error, Result};
use crate::projection::Projection;
use crate::snapshot::Of;

/// In which form gradients are kept.
#[derive(Clone, Debug, Default)]
pub enum Kept {
    /// As the factors of each layer, input and output gradient: exact, and for wide layers a small part of the formed size.
    #[default]
    Factors,
    /// Formed, `[n, p]`: the columns of each layer one after another, weight then bias.
    Rows,
    /// Projected, `[n, k]`.
    Features(Arc<dyn Projection>),
}

impl Kept {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kept::Factors => "factors",
            Kept::Rows => "rows",
            Kept::Features(_) => "features",
        }
    }

    pub(super) fn projection(&self) -> Option<&Arc<dyn Projection>> {
        match self {
            Kept::Features(projection) => Some(projection),
            Kept::Factors | Kept::Rows => None,
        }
    }
}

/// What [`Store::record`](super::Store::record) records, how, and which share of it this job does.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Whose gradients.
    pub of: Of,
    /// In which form.
    pub keep: Kept,
    /// Numbers in float16: half the bytes. A number loses up to 1 part in 2048; below 6e-5 it loses more, and below 3e-8 it becomes 0, so
    /// that the gradients of examples which the model has learnt vanish. Ids and masks stay exact.
    pub half: bool,
    /// Examples in one part, which is what a killed job loses at most. `None`: whole batches as methods compute them, at least 1024
    /// examples or 256 MB; then scores from the store are those without it, bit by bit.
    pub part_rows: Option<usize>,
    /// This job's share.
    pub shard: Shard,
}

impl Default for Recording {
    fn default() -> Recording {
        Recording { of: Of::Objective, keep: Kept::Factors, half: false, part_rows: None, shard: Shard::whole() }
    }
}

impl Recording {
    pub(super) fn check(&self) -> Result<()> {
        if self.part_rows == Some(0) {
            return Err(Error::option("Recording.part_rows", "at least 1", 0));
        }
        self.shard.check()
    }
}
