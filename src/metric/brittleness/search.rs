//! Bisection that can be asked and told, so that many searches share their trainings.

/// Looks for the smallest `k` in `0..=pool` that flips, if flipping is monotone in `k`.
pub(super) struct Search {
    low: usize,
    high: usize,
    left: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// Asks whether nothing at all suffices.
    Nothing,
    /// Asks whether the whole pool suffices.
    Pool,
    Halving,
    /// The whole pool does not flip.
    Censored,
    Found,
}

impl Search {
    pub(super) fn new(pool: usize, steps: usize) -> Search {
        Search { low: 0, high: pool, left: steps, state: State::Nothing }
    }

    /// The `k` to try next; `None` at the end.
    pub(super) fn next(&self) -> Option<usize> {
        match self.state {
            State::Nothing => Some(0),
            State::Pool => Some(self.high),
            State::Halving => Some((self.low + self.high) / 2),
            State::Censored | State::Found => None,
        }
    }

    /// Whether the `k` last asked for flips.
    pub(super) fn tell(&mut self, flipped: bool) {
        match (&self.state, flipped) {
            (State::Nothing, true) => (self.high, self.state) = (0, State::Found),
            (State::Nothing, false) => self.state = State::Pool,
            (State::Pool, false) => self.state = State::Censored,
            (State::Pool, true) => self.state = State::Halving,
            (State::Halving, _) => {
                let middle = (self.low + self.high) / 2;
                if flipped {
                    self.high = middle
                } else {
                    self.low = middle
                }
                self.left -= 1;
            }
            (State::Censored | State::Found, _) => {}
        }
        // 0 is known not to flip, so neighbours end the search.
        if self.state == State::Halving && (self.left == 0 || self.high - self.low <= 1) {
            self.state = State::Found;
        }
    }

    /// The smallest `k` seen to flip; `None` if the pool does not.
    pub(super) fn found(&self) -> Option<usize> {
        (self.state == State::Found).then_some(self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::Search;

    /// The answer for an oracle, and what it was asked.
    fn search(pool: usize, steps: usize, flips: impl Fn(usize) -> bool) -> (Option<usize>, Vec<usize>) {
        let (mut search, mut asked) = (Search::new(pool, steps), Vec::new());
        while let Some(k) = search.next() {
            asked.push(k);
            search.tell(flips(k));
        }
        (search.found(), asked)
    }

    /// The search as it was published: no early stop, and nothing is asked about 0 beforehand.
    fn published(pool: usize, steps: usize, flips: impl Fn(usize) -> bool) -> Option<usize> {
        if !flips(pool) {
            return None;
        }
        let (mut low, mut high, mut best) = (0, pool, pool);
        for _ in 0..steps {
            let middle = (low + high) / 2;
            match flips(middle) {
                true => (high, best) = (middle, best.min(middle)),
                false => low = middle,
            }
        }
        Some(best)
    }

    #[test]
    fn a_monotone_oracle_is_found_to_the_resolution() {
        for (pool, steps) in [(1280, 7), (1280, 8), (160, 4), (100, 7), (5, 10), (1, 1), (13, 0)] {
            for truth in 1..=pool + 1 {
                let (found, asked) = search(pool, steps, |k| k >= truth);
                assert_eq!(found, published(pool, steps, |k| k >= truth), "{pool} {steps} {truth}");
                assert!(asked.len() <= steps + 2);
                match found {
                    Some(found) => {
                        let resolution = pool.div_ceil(1 << steps.min(20));
                        assert!(found >= truth && found < truth + resolution, "{pool} {steps} {truth}: {found}");
                    }
                    None => assert!(truth > pool && asked == [0, pool]),
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_from_the_start_needs_nothing() {
        assert_eq!(search(1280, 7, |_| true), (Some(0), vec![0]));
        assert_eq!(search(8, 3, |k| k >= 5).1, [0, 8, 4, 6, 5]);
    }
}
