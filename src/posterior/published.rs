//! Draws from the score files of the Bayesian study.

use std::fs;
use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

use super::Posterior;
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::read;
use crate::scores::Scores;

impl Posterior {
    /// Reads the files `{seed}/attribution_ckpt_{epoch}.csv` of a folder such as `tda_scores/cnn/gd/mnist3_10pc`: a run for each seed, a draw for
    /// each epoch.
    ///
    /// Rows and columns are matched with `test` and `train` by example id. `sign` is what turns the file's numbers into scores where larger
    /// is a stronger proponent: 1 for the study's LOO, GD and GC, −1 for its ATS and IF, which are changes of a loss.
    ///
    /// Errors: [`Error::Data`] for no such file, an example that a file does not have, or what [`read::bayesian_scores`] says;
    /// [`Error::Option`] for another sign.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let folder = std::env::temp_dir().join(format!("ascribe-doc-published-{}", std::process::id()));
    /// for (seed, values) in [("446", "0.5,1.0"), ("724", "-0.5,2.0")] {
    ///     std::fs::create_dir_all(folder.join(seed))?;
    ///     std::fs::write(folder.join(seed).join("attribution_ckpt_14.csv"), format!("train_idx,z_test_0,z_test_1\n1,{values}\n0,0.0,0.25\n"))?;
    /// }
    /// let data = dataset::digits()?.head(2)?;
    /// let posterior = Posterior::published(&folder, "GD", 1.0, &data, &data)?;
    /// assert_eq!((posterior.runs(), posterior.mean()?.get(1, 1)?), (2, 1.5));
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn published(folder: impl AsRef<Path>, method: &str, sign: f64, test: &Dataset, train: &Dataset) -> Result<Posterior> {
        if sign.abs() != 1.0 {
            return Err(Error::option("sign", "1 or -1", sign));
        }
        let folder = folder.as_ref();
        let mut posterior = Posterior::new();
        for (seed, inside) in numbered(folder, "", "")? {
            for (epoch, file) in numbered(&inside, "attribution_ckpt_", ".csv")? {
                let table = read::bayesian_scores(&file)?;
                let place = |side: &str, ids: &[i64], wanted: &[u32]| -> Result<Tensor> {
                    let find = |id: &u32| {
                        let missing = || Error::data(file.display().to_string(), format!("it has no {side} example {id}"));
                        ids.iter().position(|other| *other == i64::from(*id)).map(|at| at as i64).ok_or_else(missing)
                    };
                    Ok(Tensor::from_slice(&wanted.iter().map(find).collect::<Result<Vec<_>>>()?))
                };
                let (rows, columns) =
                    (place("test", &table.test, &test.examples())?, place("train", &table.train, &train.examples())?);
                let values =
                    guarded(|| Ok((table.values.index_select(0, &rows).index_select(1, &columns) * sign).to_kind(Kind::Float)))?;
                posterior.add(seed, epoch, &Scores::new(values, method, test, train)?)?;
            }
        }
        match posterior.draws().is_empty() {
            true => {
                Err(Error::data(folder.display().to_string(), "expected files {seed}/attribution_ckpt_{epoch}.csv, found none"))
            }
            false => Ok(posterior),
        }
    }
}

/// What in a folder is named by a number between two texts, by number.
fn numbered(folder: &Path, before: &str, after: &str) -> Result<Vec<(usize, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).and_then(|number| number.parse().ok());
        found.extend(number.filter(|_| !before.is_empty() || path.is_dir()).map(|number: usize| (number, path.clone())));
    }
    found.sort();
    Ok(found)
}
