//! Answers: what is each train example worth to a classifier that asks the nearest neighbours?
//! Formula: Shapley values of `v(S) = (1/K) Σ_{k ≤ min(K, |S|)} [y_k = y']` over the train examples of S from nearest to
//! farthest. With ranks r = 1..n from the test example, `m_r = [y_r = y']` and `w_r = min(K, r)/(K r)`:
//! `s_r = m_r w_r + Σ_{q > r} m_q (w_q − w_{q−1})`.
//! Parts: no gradients; the inputs as they are, or features, and then the mean over the task's checkpoints.
//! Cost: products of rows O(m n d) and sorting O(m n log n); memory O(n) for each of a block of test examples, besides the
//! scores.
//! Defaults: 5 neighbours by the Euclidean distance of the inputs. Misleads: values a neighbour search, not the network that was
//! trained.
//! Reference: Jia et al. 2019, theorem 1 (arXiv 1908.08619).

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::features::features;
use super::{Attributor, Method, Similarity};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::plan::{Part, Probe};
use crate::progress::Progress;
use crate::snapshot::{Of, Snapshot, all_finite};
use crate::task::Task;

/// Memory for the distances of a block of test examples and what is made of them.
const BLOCK_BYTES: i64 = 128 << 20;

/// Bytes for each pair of a block: distances, order, matches and sums.
const PAIR_BYTES: i64 = 64;

/// Train rows that are widened to float64 at once.
const COLUMNS: i64 = 4096;

/// Squared distances below this share of the squared lengths are rounding: the example itself, or its double.
const ROUNDING: f64 = 1e-13;

/// Binary digits of a float64 that a distance loses before it is compared; 24 are left, as float32 has, with the range of float64.
const DROPPED: i64 = 29;

/// Where neighbours are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Space {
    /// The inputs, flattened; the task needs no checkpoints.
    #[default]
    Inputs,
    /// What the last recorded layer is given.
    Features,
    /// What the layer of this name is given.
    Layer(String),
}

/// Shapley values of the nearest-neighbour classifier, exactly.
///
/// Each row sums to the share of the test example's `neighbours` nearest train examples that have its label. Train examples at
/// the same distance keep their order. An example scored against itself (`self_scores`, or test = train) is its own nearest
/// neighbour.
///
/// ```
/// use ascribe::prelude::*;
/// let (train, test) = dataset::digits()?.split(500, 20, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10));
/// let scores = KnnShapley { neighbours: 3, ..default() }.fit(&task, &train)?.score(&test)?;
/// let first = scores.tensor().get(0).sum(tch::Kind::Double).double_value(&[]);
/// assert!((first - 1.0).abs() < 1e-6); // all three neighbours have the label
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnnShapley {
    /// How many neighbours are asked; all, where there are fewer train examples.
    pub neighbours: usize,
    /// Where they are looked for.
    pub space: Space,
    /// Who is near.
    pub similarity: Similarity,
}

impl Default for KnnShapley {
    fn default() -> KnnShapley {
        KnnShapley { neighbours: 5, space: Space::Inputs, similarity: Similarity::Euclidean }
    }
}

impl Method for KnnShapley {
    fn name(&self) -> String {
        let space = match &self.space {
            Space::Inputs => "",
            Space::Features => " of features",
            Space::Layer(_) => " of a layer",
        };
        let by = match self.similarity {
            Similarity::Cosine => " (cosine)",
            Similarity::Dot => " (dot)",
            Similarity::Euclidean => "",
        };
        format!("KNN-Shapley{space}{by}")
    }

    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>> {
        if self.neighbours == 0 {
            return Err(Error::option("KnnShapley.neighbours", "at least 1", self.neighbours));
        }
        check_labels(train)?;
        let count = if self.space == Space::Inputs { 1 } else { task.checkpoints().len().max(1) };
        let mut points = Vec::with_capacity(count);
        for index in 0..count {
            let snapshot = match self.space {
                Space::Inputs => None,
                _ => Some(task.snapshot(index)?),
            };
            let rows = self.rows(snapshot.as_ref(), train)?;
            points.push(Point { snapshot, rows });
        }
        Ok(Box::new(Fitted { options: self.clone(), train: train.clone(), points }))
    }

    fn has_own_scores(&self) -> bool {
        false
    }

    fn parts(&self, _: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(None)
    }
}

impl KnnShapley {
    /// `[n, d]`: what is compared, of length one for a cosine.
    fn rows(&self, snapshot: Option<&Snapshot>, data: &Dataset) -> Result<Tensor> {
        let layer = match &self.space {
            Space::Layer(name) => Some(name.as_str()),
            _ => None,
        };
        let rows = match snapshot {
            Some(snapshot) => {
                snapshot.check(data, snapshot.measurement(Of::Objective))?;
                features(snapshot, data, layer)?
            }
            None => guarded(|| Ok(data.inputs().reshape([data.len() as i64, -1]).to_kind(Kind::Float)))?,
        };
        guarded(|| match self.similarity {
            Similarity::Cosine => {
                let lengths = rows.linalg_norm(2.0, [1i64].as_slice(), true, Kind::Double);
                Ok((rows / lengths.clamp_min(f64::from(f32::MIN_POSITIVE))).to_kind(Kind::Float))
            }
            _ => Ok(rows),
        })
    }

