//! Randomness as a value: every draw is a function of (seed, purpose, index), never of what was drawn before.

use std::f64::consts::TAU;

use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a draw is for; two purposes never share a stream, whatever their seed and index.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Split = 1,
    Order = 2,
    Dropout = 3,
    Control = 4,
    Flip = 5,
    Label = 6,
    Minibatch = 7,
    Start = 8,
    Bootstrap = 9,
    Projection = 10,
    Negatives = 11,
    Subset = 12,
    Retraining = 13,
    Swag = 14,
    Laplace = 15,
    Crossed = 16,
    Fold = 40,
    Permutation = 41,
    SignFlip = 42,
    Shuffle = 43,
    OrderByExample = 50,
    Duplicate = 60,
    NearDuplicate = 61,
    Noise = 62,
    Backdoor = 63,
    Shortcut = 64,
}

/// The generator of one (seed, purpose, index).
pub(crate) fn generator(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8] = purpose as u8;
    let mut generator = ChaCha8Rng::from_seed(key);
    generator.set_stream(index);
    generator
}

/// A uniformly random order of `0..n`.
pub(crate) fn permutation(n: usize, seed: u64, purpose: Purpose, index: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut generator(seed, purpose, index));
    order
}

/// Uniform numbers in [0, 1).
pub(crate) fn uniform(n: usize, seed: u64, purpose: Purpose, index: u64) -> Vec<f32> {
    let mut generator = generator(seed, purpose, index);
    (0..n).map(|_| generator.r#gen()).collect()
}

/// Standard normal numbers, by Box and Muller.
pub(crate) fn normal(n: usize, seed: u64, purpose: Purpose, index: u64) -> Vec<f64> {
    let mut generator = generator(seed, purpose, index);
    let pairs = (0..n.div_ceil(2)).flat_map(|_| {
        // 1 − u is above 0, so that its logarithm is finite.
        let (radius, angle) = ((-2.0 * (1.0 - generator.r#gen::<f64>()).ln()).sqrt(), TAU * generator.r#gen::<f64>());
        [radius * angle.cos(), radius * angle.sin()]
    });
    pairs.take(n).collect()
}

/// What dropout multiplies by: 0 where [`uniform`] numbers of the same draw lie below `p`, `kept` elsewhere.
pub(crate) fn dropped(n: usize, p: f64, kept: f32, seed: u64, purpose: Purpose, index: u64, into: &mut Vec<f32>) {
    let mut generator = generator(seed, purpose, index);
    // A uniform number is so many 2⁻²⁴ as the upper 24 bits say.
    let least = (f64::from(p as f32) * f64::from(1u32 << 24)).ceil() as u32;
    let mut bytes = [0u8; 4096];
    let mut left = n;
    while left > 0 {
        let some = &mut bytes[..4 * left.min(1024)];
        generator.fill_bytes(some);
        into.extend(some.chunks_exact(4).map(|word| {
            let above = u32::from_le_bytes([word[0], word[1], word[2], word[3]]) >> 8 >= least;
            if above { kept } else { 0.0 }
        }));
        left -= some.len() / 4;
    }
}

/// `count` of the positions `0..n` (all of them if there are fewer), each at most once.
pub(crate) fn sample(n: usize, count: usize, seed: u64, purpose: Purpose, index: u64) -> Vec<usize> {
    rand::seq::index::sample(&mut generator(seed, purpose, index), n, count.min(n)).into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_what_uniform_numbers_say() {
        for (n, p) in [(1, 0.5), (1024, 0.1), (5000, 0.25), (777, 1.0 / 3.0), (100, 0.0), (2050, 0.9999)] {
            let mut found = vec![9.0];
            dropped(n, p, 1.5, 7, Purpose::Dropout, 3, &mut found);
            let expected = uniform(n, 7, Purpose::Dropout, 3).into_iter().map(|draw| if draw >= p as f32 { 1.5 } else { 0.0 });
            assert_eq!(found, std::iter::once(9.0).chain(expected).collect::<Vec<_>>(), "{n}, {p}");
        }
    }
}
