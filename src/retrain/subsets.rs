use polars::df;
use polars::prelude::{DataFrame, DataType};
use rand::Rng;
use tch::{Device, Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::frame::column;
use crate::random::{self, Purpose};
use crate::scores::Side;

/// Bytes of masks at most: one for each subset and example.
const MOST: usize = 1 << 30;

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
    /// Digest of each.
    digests: Vec<i64>,
}

impl Clone for Subsets {
    fn clone(&self) -> Subsets {
        Subsets {
            masks: self.masks.shallow_clone(),
            numbers: self.numbers.clone(),
            names: self.names.clone(),
            frame: self.frame.clone(),
            labels: self.labels.clone(),
            digests: self.digests.clone(),
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
        Subsets::of(train, count, (0..count as u64).map(|index| (format!("random {index}"), draw(index))))
    }

    /// `count` random subsets that hold each example with this probability, whatever else they hold, so that sizes vary.
    ///
    /// This is what [`Banzhaf`](super::Banzhaf) values need. A subset without any example is drawn again.
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

    /// Subsets made elsewhere: masks `[subsets, n]`, where what is not zero is in.
    pub fn from_masks(train: &Dataset, masks: &Tensor) -> Result<Subsets> {
        let n = train.len();
        if masks.dim() != 2 || masks.size()[1] != n as i64 {
            return Err(Error::shape("masks", format!("[subsets, {n}]"), format!("{:?}", masks.size())));
        }
        let count = masks.size()[0] as usize;
        check_count(count, n)?;
        let masks = guarded(|| Ok(masks.detach().not_equal(0.0).contiguous()))?;
        Subsets::masked(train, masks, (0..count).map(|at| format!("given {at}")).collect())
    }

    /// One subset at a time becomes a row of the masks.
    pub(crate) fn of(train: &Dataset, count: usize, subsets: impl Iterator<Item = (String, Vec<usize>)>) -> Result<Subsets> {
        let n = train.len();
        check_count(count, n)?;
        let masks = guarded(|| Ok(Tensor::f_zeros([count as i64, n as i64], (Kind::Bool, Device::Cpu))?))?;
        let (mut names, mut inside) = (Vec::with_capacity(count), vec![false; n]);
        for (row, (name, positions)) in subsets.enumerate() {
            inside.fill(false);
            positions.iter().for_each(|&at| inside[at] = true);
            guarded(|| {
                masks.get(row as i64).copy_(&Tensor::from_slice(&inside));
                Ok(())
            })?;
            names.push(name);
        }
        Subsets::masked(train, masks, names)
    }

    fn masked(train: &Dataset, masks: Tensor, names: Vec<String>) -> Result<Subsets> {
        if let Some(empty) = sizes(&masks)?.iter().position(|&size| size == 0) {
            return Err(Error::data(format!("subset {}", names[empty]), "expected at least one example, got none"));
        }
        let numbers = (0..names.len()).collect();
        Ok(Subsets { masks, numbers, names, frame: train.frame().clone(), labels: train.labels(), digests: train.digests()? })
    }

    /// The same with other numbers; subsets of one number share their seeds, so that their networks start alike.
    pub(crate) fn numbered(mut self, numbers: Vec<usize>) -> Subsets {
        self.numbers = numbers;
        self
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

    /// How many examples each subset has.
    pub(super) fn sizes(&self) -> Result<Vec<usize>> {
        sizes(&self.masks)
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

    /// The train examples, for comparison with those of scores.
    pub(crate) fn side(&self) -> Side<'_> {
        Side { frame: &self.frame, digests: &self.digests }
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

fn check_count(count: usize, n: usize) -> Result<()> {
    let most = MOST / n;
    match count {
        0 => Err(Error::data("subsets", "expected at least one subset, got none")),
        count if count > most => {
            let bytes = count as f64 * n as f64 / 1e9;
            let reason = format!("{count} subsets of {n} examples need {bytes:.1} GB of masks; ask for at most {most} at a time");
            Err(Error::data("subsets", reason))
        }
        _ => Ok(()),
    }
}

/// How many examples each row has.
fn sizes(masks: &Tensor) -> Result<Vec<usize>> {
    let sizes = guarded(|| Ok(Vec::<i64>::try_from(&masks.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64))?))?;
    Ok(sizes.into_iter().map(|size| size as usize).collect())
}

/// Numbers before texts, by value.
fn natural(text: &str) -> f64 {
    text.parse().unwrap_or(f64::INFINITY)
}
