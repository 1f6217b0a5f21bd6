//! What is learnt of the loss surface on train gradients, then applied to gradients: `Curvature → Preconditioner`.

mod arnoldi;
mod conjugate_gradient;
mod data_inf;
mod diagonal;
mod dual;
mod ekfac;
mod explicit;
mod fisher;
mod kfac;
mod kronecker;
mod krylov;
mod lissa;
mod low_rank;
mod matrix;
mod moments;
mod nystrom;
mod separable;
mod solve;
mod system;
pub(crate) mod train_side;
mod within;

pub use arnoldi::{Arnoldi, Spectrum};
pub use conjugate_gradient::{ConjugateGradient, Precondition};
pub use data_inf::DataInf;
pub use diagonal::Diagonal;
pub use ekfac::Ekfac;
pub use explicit::Explicit;
pub use fisher::{ifvp_datainf, ifvp_ekfac, ifvp_explicit};
pub use kfac::Kfac;
pub use kronecker::KroneckerFactors;
pub use lissa::Lissa;
pub use matrix::Matrix;
pub use nystrom::Nystrom;
pub use solve::{eigenpairs, ihvp_arnoldi, ihvp_cg, ihvp_cg_preconditioned, ihvp_explicit, ihvp_lissa, ihvp_nystrom, operator};

pub use crate::gradient::{Compressed, Function, Operator, Subspace, ggn_vp, hvp};

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::gradient::Gradients;
use crate::plan::{Part, Probe};
use crate::snapshot::{Snapshot, all_finite};

/// A curvature to invert, before it has seen data.
///
/// ```
/// use ascribe::prelude::*;
/// use std::rc::Rc;
/// struct Half; // "half the gradient", without looking at the data
/// impl Curvature for Half {
///     fn name(&self) -> String { "half".into() }
///     fn fit(&self, _: &Rc<Snapshot>, _: &Dataset) -> ascribe::Result<Box<dyn Preconditioner>> { Ok(Box::new(Half)) }
/// }
/// impl Preconditioner for Half {
///     fn apply(&self, rows: &Tensor) -> ascribe::Result<Tensor> { Ok(rows * 0.5) }
/// }
/// let (train, test) = dataset::digits()?.split(50, 5, 0)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &train)?;
/// let (half, whole) = (Influence::new(Half).fit(&task, &train)?, GradDot::default().fit(&task, &train)?);
/// let ratio = half.matrix(&test)?.norm().double_value(&[]) / whole.matrix(&test)?.norm().double_value(&[]);
/// assert!((ratio - 0.5).abs() < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub trait Curvature {
    /// Name for tables: `explicit Hessian`.
    fn name(&self) -> String;

    /// Learns the curvature of minus the mean objective at this snapshot.
    fn fit(&self, snapshot: &Rc<Snapshot>, train: &Dataset) -> Result<Box<dyn Preconditioner>>;

    /// What `fit` takes, and what mapping the test gradients and meeting the train gradients with them does; `None` where it has to be
    /// rehearsed. See [`Method::plan`](crate::method::Method::plan).
    fn parts(&self, probe: &Probe) -> Result<Option<(Part, Part)>> {
        let _ = probe;
        Ok(None)
    }
}

/// A fitted curvature: maps gradients `g` to `(H + λ)⁻¹ g`. Only `apply` is required; the rest keeps gradients factored where the
/// geometry allows it.
///
/// ```
/// use ascribe::prelude::*;
/// struct Half;
/// impl Preconditioner for Half {
///     fn apply(&self, rows: &Tensor) -> ascribe::Result<Tensor> { Ok(rows * 0.5) }
/// }
/// let rows = Tensor::from_slice(&[3.0f32, 4.0]).view([1, 2]);
/// assert_eq!(Half.quadratic(&rows)?.double_value(&[0]), 12.5); // gᵀ P g follows from P g
/// # Ok::<(), ascribe::Error>(())
/// ```
pub trait Preconditioner {
    /// `[k, p] → [k, p]`, row by row.
    fn apply(&self, rows: &Tensor) -> Result<Tensor>;

    /// `gᵀ P g` for each row: `[k, p] → [k]`. Worth overriding where it is cheaper than applying.
    fn quadratic(&self, rows: &Tensor) -> Result<Tensor> {
        let mapped = self.apply(rows)?;
        guarded(|| Ok((rows * mapped).sum_dim_intlist([1i64].as_slice(), false, Kind::Double).to_kind(Kind::Float)))
    }

    /// The same map on gradients in any form.
    fn map(&self, gradients: Gradients) -> Result<Gradients> {
        let rows = self.apply(&gradients.dense()?)?;
        Ok(Gradients::of_rows(rows, &gradients.layout_handle()))
    }

    /// `gᵀ P g` for each of the gradients, `[n]`.
    fn quadratic_of(&self, gradients: &Gradients) -> Result<Tensor> {
        self.quadratic(&gradients.dense()?)
    }

    /// Whether `m` test gradients are scored at less cost by [`scores`](Preconditioner::scores) than by mapping them.
    fn scores_directly(&self, m: i64) -> bool {
        let _ = m;
        false
    }

