/// Groups numbered from 0 in the order of their labels: the number of each item, and how many there are.
pub(super) fn numbered(labels: &[usize]) -> (Vec<usize>, usize) {
    let mut known = labels.to_vec();
    known.sort_unstable();
    known.dedup();
    let numbers = labels.iter().map(|label| known.partition_point(|other| other < label)).collect();
    (numbers, known.len())
}

/// The places of each group's items, group after group.
pub(super) fn members(labels: &[usize]) -> Vec<Vec<usize>> {
    let (numbers, count) = numbered(labels);
    let mut members = vec![Vec::new(); count];
    numbers.into_iter().enumerate().for_each(|(at, group)| members[group].push(at));
    members
}

/// Some items of a column.
pub(super) fn pick(values: &[f64], places: &[usize]) -> Vec<f64> {
    places.iter().map(|&at| values[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbered_by_their_labels() {
        assert_eq!(numbered(&[7, 3, 7, 900]), (vec![1, 0, 1, 2], 3));
        assert_eq!(members(&[7, 3, 7]), [vec![1], vec![0, 2]]);
    }
}