    /// Order of the train rows from nearest to farthest, `[m, n]`; the earlier first at equal distances.
    ///
    /// Distances are formed in float64, where the product of rows loses no digit that float32 has and squares of float32 numbers
    /// neither overflow nor vanish, and compared by 24 of their digits, so that equal rows are at equal distances however the
    /// product was blocked.
    fn order(&self, test: &Tensor, train: &Tensor) -> Result<Tensor> {
        let (test, n) = (test.to_kind(Kind::Double), train.size()[0]);
        let squares = |rows: &Tensor| rows.square().sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
        let own = squares(&test).unsqueeze(1);
        let parts = (0..n).step_by(COLUMNS as usize).map(|start| {
            let train = train.narrow(0, start, COLUMNS.min(n - start)).to_kind(Kind::Double);
            let keys = match self.similarity {
                Similarity::Dot => (-&test).matmul(&train.transpose(0, 1)),
                _ => {
                    let lengths = &own + squares(&train); // [m, columns]
                    lengths.addmm(&(&test * -2.0), &train.transpose(0, 1)).maximum(&(lengths * ROUNDING))
                }
            };
            // In the bits of a float64, whose sign stands apart: rounds the size to the digits that are left.
            let mut bits = keys.view_dtype(Kind::Int64);
            let _ = bits.g_add_scalar_(1i64 << (DROPPED - 1)).bitwise_and_(-1i64 << DROPPED);
            keys
        });
        let (keys, order) = Tensor::cat(&parts.collect::<Vec<_>>(), 1).sort_stable(true, 1, false);
        // NaN and infinity lie at the ends.
        match all_finite(&keys.select(1, 0)) && all_finite(&keys.select(1, n - 1)) {
            true => Ok(order),
            false => Err(Error::numerical(self.name(), "a distance is NaN or infinite; look for very large inputs or features")),
        }
    }

    /// Scores of a block of test rows, `[m, n]`, float64, in the order of the train examples.
    fn values(&self, test: &Tensor, wanted: &Tensor, train: &Tensor, labels: &Tensor) -> Result<Tensor> {
        let (order, n) = (self.order(test, train)?, train.size()[0]);
        let matches = labels.take(&order).eq_tensor(&wanted.unsqueeze(1)).to_kind(Kind::Double); // [m, n]
        let rank = Tensor::arange_start(1, n + 1, (Kind::Double, Device::Cpu));
        let k = self.neighbours as f64;
        let weight = rank.clamp_max(k) / (&rank * k); // w_r
        let fall = &weight - weight.roll([1i64], [0i64]); // w_r − w_{r−1}
        let _ = fall.get(0).fill_(0.0);
        let up_to = (&matches * fall).cumsum(1, Kind::Double);
        let after = up_to.narrow(1, n - 1, 1) - &up_to;
        let mut ranked = matches * weight;
        ranked += after;
        Ok(Tensor::empty_like(&ranked).scatter_(1, &order, &ranked))
    }
}

/// The labels, `[n]`; a classifier needs one for each example.
fn check_labels(data: &Dataset) -> Result<()> {
    match data.labels() {
        Some(_) => Ok(()),
        None => Err(Error::data(data.name(), "KNN-Shapley needs one class label per example")),
    }
}

struct Point {
    snapshot: Option<Snapshot>,
    /// `[n, d]`.
    rows: Tensor,
}

struct Fitted {
    options: KnnShapley,
    train: Dataset,
    points: Vec<Point>,
}

impl Fitted {
    /// Calls `each` with the position of the first example and the scores of every block of test examples, at every checkpoint.
    fn each_block(&self, test: &Dataset, mut each: impl FnMut(i64, Tensor)) -> Result<()> {
        check_labels(test)?;
        let (m, n) = (test.len() as i64, self.train.len() as i64);
        let size = (BLOCK_BYTES / (PAIR_BYTES * n)).clamp(1, m);
        let mut progress = Progress::new(&self.options.name(), m as u64 * self.points.len() as u64);
        for point in &self.points {
            let rows = self.options.rows(point.snapshot.as_ref(), test)?;
            let (width, expected) = (rows.size()[1], point.rows.size()[1]);
            if width != expected {
                return Err(Error::shape(test.name(), format!("{expected} numbers each, as the train examples"), width));
            }
            for start in (0..m).step_by(size as usize) {
                let len = size.min(m - start);
                guarded(|| {
                    let (rows, wanted) = (rows.narrow(0, start, len), test.targets().narrow(0, start, len));
                    each(start, self.options.values(&rows, &wanted, &point.rows, self.train.targets())?);
                    Ok(())
                })?;
                progress.add(len as u64);
            }
        }
        progress.finish();
        Ok(())
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
        let total = Tensor::zeros([test.len() as i64, self.train.len() as i64], (Kind::Float, Device::Cpu));
        let share = 1.0 / self.points.len() as f64;
        self.each_block(test, |start, values| {
            let _ = total.narrow(0, start, values.size()[0]).g_add_(&(values * share));
        })?;
        Ok(total)
    }

    /// What each example is worth to its own prediction: it is its own nearest neighbour.
    fn self_scores(&self) -> Result<Tensor> {
        let total = Tensor::zeros([self.train.len() as i64], (Kind::Float, Device::Cpu));
        let share = 1.0 / self.points.len() as f64;
        self.each_block(&self.train, |start, values| {
            let _ = total.narrow(0, start, values.size()[0]).g_add_(&(values.diagonal(start, 0, 1) * share));
        })?;
        Ok(total)
    }
}
