use std::thread;

use super::flip::{MOST_EXACT, flipped};
use super::sign::p_of_signs;
use crate::error::{Error, Result};
use crate::statistics::distribution::{Student, two_sided_normal};

/// Pairs worked on together: their draws fit into a core's cache.
const BLOCK: usize = 1_024;

/// How to judge whether the mean of some draws of a score differs from zero.
///
/// ```
/// use ascribe::statistics::{Test, one_sample};
/// let (mut mean, mut std, mut p) = ([0.0], [0.0], [0.0]);
/// one_sample(&[&[1.0], &[2.0], &[3.0]], Test::T, &mut mean, &mut std, &mut p)?;
/// assert_eq!((mean, std), ([2.0], [1.0])); // t = 2 √3 with 2 degrees of freedom
/// assert!((p[0] - 0.074_18).abs() < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Test {
    /// Student's [`t_test`](super::t_test): for independent draws.
    #[default]
    T,
    /// [`z_ratio_p`](super::z_ratio_p), as the code of Nguyen, Seo and Oh (2023): no p-value of the mean.
    ZRatio,
    /// The exact [`sign_test`](super::sign_test).
    Sign,
    /// The [`sign_flip_test`](super::sign_flip_test): exact up to 20 draws, for 2^(n − 1) steps a pair.
    SignFlip {
        /// Choices of signs that are drawn where there are more than 20 draws.
        resamples: usize,
        /// Chooses them; each pair gets its own.
        seed: u64,
    },
}

/// Mean, standard deviation (divisor n − 1) and two-sided p-value of many pairs at once, on every core.
///
/// `draws` are n matrices of scores as slices, one number a pair; `mean`, `std` and `p` take one number a pair and are all the memory that
/// is used. Sums are in float64, of the draws and then of squared deviations. What is not defined is NaN: all three where a draw
/// is not finite; `p` alone where draws are all equal, so that `std` is 0 (for the signs: where all are 0).
///
/// Cost: two passes over the draws; for [`Test::T`] about n / 2 multiplications a pair besides.
///
/// Errors: [`Error::Shape`] for fewer than two draws or slices of different lengths; [`Error::Option`] for a [`Test::SignFlip`] that needs
/// resamples and has none.
///
/// ```
/// use ascribe::statistics::{Test, one_sample};
/// let (mut mean, mut std, mut p) = (vec![0.0; 2], vec![0.0; 2], vec![0.0; 2]);
/// one_sample(&[&[1.0, 5.0], &[2.0, 5.0], &[4.0, 5.0]], Test::T, &mut mean, &mut std, &mut p)?;
/// assert!((p[0] - 0.118_08).abs() < 1e-5 && mean[1] == 5.0 && std[1] == 0.0 && p[1].is_nan());
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn one_sample(draws: &[&[f32]], test: Test, mean: &mut [f32], std: &mut [f32], p: &mut [f32]) -> Result<()> {
    let (n, pairs) = (draws.len(), mean.len());
    if n < 2 {
        return Err(Error::shape("draws", "at least 2 matrices of scores", n));
    }
    let lengths = draws.iter().map(|draw| draw.len()).chain([std.len(), p.len()]);
    if let Some(other) = lengths.into_iter().find(|&length| length != pairs) {
        return Err(Error::shape("draws, mean, std and p", format!("{pairs} pairs each"), other));
    }
    let tail = Tail::of(test, n)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = pairs.div_ceil(cores).next_multiple_of(BLOCK).max(BLOCK);
    thread::scope(|scope| {
        let parts = mean.chunks_mut(share).zip(std.chunks_mut(share)).zip(p.chunks_mut(share));
        for (part, ((mean, std), p)) in parts.enumerate() {
            let tail = &tail;
            scope.spawn(move || {
                let blocks = mean.chunks_mut(BLOCK).zip(std.chunks_mut(BLOCK)).zip(p.chunks_mut(BLOCK));
                for (block, ((mean, std), p)) in blocks.enumerate() {
                    work(draws, part * share + block * BLOCK, tail, (mean, std, p));
                }
            });
        }
    });
    Ok(())
}

/// One block of pairs, the first of which is `start`.
fn work(draws: &[&[f32]], start: usize, tail: &Tail, (mean, std, p): (&mut [f32], &mut [f32], &mut [f32])) {
    let n = draws.len() as f64;
    let pairs = start..start + mean.len();
    let (mut sums, mut squares) = ([0.0f64; BLOCK], [0.0f64; BLOCK]);
    for draw in draws {
        sums.iter_mut().zip(&draw[pairs.clone()]).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    // The sum of equal float32 numbers has no rounding in float64, so their deviations are exactly 0.
    sums.iter_mut().for_each(|sum| *sum /= n);
    for draw in draws {
        for ((square, centre), &x) in squares.iter_mut().zip(&sums).zip(&draw[pairs.clone()]) {
            let deviation = f64::from(x) - centre;
            *square += deviation * deviation;
        }
    }
    let mut own = Vec::with_capacity(draws.len());
    for at in 0..mean.len() {
        let (centre, spread) = (sums[at], (squares[at] / (n - 1.0)).sqrt());
        if !spread.is_finite() {
            (mean[at], std[at], p[at]) = (f32::NAN, f32::NAN, f32::NAN);
            continue;
        }
        let tail = match tail {
            Tail::Moments(of) => (spread > 0.0).then(|| of(centre / spread)),
            Tail::Draws(of) => {
                own.clear();
                own.extend(draws.iter().map(|draw| f64::from(draw[start + at])));
                of(&own, start + at)
            }
        };
        (mean[at], std[at], p[at]) = (centre as f32, spread as f32, tail.map_or(f32::NAN, |p| p as f32));
    }
}

/// The p-value as a function of mean / std, or of the draws and the number of the pair.
enum Tail {
    Moments(Box<dyn Fn(f64) -> f64 + Sync>),
    Draws(OfDraws),
}

type OfDraws = Box<dyn Fn(&[f64], usize) -> Option<f64> + Sync>;

impl Tail {
    fn of(test: Test, n: usize) -> Result<Tail> {
        Ok(match test {
            Test::T => {
                let (student, root) = (Student::new(n - 1), (n as f64).sqrt());
                Tail::Moments(Box::new(move |ratio| student.p(ratio * root)))
            }
            Test::ZRatio => Tail::Moments(Box::new(two_sided_normal)),
            Test::Sign => {
                let p = |up: usize, down: usize| if up + down > 0 { p_of_signs(up, down) } else { f64::NAN };
                let table: Vec<Vec<f64>> = (0..=n).map(|up| (0..=n - up).map(|down| p(up, down)).collect()).collect();
                Tail::Draws(Box::new(move |draws, _| {
                    Some(table[draws.iter().filter(|&&x| x > 0.0).count()][draws.iter().filter(|&&x| x < 0.0).count()])
                }))
            }
            Test::SignFlip { resamples: 0, .. } if n > MOST_EXACT => {
                return Err(Error::option("Test::SignFlip.resamples", format!("at least 1 for {n} draws"), 0));
            }
            Test::SignFlip { resamples, seed } => {
                Tail::Draws(Box::new(move |draws, pair| Some(flipped(draws, resamples, seed, pair as u64)?.p)))
            }
        })
    }
}
