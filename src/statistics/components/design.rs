/// A balanced design: how many levels each factor has, every combination of levels there, equally often.
///
/// A component is a set of factors, as bits: `0b101` is what factors 0 and 2 do together beyond what each does; the residual is what
/// differs within a combination. Without repeats the last set, of all factors, holds the residual too.
#[derive(Clone, Debug)]
pub(super) struct Design {
    pub(super) levels: Vec<usize>,
    pub(super) repeats: usize,
    /// For each set of factors the cell of every value.
    cells: Vec<Vec<u32>>,
}

/// Factors beyond which nothing is practical.
pub(super) const MOST_FACTORS: usize = 4;

impl Design {
    /// Values stand with the last factor's levels changing fastest, repeats faster still. `None` unless each of one to four factors has two
    /// levels, all combinations are there, and something is left to tell a single factor's levels from the residual.
    pub(super) fn new(levels: &[usize], values: usize) -> Option<Design> {
        let combinations = levels.iter().try_fold(1usize, |all, &n| all.checked_mul(n))?;
        let sound = (1..=MOST_FACTORS).contains(&levels.len()) && levels.iter().all(|&n| n >= 2);
        if !sound || values == 0 || !values.is_multiple_of(combinations) || (levels.len() == 1 && values == combinations) {
            return None;
        }
        let repeats = values / combinations;
        let cells = (0..1usize << levels.len())
            .map(|set| {
                let cell = |at: usize| {
                    let mut rest = at / repeats;
                    let mut level = vec![0; levels.len()];
                    for factor in (0..levels.len()).rev() {
                        level[factor] = rest % levels[factor];
                        rest /= levels[factor];
                    }
                    let within = (0..levels.len()).filter(|factor| set >> factor & 1 == 1);
                    within.fold(0, |cell, factor| cell * levels[factor] + level[factor]) as u32
                };
                (0..values).map(cell).collect()
            })
            .collect();
        Some(Design { levels: levels.to_vec(), repeats, cells })
    }

    pub(super) fn values(&self) -> usize {
        self.levels.iter().product::<usize>() * self.repeats
    }

    /// Sets of factors: single factors first, then pairs, and so on; the residual, if it has a row of its own, is the set of none.
    pub(super) fn components(&self) -> Vec<usize> {
        let mut sets: Vec<usize> = (1..1usize << self.levels.len()).collect();
        sets.sort_by_key(|set| (set.count_ones(), set.reverse_bits() ^ usize::MAX));
        sets.extend((self.repeats > 1).then_some(0));
        sets
    }

    fn all(&self) -> usize {
        (1 << self.levels.len()) - 1
    }

    /// Levels of a set's factors together.
    fn size(&self, set: usize) -> usize {
        (0..self.levels.len()).filter(|factor| set >> factor & 1 == 1).map(|factor| self.levels[factor]).product()
    }

    /// Degrees of freedom of a component.
    pub(super) fn freedom(&self, set: usize) -> usize {
        match set {
            0 => self.size(self.all()) * (self.repeats - 1),
            _ => (0..self.levels.len()).filter(|factor| set >> factor & 1 == 1).map(|factor| self.levels[factor] - 1).product(),
        }
    }

    /// The mean square of every component, at the place of its set.
    ///
    /// Sums of squares of cell means, then for each set those of its subsets with alternating signs.
    pub(super) fn mean_squares(&self, values: &[f64], room: &mut Vec<f64>) -> [f64; 1 << MOST_FACTORS] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let sets = 1usize << self.levels.len();
        let mut raw = [0.0; 1 << MOST_FACTORS];
        for (set, raw) in raw.iter_mut().enumerate().take(sets).skip(1) {
            let size = self.size(set);
            room.clear();
            room.resize(size, 0.0);
            values.iter().zip(&self.cells[set]).for_each(|(value, &cell)| room[cell as usize] += value - mean);
            *raw = room.iter().map(|sum| sum * sum).sum::<f64>() * size as f64 / n;
        }
        let total: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let mut found = [0.0; 1 << MOST_FACTORS];
        if self.repeats > 1 {
            found[0] = ((total - raw[self.all()]) / self.freedom(0) as f64).max(0.0);
        }
        for (set, found) in found.iter_mut().enumerate().take(sets).skip(1) {
            let sign = |other: usize| if (set ^ other).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            let sum: f64 = (1..sets).filter(|other| other & set == *other).map(|other| sign(other) * raw[other]).sum();
            *found = (sum / self.freedom(set) as f64).max(0.0);
        }
        found
    }

    /// The variance of a component as a weighted sum of mean squares: pairs of a set and its weight.
    ///
    /// The expected mean square of S is that of the residual plus, over all sets T that hold S, T's variance times the number of values a
    /// level of T has; so S's variance is the sum over such T of `(−1)^|T \ S|` times T's mean square, divided by that number for S.
    pub(super) fn weights(&self, set: usize) -> Vec<(usize, f64)> {
        if set == 0 {
            return vec![(0, 1.0)];
        }
        let each = (self.values() / self.size(set)) as f64;
        let sign = |other: usize| if (set ^ other).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let mut weights: Vec<(usize, f64)> =
            (1..=self.all()).filter(|other| other & set == set).map(|other| (other, sign(other) / each)).collect();
        if set == self.all() && self.repeats > 1 {
            weights.push((0, -1.0 / each));
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_factors_have_the_textbook_s_mean_squares() {
        // Rows 1, 3; columns 0, 10; an interaction of 1 in one cell.
        let design = Design::new(&[2, 2], 4).expect("balanced");
        let found = design.mean_squares(&[1.0, 11.0, 3.0, 14.0], &mut Vec::new());
        // Row means 6, 8.5; column means 2, 12.5; grand mean 7.25.
        assert_eq!(found[..4], [0.0, 2.0 * 2.0 * 1.25 * 1.25, 2.0 * 2.0 * 5.25 * 5.25, 0.25]);
        assert_eq!(design.components(), [0b01, 0b10, 0b11]);
        assert_eq!(design.weights(0b01), [(0b01, 0.5), (0b11, -0.5)]);
    }

    #[test]
    fn what_is_no_design() {
        for (levels, values) in [(&[][..], 4), (&[1, 2], 2), (&[2, 2], 5), (&[3], 3), (&[2, 2, 2, 2, 2], 32), (&[2, 2], 0)] {
            assert!(Design::new(levels, values).is_none(), "{levels:?} {values}");
        }
        assert!(Design::new(&[3], 6).is_some_and(|design| design.repeats == 2));
    }
}
