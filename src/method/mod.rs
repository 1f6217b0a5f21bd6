//! Published methods: one short file each, and one line in [`all`].

mod ats;
mod block_projected;
mod d_trak;
mod data_value_embedding;
mod dropout;
mod fact_grass;
mod features;
mod given;
mod grad_cos;
mod grad_dot;
mod influence;
mod inner_product;
mod knn_shapley;
mod krylov_path;
mod lo_gra;
mod random;
mod relat_if;
mod representation;
mod representer;
mod scoring;
mod trac_in;
mod trak;
mod unit_norm;
mod wrapped;

pub use ats::{Ats, Start};
pub use block_projected::{BlockProjected, FisherKind};
pub use d_trak::DTrak;
pub use data_value_embedding::{DataValueEmbedding, Replay, StepCurvature, Unrolled};
pub use dropout::Dropout;
pub use fact_grass::FactGrass;
pub use grad_cos::GradCos;
pub use grad_dot::GradDot;
pub use influence::Influence;
pub use inner_product::{InnerProduct, Weighting};
pub use knn_shapley::{KnnShapley, Space};
pub use krylov_path::KrylovPath;
pub use lo_gra::LoGra;
pub use random::Random;
pub use relat_if::{RelatIf, Relative};
pub use representation::{RepresentationSimilarity, Similarity};
pub use representer::{Representer, RepresenterValues, Target};
pub use trac_in::TracIn;
pub use trak::Trak;
pub use unit_norm::UnitNorm;

pub use crate::kernel::{DampingPath, Threshold};

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series, SortMultipleOptions};
use tch::Tensor;

use crate::curvature::{Arnoldi, ConjugateGradient, DataInf, Diagonal, Ekfac, Explicit, Kfac, Lissa, Matrix, Nystrom};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::plan::{self, Part, Probe};
use crate::scores::Scores;
use crate::task::Task;

/// A way to score train examples, before it has seen data.
pub trait Method {
    /// Name for tables: `TracIn`.
    fn name(&self) -> String;

    /// Learns what scoring needs from the train examples; checks the options first.
    fn fit(&self, task: &Task, train: &Dataset) -> Result<Box<dyn Attributor>>;

    /// What fitting and scoring at one checkpoint take, from what was measured on a few examples: for [`plan`](Method::plan).
    ///
    /// As it is, the work of a method that meets the gradients of both sides once; `None` where the work does not follow from such
    /// counts and has to be rehearsed.
    fn parts(&self, probe: &Probe) -> Result<Option<Vec<Part>>> {
        Ok(Some(vec![probe.streamed()?]))
    }

    /// What fitting and scoring will take on this machine, before they are started: a row for each part and one for their sum.
    ///
    /// Columns: `part`; `gradients`; `gflops`, multiplications and additions in 10⁹; `seconds`, with the speed of gradients, inner products
    /// and matrix products measured now on one batch; `memory_mb`, what the process will hold at its peak, with what it holds already;
    /// `disk_mb`; `warning`, if more memory is needed than is free, with a setting that needs less.
    ///
    /// Where no count foresees the work, as of conjugate gradients, which end when they are exact enough, it is rehearsed: done at one
    /// checkpoint with an eighth of the train and a quarter of the test examples, at most 512 and 64, and with a quarter of those, and drawn out along
    /// straight lines. `gradients` and `gflops` are null then.
    ///
    /// Takes about a second, or the time of three batches where a batch takes longer; a rehearsal takes what it takes, K-FAC's
    /// eigenvectors for one. Right within a factor of two where nothing else keeps the machine busy.
    ///
    /// Errors: what fitting and scoring say, of a rehearsal on the few examples that it takes.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let (train, test) = dataset::digits()?.split(500, 100, 0)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 32, 10])).train(&Trainer { epochs: 1, ..default() }, &train)?;
    /// let plan = Trak::default().plan(&task, &train, &test)?;
    /// assert_eq!(plan.column("part")?.str()?.iter().flatten().collect::<Vec<_>>(), ["fit", "score", "total"]);
    /// assert_eq!(plan.column("gradients")?.i64()?.get(2), Some(500 + 100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn plan(&self, task: &Task, train: &Dataset, test: &Dataset) -> Result<DataFrame> {
        let probe = Probe::new(task, train, test)?;
        let checkpoints = task.checkpoints();
        plan::table(&match self.parts(&probe)? {
            Some(parts) => plan::counted(&probe, &parts, checkpoints.len()),
            None => {
                let one = task.clone().without_stores().with_checkpoints(checkpoints[..1].to_vec())?;
                plan::rehearse(|few| self.fit(&one, few), train, test, checkpoints.len())?
            }
        })
    }

    /// Whether what is fitted has [`own_scores`](Attributor::own_scores), so that [`UnitNorm`] can say no before anything is computed.
    fn has_own_scores(&self) -> bool {
        true
    }
}

/// A fitted method: scores any number of test sets against the train examples it was fitted on.
pub trait Attributor {
    /// Name for tables.
    fn name(&self) -> String;

    /// The train examples.
    fn train(&self) -> &Dataset;

    /// `[n_test, n_train]`, float32.
    fn matrix(&self, test: &Dataset) -> Result<Tensor>;

