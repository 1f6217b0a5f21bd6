use std::collections::HashMap;

use super::Checkpoint;
use crate::error::{Error, Result};
use crate::names::{Pattern, hint};

impl Checkpoint {
    /// The same weights under other names: a table of beginnings and what stands in their place.
    ///
    /// The rules are applied one after the other, each to what the one before left, at most once to a name. A beginning ends at a dot or
    /// with the name (`layers.0` is not the beginning of `layers.01.weight`); `""` is the beginning of every name. `*` stands for
    /// anything but a dot, and a `*` on the right for what the one in the same place on the left was. A rule may fit no name: the same
    /// table serves files with and without `module.`.
    ///
    /// Errors: [`Error::Option`] for more `*` on the right than on the left; [`Error::Checkpoint`] where two weights get one name.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let zeros = |size: &[i64]| Tensor::zeros(size, (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu));
    /// let python = vec![("module.layers.0.weight".into(), zeros(&[8, 64])), ("module.layers.2.weight".into(), zeros(&[10, 8]))];
    /// let ours = Checkpoint::new(0, 0, 0.0, python).rename(&[("module.", ""), ("layers.0.", "fc1."), ("layers.2.", "fc2.")])?;
    /// assert!(ours.tensor("fc1.weight").is_some() && ours.tensor("fc2.weight").is_some());
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn rename(&self, rules: &[(&str, &str)]) -> Result<Checkpoint> {
        let mut renamed = self.clone();
        for &(from, to) in rules {
            let pattern = Pattern::new(from);
            let pieces: Vec<&str> = to.split('*').collect();
            if pieces.len() - 1 > pattern.stars() {
                let expected = format!("at most {} stars, as in {from:?}", pattern.stars());
                return Err(Error::option("rename", expected, format!("{to:?}")));
            }
            for (name, _) in &mut renamed.tensors {
                if let Some((stars, rest)) = pattern.find(name) {
                    let filled = pieces.iter().zip(stars.iter().chain(std::iter::repeat(&""))).enumerate();
                    let filled: String = filled
                        .map(|(i, (piece, star))| if i + 1 < pieces.len() { [*piece, star].concat() } else { piece.to_string() })
                        .collect();
                    *name = format!("{filled}{rest}");
                }
            }
        }
        let mut known: HashMap<&str, &str> = HashMap::new();
        for ((name, _), (before, _)) in renamed.tensors.iter().zip(&self.tensors) {
            if let Some(first) = known.insert(name, before) {
                return Err(Error::checkpoint(self.name(), format!("{first} and {before} would both be named {name}")));
            }
        }
        drop(known);
        renamed.tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(renamed)
    }

    /// The same weights without those whose names begin so: masks, counters, a head that the architecture lacks.
    ///
    /// Beginnings are those of [`Checkpoint::rename`]. Errors: [`Error::Checkpoint`] for a beginning that no name has.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let zeros = |size: &[i64]| Tensor::zeros(size, (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu));
    /// let all = vec![("h.0.attn.mask".into(), zeros(&[4, 4])), ("h.0.attn.weight".into(), zeros(&[4, 2]))];
    /// let kept = Checkpoint::new(0, 0, 0.0, all).without(&["h.*.attn.mask"])?;
    /// assert_eq!(kept.tensors().len(), 1);
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn without(&self, beginnings: &[&str]) -> Result<Checkpoint> {
        let mut kept = self.clone();
        for beginning in beginnings {
            let pattern = Pattern::new(beginning);
            let before = kept.tensors.len();
            kept.tensors.retain(|(name, _)| pattern.find(name).is_none());
            if kept.tensors.len() == before {
                let near = hint(beginning, self.tensors.iter().map(|(name, _)| name.as_str()));
                return Err(Error::checkpoint(self.name(), format!("no weight is named {beginning}{near}")));
            }
        }
        Ok(kept)
    }
}
