//! Answers: as `SparseJl`, but reads only some of each gradient. Formula: `√(p/m) x[S] T`, a random mask to `m = multiplier · k`
//! coordinates, then a sparse JL map T `[m, k]` with one entry in each row.
//! Cost: n · m reads and additions, the m coordinates as those of `RandomMask`; 2 m numbers are kept. Where `m ≥ p` there is no mask, and this is `SparseJl`.
//! Defaults: multiplier 4 as in the paper.
//! Misleads: as `RandomMask` does for gradients that few coordinates dominate, by `√multiplier` less.
//! Reference: Hu et al. 2025, GraSS (arXiv:2505.18976).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::draw::Draw;
use super::random_mask::Mask;
use super::sparse::Table;
use super::{Part, Projection, Projector, check_dim, check_width};
use crate::error::{Error, Result, guarded};
use crate::gradient::{Gradients, Layout};

/// A random mask and a sparse Johnson-Lindenstrauss map after it.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(5)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let snapshot = task.snapshot(0)?;
/// let projector = projection::Grass { dim: 128, ..default() }.fit(snapshot.layout(), 0)?;
/// let short = projector.project(&snapshot.gradients(Of::Objective, &data)?)?;
/// assert_eq!(short.size(), [5, 128]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grass {
    /// `k`, length of a projected gradient.
    pub dim: i64,
    /// Coordinates that are read for each number of the result.
    pub multiplier: i64,
    /// Another seed gives another map.
    pub seed: u64,
}

impl Default for Grass {
    fn default() -> Grass {
        Grass { dim: 512, multiplier: 4, seed: 0 }
    }
}

impl Projection for Grass {
    fn name(&self) -> String {
        format!("GraSS, dim {}, multiplier {}, seed {}", self.dim, self.multiplier, self.seed)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> Result<Box<dyn Projector>> {
        check_dim("Grass.dim", self.dim, Table::output_bytes(layout.p()))?;
        if self.multiplier < 1 {
            return Err(Error::option("Grass.multiplier", "at least 1", self.multiplier));
        }
        let draw = Draw::new(self.seed, member);
        guarded(|| {
            let mask = Mask::new(layout.p(), self.dim.saturating_mul(self.multiplier), draw.of(0));
            let table = Table::new(mask.k(), self.dim, 1, draw.of(1));
            Ok(Box::new(Fitted { parts: Part::all(self.dim), p: layout.p(), mask, table }) as Box<dyn Projector>)
        })
    }
}

struct Fitted {
    parts: Vec<Part>,
    p: i64,
    mask: Mask,
    table: Table,
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> Result<Tensor> {
        check_width(rows, self.p)?;
        guarded(|| Ok(self.table.apply(&self.mask.apply(rows))))
    }

    fn project(&self, gradients: &Gradients) -> Result<Tensor> {
        let chosen = self.mask.of(gradients)?;
        guarded(|| Ok(self.table.apply(&chosen)))
    }
}
