//! A few numbers of a few gradients: they tell functions apart that have the same name and the same parameters.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::about::{About, of_name};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Gradients;
use crate::gradient::stream::{batch_size, each_batch};
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;

/// Examples of a probe: those with the largest gradients among `SAMPLE` that lie far apart, and some from the first to the last.
const LARGEST: usize = 3;
const SPREAD: usize = 5;
const SAMPLE: usize = 64;

/// A length below which gradients may be mere rounding: then larger ones are looked for among all examples.
const CLEAR: f64 = 1e-3;

/// Frequencies of the waves that a gradient is multiplied with: within `WAVE` parameters, and from one such stretch to the next.
const WAVES: [(f64, f64); 4] = [(2.399_963, 1.732_051), (1.324_718, 2.236_068), (0.618_034, 0.414_214), (2.645_751, 0.302_776)];
const WAVE: i64 = 1 << 16;

/// How far two numbers of one gradient may be apart: relative to its length, and to the largest length of the probe.
const APART: f64 = 1e-3;
const ROUNDING: f64 = 1e-5;

/// Of one checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Probe {
    /// Positions of the examples.
    pub examples: Vec<usize>,
    /// For each of them the length of its gradient, and its inner products with the waves.
    pub numbers: Vec<Vec<f64>>,
}

impl Probe {
    /// Chooses examples and measures them.
    fn new(snapshot: &Snapshot, of: Of, train: &Dataset) -> Result<Probe> {
        let examples = choose(snapshot, of, train)?;
        Ok(Probe { numbers: numbers(snapshot, of, train, &examples)?, examples })
    }

    /// Of every checkpoint.
    pub fn all(task: &Task, of: Of, train: &Dataset) -> Result<Vec<Probe>> {
        (0..task.checkpoints().len()).map(|at| Probe::new(&task.snapshot(at)?, of, train)).collect()
    }

    pub fn is_sound(&self, examples: usize) -> bool {
        let whole = |numbers: &Vec<f64>| numbers.len() == WAVES.len() + 1 && numbers.iter().all(|number| number.is_finite());
        !self.examples.is_empty()
            && self.examples.len() == self.numbers.len()
            && self.examples.iter().all(|&example| example < examples)
            && self.numbers.iter().all(whole)
    }

    /// The first example whose gradient is another one, and by how much of its length.
    fn apart(&self, theirs: &[Vec<f64>]) -> Option<(usize, f64)> {
        let largest = self.numbers.iter().chain(theirs).map(|numbers| numbers[0]).fold(0.0, f64::max);
        let each = self.examples.iter().zip(self.numbers.iter().zip(theirs));
        let differences = each.map(|(&example, (mine, theirs))| {
            let length = mine[0].max(theirs[0]);
            let most = mine.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            (example, most, length)
        });
        let differs = |&(_, most, length): &(usize, f64, f64)| most > APART * length + ROUNDING * largest;
        differences.into_iter().find(differs).map(|(example, most, length)| (example, most / length))
    }

    /// Whether a network gives these numbers.
    pub fn agrees(&self, snapshot: &Snapshot, of: Of, train: &Dataset) -> Result<bool> {
        Ok(self.apart(&numbers(snapshot, of, train, &self.examples)?).is_none())
    }

    /// An error unless it does.
    pub fn check(&self, name: &str, snapshot: &Snapshot, of: Of, train: &Dataset) -> Result<()> {
        self.refuse(name, snapshot.name(), &numbers(snapshot, of, train, &self.examples)?)
    }

    /// An error unless two agree on the examples that both have, of which there must be some.
    pub fn check_same(&self, name: &str, checkpoint: &str, other: &Probe) -> Result<()> {
        let place = |example: &usize| other.examples.iter().position(|theirs| theirs == example);
        let shared: Vec<(usize, usize)> =
            self.examples.iter().enumerate().filter_map(|(mine, example)| Some((mine, place(example)?))).collect();
        if shared.is_empty() {
            let reason = format!("made from something else, the examples whose gradients are compared at {checkpoint}");
            return Err(Error::data(name, format!("{reason}: expected {:?}, got {:?}", self.examples, other.examples)));
        }
        let mine = Probe {
            examples: shared.iter().map(|&(mine, _)| self.examples[mine]).collect(),
            numbers: shared.iter().map(|&(mine, _)| self.numbers[mine].clone()).collect(),
        };
        mine.refuse(name, checkpoint, &shared.iter().map(|&(_, theirs)| other.numbers[theirs].clone()).collect::<Vec<_>>())
    }

