//! Dropout that stays as it was drawn.

use tch::Tensor;

use crate::random::{self, Purpose};

/// One fixed choice of what dropout drops: the same numbers of every example, whatever the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Thinning {
    pub seed: u64,
    /// Position of the checkpoint among those of the task.
    pub checkpoint: usize,
    /// Which of the choices for it, below 2²⁴.
    pub draw: usize,
    /// What share to drop, instead of what the layers say.
    pub p: Option<f64>,
}

impl Thinning {
    /// What the numbers of one example are multiplied by at a call of dropout, `[1, ...]`; training with this seed draws
    /// elsewhere.
    pub(super) fn mask(self, call: usize, p: f64, x: &Tensor) -> Tensor {
        let mut size = x.size();
        size[0] = 1;
        let index = 1 << 63 | (self.checkpoint as u64) << 40 | (self.draw as u64) << 16 | call as u64;
        let draw = random::uniform(size.iter().product::<i64>() as usize, self.seed, Purpose::Dropout, index);
        Tensor::from_slice(&draw).view(size.as_slice()).ge(p).to_kind(x.kind()) / (1.0 - p)
    }
}
