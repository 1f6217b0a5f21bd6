//! The tidy table of a metric that has a number for each test example.

use polars::prelude::{DataFrame, IntoColumn, NamedFrom, Series};

use super::correlation::floats;
use crate::error::Result;
use crate::frame::column;

/// Columns `method`, `metric`, `test` (example id), `value`.
pub(super) fn each(method: &str, metric: &str, test: &DataFrame, values: Vec<Option<f64>>) -> Result<DataFrame> {
    let m = test.height();
    let columns = vec![
        Series::new("method".into(), vec![method; m]).into_column(),
        Series::new("metric".into(), vec![metric; m]).into_column(),
        column(test, "example")?.clone().with_name("test".into()),
        floats("value", values.into_iter()),
    ];
    Ok(DataFrame::new(m, columns)?)
}
