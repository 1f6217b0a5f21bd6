/// Ranks from 1, smallest first; equal numbers share the average of their ranks. −0 equals 0; NaN comes last.
///
/// ```
/// assert_eq!(ascribe::statistics::ranks(&[0.5, -1.0, 0.5, 9.0]), [2.5, 1.0, 2.5, 4.0]);
/// ```
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order(values).chunk_by(|&a, &b| values[a as usize] == values[b as usize]) {
        let shared = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&at| ranks[at as usize] = shared);
        before += tied.len();
    }
    ranks
}

/// Places from the smallest up, equal numbers in their order, NaN last; of fewer than 2³² numbers.
pub(super) fn order(values: &[f64]) -> Vec<u32> {
    let mut keyed: Vec<(u64, u32)> = values.iter().zip(0..).map(|(&value, at)| (key(value), at)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, at)| at).collect()
}

/// A whole number that orders as the float does: its bits, with the sign turned over.
fn key(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}
