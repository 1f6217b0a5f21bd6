//! Ways to choose subsets: at random, by class, or all but some.

use polars::prelude::DataType;
use rand::Rng;

use super::Subsets;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::frame::column;
use crate::random::{self, Purpose};

impl Subsets {
    /// `count` random subsets of `⌊fraction · n⌋` examples each, every one drawn by itself.
    ///
    /// Errors: [`Error::Option`] unless the fraction is between 0 and 1 and leaves at least one example, or for no subset.
    pub fn fraction(train: &Dataset, fraction: f64, count: usize, seed: u64) -> Result<Subsets> {
        let (n, size) = (train.len(), size_of(train, fraction, count)?);
        let draw = |index| random::sample(n, size, seed, Purpose::Subset, index);
        Subsets::of(train, count, (0..count as u64).map(|index| (format!("random {index}"), draw(index))))
    }

    /// `count` random subsets that hold each example with this probability, whatever else they hold, so that sizes vary.
    ///
    /// This is what [`Banzhaf`](crate::retrain::Banzhaf) values need. A subset without any example is drawn again.
    ///
    /// Errors: [`Error::Option`] unless the probability is below 1 and makes for one example or more in the mean, or for no subset.
    pub fn independent(train: &Dataset, probability: f64, count: usize, seed: u64) -> Result<Subsets> {
        // With next to none, drawing until there is one would take forever.
        let least = 1.0 / train.len() as f64;
        if !(probability >= least && probability < 1.0) {
            let expected = format!("at least {least} (one of {} examples in the mean) and below 1", train.len());
            return Err(Error::option("Subsets.probability", expected, probability));
        }
        if count == 0 {
            return Err(Error::option("Subsets.count", "at least 1", count));
        }
        let n = train.len();
        let draw = |index| {
            let mut stream = random::generator(seed, Purpose::Subset, index);
            loop {
                let drawn: Vec<usize> = (0..n).filter(|_| stream.gen_bool(probability)).collect();
                if !drawn.is_empty() {
                    return drawn;
                }
            }
        };
        Subsets::of(train, count, (0..count as u64).map(|index| (format!("independent {index}"), draw(index))))
    }

    /// All examples, so many times: networks that differ by their seeds alone, where each subset has a number of its own.
    ///
    /// What [`Retraining`](crate::retrain::Retraining) keeps of them is the ensemble that a method may be fitted on.
    ///
    /// Errors: [`Error::Data`] for none.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let all = Subsets::everything(&dataset::digits()?.head(30)?, 3)?;
    /// assert_eq!((all.len(), all.positions(2)?.len(), all.numbers()), (3, 30, &[0, 1, 2][..]));
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn everything(train: &Dataset, count: usize) -> Result<Subsets> {
        Subsets::of(train, count, (0..count).map(|index| (format!("everything {index}"), (0..train.len()).collect())))
    }

    /// The same with `fraction` of each class, so that no class is missing by chance; sizes add up to `⌊fraction · n⌋`.
    ///
    /// Errors: as [`Subsets::fraction`]; [`Error::Data`] where targets are not one class per example.
    pub fn stratified(train: &Dataset, fraction: f64, count: usize, seed: u64) -> Result<Subsets> {
        let (n, size) = (train.len(), size_of(train, fraction, count)?);
        let labels = train.labels().ok_or_else(|| Error::data(train.name(), "strata need one class label per example"))?;
        let (strata, quota) = quota(&labels, fraction, size);
        let draw = |index| {
            let mut left = quota.clone();
            let mut order = random::permutation(n, seed, Purpose::Subset, index);
            order.retain(|&at| {
                let left = &mut left[strata[at]];
                let wanted = *left > 0;
                *left -= usize::from(wanted);
                wanted
            });
            order
        };
        Subsets::of(train, count, (0..count as u64).map(|index| (format!("stratified {index}"), draw(index))))
    }

    /// All examples but one, for the examples at these positions.
    ///
    /// Errors: [`Error::Data`] for no position or one outside, or for so many that their masks, a byte for each subset and example,
    /// do not fit into a gibibyte: go through the positions in parts.
    pub fn leave_one_out(train: &Dataset, positions: &[usize]) -> Result<Subsets> {
        let all = train.examples();
        if let Some(outside) = positions.iter().find(|&&at| at >= train.len()) {
            return Err(Error::data(train.name(), format!("position {outside} is outside its {} examples", train.len())));
        }
        let without = |&out: &usize| (0..train.len()).filter(|&at| at != out).collect();
        Subsets::of(train, positions.len(), positions.iter().map(|out| (format!("without {}", all[*out]), without(out))))
    }

    /// All examples but one group, for each value of a metadata column in ascending order.
    pub fn leave_group_out(train: &Dataset, by: &str) -> Result<Subsets> {
        let values = column(train.frame(), by)?.cast(&DataType::String)?;
        let values: Vec<&str> = values.str()?.iter().map(|value| value.unwrap_or("—")).collect();
        let mut groups: Vec<&str> = values.clone();
        groups.sort_unstable_by(|a, b| natural(a).partial_cmp(&natural(b)).unwrap_or(a.cmp(b)).then(a.cmp(b)));
        groups.dedup();
        if groups.len() < 2 {
            return Err(Error::data(by, format!("expected at least two groups, got {}", groups.len())));
        }
        let without = |group: &str| (0..train.len()).filter(|&at| values[at] != group).collect();
        Subsets::of(train, groups.len(), groups.iter().map(|group| (format!("without {by} {group}"), without(group))))
    }
}

fn size_of(train: &Dataset, fraction: f64, count: usize) -> Result<usize> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::option("Subsets.fraction", "above 0 and below 1", fraction));
    }
    if count == 0 {
        return Err(Error::option("Subsets.count", "at least 1", count));
    }
    // A whole number of examples stays whole: 0.29 · 100 is 28.999… in floating point.
    match (fraction * train.len() as f64 + 1e-9).floor() as usize {
        0 => Err(Error::option("Subsets.fraction", format!("at least one of {} examples", train.len()), fraction)),
        size => Ok(size),
    }
}

/// The class of each example, counted from 0 in the order of the labels, and how many of each class are drawn, adding up to `size`:
/// the largest remainders get what rounding leaves over.
fn quota(labels: &[i64], fraction: f64, size: usize) -> (Vec<usize>, Vec<usize>) {
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let strata: Vec<usize> = labels.iter().map(|&label| classes.partition_point(|&class| class < label)).collect();
    let mut counts = vec![0usize; classes.len()];
    strata.iter().for_each(|&class| counts[class] += 1);
    let exact: Vec<f64> = counts.iter().map(|&count| fraction * count as f64).collect();
    let mut quota: Vec<usize> = exact.iter().map(|share| (share + 1e-9).floor() as usize).collect();
    let rest = |class: usize| exact[class] - quota[class] as f64;
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by(|&a, &b| rest(b).total_cmp(&rest(a)).then(a.cmp(&b)));
    let left = size.saturating_sub(quota.iter().sum());
    order.iter().take(left).for_each(|&class| quota[class] += 1);
    (strata, quota)
}

/// Numbers before texts, by value.
fn natural(text: &str) -> f64 {
    text.parse().unwrap_or(f64::INFINITY)
}