    /// Score of each train example for itself, `[n_train]`, in O(n_train) gradients: of the objective on both sides, whatever
    /// the measurement.
    fn self_scores(&self) -> Result<Tensor>;

    /// Score of each example of a dataset for itself, `[n]`, with the number explained on both sides: what divides the rows of
    /// [`UnitNorm`].
    ///
    /// Errors: [`Error::Unsupported`] where the method has no such score.
    fn own_scores(&self, data: &Dataset) -> Result<Tensor> {
        let _ = data;
        Err(Error::Unsupported(format!("{} has no score of a test example for itself", self.name())))
    }

    /// What divides the columns of [`UnitNorm`], `[n_train]`: the root of `self_scores`, unless the method multiplies each column by
    /// a number of its own, which a cosine must not see.
    fn self_lengths(&self) -> Result<Tensor> {
        wrapped::root(&self.self_scores()?)
    }

    /// Length of the change of the parameters that each train example stands for, `‖P ∇o(z)‖`, `[n_train]`: what divides the
    /// columns of [`RelatIf`] by parameters.
    ///
    /// Errors: [`Error::Unsupported`] where the method has no parameters.
    fn train_lengths(&self) -> Result<Tensor> {
        Err(Error::Unsupported(format!("{} does not move parameters", self.name())))
    }

    /// Score of each train example for a *group* of test examples, `[n_train]`: the sum over the group, to first order the change
    /// of the summed measurement.
    ///
    /// Cost: gradient methods sum the test gradients first, so that one system is solved for the whole group.
    fn together(&self, test: &Dataset) -> Result<Tensor> {
        let matrix = self.matrix(test)?;
        guarded(|| Ok(matrix.sum_dim_intlist([0i64].as_slice(), false, None::<tch::Kind>)))
    }

    /// [`together`](Attributor::together) as a table in the order of the train examples: `train`, `score`, then the metadata.
    fn group_scores(&self, test: &Dataset) -> Result<DataFrame> {
        table(self.train(), "score", &self.together(test)?)
    }

    /// Scores of all train examples for each test example.
    fn score(&self, test: &Dataset) -> Result<Scores> {
        Scores::new(self.matrix(test)?, self.name(), test, self.train())
    }

    /// Score of each train example for itself, as a table in the order of the train examples.
    ///
    /// Columns: `train` (example id), `self_influence`, then the metadata. Large values mark examples that the model could
    /// only learn by heart: mislabelled and atypical ones.
    fn self_influence(&self) -> Result<DataFrame> {
        table(self.train(), "self_influence", &self.self_scores()?)
    }

    /// The `k` train examples with the largest self-influence, largest first: where to look for wrong labels.
    ///
    /// Errors: [`Error::Data`] unless `k` is between 1 and the number of train examples.
    fn suspects(&self, k: usize) -> Result<DataFrame> {
        let table = self.self_influence()?;
        if k == 0 || k > table.height() {
            return Err(Error::data("k", format!("expected 1 to {} (the train examples), got {k}", table.height())));
        }
        let order = SortMultipleOptions::default().with_order_descending(true).with_maintain_order(true);
        Ok(table.sort(["self_influence"], order)?.head(Some(k)))
    }
}

/// One number for each train example, with its id before and its metadata after.
fn table(train: &Dataset, name: &str, values: &Tensor) -> Result<DataFrame> {
    let values = guarded(|| Ok(Vec::<f32>::try_from(&values.contiguous())?))?;
    let frame = train.frame();
    let mut table: Vec<Column> = vec![frame.column("example")?.clone().with_name("train".into())];
    table.push(Series::new(name.into(), values).into_column());
    table.extend(frame.columns().iter().filter(|c| c.name().as_str() != "example").cloned());
    Ok(DataFrame::new(frame.height(), table)?)
}

/// Every method with its default options: add a line, and the laws, the benchmark and the tables include it.
pub fn all() -> Vec<Box<dyn Method>> {
    vec![
        Box::new(GradDot::default()),
        Box::new(GradCos::default()),
        Box::new(TracIn::default()),
        Box::new(Influence::default()),
        Box::new(Influence::new(Explicit { matrix: Matrix::EmpiricalFisher, ..Explicit::default() })),
        Box::new(Influence::new(ConjugateGradient::default())),
        Box::new(Influence::new(Lissa::default())),
        Box::new(Influence::new(Arnoldi::default())),
        Box::new(Influence::new(Nystrom::default())),
        Box::new(Influence::new(DataInf::default())),
        Box::new(Influence::new(Diagonal::default())),
        Box::new(Influence::new(Kfac::default())),
        Box::new(Influence::new(Ekfac::default())),
        Box::new(RelatIf::new(Influence::new(Ekfac::default()), Relative::Loss)),
        Box::new(UnitNorm::new(Influence::new(Ekfac::default()))),
        Box::new(Trak::default()),
        Box::new(DTrak::default()),
        Box::new(BlockProjected::default()),
        Box::new(LoGra::default()),
        Box::new(FactGrass::default()),
        Box::new(RepresentationSimilarity::default()),
        Box::new(Representer::default()),
        Box::new(KnnShapley::default()),
        Box::new(Ats::default()),
        Box::new(Random::default()),
    ]
}
