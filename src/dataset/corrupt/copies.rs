use polars::prelude::{NamedFrom, Series};
use rand::Rng;
use tch::Tensor;

use super::drawn;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::random::{self, Purpose};

/// Appends exact copies of `n` random examples; the column `duplicate` marks the copies, `original` says whose they are.
///
/// Copies have ids above all others. Both columns replace those of that name.
///
/// Errors: [`Error::Data`] if there are fewer than `n` examples.
///
/// ```
/// use ascribe::dataset;
/// let data = dataset::duplicate(&dataset::digits()?.head(100)?, 5, 0)?;
/// let original = data.frame().column("original")?.u32()?.get(104).expect("the last one is a copy");
/// assert_eq!(data.inputs().get(104), data.inputs().get(i64::from(original)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplicate(data: &Dataset, n: usize, seed: u64) -> Result<Dataset> {
    let chosen = drawn(data, n, "to copy", seed, Purpose::Duplicate, |_| true)?;
    copies(data, &chosen, "duplicate", Ok)
}

/// Appends copies of `n` random examples with normal noise of this standard deviation on every input number; the column `near_duplicate`
/// marks the copies, `original` says whose they are.
///
/// The noise belongs to the example's id and the seed, its size scales with `deviation` alone. Else as [`duplicate`].
///
/// Errors: also [`Error::Option`] for a deviation that is negative or not finite, [`Error::Data`] for inputs that are not floats.
///
/// ```
/// use ascribe::dataset;
/// let data = dataset::near_duplicates(&dataset::digits()?.head(100)?, 5, 0.01, 0)?;
/// let original = data.frame().column("original")?.u32()?.get(104).expect("the last one is a copy");
/// let apart = (data.inputs().get(104) - data.inputs().get(i64::from(original))).abs().max().double_value(&[]);
/// assert!(apart > 0.0 && apart < 0.06);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn near_duplicates(data: &Dataset, n: usize, deviation: f64, seed: u64) -> Result<Dataset> {
    if !(deviation >= 0.0 && deviation.is_finite()) {
        return Err(Error::option("near_duplicates.deviation", "a number of at least 0", deviation));
    }
    if !data.inputs().is_floating_point() {
        return Err(Error::data(data.name(), format!("expected float inputs to add noise to, got {:?}", data.inputs().kind())));
    }
    let chosen = drawn(data, n, "to copy", seed, Purpose::NearDuplicate, |_| true)?;
    let ids = data.examples();
    let each = data.inputs().numel() / data.len();
    copies(data, &chosen, "near_duplicate", |inputs| {
        let noise: Vec<f32> = chosen.iter().flat_map(|&at| normal(each, seed, ids[at])).collect();
        let noise = Tensor::f_from_slice(&noise)?.f_view(inputs.size().as_slice())?.f_to_kind(inputs.kind())?;
        Ok(inputs.f_add(&noise.f_mul_scalar(deviation)?)?)
    })
}

/// Normal numbers of an example, by Box and Muller.
fn normal(n: usize, seed: u64, id: u32) -> Vec<f32> {
    let mut generator = random::generator(seed, Purpose::Noise, u64::from(id));
    let mut pair = || {
        let radius = (-2.0 * (1.0 - generator.r#gen::<f64>()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * generator.r#gen::<f64>()).sin_cos();
        [radius * cosine, radius * sine]
    };
    let mut numbers: Vec<f32> = (0..n.div_ceil(2)).flat_map(|_| pair()).map(|x| x as f32).collect();
    numbers.truncate(n);
    numbers
}

/// The dataset with changed copies of some examples at its end.
fn copies(data: &Dataset, chosen: &[usize], mark: &str, change: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Dataset> {
    let ids = data.examples();
    let marks: Vec<bool> = std::iter::repeat_n(false, data.len()).chain(std::iter::repeat_n(true, chosen.len())).collect();
    let originals: Vec<Option<u32>> =
        std::iter::repeat_n(None, data.len()).chain(chosen.iter().map(|&at| Some(ids[at]))).collect();
    let whole = match chosen.is_empty() {
        true => data.clone(),
        false => {
            let index = Tensor::f_from_slice(&chosen.iter().map(|&at| at as i64).collect::<Vec<_>>())?;
            data.extended(chosen, change(data.inputs().f_index_select(0, &index)?)?)?
        }
    };
    whole.with_column(Series::new(mark.into(), marks))?.with_column(Series::new("original".into(), originals))
}
