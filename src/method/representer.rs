//! Answers: which train examples make up this prediction, if the last layer is written as a sum over them?
//! Formula: `score(z', z_i) = α_i[y'] ⟨f_i, f'⟩` with features f `[d]`, the class y' of the test example, and
//! `α_i = −(1/2λn) ∂ℓ_i/∂φ_i` `[classes]` where Θ minimises `(1/n) Σ ℓ_i + λ‖Θ‖²`. Then `Σ_i α_i ⟨f_i, f'⟩ = Θf'`: the scores of
//! a test example sum to its pre-activation φ'.
//! Parts: the last linear layer without its bias, fine-tuned on the model's own probabilities, or on the labels; mean over the task's
//! checkpoints.
//! Cost: n + m forward passes and a convex problem in classes · d unknowns; memory O((n + m) d), and min(n, d)² to precondition.
//! Defaults: λ = 0.003 as in dattri; a layer within 1e-8 of the optimum. Misleads: fitted to the model it explains what the model says, train
//! labels play no part, and a label that the model does not believe has the *smallest* self-influence; what is known of the layers below is
//! only what their features say.
//! Reference: Yeh et al. 2018, theorem 3.1 (arXiv 1811.09720). dattri divides α by n twice.

mod softmax_regression;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use self::softmax_regression::{Problem, Solution};
use super::features::{each_recorded, find};
use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::model::{Operation, Record};
use crate::plan::{Part, Probe};
use crate::snapshot::{Of, Snapshot, finite};
use crate::task::Task;

/// Representer points with an L2 penalty (RPS-L2).
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(200, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 5, ..default() }, &train)?;
/// let representer = Representer::default();
/// let values = representer.values(&task.snapshot(0)?, &train)?;
/// assert_eq!((values.values.size(), values.weight.size()), (vec![200, 10], vec![10, 16]));
/// assert!(values.error <= representer.tolerance);
/// let scores = representer.fit(&task, &train)?.score(&test)?;
/// assert_eq!(scores.tensor().size(), [20, 200]);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Representer {
    /// λ, what the squared weights of the fine-tuned layer cost.
    pub strength: f64,
    /// Largest relative error of the fine-tuned layer; also of its reconstruction from the representer values.
    pub tolerance: f64,
    /// Most Newton steps; not to reach the tolerance in them is an error.
    pub iterations: usize,
    /// Divide features by their length.
    pub normalise: bool,
    /// What the fine-tuned layer is fitted to.
    pub target: Target,
    /// The whole name of the linear layer that gives the logits (`blocks.1.head`); the last linear layer if not given.
    pub layer: Option<String>,
}

/// What the last layer of [`Representer`] is fitted to.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::method::Target;
/// let noisy = dataset::flip_labels(&dataset::digits()?.head(400)?, 40, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 5, ..default() }, &noisy)?;
/// let auc = |target| {
///     let ranking = Representer { target, ..default() }.fit(&task, &noisy)?.self_influence()?;
///     let found = MislabelDetection::of("flipped").evaluate("representer", &ranking, "self_influence")?;
///     Ok::<f64, Error>(found.column("value")?.f64()?.get(0).unwrap_or_default())
/// };
/// assert!(auc(Target::Labels)? > 0.9 && auc(Target::Model)? < 0.5);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The model's probabilities: `α_i ∝ p_i − softmax(Θ f_i)`, what each example does for what the model says.
    #[default]
    Model,
    /// The train labels: `α_i ∝ 1[y_i] − softmax(Θ f_i)`, large for the label that the others speak against.
    Labels,
}

impl Default for Representer {
    fn default() -> Representer {
        Representer { strength: 0.003, tolerance: 1e-8, iterations: 100, normalise: false, target: Target::Model, layer: None }
    }
}

/// A last layer as a sum over train examples: `Θ = Σ_i α_i f_iᵀ`.
#[derive(Debug)]
pub struct RepresenterValues {
    /// α, `[n, classes]`, float64.
    pub values: Tensor,
    /// f, `[n, d]`, float64.
    pub features: Tensor,
    /// Θ, `[classes, d]`, float64.
    pub weight: Tensor,
    /// Length of the gradient where the solver stopped.
    pub gradient: f64,
    /// Bound on `‖Θ − Θ*‖ / ‖Θ‖`, and the error of `Θ = Σ_i α_i f_iᵀ`.
    pub error: f64,
    /// Newton steps taken.
    pub iterations: usize,
}

impl Method for Representer {
    fn name(&self) -> String {
        match (self.target, self.normalise) {
            (Target::Model, false) => "Representer".into(),
            (Target::Model, true) => "Representer (unit features)".into(),
            (Target::Labels, false) => "Representer (labels)".into(),
            (Target::Labels, true) => "Representer (labels, unit features)".into(),
        }
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        self.check()?;
        let points = (0..task.checkpoints().len().max(1)).map(|index| {
            let snapshot = task.snapshot(index)?;
            let values = self.values(&snapshot, train)?;
            Ok((snapshot, values))
        });
        let points = points.collect::<Result<Vec<_>>>()?;
        Ok(Box::new(Fitted { options: self.clone(), train: train.clone(), points }))
    }

    fn has_own_scores(&self) -> bool {
        false
    }

    fn parts(&self, _: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(None)
    }
}

impl Representer {
    fn check(&self) -> Result<()> {
        if !(self.strength > 0.0 && self.strength.is_finite()) {
            return Err(Error::option("Representer.strength", "a positive number", self.strength));
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(Error::option("Representer.tolerance", "above 0 and below 1", self.tolerance));
        }
        if self.iterations == 0 {
            return Err(Error::option("Representer.iterations", "at least 1", self.iterations));
        }
        Ok(())
    }

