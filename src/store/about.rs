//! What made a store: the JSON that every reader compares with what it has.

use serde::{Deserialize, Serialize};

use super::probe::Probe;
use super::recording::Recording;
use crate::checkpoint::Checkpoint;
use crate::dataset::Dataset;
use crate::digest;
use crate::error::{Error, Result};
use crate::gradient::Layout;
use crate::snapshot::Of;
use crate::task::Task;

/// Raised when files of before cannot be read as files of now.
const FORMAT: u32 = 1;

/// `store.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    pub format: u32,
    /// Version of this crate that recorded; not compared.
    pub ascribe: String,
    /// `objective` or `measurement`.
    pub of: String,
    /// Its name.
    pub number: String,
    /// Name and shape of each trained parameter.
    pub parameters: Vec<(String, Vec<i64>)>,
    pub checkpoints: Vec<Weights>,
    /// What the projection was fitted with at each checkpoint: [`Task::member`].
    pub members: Vec<u64>,
    /// Numbers of some gradients at each checkpoint.
    pub probes: Vec<Probe>,
    /// Name of the dataset; not compared.
    pub dataset: String,
    pub examples: usize,
    /// SHA-256 of inputs, targets and ids.
    pub inputs: String,
    pub targets: String,
    pub ids: String,
    /// `factors`, `rows` or `features`.
    pub kept: String,
    /// Name of the projection, for features.
    pub projection: Option<String>,
    pub dtype: String,
    /// Examples that were computed at once, and in a part.
    pub batch: usize,
    pub part_rows: usize,
}

/// Ids of examples are 32 bits wide.
const MOST_EXAMPLES: usize = u32::MAX as usize;

/// More parts would take minutes to look for.
const MOST_PARTS: usize = 10_000_000;

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Weights {
    pub run: usize,
    pub step: usize,
    pub sha256: String,
}

impl Weights {
    pub fn new(checkpoint: &Checkpoint) -> Result<Weights> {
        Ok(Weights { run: checkpoint.run, step: checkpoint.step, sha256: digest::of_checkpoint(checkpoint)? })
    }

    pub fn name(&self) -> String {
        format!("run {}, step {}", self.run, self.step)
    }
}

pub(super) fn of_name(of: Of) -> &'static str {
    match of {
        Of::Objective => "objective",
        Of::Measurement => "measurement",
    }
}

/// Which of a task's numbers.
pub(super) fn number(task: &Task, of: Of) -> String {
    match of {
        Of::Objective => task.objective.name(),
        Of::Measurement => task.measurement.name(),
    }
}

impl About {
    /// All but the probes, which take gradients.
    pub fn new(
        task: &Task,
        layout: &Layout,
        train: &Dataset,
        recording: &Recording,
        batch: usize,
        part_rows: usize,
    ) -> Result<About> {
        Ok(About {
            format: FORMAT,
            ascribe: env!("CARGO_PKG_VERSION").into(),
            of: of_name(recording.of).into(),
            number: number(task, recording.of),
            parameters: parameters(layout),
            checkpoints: task.checkpoints().iter().map(Weights::new).collect::<Result<_>>()?,
            members: (0..task.checkpoints().len()).map(|at| task.member(at)).collect(),
            probes: Vec::new(),
            dataset: train.name().into(),
            examples: train.len(),
            inputs: digest::of_tensor(train.inputs())?,
            targets: digest::of_tensor(train.targets())?,
            ids: digest::of_ids(&train.examples()),
            kept: recording.keep.name().into(),
            projection: recording.keep.projection().map(|projection| projection.name()),
            dtype: if recording.half { "float16" } else { "float32" }.into(),
            batch,
            part_rows,
        })
    }

    pub fn parts(&self) -> usize {
        self.examples.div_ceil(self.part_rows.max(1))
    }

    /// Which number it holds gradients of.
    pub fn of(&self) -> Of {
        match self.of == of_name(Of::Measurement) {
            true => Of::Measurement,
            false => Of::Objective,
        }
    }

    /// Refuses a note that this version cannot read, that contradicts itself, or whose sizes nothing has.
    pub fn check(&self, name: &str) -> Result<()> {
        if self.format != FORMAT {
            let reason = format!("a store of format {FORMAT} is read, this one has format {}", self.format);
            return Err(Error::data(name, reason));
        }
        let within = |what: &str, got: usize, most: usize| match (1..=most).contains(&got) {
            true => Ok(()),
            false => Err(Error::data(name, format!("store.json contradicts itself, {what}: expected 1 to {most}, got {got}"))),
        };
        within("examples", self.examples, MOST_EXAMPLES)?;
        within("part_rows", self.part_rows, self.examples)?;
        within("batch", self.batch, self.part_rows)?;
        within("parts of all checkpoints", self.parts().saturating_mul(self.checkpoints.len()), MOST_PARTS)?;
        let sound = self.members.len() == self.checkpoints.len()
            && self.probes.len() == self.checkpoints.len()
            && self.probes.iter().all(|probe| probe.is_sound(self.examples))
            && [of_name(Of::Objective), of_name(Of::Measurement)].contains(&self.of.as_str())
            && (self.kept == "features") == self.projection.is_some();
        match sound {
            true => Ok(()),
            false => Err(Error::data(name, "store.json contradicts itself (members, probes, kind or projection)")),
        }
    }