    /// `⟨P q, g⟩` for test gradients q and all train gradients g of the objective that it was fitted on, `[m, n_train]`, without
    /// mapping either.
    fn scores(&self, test: &Gradients) -> Result<Tensor> {
        let _ = test;
        Err(Error::Unsupported("this curvature has no scores of its own; map the gradients".into()))
    }

    /// `gᵀ P g` and `‖P g‖` of the train gradients of the objective that it was fitted on, each `[n_train]`, where it knows better
    /// than to map them.
    fn of_train(&self) -> Result<Option<(Tensor, Tensor)>> {
        Ok(None)
    }

    /// Whether `map` and `quadratic_of` take factored gradients, batch by batch; else rows of all gradients come at once.
    fn keeps_factors(&self) -> bool {
        false
    }
}

/// What is added to the diagonal of a curvature.
///
/// ```
/// use ascribe::prelude::*;
/// let f = Function::hessian(|x: &[Tensor]| x[0].square().sum(None::<ascribe::tch::Kind>), &[Tensor::from_slice(&[1.0f32, 5.0])])?;
/// let rows = Tensor::from_slice(&[3.0f32, 0.0]).view([1, 2]);
/// // Every eigenvalue is 2, so that λ = 0.5 · 2.
/// let solved = curvature::ihvp_explicit(&f, &rows, Damping::Relative(0.5))?;
/// assert!((solved.double_value(&[0, 0]) - 3.0 / (2.0 + 1.0)).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Damping {
    /// λ itself.
    Absolute(f64),
    /// λ as a multiple of the mean eigenvalue, `tr H / p`.
    Relative(f64),
}

impl Damping {
    /// An error unless the number given is positive.
    pub(crate) fn positive(&self, option: &str) -> Result<()> {
        match self {
            Damping::Absolute(value) | Damping::Relative(value) if !(*value > 0.0 && value.is_finite()) => {
                Err(Error::option(option, "a number above 0", value))
            }
            _ => Ok(()),
        }
    }

    /// λ; `mean_eigenvalue` is asked for only when needed.
    pub(crate) fn value(&self, option: &str, mean_eigenvalue: impl FnOnce() -> Result<f64>) -> Result<f64> {
        let given = match self {
            Damping::Absolute(value) | Damping::Relative(value) => *value,
        };
        if !(given >= 0.0 && given.is_finite()) {
            return Err(Error::option(option, "a number of at least 0", given));
        }
        match self {
            Damping::Relative(_) if given > 0.0 => match mean_eigenvalue()? {
                mean if mean.is_finite() => Ok(given * mean.max(0.0)),
                mean => Err(Error::numerical(option, format!("the mean eigenvalue is {mean}"))),
            },
            _ => Ok(given),
        }
    }

    /// λ for a matrix, of which a mean eigenvalue that λ is relative to must be positive beyond doubt.
    pub(crate) fn of(&self, option: &str, operator: &dyn Operator) -> Result<f64> {
        self.value(option, || {
            let (mean, error) = operator.estimate_mean_eigenvalue()?;
            beyond_doubt(mean, error)
        })
    }
}

/// A mean eigenvalue, unless it is within twice its standard error of 0 or below: a share of it would be no damping.
pub(crate) fn beyond_doubt(mean: f64, error: f64) -> Result<f64> {
    if mean > 2.0 * error {
        return Ok(mean);
    }
    let known = match error > 0.0 {
        true => format!("estimated as {mean:.3e} ± {error:.1e}"),
        false => format!("{mean:.3e}"),
    };
    let hint = format!(
        "a relative damping has no meaning: the mean eigenvalue is {known}; use Damping::Absolute or Matrix::GaussNewton"
    );
    Err(Error::numerical("the damping", hint))
}

/// An error unless the gradients are `[k, p]` in float32.
pub(crate) fn check_rows(rows: &Tensor, p: i64) -> Result<()> {
    check_named_rows("gradients", rows, p)
}

pub(crate) fn check_named_rows(name: &str, rows: &Tensor, p: i64) -> Result<()> {
    if rows.dim() != 2 || rows.size()[1] != p {
        return Err(Error::shape(name, format!("[k, {p}]"), format!("{:?}", rows.size())));
    }
    match rows.kind() {
        Kind::Float => Ok(()),
        kind => Err(Error::data(name, format!("expected float32, got {kind:?}"))),
    }
}

/// The same, and that they are numbers: for maps that would hand NaN on.
pub(crate) fn check_finite_rows(rows: &Tensor, p: i64) -> Result<()> {
    check_rows(rows, p)?;
    match guarded(|| Ok(all_finite(rows)))? {
        true => Ok(()),
        false => Err(Error::numerical("gradients", "a number is NaN or infinite")),
    }
}

pub(crate) fn check_tolerance(option: &str, tolerance: f64) -> Result<()> {
    match (0.0..1.0).contains(&tolerance) {
        true => Ok(()),
        false => Err(Error::option(option, "at least 0 and below 1", tolerance)),
    }
}
