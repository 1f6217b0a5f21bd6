use std::collections::HashMap;

use polars::df;
use polars::prelude::{DataFrame, DataType};
use tch::{Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::random::{self, Purpose};
use crate::scores::Side;

/// Which train examples each retraining sees.
///
/// A subset keeps its number through [`Subsets::select`], and with it its seeds: the first 50 of 100 subsets are the 50 subsets, and
/// what is trained on one does not depend on which others are asked for.
///
/// ```
/// use ascribe::prelude::*;
/// let train = dataset::digits()?.head(200)?;
/// let halves = Subsets::fraction(&train, 0.5, 10, 0)?;
/// assert_eq!((halves.len(), halves.positions(3)?.len()), (10, 100));
/// assert_eq!(Subsets::fraction(&train, 0.5, 20, 0)?.positions(3)?, halves.positions(3)?);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Subsets {
    /// `[subsets, n]`, bool.
    masks: Tensor,
    numbers: Vec<usize>,
    names: Vec<String>,
    /// Metadata of the train examples.
    frame: DataFrame,
    labels: Option<Vec<i64>>,
    /// Digest of their inputs.
    inputs: String,
}

impl Clone for Subsets {
    fn clone(&self) -> Subsets {
        Subsets {
            masks: self.masks.shallow_clone(),
            numbers: self.numbers.clone(),
            names: self.names.clone(),
            frame: self.frame.clone(),
            labels: self.labels.clone(),
            inputs: self.inputs.clone(),
        }
    }
}

impl std::fmt::Debug for Subsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subsets ({} of {} examples)", self.len(), self.n())
    }
}

impl Subsets {
    /// `count` random subsets of `⌊fraction · n⌋` examples each, every one drawn by itself.
    ///
    /// Errors: [`Error::Option`] unless the fraction is between 0 and 1 and leaves at least one example, or for no subset.
    pub fn fraction(train: &Dataset, fraction: f64, count: usize, seed: u64) -> Result<Subsets> {
        let (n, size) = (train.len(), size_of(train, fraction, count)?);
        let draw = |index| random::sample(n, size, seed, Purpose::Subset, index);
        Subsets::of(train, (0..count as u64).map(|index| (format!("random {index}"), draw(index))).collect())
    }

    /// The same with `fraction` of each class, so that no class is missing by chance; sizes add up to `⌊fraction · n⌋`.
    ///
    /// Errors: as [`Subsets::fraction`]; [`Error::Data`] where targets are not one class per example.
    pub fn stratified(train: &Dataset, fraction: f64, count: usize, seed: u64) -> Result<Subsets> {
        let (n, size) = (train.len(), size_of(train, fraction, count)?);
        let labels = train.labels().ok_or_else(|| Error::data(train.name(), "strata need one class label per example"))?;
        let quota = quota(&labels, fraction, size);
        let draw = |index| {
            let mut left = quota.clone();
            let mut order = random::permutation(n, seed, Purpose::Subset, index);
            order.retain(|&at| {
                let left = &mut left[labels[at] as usize];
                let wanted = *left > 0;
                *left -= usize::from(wanted);
                wanted
            });
            order
        };
        Subsets::of(train, (0..count as u64).map(|index| (format!("stratified {index}"), draw(index))).collect())
    }

    /// All examples but one, for the examples at these positions.
    pub fn leave_one_out(train: &Dataset, positions: &[usize]) -> Result<Subsets> {
        let ids = train.select(positions)?.examples();
        let without = |&out: &usize| (0..train.len()).filter(|&at| at != out).collect();
        let named = positions.iter().zip(ids);
        Subsets::of(train, named.map(|(out, id)| (format!("without {id}"), without(out))).collect())
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
        Subsets::of(train, groups.iter().map(|group| (format!("without {by} {group}"), without(group))).collect())
    }

    /// Subsets made elsewhere: masks `[subsets, n]`, where what is not zero is in.
    pub fn from_masks(train: &Dataset, masks: &Tensor) -> Result<Subsets> {
        let n = train.len();
        if masks.dim() != 2 || masks.size()[1] != n as i64 {
            return Err(Error::shape("masks", format!("[subsets, {n}]"), format!("{:?}", masks.size())));
        }
        let inside = guarded(|| Ok(Vec::<i64>::try_from(&masks.not_equal(0.0).to_kind(Kind::Int64).contiguous().view([-1]))?))?;
        let chosen = |row: &[i64]| (0..n).filter(|&at| row[at] != 0).collect();
        Subsets::of(train, inside.chunks(n).enumerate().map(|(at, row)| (format!("given {at}"), chosen(row))).collect())
    }