    /// That a store holds what is about to be recorded, or what another part of it holds.
    pub fn check_same(&self, name: &str, wanted: &About) -> Result<()> {
        self.check(name)?;
        self.check_number(name, &wanted.of, &wanted.number)?;
        self.check_parameters(name, &wanted.parameters)?;
        self.check_data(name, wanted.examples, &wanted.inputs, &wanted.targets, &wanted.ids)?;
        if self.checkpoints.len() != wanted.checkpoints.len() {
            return Err(differs(name, "checkpoints", self.checkpoints.len(), wanted.checkpoints.len()));
        }
        for (mine, theirs) in self.checkpoints.iter().zip(&wanted.checkpoints) {
            if mine != theirs {
                return Err(other_weights(name, mine, theirs));
            }
        }
        let projection = |about: &About| about.projection.clone().unwrap_or_else(|| "none".into());
        let options = [
            ("kept form", self.kept.clone(), wanted.kept.clone()),
            ("projection", projection(self), projection(wanted)),
            ("dtype", self.dtype.clone(), wanted.dtype.clone()),
            ("examples computed at once", self.batch.to_string(), wanted.batch.to_string()),
            ("examples in a part", self.part_rows.to_string(), wanted.part_rows.to_string()),
        ];
        options.into_iter().try_for_each(|(what, mine, theirs)| same(name, what, mine, theirs))?;
        if self.members != wanted.members {
            return Err(differs(
                name,
                "members of the projection",
                format!("{:?}", self.members),
                format!("{:?}", wanted.members),
            ));
        }
        // What is about to be recorded has no probes yet: see `probe::check_all`.
        let mut probes = self.probes.iter().zip(&wanted.probes).zip(&self.checkpoints);
        probes.try_for_each(|((mine, theirs), at)| mine.check_same(name, &at.name(), theirs))
    }

    pub fn check_number(&self, name: &str, of: &str, number: &str) -> Result<()> {
        same(name, "gradients of", format!("the {} {}", self.of, self.number), format!("the {of} {number}"))
    }

    pub fn check_parameters(&self, name: &str, wanted: &[(String, Vec<i64>)]) -> Result<()> {
        let say = |entry: Option<&(String, Vec<i64>)>| {
            entry.map_or_else(|| "no further parameter".into(), |(name, shape)| format!("{name} {shape:?}"))
        };
        let most = self.parameters.len().max(wanted.len());
        match (0..most).find(|&i| self.parameters.get(i) != wanted.get(i)) {
            Some(i) => Err(differs(name, "architecture", say(self.parameters.get(i)), say(wanted.get(i)))),
            None => Ok(()),
        }
    }

    pub fn check_data(&self, name: &str, examples: usize, inputs: &str, targets: &str, ids: &str) -> Result<()> {
        same(name, "number of examples", self.examples, examples)?;
        let digests = [("inputs", &self.inputs, inputs), ("targets", &self.targets, targets), ("example ids", &self.ids, ids)];
        match digests.into_iter().find(|(_, mine, theirs)| mine != theirs) {
            Some((what, mine, theirs)) => Err(differs(name, &format!("SHA-256 of the {what}"), short(mine), short(theirs))),
            None => Ok(()),
        }
    }

    /// The position of a checkpoint.
    pub fn position(&self, name: &str, checkpoint: &Checkpoint) -> Result<usize> {
        let wanted = Weights::new(checkpoint)?;
        if let Some(position) = self.checkpoints.iter().position(|weights| *weights == wanted) {
            return Ok(position);
        }
        match self.checkpoints.iter().find(|weights| (weights.run, weights.step) == (wanted.run, wanted.step)) {
            Some(other) => Err(other_weights(name, other, &wanted)),
            None => {
                let held: Vec<String> = self.checkpoints.iter().map(Weights::name).collect();
                Err(differs(name, "checkpoints", held.join("; "), wanted.name()))
            }
        }
    }
}

pub(super) fn parameters(layout: &Layout) -> Vec<(String, Vec<i64>)> {
    layout.entries().iter().map(|entry| (entry.name.clone(), entry.shape.clone())).collect()
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn same<T: PartialEq + std::fmt::Display>(name: &str, what: &str, mine: T, theirs: T) -> Result<()> {
    match mine == theirs {
        true => Ok(()),
        false => Err(differs(name, what, mine, theirs)),
    }
}

fn differs(name: &str, what: &str, mine: impl std::fmt::Display, theirs: impl std::fmt::Display) -> Error {
    Error::data(name, format!("made from something else, {what}: expected {mine}, got {theirs}"))
}

fn other_weights(name: &str, mine: &Weights, theirs: &Weights) -> Error {
    let say = |weights: &Weights| format!("{} with SHA-256 {}", weights.name(), short(&weights.sha256));
    differs(name, "weights", say(mine), say(theirs))
}
