//! Nearest train examples as the Simple baseline stores them.

use std::path::Path;

use tch::{Kind, Tensor};

use super::broken::{Outcome, about, refuse};
use super::value::integer;
use crate::error::Result;

/// Test examples with a row of their own in a matrix that is indexed by test id: all of CIFAR-10's.
const BY_ID: i64 = 10_000;

/// The strongest train examples of some test examples.
#[derive(Debug)]
pub struct TopK {
    /// Ids of the test examples, as given.
    pub test: Vec<i64>,
    /// Ids of train examples, `[tests, k]`, int64, strongest first.
    pub train: Tensor,
}

/// Reads `topk_train_samples/*.npy` for these test examples.
///
/// The released script writes 10,000 rows, one per test id, and leaves the unused ones zero; published files may have one row per
/// entry of `test_indices` instead. The number of rows decides. Errors: [`Error::Data`](crate::Error::Data) for another number of
/// rows, and for a row that was never written (all zero), naming the test id.
pub fn simple_top_k(path: impl AsRef<Path>, test_indices: &[i64]) -> Result<TopK> {
    let matrix = super::npy(path.as_ref())?;
    about(path.as_ref(), || top_k(&matrix, test_indices))
}

pub(super) fn top_k(matrix: &Tensor, test: &[i64]) -> Outcome<TopK> {
    let (rows, k) = match matrix.size().as_slice() {
        [rows, k] if integer(matrix.kind()) && *k > 0 => (*rows, *k),
        other => return refuse(format!("expected an integer matrix [tests, k], got {:?} {other:?}", matrix.kind())),
    };
    let by_id = rows == BY_ID;
    if !by_id && rows != test.len() as i64 {
        return refuse(format!("expected {BY_ID} rows (by test id) or {} (one per index), got {rows}", test.len()));
    }
    if let Some(outside) = test.iter().find(|id| by_id && !(0..BY_ID).contains(*id)) {
        return refuse(format!("expected test ids from 0 to {}, got {outside}", BY_ID - 1));
    }
    let chosen = if by_id { matrix.f_index_select(0, &Tensor::f_from_slice(test)?)? } else { matrix.shallow_clone() };
    let train = chosen.f_to_kind(Kind::Int64)?;
    if train.numel() > 0 && train.f_min()?.f_int64_value(&[])? < 0 {
        return refuse("expected train ids from 0, got a negative one");
    }
    let used = Vec::<i64>::try_from(&train.f_count_nonzero(1)?)?;
    // With k = 1, a row that holds train example 0 looks the same; by position every row was written.
    match used.iter().position(|nonzero| *nonzero == 0 && (by_id || k > 1)) {
        Some(row) => refuse(format!("the row of test example {} is all zero: it was never written", test[row])),
        None => Ok(TopK { test: test.to_vec(), train }),
    }
}
