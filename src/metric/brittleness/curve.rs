use polars::df;
use polars::prelude::DataFrame;

use crate::error::{Error, Result};
use crate::frame::column;
use crate::statistics::wilson;

/// Share of the test examples whose prediction flips within so many changes, one row per method and number.
///
/// Of a table from [`Brittleness::evaluate`](super::Brittleness::evaluate), or several below each other with the same pool. Columns:
/// `method`, `support` (0, every support of any method, and the pool), `share`, `low`, `high`: a 95 % Wilson interval over test examples.
/// Those whose prediction the whole pool does not flip count as not flipped up to the pool, which is all that is known of them; nothing is said
/// beyond it.
///
/// Errors: [`Error::Data`] if a column is missing, or without rows, or for different pools.
///
/// ```
/// use ascribe::{metric, plot, polars::df};
/// let table = df!("method" => ["a", "a", "a", "a"], "value" => [Some(3u32), Some(1), None, Some(3)], "pool" => [8u32; 4])?;
/// let curve = metric::support_curve(&table)?;
/// let share: Vec<f64> = curve.column("share")?.f64()?.into_no_null_iter().collect();
/// assert_eq!(share, [0.0, 0.25, 0.75, 0.75]); // 0, 1, 3 and 8 changes
/// let figure = plot::Curve { band: true, ..Default::default() }.draw(&curve, "support", "share", Some("method"))?;
/// assert!(figure.svg().contains("support"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn support_curve(supports: &DataFrame) -> Result<DataFrame> {
    let methods: Vec<&str> = column(supports, "method")?.str()?.iter().map(Option::unwrap_or_default).collect();
    let values: Vec<Option<u32>> = column(supports, "value")?.u32()?.iter().collect();
    let mut pools: Vec<u32> = column(supports, "pool")?.u32()?.iter().flatten().collect();
    pools.sort_unstable();
    pools.dedup();
    let [pool] = pools[..] else {
        return Err(Error::data("pool", format!("expected one pool for all rows, got {pools:?}")));
    };
    let mut grid: Vec<u32> = values.iter().flatten().copied().chain([0, pool]).collect();
    grid.sort_unstable();
    grid.dedup();
    let mut names: Vec<&str> = Vec::new();
    methods.iter().for_each(|name| {
        if !names.contains(name) {
            names.push(name)
        }
    });
    let (mut method, mut support, mut share, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let own: Vec<Option<u32>> = methods.iter().zip(&values).filter(|(m, _)| **m == name).map(|(_, v)| *v).collect();
        for &at in &grid {
            let flipped = own.iter().filter(|value| value.is_some_and(|value| value <= at)).count() as f64;
            let n = own.len() as f64;
            let interval = wilson(flipped, n);
            method.push(name);
            support.push(at);
            share.push(flipped / n);
            low.push(interval.0);
            high.push(interval.1);
        }
    }
    Ok(df!("method" => method, "support" => support, "share" => share, "low" => low, "high" => high)?)
}
