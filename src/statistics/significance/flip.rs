use rand::Rng;

use crate::random::{self, Purpose};

/// Every sign of so many numbers is tried; of more, some at random.
pub(super) const MOST_EXACT: usize = 20;

/// What a permutation test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Permuted {
    /// Two-sided p-value.
    pub p: f64,
    /// Arrangements looked at, the one that was observed among them.
    pub arrangements: usize,
    /// Whether these were all there are, so that `p` is exact.
    pub exact: bool,
}

/// The sign-flip test of numbers that are symmetric about zero: the share of all choices of signs whose sum is at least as far from zero
/// as the sum observed.
///
/// Up to 20 numbers every choice is looked at (each differs from the one before by one sign, in the order of Gray's code), so `p` is
/// exact and a multiple of `2^(1 − n)`: no n below 6 can reach 0.05. Of more, `resamples` choices are drawn as a function of `seed` and
/// `p = (1 + hits) / (1 + resamples)`, which is valid and never 0. Unlike the t-test it supposes no normal distribution, unlike the sign
/// test it looks at sizes. `None` for no number, one that is not finite, or no resamples where some are needed.
///
/// ```
/// let found = ascribe::statistics::sign_flip_test(&[1.0, 2.0, 3.0, -0.5], 0, 0);
/// // Of 16 choices the sums 5.5, 6.5 and their opposites are at least as far out.
/// assert!(found.is_some_and(|f| f.exact && f.p == 4.0 / 16.0));
/// ```
pub fn sign_flip_test(draws: &[f64], resamples: usize, seed: u64) -> Option<Permuted> {
    flipped(draws, resamples, seed, 0)
}

/// The same with draws of a stream's own.
pub(super) fn flipped(draws: &[f64], resamples: usize, seed: u64, index: u64) -> Option<Permuted> {
    let largest = draws.iter().fold(0.0f64, |largest, draw| largest.max(draw.abs()));
    if draws.is_empty() || draws.iter().any(|draw| !draw.is_finite()) {
        return None;
    }
    // Scaled, so that no sum overflows; signs and ties stay.
    let sizes: Vec<f64> = draws.iter().map(|draw| if largest > 0.0 { draw / largest } else { 0.0 }).collect();
    let whole: f64 = sizes.iter().map(|size| size.abs()).sum();
    // Sums that are equal but for rounding count as equal.
    let bound = sizes.iter().sum::<f64>().abs() - 1e-12 * whole;
    if draws.len() <= MOST_EXACT {
        let (hits, arrangements) = every(&sizes, bound);
        return Some(Permuted { p: hits as f64 / arrangements as f64, arrangements: 2 * arrangements, exact: true });
    }
    let mut stream = random::generator(seed, Purpose::SignFlip, index);
    let mut hit = || {
        let sum: f64 = sizes
            .chunks(64)
            .map(|some| {
                let bits: u64 = stream.r#gen();
                some.iter().enumerate().map(|(at, size)| if bits >> at & 1 == 1 { *size } else { -size }).sum::<f64>()
            })
            .sum();
        sum.abs() >= bound
    };
    let hits = (0..resamples).filter(|_| hit()).count();
    let arrangements = resamples + 1;
    (resamples > 0).then(|| Permuted { p: (hits + 1) as f64 / arrangements as f64, arrangements, exact: false })
}

/// How many choices of signs reach the bound, and of how many: the first sign stays, since opposites are equally far out.
fn every(sizes: &[f64], bound: f64) -> (usize, usize) {
    let free = sizes.len() - 1;
    let (low, high) = (free.min(10), free.saturating_sub(10));
    let mut hits = 0;
    // The upper signs anew for each round, so that rounding does not pile up.
    for upper in 0..1usize << high {
        let sign = |at: usize| if at > low && upper >> (at - 1 - low) & 1 == 1 { -1.0 } else { 1.0 };
        let mut signed: Vec<f64> = sizes.iter().enumerate().map(|(at, size)| sign(at) * size).collect();
        let mut sum: f64 = signed.iter().sum();
        hits += usize::from(sum.abs() >= bound);
        for step in 1..1usize << low {
            let at = step.trailing_zeros() as usize + 1;
            sum -= 2.0 * signed[at];
            signed[at] = -signed[at];
            hits += usize::from(sum.abs() >= bound);
        }
    }
    (hits, 1 << free)
}
