//! What is inverted for one checkpoint, and how much that takes.

use tch::Tensor;

use super::route::Route;
use crate::curvature::Damping;
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::projection::{Identity, Projection, Projector};
use crate::snapshot::Snapshot;

/// Consecutive features that share an inverse: `len × len` among themselves, or `n × n` among the examples.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub offset: i64,
    pub len: i64,
    pub route: Route,
}

impl Block {
    pub fn columns(&self, rows: &Tensor) -> Tensor {
        rows.narrow(1, self.offset, self.len)
    }
}

/// What a member is made of, before its features are computed.
pub(super) struct Plan {
    /// None where gradients stay factored; else with the name of the projection and what it was fitted with.
    pub projector: Option<(Box<dyn Projector>, String, u64)>,
    pub blocks: Vec<Block>,
}

impl Plan {
    /// Exact, unless there is a projection; nothing is inverted without a damping.
    pub fn of(
        snapshot: &Snapshot,
        train: &Dataset,
        projection: Option<&dyn Projection>,
        member: u64,
        damping: Option<Damping>,
    ) -> Result<Plan> {
        let n = train.len() as i64;
        let by_factors = match damping {
            Some(damping) => Route::of_exact(snapshot, train, damping)? == Route::Dual,
            None => true,
        };
        let identity: &dyn Projection = &Identity {};
        let (projection, member) = match projection {
            Some(projection) => (projection, member),
            None if !by_factors => (identity, 0),
            None => {
                let blocks = vec![Block { offset: 0, len: snapshot.p(), route: Route::Dual }];
                return Ok(Plan { projector: None, blocks });
            }
        };
        let projector = guarded(|| projection.fit(snapshot.layout(), member))?;
        let route = |k: i64| if damping.is_some() { Route::of(n, k) } else { Route::Primal };
        let parts = projector.parts().iter();
        let blocks = parts.map(|part| Block { offset: part.offset, len: part.len, route: route(part.len) }).collect();
        Ok(Plan { projector: Some((projector, projection.name(), member)), blocks })
    }

    /// Numbers in all matrices to invert.
    pub fn matrices(&self, n: i64) -> i64 {
        self.blocks.iter().map(|block| block.route.size(n, block.len).pow(2)).sum()
    }
}