    fn refuse(&self, name: &str, checkpoint: &str, theirs: &[Vec<f64>]) -> Result<()> {
        let Some((example, apart)) = self.apart(theirs) else { return Ok(()) };
        let reason = format!("made from something else, the gradient of example {example} at {checkpoint}");
        let got = format!("one that is {apart:.1e} of its length away; look at the architecture and at what is measured");
        Err(Error::data(name, format!("{reason}: expected the recorded one, got {got}")))
    }
}

/// That a task has the numbers of a store that is about to be filled further.
pub(super) fn check_all(name: &str, about: &About, task: &Task, train: &Dataset) -> Result<()> {
    for (at, probe) in about.probes.iter().enumerate() {
        probe.check(name, &task.snapshot(at)?, about.of(), train)?;
    }
    Ok(())
}

/// Positions of the examples with the largest gradients, then of the others.
fn choose(snapshot: &Snapshot, of: Of, train: &Dataset) -> Result<Vec<usize>> {
    let size = batch_size(snapshot, train, false)?.at_once;
    let rounds = train.len().div_ceil(SAMPLE);
    let mut largest: Vec<(f64, usize)> = Vec::new();
    for round in 0..rounds {
        let positions: Vec<usize> = (round..train.len()).step_by(rounds).collect();
        each_batch(snapshot, of, &train.select(&positions)?, size, |start, gradients| {
            let lengths = Vec::<f64>::try_from(gradients.norms()?.to_kind(Kind::Double))?;
            largest.extend(lengths.into_iter().zip(positions[start as usize..].iter().copied()));
            Ok(())
        })?;
        largest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        largest.truncate(LARGEST);
        if largest[0].0 > CLEAR {
            break;
        }
    }
    let mut chosen: Vec<usize> = largest.iter().map(|(_, position)| *position).collect();
    for position in (0..SPREAD).map(|at| at * (train.len() - 1) / (SPREAD - 1)) {
        if !chosen.contains(&position) {
            chosen.push(position);
        }
    }
    match largest[0].0 > 0.0 {
        true => Ok(chosen),
        false => {
            let what = format!("the {} {}", of_name(of), snapshot.measurement(of).name());
            let reason =
                format!("every gradient of {what} at {} is 0, so nothing tells a store of it from another", snapshot.name());
            Err(Error::data(train.name(), reason))
        }
    }
}

/// Rounded, so that the order of a sum does not show in the file.
fn rounded(number: f64) -> f64 {
    format!("{number:.9e}").parse().unwrap_or(number)
}

/// Each example alone: whatever is recorded with it, its numbers are the same.
fn numbers(snapshot: &Snapshot, of: Of, train: &Dataset, examples: &[usize]) -> Result<Vec<Vec<f64>>> {
    let p = snapshot.p();
    let waves = guarded(|| {
        let index = Tensor::f_arange(WAVE.min(p), (Kind::Double, Device::Cpu))?.f_unsqueeze(1)?;
        Ok((index * Tensor::from_slice(&WAVES.map(|(within, _)| within))).f_cos()?)
    })?;
    let of_one = |&example: &usize| {
        let (inputs, targets) = train.slice(example as i64, example as i64 + 1);
        guarded(|| {
            let row = Gradients::compute(snapshot, of, &inputs, &targets)?.dense()?;
            let (mut square, mut dots) = (0.0, [0.0; WAVES.len()]);
            for (stretch, start) in (0..p).step_by(WAVE as usize).enumerate() {
                let len = WAVE.min(p - start);
                let part = row.f_narrow(1, start, len)?.f_to_kind(Kind::Double)?;
                square += part.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?;
                let products = Vec::<f64>::try_from(part.f_matmul(&waves.f_narrow(0, 0, len)?)?.f_view([-1])?)?;
                for ((dot, product), (_, between)) in dots.iter_mut().zip(products).zip(WAVES) {
                    *dot += product * (between * stretch as f64).cos();
                }
            }
            Ok(std::iter::once(square.sqrt()).chain(dots).map(rounded).collect::<Vec<f64>>())
        })
    };
    let numbers = examples.iter().map(of_one).collect::<Result<Vec<_>>>()?;
    match numbers.iter().flatten().all(|number| number.is_finite()) {
        true => Ok(numbers),
        false => Err(Error::numerical("a gradient to compare stores by", format!("it is not finite at {}", snapshot.name()))),
    }
}
