//! Answers: which train examples does the network see as alike?
//! Formula: `score(z', z) = (1/C) Σ_c s(φ_c(z'), φ_c(z))` with features φ `[d]`, the input of the last recorded layer, and s a
//! cosine, an inner product or minus the Euclidean distance.
//! Parts: features instead of gradients, mean over the task's checkpoints. Cost: n + m forward passes, memory O((n + m) d).
//! Defaults: cosine. Misleads: knows nothing of labels, so a mislabelled neighbour counts as a proponent.
//! Reference: Hanawa et al. 2021 (arXiv 2006.04528); Singla et al. 2023 for the distance (arXiv 2311.03386).

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::features::features;
use super::{Attributor, Method};
use crate::dataset::Dataset;
use crate::error::{Result, guarded};
use crate::plan::{Part, Probe};
use crate::snapshot::{Of, Snapshot};
use crate::task::Task;

/// How two feature vectors are compared; larger is more alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Similarity {
    /// The angle: in [−1, 1].
    #[default]
    Cosine,
    /// The inner product.
    Dot,
    /// Minus the Euclidean distance.
    Euclidean,
}

/// Similarity of features in a layer of the network.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(100, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 16, 10])).train(&Trainer { epochs: 2, ..default() }, &train)?;
/// let scores = RepresentationSimilarity::default().fit(&task, &train)?.score(&train)?;
/// assert!((scores.get(3, 3)? - 1.0).abs() < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepresentationSimilarity {
    /// How features are compared.
    pub similarity: Similarity,
    /// The layer whose input is the feature vector; the last one the tape saw if not given.
    pub layer: Option<String>,
}

impl Method for RepresentationSimilarity {
    fn name(&self) -> String {
        match self.similarity {
            Similarity::Cosine => "Representation similarity".into(),
            Similarity::Dot => "Representation similarity (dot)".into(),
            Similarity::Euclidean => "Representation similarity (Euclidean)".into(),
        }
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        let mut points = Vec::new();
        for index in 0..task.checkpoints().len().max(1) {
            let snapshot = task.snapshot(index)?;
            snapshot.check(train, snapshot.measurement(Of::Objective))?;
            let features = self.features(&snapshot, train)?;
            points.push((snapshot, features));
        }
        Ok(Box::new(Fitted { options: self.clone(), train: train.clone(), points }))
    }

    fn parts(&self, _: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(None)
    }
}

impl RepresentationSimilarity {
    /// `[n, d]`.
    fn features(&self, snapshot: &Snapshot, data: &Dataset) -> Result<Tensor> {
        let features = features(snapshot, data, self.layer.as_deref())?;
        guarded(|| {
            Ok(match self.similarity {
                Similarity::Cosine => {
                    &features
                        / features.linalg_norm(2.0, [1i64].as_slice(), true, None::<Kind>).clamp_min(f64::from(f32::MIN_POSITIVE))
                }
                _ => features,
            })
        })
    }
}

struct Fitted {
    options: RepresentationSimilarity,
    train: Dataset,
    points: Vec<(Snapshot, Tensor)>,
}

impl Attributor for Fitted {
    fn name(&self) -> String {
        self.options.name()
    }

    fn train(&self) -> &Dataset {
        &self.train
    }

    fn matrix(&self, test: &Dataset) -> Result<Tensor> {
        let mut total = Tensor::zeros([test.len() as i64, self.train.len() as i64], (Kind::Float, Device::Cpu));
        for (snapshot, train) in &self.points {
            snapshot.check(test, snapshot.measurement(Of::Objective))?;
            let features = self.options.features(snapshot, test)?;
            total += guarded(|| {
                Ok(match self.options.similarity {
                    // The exact form: the matrix-product form loses distances between near neighbours to cancellation.
                    Similarity::Euclidean => -Tensor::cdist(&features, train, 2.0, 2),
                    _ => features.matmul(&train.transpose(0, 1)),
                })
            })?;
        }
        Ok(total / self.points.len() as f64)
    }

    fn self_scores(&self) -> Result<Tensor> {
        let lengths = self.points.iter().map(|(_, features)| self.of_itself(features));
        self.mean(lengths.collect::<Result<Vec<_>>>()?)
    }

    fn own_scores(&self, data: &Dataset) -> Result<Tensor> {
        let lengths = self.points.iter().map(|(snapshot, _)| {
            snapshot.check(data, snapshot.measurement(Of::Objective))?;
            self.of_itself(&self.options.features(snapshot, data)?)
        });
        self.mean(lengths.collect::<Result<Vec<_>>>()?)
    }
}

impl Fitted {
    fn of_itself(&self, features: &Tensor) -> Result<Tensor> {
        guarded(|| {
            Ok(match self.options.similarity {
                Similarity::Euclidean => Tensor::zeros([features.size()[0]], (Kind::Float, Device::Cpu)),
                _ => features.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Float),
            })
        })
    }

    fn mean(&self, values: Vec<Tensor>) -> Result<Tensor> {
        guarded(|| Ok(Tensor::stack(&values, 0).mean_dim([0i64].as_slice(), false, None::<Kind>)))
    }
}
