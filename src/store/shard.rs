//! Which share of a recording one job does.

use crate::error::{Error, Result};

/// Job `index` of `count` that record one store together, or retrain on one set of subsets
/// ([`Subsets::shard`](crate::retrain::Subsets::shard)); each does every `count`-th part.
///
/// ```
/// use ascribe::store::Shard;
/// assert_eq!(Shard::whole(), Shard { index: 0, count: 1 });
/// assert_eq!(Shard::from_env()?, Shard::whole()); // outside a Slurm array
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 0.
    pub index: usize,
    /// Number of jobs.
    pub count: usize,
}

impl Default for Shard {
    fn default() -> Shard {
        Shard::whole()
    }
}

impl Shard {
    /// One job does everything.
    pub fn whole() -> Shard {
        Shard { index: 0, count: 1 }
    }

    /// The task of a Slurm array (`sbatch --array=0-7`), by `SLURM_ARRAY_TASK_ID` and `SLURM_ARRAY_TASK_COUNT`; ids may start anywhere
    /// and have a step (`_MIN`, `_STEP`). Everything, outside an array.
    ///
    /// Errors: [`Error::Option`] naming the variable that is missing or wrong.
    pub fn from_env() -> Result<Shard> {
        Shard::from(|name| std::env::var(name).ok())
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Shard> {
        let number = |name: &str| -> Result<Option<usize>> {
            let Some(text) = variable(name) else { return Ok(None) };
            let number = text.trim().parse();
            number.map(Some).map_err(|_| Error::option(name, "a number from 0", format!("{text:?}")))
        };
        let (id, count) = match (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_COUNT")?) {
            (None, None) => return Ok(Shard::whole()),
            (Some(id), Some(count)) => (id, count),
            (Some(_), None) => {
                return Err(Error::option("SLURM_ARRAY_TASK_COUNT", "the number of tasks in the array", "nothing"));
            }
            (None, Some(_)) => return Err(Error::option("SLURM_ARRAY_TASK_ID", "the number of this task", "nothing")),
        };
        let (least, step) = (number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0), number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1));
        let expected = || format!("{least}, {} and so on, {count} in all (give an array with equal steps)", least + step);
        match id.checked_sub(least).map(|above| (above.checked_div(step), above.checked_rem(step))) {
            Some((Some(index), Some(0))) if index < count => Ok(Shard { index, count }),
            _ => Err(Error::option("SLURM_ARRAY_TASK_ID", expected(), id)),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match (self.count, self.index < self.count) {
            (0, _) => Err(Error::option("Shard.count", "at least 1", 0)),
            (_, true) => Ok(()),
            (count, false) => Err(Error::option("Shard.index", format!("0 to {} (count is {count})", count - 1), self.index)),
        }
    }

    /// Whether this job does the unit at a position.
    pub(crate) fn has(&self, unit: usize) -> bool {
        unit % self.count == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::Shard;
    use crate::error::Result;

    fn of(pairs: &[(&str, &str)]) -> Result<Shard> {
        let full = |name: &str| name.trim_start_matches("SLURM_ARRAY_TASK_").to_string();
        Shard::from(|name| pairs.iter().find(|(key, _)| *key == full(name)).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn a_task_of_an_array_knows_its_share() -> Result<()> {
        assert_eq!(of(&[])?, Shard::whole());
        assert_eq!(of(&[("ID", "2"), ("COUNT", "4")])?, Shard { index: 2, count: 4 });
        assert_eq!(of(&[("ID", "4"), ("COUNT", "4"), ("MIN", "1")])?, Shard { index: 3, count: 4 });
        assert_eq!(of(&[("ID", "16"), ("COUNT", "3"), ("MIN", "10"), ("STEP", "3")])?, Shard { index: 2, count: 3 });
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |pairs: &[(&str, &str)], says: &[&str]| {
            let message = of(pairs).unwrap_err().to_string();
            assert!(says.iter().all(|part| message.contains(part)), "{message}");
        };
        wrong(&[("ID", "x"), ("COUNT", "4")], &["SLURM_ARRAY_TASK_ID", "\"x\""]);
        wrong(&[("ID", "1")], &["SLURM_ARRAY_TASK_COUNT", "nothing"]);
        wrong(&[("COUNT", "4")], &["SLURM_ARRAY_TASK_ID", "nothing"]);
        wrong(&[("ID", "4"), ("COUNT", "4")], &["SLURM_ARRAY_TASK_ID", "got 4"]);
        wrong(&[("ID", "0"), ("COUNT", "4"), ("MIN", "1")], &["got 0"]);
        wrong(&[("ID", "3"), ("COUNT", "4"), ("STEP", "2")], &["got 3", "equal steps"]);
        wrong(&[("ID", "3"), ("COUNT", "4"), ("STEP", "0")], &["got 3"]);
    }
}
