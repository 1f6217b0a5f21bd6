/// Kendall's τ-b: the share of pairs in the same order less the share in the other, corrected for ties.
///
/// `None` for different lengths, fewer than two pairs, NaN, or where one side is constant. Cost: n log n (Knight 1966).
///
/// ```
/// let tau = ascribe::statistics::kendall(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]);
/// assert!(tau.is_some_and(|tau| (tau - 4.0 / 6.0).abs() < 1e-12)); // five pairs agree, one does not
/// ```
pub fn kendall(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len();
    if n != y.len() || n < 2 || x.iter().chain(y).any(|value| value.is_nan()) {
        return None;
    }
    let mut pairs: Vec<(f64, f64)> = x.iter().zip(y).map(|(x, y)| (x + 0.0, y + 0.0)).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let two = |count: usize| (count as f64) * (count as f64 - 1.0) / 2.0;
    let tied_x: f64 = pairs.chunk_by(|a, b| a.0 == b.0).map(|run| two(run.len())).sum();
    let tied_both: f64 = pairs.chunk_by(|a, b| a == b).map(|run| two(run.len())).sum();
    let mut values: Vec<f64> = pairs.into_iter().map(|pair| pair.1).collect();
    let mut room = values.clone();
    let swaps = sort(&mut values, &mut room);
    let tied_y: f64 = values.chunk_by(|a, b| a == b).map(|run| two(run.len())).sum();
    let all = two(n);
    let scale = ((all - tied_x) * (all - tied_y)).sqrt();
    (scale > 0.0).then(|| ((all - tied_x - tied_y + tied_both - 2.0 * swaps) / scale).clamp(-1.0, 1.0))
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
