use rand::RngCore;
use serde::{Deserialize, Serialize};

use crate::random::{self, Purpose};

/// In which order an epoch sees the examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// A random order of the positions in the data.
    #[default]
    Shuffled,
    /// An order as random, by a number drawn for each example's id: a subset keeps the order of the whole.
    ///
    /// Trainings with one seed on different subsets then share their batches as far as they can, beside the initial weights and dropout:
    /// common random numbers, by which the difference between two of them varies less. See [`Brittleness`](crate::metric::Brittleness).
    ByExample,
    /// As the data has them, every epoch: what loaders do that do not shuffle, as dattri's for leave-one-out retraining. Without an example
    /// all later ones move up by a place, so that batches change from there on.
    Given,
}

impl Order {
    pub(super) fn is_default(&self) -> bool {
        *self == Order::Shuffled
    }

    /// The positions in the order of an epoch; `ids` has an id for each example of the data.
    pub(super) fn of(self, positions: &[i64], ids: &[u32], seed: u64, epoch: usize) -> Vec<i64> {
        match self {
            Order::Shuffled => {
                let order = random::permutation(positions.len(), seed, Purpose::Order, epoch as u64);
                order.into_iter().map(|at| positions[at]).collect()
            }
            Order::ByExample => {
                let drawn = |&at: &i64| {
                    let index = (epoch as u64) << 32 | u64::from(ids[at as usize]);
                    (random::generator(seed, Purpose::OrderByExample, index).next_u64(), at)
                };
                let mut order: Vec<(u64, i64)> = positions.iter().map(drawn).collect();
                order.sort_by_key(|(number, _)| *number); // of equal ids the first stays first
                order.into_iter().map(|(_, at)| at).collect()
            }
            Order::Given => positions.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Order::{ByExample, Given, Shuffled};

    #[test]
    fn a_subset_keeps_the_order_of_the_whole() {
        let ids: Vec<u32> = (0..200).map(|at| at * 7 % 200).collect();
        let whole: Vec<i64> = (0..200).collect();
        let some: Vec<i64> = (0..200).filter(|at| at % 3 != 1).collect();
        for epoch in [1, 2] {
            let order = ByExample.of(&whole, &ids, 5, epoch);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, whole);
            let kept: Vec<i64> = order.iter().copied().filter(|at| at % 3 != 1).collect();
            assert_eq!(ByExample.of(&some, &ids, 5, epoch), kept);
            assert_eq!(Given.of(&some, &ids, 5, epoch), some);
            assert_ne!(ByExample.of(&whole, &ids, 6, epoch), order, "seeds differ");
            assert_ne!(Shuffled.of(&some, &ids, 5, epoch), kept);
        }
        assert_ne!(ByExample.of(&whole, &ids, 5, 1), ByExample.of(&whole, &ids, 5, 2), "epochs differ");
        // Each place is as likely: the mean place of an example over 400 epochs has a standard deviation of 2.9.
        let mean =
            (1..=400).map(|epoch| ByExample.of(&whole, &ids, 1, epoch).iter().position(|&at| at == 9).unwrap()).sum::<usize>()
                / 400;
        assert!((85..115).contains(&mean), "{mean}");
    }
}
