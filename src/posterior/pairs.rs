//! Pair by pair through all draws, block by block, on every core.

use std::sync::{Mutex, PoisonError};

use super::{Posterior, Values};
use crate::error::Result;

/// Pairs in a block: their sums stay in the cache of a core.
const BLOCK: usize = 2048;

/// What is known of one pair.
pub(super) struct Pair<'a> {
    /// Mean over runs of the mean over the draws of a run.
    pub(super) mean: f64,
    /// Summed squares of the runs' means about it.
    pub(super) between: f64,
    /// Summed squares of the draws about the means of their runs; 0 unless asked for.
    pub(super) within: f64,
    /// The runs' means; empty for running moments.
    pub(super) means: &'a [f64],
}

impl Posterior {
    /// `K` numbers of each pair, test by test; `within` asks for the spread within runs.
    pub(super) fn each<E: Copy + Default + Send, const K: usize>(
        &self,
        runs: &[Vec<usize>],
        within: bool,
        work: impl Fn(&Pair<'_>) -> [E; K] + Sync,
    ) -> Result<[Vec<E>; K]> {
        let (m, n) = self.size();
        let mut found: [Vec<E>; K] = std::array::from_fn(|_| vec![E::default(); m * n]);
        let mut parts = found.each_mut().map(|all| all.chunks_mut(BLOCK));
        let blocks = (0..(m * n).div_ceil(BLOCK)).map(|block| (block * BLOCK, parts.each_mut().map(|part| part.next())));
        let blocks = Mutex::new(blocks.collect::<Vec<_>>().into_iter());
        let threads = (tch::get_num_threads().max(1) as usize).min((m * n).div_ceil(BLOCK));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut room = Room::new(runs.len());
                    loop {
                        // Not held while the block is worked on.
                        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some((start, mut parts)) = next else { break };
                        let length = parts[0].as_ref().map_or(0, |part| part.len());
                        self.block(runs, within, start, length, &mut room);
                        for at in 0..length {
                            let numbers = work(&self.pair(&mut room, start, at));
                            for (part, number) in parts.iter_mut().flatten().zip(numbers) {
                                part[at] = number;
                            }
                        }
                    }
                });
            }
        });
        Ok(found)
    }

    /// Sums over the draws of each run, and squares within.
    fn block(&self, runs: &[Vec<usize>], within: bool, start: usize, length: usize, room: &mut Room) {
        let Values::Kept(kept) = &self.values else { return };
        room.within.fill(0.0);
        for (run, draws) in runs.iter().enumerate() {
            let means = &mut room.means[run * BLOCK..run * BLOCK + length];
            means.fill(0.0);
            let share = 1.0 / draws.len() as f64;
            for &draw in draws {
                means.iter_mut().zip(&kept[draw][start..start + length]).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            if draws.len() > 1 {
                means.iter_mut().for_each(|sum| *sum *= share);
            }
            for &draw in draws.iter().filter(|_| within && draws.len() > 1) {
                let values = &kept[draw][start..start + length];
                for ((square, &value), mean) in room.within.iter_mut().zip(values).zip(means.iter()) {
                    *square += (f64::from(value) - mean) * (f64::from(value) - mean);
                }
            }
        }
    }

    fn pair<'a>(&self, room: &'a mut Room, start: usize, at: usize) -> Pair<'a> {
        if let Values::Moments(moments) = &self.values {
            let (mean, between, within) = moments.of(start + at);
            return Pair { mean, between, within, means: &[] };
        }
        let runs = room.own.len();
        let mut mean = 0.0;
        for run in 0..runs {
            room.own[run] = room.means[run * BLOCK + at];
            mean += room.own[run];
        }
        mean /= runs as f64;
        let between = room.own.iter().map(|own| (own - mean) * (own - mean)).sum();
        Pair { mean, between, within: room.within[at], means: &room.own }
    }
}

/// Of one thread.
struct Room {
    /// Run by run.
    means: Vec<f64>,
    within: Vec<f64>,
    own: Vec<f64>,
}

impl Room {
    fn new(runs: usize) -> Room {
        Room { means: vec![0.0; runs * BLOCK], within: vec![0.0; BLOCK], own: vec![0.0; runs] }
    }
}