    fn of(train: &Dataset, subsets: Vec<(String, Vec<usize>)>) -> Result<Subsets> {
        let n = train.len();
        if subsets.is_empty() {
            return Err(Error::data("subsets", "expected at least one subset, got none"));
        }
        let mut names = Vec::with_capacity(subsets.len());
        let mut inside = vec![false; n * subsets.len()];
        for (row, (name, positions)) in subsets.into_iter().enumerate() {
            if positions.is_empty() {
                return Err(Error::data(format!("subset {name}"), "expected at least one example, got none"));
            }
            positions.iter().for_each(|&at| inside[row * n + at] = true);
            names.push(name);
        }
        let masks = guarded(|| Ok(Tensor::from_slice(&inside).view([names.len() as i64, n as i64])))?;
        let numbers = (0..names.len()).collect();
        Ok(Subsets { masks, numbers, names, frame: train.frame().clone(), labels: train.labels(), inputs: train.digest() })
    }

    /// How many subsets.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Never true; here for completeness.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// How many train examples there are to choose from.
    pub fn n(&self) -> usize {
        self.frame.height()
    }

    /// `[subsets, n]`, bool.
    pub fn masks(&self) -> &Tensor {
        &self.masks
    }

    /// The number of each subset, which its seeds are drawn from.
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Metadata of the train examples to choose from, in the order of the masks.
    pub fn train(&self) -> &DataFrame {
        &self.frame
    }

    /// Positions of the train examples in the subset at this place, ascending.
    pub fn positions(&self, subset: usize) -> Result<Vec<usize>> {
        if subset >= self.len() {
            return Err(Error::data("subset", format!("expected 0 to {}, got {subset}", self.len() - 1)));
        }
        let inside = guarded(|| Ok(Vec::<i64>::try_from(&self.masks.get(subset as i64).nonzero().view([-1]))?))?;
        Ok(inside.into_iter().map(|at| at as usize).collect())
    }

    /// The subsets at these places, with their numbers: a part of the work, or the first few.
    pub fn select(&self, places: &[usize]) -> Result<Subsets> {
        if places.is_empty() {
            return Err(Error::data("subsets", "a selection needs at least one place, got none"));
        }
        if let Some(outside) = places.iter().find(|&&place| place >= self.len()) {
            return Err(Error::data("subset", format!("expected 0 to {}, got {outside}", self.len() - 1)));
        }
        let index: Vec<i64> = places.iter().map(|&place| place as i64).collect();
        Ok(Subsets {
            masks: guarded(|| Ok(self.masks.index_select(0, &Tensor::from_slice(&index))))?,
            numbers: places.iter().map(|&place| self.numbers[place]).collect(),
            names: places.iter().map(|&place| self.names[place].clone()).collect(),
            ..self.clone()
        })
    }

    /// One row per subset. Columns: `subset` (its number), `name`, `size`, and `missing`: how many classes of the train set it
    /// leaves out, null where targets are not classes.
    pub fn frame(&self) -> Result<DataFrame> {
        let mut missing = Vec::with_capacity(self.len());
        let mut sizes = Vec::with_capacity(self.len());
        let distinct = |labels: &mut Vec<i64>| {
            labels.sort_unstable();
            labels.dedup();
            labels.len() as u32
        };
        for place in 0..self.len() {
            let positions = self.positions(place)?;
            sizes.push(positions.len() as u32);
            missing.push(self.labels.as_ref().map(|labels| {
                let mut some: Vec<i64> = positions.iter().map(|&at| labels[at]).collect();
                distinct(&mut labels.clone()) - distinct(&mut some)
            }));
        }
        let numbers: Vec<u32> = self.numbers.iter().map(|&number| number as u32).collect();
        Ok(df!("subset" => numbers, "name" => self.names.clone(), "size" => sizes, "missing" => missing)?)
    }

    /// The same, all with one number: networks that start alike.
    pub(crate) fn numbered(mut self, number: usize) -> Subsets {
        self.numbers.fill(number);
        self
    }

    /// The train examples, for comparison with those of scores.
    pub(crate) fn side(&self) -> Side<'_> {
        Side { frame: &self.frame, inputs: &self.inputs }
    }
}

fn size_of(train: &Dataset, fraction: f64, count: usize) -> Result<usize> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::option("Subsets.fraction", "above 0 and below 1", fraction));
    }
    if count == 0 {
        return Err(Error::option("Subsets.count", "at least 1", count));
    }
    match (fraction * train.len() as f64).floor() as usize {
        0 => Err(Error::option("Subsets.fraction", format!("at least one of {} examples", train.len()), fraction)),
        size => Ok(size),
    }
}

/// How many of each class, adding up to `size`: the largest remainders get what rounding leaves over.
fn quota(labels: &[i64], fraction: f64, size: usize) -> Vec<usize> {
    let mut counts: HashMap<i64, usize> = HashMap::new();
    labels.iter().for_each(|&label| *counts.entry(label).or_default() += 1);
    let classes = labels.iter().max().map_or(0, |&largest| largest as usize + 1);
    let exact: Vec<f64> = (0..classes).map(|c| fraction * counts.get(&(c as i64)).copied().unwrap_or(0) as f64).collect();
    let mut quota: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    let left = size.saturating_sub(quota.iter().sum());
    order.iter().take(left).for_each(|&class| quota[class] += 1);
    quota
}

/// Numbers before texts, by value.
fn natural(text: &str) -> f64 {
    text.parse().unwrap_or(f64::INFINITY)
}
