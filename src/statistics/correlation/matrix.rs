use std::thread;

use polars::df;
use polars::prelude::DataFrame;

use super::group::{numbered, pick};
use super::linear::{centred, dot, linear, ranked};
use super::resample::resampled;
use super::{Coefficient, Correlation};
use crate::error::{Error, Result};
use crate::statistics::bootstrap::quantile;
use crate::statistics::distribution::Student;
use crate::statistics::ranks;

/// What to do with numbers that are NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Say so, and stop.
    #[default]
    Refuse,
    /// Leave a row out of the correlations of those columns that miss it; `n` says how many are left.
    Omit,
}

/// Options of [`correlation_matrix`].
///
/// ```
/// use ascribe::statistics::{Coefficient, Correlations, correlation_matrix};
/// let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]);
/// // Two rows each of three test examples: these are what is drawn.
/// let options = Correlations {
///     coefficients: vec![Coefficient::Spearman],
///     groups: Some(vec![0, 0, 1, 1, 2, 2]),
///     resamples: 500,
///     ..Default::default()
/// };
/// let table = correlation_matrix(&[("a", &a), ("b", &b)], &options)?;
/// assert_eq!(table.column("method")?.str()?.get(0), Some("cluster bootstrap"));
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Correlations {
    /// Which correlations, in this order.
    pub coefficients: Vec<Coefficient>,
    /// What to do with numbers that are not finite.
    pub missing: Missing,
    /// Bootstrap samples; 0 for intervals by formula.
    pub resamples: usize,
    /// Chooses the samples; all pairs of columns without gaps share them.
    pub seed: u64,
    /// The group of each row, such as its test example: the bootstrap then draws whole groups, since rows of one group depend on each
    /// other. A formula for intervals supposes that they do not.
    pub groups: Option<Vec<usize>>,
}

impl Default for Correlations {
    fn default() -> Correlations {
        Correlations {
            coefficients: vec![Coefficient::Pearson, Coefficient::Spearman],
            missing: Missing::default(),
            resamples: 0,
            seed: 0,
            groups: None,
        }
    }
}

/// Correlations of every two columns, a row for each: `a`, `b` (names, in the order of `columns`), `coefficient`, `value`, `low` and `high`
/// (a 95 % interval), `p` (two-sided), `n` (rows compared) and `method` (of the interval).
///
/// `method` is `formula`: intervals and p-values are those of [`Coefficient::of`], for independent rows; or `bootstrap`: the 2.5 % and 97.5 %
/// points over resampled rows, p as before; or `cluster bootstrap`: the same over resampled groups, and p by Student's t with one degree of
/// freedom less than groups, of `artanh` of the correlation over its spread among the samples. A bootstrap of fewer than some 20 rows or
/// groups is too narrow, and that of ranks lies too low where rows are few, as they tie with their copies. What is not
/// defined is null.
///
/// Cost: a sort of each column; a bootstrap of Pearson's takes one step a sample and group, of Spearman's one a sample and row, of Kendall's a
/// sort a sample.
///
/// Errors: [`Error::Shape`] for fewer than two columns or different lengths; [`Error::Option`] without a coefficient or for groups without
/// resamples; [`Error::Data`] for two columns of one name, or a number that is not finite under [`Missing::Refuse`].
///
/// ```
/// use ascribe::statistics::{Correlations, correlation_matrix};
/// let (a, b, c) = ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 5.0], [1.0, 0.0, 0.0, 1.0]);
/// let table = correlation_matrix(&[("GradDot", &a), ("TracIn", &b), ("Random", &c)], &Correlations::default())?;
/// assert_eq!(table.height(), 6); // three pairs, two coefficients
/// assert!(table.column("value")?.f64()?.get(0) > Some(0.95));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn correlation_matrix(columns: &[(&str, &[f64])], options: &Correlations) -> Result<DataFrame> {
    check(columns, options)?;
    let prepared = prepare(columns, options);
    let mut rows: Vec<(&str, &str, Coefficient, Judged)> = Vec::new();
    for &coefficient in &options.coefficients {
        for (at, a) in columns.iter().enumerate() {
            for (other, b) in columns.iter().enumerate().skip(at + 1) {
                let found = judge((a.1, &prepared[at]), (b.1, &prepared[other]), coefficient, options);
                rows.push((a.0, b.0, coefficient, found));
            }
        }
    }
    let numbers = |of: &dyn Fn(&Judged) -> Option<f64>| rows.iter().map(|row| of(&row.3)).collect::<Vec<_>>();
    let method = match (options.resamples, &options.groups) {
        (0, _) => "formula",
        (_, None) => "bootstrap",
        (_, Some(_)) => "cluster bootstrap",
    };
    Ok(df!(
        "a" => rows.iter().map(|row| row.0).collect::<Vec<_>>(),
        "b" => rows.iter().map(|row| row.1).collect::<Vec<_>>(),
        "coefficient" => rows.iter().map(|row| row.2.name()).collect::<Vec<_>>(),
        "value" => numbers(&|found| found.value),
        "low" => numbers(&|found| found.interval.map(|ends| ends.0)),
        "high" => numbers(&|found| found.interval.map(|ends| ends.1)),
        "p" => numbers(&|found| found.p),
        "n" => rows.iter().map(|row| row.3.n as u32).collect::<Vec<_>>(),
        "method" => vec![method; rows.len()],
    )?)
}

