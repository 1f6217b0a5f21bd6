use super::Correlation;
use super::linear::about;
use crate::statistics::Z;
use crate::statistics::distribution::two_sided_normal;

/// Up to so many pairs without ties the distribution of the number of pairs out of order is counted.
const MOST_EXACT: usize = 33;

/// Kendall's τ-b: the share of pairs in the same order less the share in the other, corrected for ties.
///
/// `None` for different lengths, fewer than two pairs, NaN, or where one side is constant. Cost: n log n (Knight 1966).
/// [`Coefficient::Kendall`](super::Coefficient) gives its interval and p-value too.
///
/// ```
/// let tau = ascribe::statistics::kendall(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]);
/// assert!(tau.is_some_and(|tau| (tau - 4.0 / 6.0).abs() < 1e-12)); // five pairs agree, one does not
/// ```
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    counts(x, y)?.tau()
}

/// τ-b with interval and p-value.
pub(super) fn judged(x: &[f64], y: &[f64]) -> Option<Correlation> {
    let counts = counts(x, y)?;
    let (value, n) = (counts.tau()?, counts.n);
    let interval = (n > 4).then(|| about(value, Z * (0.437 / (n as f64 - 4.0)).sqrt()));
    Some(Correlation { value, interval, p: Some(counts.p()), n })
}

/// Pairs of pairs by how they stand.
struct Counts {
    n: usize,
    x: Ties,
    y: Ties,
    tied_both: f64,
    /// Neither tied nor in the same order.
    swaps: f64,
}

/// Sums over runs of t equal numbers.
#[derive(Default)]
struct Ties {
    /// `t (t − 1) / 2`
    pairs: f64,
    /// `t (t − 1) (t − 2)`
    triples: f64,
    /// `t (t − 1) (2 t + 5)`
    weighted: f64,
}

impl Ties {
    fn of(runs: impl Iterator<Item = usize>) -> Ties {
        runs.map(|run| run as f64).filter(|&t| t > 1.0).fold(Ties::default(), |sum, t| {
            let two = t * (t - 1.0);
            let (triples, weighted) = (sum.triples + two * (t - 2.0), sum.weighted + two * (2.0 * t + 5.0));
            Ties { pairs: sum.pairs + two / 2.0, triples, weighted }
        })
    }
}

pub(super) fn counts_difference(x: &[f64], y: &[f64]) -> Option<f64> {
    Some(counts(x, y)?.difference())
}

fn counts(x: &[f64], y: &[f64]) -> Option<Counts> {
    let n = x.len();
    if n != y.len() || n < 2 || x.iter().chain(y).any(|value| value.is_nan()) {
        return None;
    }
    let mut pairs: Vec<(f64, f64)> = x.iter().zip(y).map(|(x, y)| (x + 0.0, y + 0.0)).collect();
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let ties_x = Ties::of(pairs.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len));
    let tied_both = Ties::of(pairs.chunk_by(|a, b| a == b).map(<[_]>::len)).pairs;
    let mut values: Vec<f64> = pairs.into_iter().map(|pair| pair.1).collect();
    let mut room = values.clone();
    let swaps = sort(&mut values, &mut room);
    let ties_y = Ties::of(values.chunk_by(|a, b| a == b).map(<[_]>::len));
    Some(Counts { n, x: ties_x, y: ties_y, tied_both, swaps })
}

impl Counts {
    fn all(&self) -> f64 {
        self.n as f64 * (self.n as f64 - 1.0) / 2.0
    }

    /// Pairs in the same order less those in the other.
    fn difference(&self) -> f64 {
        self.all() - self.x.pairs - self.y.pairs + self.tied_both - 2.0 * self.swaps
    }

    fn tau(&self) -> Option<f64> {
        let scale = ((self.all() - self.x.pairs) * (self.all() - self.y.pairs)).sqrt();
        (scale > 0.0).then(|| (self.difference() / scale).clamp(-1.0, 1.0))
    }

    fn p(&self) -> f64 {
        let fewer = self.swaps.min(self.all() - self.swaps);
        match self.x.pairs == 0.0 && self.y.pairs == 0.0 && (self.n <= MOST_EXACT || fewer <= 1.0) {
            true => exact(self.n, fewer as usize),
            false => self.normal(),
        }
    }

    /// By the normal distribution (Kendall 1970, chapter 5).
    fn normal(&self) -> f64 {
        let n = self.n as f64;
        let two = n * (n - 1.0);
        let plain = (two * (2.0 * n + 5.0) - self.x.weighted - self.y.weighted) / 18.0;
        let both = 2.0 * self.x.pairs * self.y.pairs / two;
        let triples = if n > 2.0 { self.x.triples * self.y.triples / (9.0 * two * (n - 2.0)) } else { 0.0 };
        two_sided_normal(self.difference() / (plain + both + triples).sqrt())
    }
}

/// Twice the share of all orders of n with at most `fewer` pairs out of order, which is below the middle.
fn exact(n: usize, fewer: usize) -> f64 {
    if 4 * fewer == n * (n - 1) {
        return 1.0;
    }
    // The share of orders of k by their number of pairs out of order, up to `fewer`: the k-th number has 0 to k − 1 above it.
    let mut shares = vec![0.0; fewer + 1];
    shares[0] = 1.0;
    for k in 2..=n {
        let mut sums = vec![0.0; fewer + 2];
        (0..=fewer).for_each(|at| sums[at + 1] = sums[at] + shares[at]);
        (0..=fewer).for_each(|at| shares[at] = (sums[at + 1] - sums[(at + 1).saturating_sub(k)]) / k as f64);
        if shares.iter().all(|&share| share == 0.0) {
            return 0.0;
        }
    }
    (2.0 * shares.iter().sum::<f64>()).min(1.0)
}

/// Merge sort; how many pairs stood in the wrong order.
fn sort(values: &mut [f64], room: &mut [f64]) -> f64 {
    let n = values.len();
    if n < 2 {
        return 0.0;
    }
    let half = n / 2;
    let mut swaps = sort(&mut values[..half], &mut room[..half]) + sort(&mut values[half..], &mut room[half..]);
    let (mut left, mut right) = (0, half);
    for place in room.iter_mut() {
        if right == n || (left < half && values[left] <= values[right]) {
            *place = values[left];
            left += 1;
        } else {
            *place = values[right];
            right += 1;
            swaps += (half - left) as f64;
        }
    }
    values.copy_from_slice(room);
    swaps
}
