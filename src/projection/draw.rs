//! Fast random numbers that are a function of their position: any part of a matrix can be drawn, in any order, by any thread.

use std::f64::consts::TAU;
use std::thread;

use rand::RngCore;
use tch::{Kind, Tensor};

use crate::random::{Purpose, generator};

/// Numbers to draw in one thread before another is worth starting.
const SHARE: usize = 1 << 14;

/// An endless sequence with access by position (SplitMix64, whose state is a counter), keyed by ChaCha.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    key: u64,
}

impl Draw {
    /// The sequence of one member of an ensemble.
    pub fn new(seed: u64, member: u64) -> Draw {
        Draw { key: generator(seed, Purpose::Projection, member).next_u64() }
    }

    /// Another sequence for each use within a map.
    pub fn of(self, index: u64) -> Draw {
        Draw { key: mix(self.key ^ mix(index.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1))) }
    }

    /// 64 random bits.
    pub fn bits(self, position: u64) -> u64 {
        mix(self.key.wrapping_add(position.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// `count` of the positions `0..n`, sorted; all of them if there are fewer.
    pub fn sample(self, n: i64, count: i64) -> Tensor {
        let mut order: Vec<i64> = (0..n).collect();
        let count = count.min(n) as usize;
        for i in 0..count {
            let rest = (order.len() - i) as u128;
            order.swap(i, i + ((u128::from(self.bits(i as u64)) * rest) >> 64) as usize);
        }
        order.truncate(count);
        order.sort_unstable();
        Tensor::from_slice(&order)
    }

    /// For each of consecutive coordinates an output in `from..to`, with a random highest bit.
    pub fn places(self, from: u32, to: u32, places: &mut [u32]) {
        let count = u64::from(to - from);
        in_parts(places, 1, |first, part| {
            for (i, place) in part.iter_mut().enumerate() {
                let bits = self.bits((first + i) as u64);
                *place = (from + (((bits >> 32) * count) >> 32) as u32) | (bits as u32 & (1 << 31));
            }
        });
    }

    /// Signs at the positions `start..start + count`, as 1 and −1; `start` is a multiple of 64.
    pub fn signs(self, start: usize, count: usize) -> Tensor {
        debug_assert!(start.is_multiple_of(64));
        let patterns: Vec<[f32; 8]> = (0..256).map(|byte| std::array::from_fn(|i| [1.0, -1.0][byte >> i & 1])).collect();
        let mut signs = vec![0.0f32; count];
        in_parts(&mut signs, 64, |first, part| {
            for (i, word) in part.chunks_mut(64).enumerate() {
                let bytes = self.bits(((start + first) / 64 + i) as u64).to_le_bytes();
                for (eight, byte) in word.chunks_mut(8).zip(bytes) {
                    eight.copy_from_slice(&patterns[usize::from(byte)][..eight.len()]);
                }
            }
        });
        Tensor::from_slice(&signs)
    }

    /// Standard normal numbers at the positions `start..start + count`, by Box and Muller; `start` is even.
    pub fn normals(self, start: usize, count: usize) -> Tensor {
        debug_assert!(start.is_multiple_of(2));
        let mut words = vec![[0i32; 2]; count.div_ceil(2)];
        in_parts(&mut words, 1, |first, part| {
            for (i, pair) in part.iter_mut().enumerate() {
                let bits = self.bits((start / 2 + first + i) as u64);
                *pair = [(bits & 0x7FFF_FFFF) as i32, (bits >> 32) as u32 as i32];
            }
        });
        let words = Tensor::from_slice(words.as_flattened()).view([-1, 2]).to_kind(Kind::Float);
        let uniform = (words.select(1, 0) + 0.5) * (0.5f64.powi(31)); // in (0, 1], fine near 0
        let radius = (uniform.log() * -2.0).sqrt();
        let angle = words.select(1, 1) * (TAU * 0.5f64.powi(32));
        Tensor::stack(&[&radius * angle.cos(), &radius * angle.sin()], 1).view([-1]).narrow(0, 0, count as i64)
    }
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Fills a slice with as many threads as libtorch uses; each gets a multiple of `unit` numbers and the position of the first.
fn in_parts<T: Send>(numbers: &mut [T], unit: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
    let threads = tch::get_num_threads().max(1) as usize;
    let len = numbers.len().div_ceil(threads).max(SHARE).next_multiple_of(unit);
    if numbers.len() <= len {
        return fill(0, numbers);
    }
    thread::scope(|scope| {
        for (i, part) in numbers.chunks_mut(len).enumerate() {
            let fill = &fill;
            scope.spawn(move || fill(i * len, part));
        }
    });
}