fn check(columns: &[(&str, &[f64])], options: &Correlations) -> Result<()> {
    let n = columns.first().map_or(0, |column| column.1.len());
    if columns.len() < 2 {
        return Err(Error::shape("columns", "at least 2", columns.len()));
    }
    if options.coefficients.is_empty() {
        return Err(Error::option("Correlations.coefficients", "at least one", "none"));
    }
    if options.groups.is_some() && options.resamples == 0 {
        return Err(Error::option("Correlations.resamples", "at least 1 to resample groups", 0));
    }
    if let Some(groups) = options.groups.as_ref().filter(|groups| groups.len() != n) {
        return Err(Error::shape("Correlations.groups", format!("a group for each of {n} rows"), groups.len()));
    }
    for (at, (name, values)) in columns.iter().enumerate() {
        if values.len() != n {
            return Err(Error::shape(format!("column {name}"), format!("{n} rows, as {}", columns[0].0), values.len()));
        }
        if columns[..at].iter().any(|other| other.0 == *name) {
            return Err(Error::data(format!("column {name}"), "expected a name of its own, another column has it too"));
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(row) if options.missing == Missing::Refuse => {
                return Err(Error::data(
                    format!("column {name}"),
                    format!("expected finite numbers, got {} in row {row}; Missing::Omit leaves such rows out", values[row]),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A column's deviations and those of its ranks, at length 1; nothing where it has gaps.
#[derive(Default)]
struct Prepared {
    whole: bool,
    linear: Option<Vec<f64>>,
    ranked: Option<Vec<f64>>,
}

fn prepare(columns: &[(&str, &[f64])], options: &Correlations) -> Vec<Prepared> {
    let wanted = |coefficient: Coefficient| options.coefficients.contains(&coefficient);
    let one = |values: &[f64]| match values.iter().all(|value| value.is_finite()) {
        true => Prepared {
            whole: true,
            linear: if wanted(Coefficient::Pearson) { centred(values) } else { None },
            ranked: if wanted(Coefficient::Spearman) { centred(&ranks(values)) } else { None },
        },
        false => Prepared::default(),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(columns.len());
    let mut prepared: Vec<Prepared> = columns.iter().map(|_| Prepared::default()).collect();
    thread::scope(|scope| {
        let share = columns.len().div_ceil(cores);
        for (columns, prepared) in columns.chunks(share).zip(prepared.chunks_mut(share)) {
            let one = &one;
            scope.spawn(move || columns.iter().zip(prepared).for_each(|(column, place)| *place = one(column.1)));
        }
    });
    prepared
}

/// A row of the table; `value` is missing where the correlation is not defined.
struct Judged {
    value: Option<f64>,
    interval: Option<(f64, f64)>,
    p: Option<f64>,
    n: usize,
}

fn judge(
    (x, of_x): (&[f64], &Prepared),
    (y, of_y): (&[f64], &Prepared),
    coefficient: Coefficient,
    options: &Correlations,
) -> Judged {
    if of_x.whole && of_y.whole {
        let n = x.len();
        let of =
            |x: &Option<Vec<f64>>, y: &Option<Vec<f64>>| Some(dot(x.as_ref()?, y.as_ref()?).clamp(-1.0, 1.0)).filter(|_| n >= 2);
        let found = match coefficient {
            Coefficient::Pearson => of(&of_x.linear, &of_y.linear).map(|value| linear(value, n, 0)),
            Coefficient::Spearman => of(&of_x.ranked, &of_y.ranked).map(|value| ranked(value, n, 0)),
            Coefficient::Kendall => coefficient.of(x, y),
        };
        return resample(found, (x, y), options.groups.as_deref(), coefficient, options);
    }
    let rows: Vec<usize> = (0..x.len()).filter(|&row| x[row].is_finite() && y[row].is_finite()).collect();
    let (x, y) = (pick(x, &rows), pick(y, &rows));
    let groups: Option<Vec<usize>> = options.groups.as_ref().map(|groups| rows.iter().map(|&row| groups[row]).collect());
    resample(coefficient.of(&x, &y), (&x, &y), groups.as_deref(), coefficient, options)
}

fn resample(
    found: Option<Correlation>,
    (x, y): (&[f64], &[f64]),
    groups: Option<&[usize]>,
    coefficient: Coefficient,
    options: &Correlations,
) -> Judged {
    let n = x.len();
    let Some(found) = found else { return Judged { value: None, interval: None, p: None, n } };
    let plain = Judged { value: Some(found.value), interval: found.interval, p: found.p, n };
    if options.resamples == 0 {
        return plain;
    }
    let samples = resampled(x, y, groups, coefficient, (options.resamples, options.seed));
    let interval = (!samples.is_empty()).then(|| (quantile(&samples, 0.025), quantile(&samples, 0.975)));
    match groups {
        None => Judged { interval, ..plain },
        Some(groups) => Judged { interval, p: p_of_spread(found.value, &samples, numbered(groups).1), ..plain },
    }
}

/// Student's t of the transformed correlation over the spread of the samples'.
fn p_of_spread(value: f64, samples: &[f64], groups: usize) -> Option<f64> {
    const NEAREST: f64 = 1.0 - 1e-12;
    let transformed: Vec<f64> = samples.iter().map(|r| r.clamp(-NEAREST, NEAREST).atanh()).collect();
    let n = transformed.len() as f64;
    let mean = transformed.iter().sum::<f64>() / n;
    let spread = (transformed.iter().map(|z| (z - mean) * (z - mean)).sum::<f64>() / (n - 1.0)).sqrt();
    (groups >= 2 && spread > 0.0).then(|| Student::new(groups - 1).p(value.clamp(-NEAREST, NEAREST).atanh() / spread))
}
