use polars::prelude::{Column, DataFrame, IdxCa, IdxSize, IntoColumn, NamedFrom, Series};
use tch::{Kind, Tensor};

use crate::error::{Error, Result, guarded};
use crate::frame::column;

/// One number per train example, larger is worth more, with its standard error.
pub struct Valuation {
    /// `[n_train]`, float64.
    values: Tensor,
    standard_errors: Tensor,
    train: DataFrame,
    method: String,
}

impl Clone for Valuation {
    fn clone(&self) -> Valuation {
        Valuation {
            values: self.values.shallow_clone(),
            standard_errors: self.standard_errors.shallow_clone(),
            train: self.train.clone(),
            method: self.method.clone(),
        }
    }
}

impl std::fmt::Debug for Valuation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Valuation ({}, {} train examples)", self.method, self.train.height())
    }
}

impl Valuation {
    pub(super) fn new(values: Tensor, standard_errors: Tensor, train: &DataFrame, method: &str) -> Valuation {
        Valuation { values, standard_errors, train: train.clone(), method: method.to_string() }
    }

    /// `[n_train]`, float64.
    pub fn tensor(&self) -> &Tensor {
        &self.values
    }

    /// `[n_train]`, float64; NaN where a single draw tells nothing of its spread.
    pub fn standard_errors(&self) -> &Tensor {
        &self.standard_errors
    }

    /// One row per train example, the most valuable first. Columns: `train` (example id), `value`, `standard_error`, `z` (null
    /// where there is no standard error), `method`, then the metadata.
    pub fn frame(&self) -> Result<DataFrame> {
        table(&self.values, &self.standard_errors, &self.train, "value", &self.method)
    }
}

/// Values in descending order beside the examples they are of.
pub(super) fn table(values: &Tensor, errors: &Tensor, train: &DataFrame, name: &str, method: &str) -> Result<DataFrame> {
    let list = |tensor: &Tensor| guarded(|| Ok(Vec::<f64>::try_from(&tensor.to_kind(Kind::Double).contiguous())?));
    let (values, errors) = (list(values)?, list(errors)?);
    if values.len() != train.height() {
        return Err(Error::shape("values", train.height(), values.len()));
    }
    let mut order: Vec<IdxSize> = (0..values.len() as IdxSize).collect();
    order.sort_by(|&a, &b| values[b as usize].total_cmp(&values[a as usize]));
    let at = |numbers: &[f64]| order.iter().map(|&row| numbers[row as usize]).collect::<Vec<f64>>();
    let (values, errors) = (at(&values), at(&errors));
    let known: Vec<Option<f64>> = errors.iter().map(|error| error.is_finite().then_some(*error)).collect();
    let z = values.iter().zip(&known).map(|(value, error)| error.filter(|error| *error > 0.0).map(|error| value / error));
    let z = Series::new("z".into(), z.collect::<Vec<_>>()).into_column();
    let rows = IdxCa::from_vec("".into(), order);
    let mut columns: Vec<Column> = vec![
        column(train, "example")?.take(&rows)?.with_name("train".into()),
        Series::new(name.into(), values).into_column(),
        Series::new("standard_error".into(), known).into_column(),
        z,
        Series::new("method".into(), vec![method; rows.len()]).into_column(),
    ];
    for other in train.columns().iter().filter(|other| other.name().as_str() != "example") {
        columns.push(other.take(&rows)?);
    }
    Ok(DataFrame::new(rows.len(), columns)?)
}