    /// Fine-tunes the last layer of one network and writes it as a sum over the train examples.
    ///
    /// Errors: [`Error::Layer`] unless a linear layer gives the logits, [`Error::Unsupported`] for a single output or for
    /// sequences, [`Error::Numerical`] if the tolerance is not reached.
    pub fn values(&self, snapshot: &Snapshot, train: &Dataset) -> Result<RepresenterValues> {
        self.check()?;
        snapshot.check(train, snapshot.measurement(Of::Objective))?;
        guarded(|| {
            let Head { features, outputs, weight } = self.head(snapshot, train)?;
            let targets = match self.target {
                Target::Model => outputs.softmax(-1, Kind::Double),
                Target::Labels => {
                    let classes = outputs.size()[1];
                    explained(train, classes)?.one_hot(classes).to_kind(Kind::Double)
                }
            };
            let problem = Problem { features, targets, strength: self.strength };
            let Solution { weight, slopes, gradient, error, iterations } =
                problem.solve(&weight, self.tolerance, self.iterations)?;
            let values = slopes * (-0.5 / (self.strength * train.len() as f64));
            Ok(RepresenterValues { values, features: problem.features, weight, gradient, error, iterations })
        })
    }

    fn head(&self, snapshot: &Snapshot, data: &Dataset) -> Result<Head> {
        let (mut features, mut outputs, mut weight) = (Vec::new(), Vec::new(), None);
        each_recorded(snapshot, data, |given, records| {
            let record = self.linear(&records)?;
            let (size, last) = (given.size(), record.output.size());
            if size.len() != 2 || size[1] < 2 {
                return Err(Error::Unsupported(format!("Representer needs logits [n, classes], the model gives {size:?}")));
            }
            if last != size || record.input.dim() != 2 {
                let reason = format!("Representer needs the layer that gives the logits {size:?}, this one gives {last:?}");
                return Err(Error::layer(&record.name, reason));
            }
            features.push(record.input.to_kind(Kind::Double));
            outputs.push(given);
            weight.get_or_insert_with(|| record.weight.detach());
            Ok(())
        })?;
        let features = Tensor::cat(&features, 0);
        let features = match self.normalise {
            true => {
                let lengths = features.linalg_norm(2.0, [1i64].as_slice(), true, Kind::Double);
                features / lengths.clamp_min(f64::MIN_POSITIVE)
            }
            false => features,
        };
        let weight = weight.ok_or_else(|| Error::data(data.name(), "it has no examples"))?;
        Ok(Head { features, outputs: Tensor::cat(&outputs, 0), weight })
    }

    fn linear<'a>(&self, records: &'a [Record]) -> Result<&'a Record> {
        let linear = |record: &&Record| matches!(record.operation, Operation::Linear);
        match &self.layer {
            Some(name) => Some(find(records, Some(name))?)
                .filter(linear)
                .ok_or_else(|| Error::layer(name, "Representer needs a linear layer, this is another kind")),
            None => {
                let last = records.iter().rfind(linear);
                last.ok_or_else(|| Error::layer("model", "the tape saw no linear layer; call layers through the tape"))
            }
        }
    }
}

/// What the last layer is given, what the model gives, and the layer's weight.
struct Head {
    features: Tensor,
    outputs: Tensor,
    weight: Tensor,
}

struct Fitted {
    options: Representer,
    train: Dataset,
    points: Vec<(Snapshot, RepresenterValues)>,
}

impl Fitted {
    fn classes(&self, data: &Dataset) -> Result<Tensor> {
        explained(data, self.points[0].1.values.size()[1])
    }
}

/// The class of each example, `[n]`, of so many.
fn explained(data: &Dataset, classes: i64) -> Result<Tensor> {
    let labels = data.labels().ok_or_else(|| Error::data(data.name(), "Representer explains one class label per example"))?;
    match labels.iter().find(|&&label| label >= classes) {
        Some(label) => Err(Error::data(data.name(), format!("expected labels 0 to {}, got {label}", classes - 1))),
        None => Ok(Tensor::from_slice(&labels)),
    }
}

impl Attributor for Fitted {
    fn name(&self) -> String {
        self.options.name()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let classes = self.classes(test)?;
        let mut total = Tensor::zeros([test.len() as i64, self.train.len() as i64], (Kind::Float, Device::Cpu));
        for (snapshot, values) in &self.points {
            snapshot.check(test, snapshot.measurement(Of::Objective))?;
            total += guarded(|| {
                let features = self.options.head(snapshot, test)?.features;
                let alike = features.matmul(&values.features.transpose(0, 1)); // [m, n]
                Ok((values.values.transpose(0, 1).index_select(0, &classes) * alike).to_kind(Kind::Float))
            })?;
        }
        let mean = total / self.points.len() as f64;
        finite(&self.name(), mean, "a score overflowed; look for very large features, or raise the strength")
    }

    /// What an example adds to the pre-activation of its own label.
    fn self_scores(&self) -> Result<Tensor> {
        let classes = self.classes(&self.train)?.unsqueeze(1);
        guarded(|| {
            let each = self.points.iter().map(|(_, values)| {
                let squares = values.features.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
                values.values.gather(1, &classes, false).squeeze_dim(1) * squares
            });
            Ok(Tensor::stack(&each.collect::<Vec<_>>(), 0).mean_dim([0i64].as_slice(), false, Kind::Float))
        })
    }
}
