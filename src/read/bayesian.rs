//! Scores of the Bayesian study, a CSV with one row per train example.

use std::path::Path;

use tch::Tensor;

use super::broken::{Outcome, about, quoted, refuse};
use super::source::text;
use crate::error::Result;

/// A score matrix and the ids its file gives to rows and columns.
#[derive(Debug)]
pub struct ScoreTable {
    /// Ids of the test examples (rows).
    pub test: Vec<i64>,
    /// Ids of the train examples (columns).
    pub train: Vec<i64>,
    /// `[n_test, n_train]`, float32, with the file's own sign.
    pub values: Tensor,
}

/// Reads `attribution_ckpt_{e}.csv`: columns `train_idx, z_test_{id}, …`, rows are train examples; transposed to `[test, train]`.
///
/// A column without a name (the row number pandas writes) is skipped. Errors: [`Error::Data`](crate::Error::Data) naming line and
/// column, also for a number that is not finite and for an id that comes twice.
pub fn bayesian_scores(path: impl AsRef<Path>) -> Result<ScoreTable> {
    about(path.as_ref(), || table(&text(path.as_ref())?))
}

/// What a column holds.
enum Column {
    RowNumber,
    Train,
    Test,
}

pub(super) fn table(text: &str) -> Outcome<ScoreTable> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((_, head)) = lines.next() else {
        return refuse("expected a CSV with train_idx and z_test_ columns, got an empty file");
    };
    let (columns, test) = columns(head)?;
    let (mut train, mut values) = (Vec::new(), Vec::new());
    for (number, line) in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != columns.len() {
            return refuse(format!("line {}: expected {} cells, got {}", number + 1, columns.len(), cells.len()));
        }
        for (at, (cell, column)) in cells.iter().zip(&columns).enumerate() {
            let expected = |what: &str| format!("line {}, column {}: expected {what}, got {}", number + 1, at + 1, quoted(cell));
            match column {
                Column::RowNumber => {}
                Column::Train => train.push(cell.parse::<i64>().map_err(|_| expected("a train id"))?),
                Column::Test => match cell.parse::<f32>() {
                    Ok(value) if value.is_finite() => values.push(value),
                    _ => return refuse(expected("a finite number")),
                },
            }
        }
    }
    for (side, ids) in [("train", &train), ("test", &test)] {
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse(format!("{side} id {} comes twice", pair[0]));
        }
    }
    let matrix = Tensor::f_from_slice(&values)?.f_reshape([train.len() as i64, test.len() as i64])?;
    Ok(ScoreTable { test, train, values: matrix.f_tr()?.f_contiguous()? })
}

fn columns(head: &str) -> Outcome<(Vec<Column>, Vec<i64>)> {
    let (mut columns, mut test, mut trains) = (Vec::new(), Vec::new(), 0);
    for name in head.trim_start_matches('\u{feff}').split(',').map(|name| name.trim().trim_matches('"')) {
        columns.push(match (name, name.strip_prefix("z_test_").map(str::parse)) {
            ("", _) => Column::RowNumber,
            ("train_idx", _) => {
                trains += 1;
                Column::Train
            }
            (_, Some(Ok(id))) => {
                test.push(id);
                Column::Test
            }
            _ => return refuse(format!("expected the columns train_idx and z_test_ with an id, got {}", quoted(name))),
        });
    }
    match trains == 1 && !test.is_empty() {
        true => Ok((columns, test)),
        false => refuse(format!("expected one column train_idx and at least one z_test_, got {trains} and {}", test.len())),
    }
}
