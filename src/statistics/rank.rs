/// Ranks from 1, smallest first; equal numbers share the average of their ranks. −0 equals 0; NaN comes last.
///
/// ```
/// assert_eq!(ascribe::statistics::ranks(&[0.5, -1.0, 0.5, 9.0]), [2.5, 1.0, 2.5, 4.0]);
/// ```
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].partial_cmp(&values[b]).unwrap_or_else(|| values[a].is_nan().cmp(&values[b].is_nan())));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let shared = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&at| ranks[at] = shared);
        before += tied.len();
    }
    ranks
}
