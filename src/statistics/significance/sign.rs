/// What a sign test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignTest {
    /// Numbers above zero.
    pub positive: usize,
    /// Numbers below zero.
    pub negative: usize,
    /// Two-sided p-value, exact.
    pub p: f64,
}

/// The sign test of a median of zero: how likely it is that fair coins split at least as unevenly as the signs do. Zeros are left out.
///
/// The p-value of `scipy.stats.binomtest(positive, positive + negative)`. It looks at signs alone, so that no outlier moves it, and no
/// n below 6 can reach 0.05. `None` where a number is NaN or no sign is left.
///
/// ```
/// let found = ascribe::statistics::sign_test(&[0.5, 1.0, 0.1, 0.0, 2.0, 0.3, 0.2]);
/// assert!(found.is_some_and(|f| (f.positive, f.negative) == (6, 0) && f.p == 2.0 / 64.0));
/// ```
pub fn sign_test(draws: &[f64]) -> Option<SignTest> {
    let positive = draws.iter().filter(|&&draw| draw > 0.0).count();
    let negative = draws.iter().filter(|&&draw| draw < 0.0).count();
    let known = positive + negative > 0 && !draws.iter().any(|draw| draw.is_nan());
    known.then(|| SignTest { positive, negative, p: p_of_signs(positive, negative) })
}

/// The two-sided p-value of a split of fair coins, at least one.
pub(super) fn p_of_signs(positive: usize, negative: usize) -> f64 {
    let (n, k) = (positive + negative, positive.min(negative));
    if 2 * k == n {
        return 1.0;
    }
    // C(n, k) / 2^n: the halves are taken as the product grows, and the rest at the end.
    let (mut mass, mut halves) = (1.0f64, n);
    for i in 1..=k {
        mass *= (n - k + i) as f64 / i as f64;
        while mass > 1.0 && halves > 0 {
            mass *= 0.5;
            halves -= 1;
        }
    }
    // The tail below as a multiple of it: 1 + k / (n − k + 1) (1 + (k − 1) / (n − k + 2) (1 + …)).
    let tail = (1..=k).fold(1.0, |tail, i| 1.0 + i as f64 / (n - i + 1) as f64 * tail);
    (2.0 * mass * tail * 0.5f64.powi(halves.min(2_000) as i32)).min(1.0)
}
