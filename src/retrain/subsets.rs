//! Which examples each retraining sees.

mod draw;

use polars::df;
use polars::prelude::DataFrame;
use tch::{Device, Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::scores::Side;
use crate::store::Shard;

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
    /// Subsets made elsewhere: masks `[subsets, n]`, where what is not zero is in.
    ///
    /// Errors: [`Error::Shape`] for other masks; [`Error::Data`] if one of them is empty or holds NaN.
    pub fn from_masks(train: &Dataset, masks: &Tensor) -> Result<Subsets> {
        let n = train.len();
        if masks.dim() != 2 || masks.size()[1] != n as i64 {
            return Err(Error::shape("masks", format!("[subsets, {n}]"), format!("{:?}", masks.size())));
        }
        let count = masks.size()[0] as usize;
        check_count(count, n)?;
        if guarded(|| Ok(masks.isnan().any().int64_value(&[]) != 0))? {
            return Err(Error::data("masks", "expected numbers, zero for what is left out, got NaN"));
        }
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

    /// The share of the subsets that one of several processes does: every `count`-th, with their numbers.
    ///
    /// Processes that share the folder of [`Retraining::cached`](super::Retraining::cached) do all of them together, and a last run on all
    /// subsets finds everything there.
    ///
    /// Errors: [`Error::Option`] for a shard that cannot be; [`Error::Data`] if none is left for it.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let halves = Subsets::fraction(&dataset::digits()?.head(100)?, 0.5, 5, 0)?;
    /// assert_eq!(halves.shard(Shard { index: 1, count: 2 })?.numbers(), [1, 3]);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn shard(&self, shard: Shard) -> Result<Subsets> {
        shard.check()?;
        self.select(&(0..self.len()).filter(|&place| shard.has(place)).collect::<Vec<_>>())
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
