use tch::{Device, Kind, Tensor};

use crate::curvature::check_named_rows;
use crate::error::{Result, guarded};
use crate::progress::Progress;
use crate::random::{self, Purpose};

/// A symmetric matrix `[p, p]` known by its products with vectors: the Hessian, the Gauss-Newton matrix, a Fisher matrix.
///
/// Everything that inverts curvature asks for no more than this.
///
/// ```
/// use ascribe::prelude::*;
/// struct Diagonal(Tensor);
/// impl Operator for Diagonal {
///     fn p(&self) -> i64 { self.0.size()[0] }
///     fn product(&self, vectors: &Tensor) -> ascribe::Result<Tensor> { Ok(vectors * &self.0) }
/// }
/// let matrix = Diagonal(Tensor::from_slice(&[1.0f32, 2.0, 3.0]));
/// assert_eq!(matrix.dense()?.double_value(&[2, 2]), 3.0);
/// assert_eq!(matrix.mean_eigenvalue()?, 2.0);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub trait Operator {
    /// Number of rows and columns.
    fn p(&self) -> i64;

    /// Products with many vectors at once, row by row: `[k, p] → [k, p]`, float32.
    fn product(&self, vectors: &Tensor) -> Result<Tensor>;

    /// The matrix, float64 `[p, p]`, symmetric. Cost: p products; memory 8 p² bytes, twice that for a moment.
    fn dense(&self) -> Result<Tensor> {
        dense_by_products(self)
    }

    /// Mean eigenvalue, `trace / p`: from 32 random ±1 vectors (Hutchinson) unless the matrix knows better.
    fn mean_eigenvalue(&self) -> Result<f64> {
        Ok(self.estimate_mean_eigenvalue()?.0)
    }

    /// Mean eigenvalue and the standard error of that number; a matrix that knows its trace overrides it, with error 0.
    fn estimate_mean_eigenvalue(&self) -> Result<(f64, f64)> {
        mean_by_products(self)
    }

    /// The same matrix over `examples` of the examples it is a mean over, drawn without replacement as a function of (seed, step):
    /// an unbiased estimate. `None` if it is not a mean over examples; then the matrix itself serves.
    fn minibatch(&self, examples: usize, seed: u64, step: u64) -> Result<Option<Box<dyn Operator>>> {
        let _ = (examples, seed, step);
        Ok(None)
    }

    /// The diagonal, float64 `[p]`: from 32 random ±1 vectors unless the matrix knows better.
    fn diagonal(&self) -> Result<Tensor> {
        diagonal_by_products(self)
    }

    /// The matrix inside a smaller space outside of which it is zero, if it is known to have one; solvers work there.
    fn compressed(&self) -> Result<Option<Compressed>> {
        Ok(None)
    }
}

/// A matrix `H = Q M Qᵀ` that is zero outside the space of `Q` `[p, r]`, which has orthonormal columns.
///
/// ```
/// use ascribe::prelude::*;
/// let data = dataset::digits()?.head(300)?;
/// let task = Task::new(|p: &nn::Path| Logistic::new(p, 64, 10)).train(&Trainer { epochs: 1, ..default() }, &data)?;
/// let hessian = curvature::operator(task.snapshot(0)?, &data, Matrix::Hessian)?;
/// // Adding one number to all outputs of a softmax changes nothing, and some pixels of these digits are never lit.
/// let small = hessian.compressed()?.expect("a linear softmax has such a space");
/// assert!(hessian.p() == 650 && small.matrix.p() < 65 * 9);
/// let vector = Tensor::ones([1, 650], (ascribe::tch::Kind::Float, ascribe::tch::Device::Cpu));
/// let inside = small.matrix.product(&small.space.coordinates(&vector)?)?;
/// let error = (small.space.vectors(&inside)? - hessian.product(&vector)?).abs().max().double_value(&[]);
/// assert!(error < 1e-5);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Compressed {
    /// `M`, `[r, r]`.
    pub matrix: Box<dyn Operator>,
    /// `Q`.
    pub space: Box<dyn Subspace>,
}

/// An orthonormal basis `Q` `[p, r]` of a subspace, by what it does to vectors.
pub trait Subspace {
    /// `[k, p] → [k, r]`: coordinates `v Q` of the part inside.
    fn coordinates(&self, vectors: &Tensor) -> Result<Tensor>;

    /// `[k, r] → [k, p]`: the vectors `c Qᵀ` with these coordinates.
    fn vectors(&self, coordinates: &Tensor) -> Result<Tensor>;
}

/// An error unless the vectors are `[k, p]` in float32.
pub(crate) fn check_vectors(vectors: &Tensor, p: i64) -> Result<()> {
    check_named_rows("vectors", vectors, p)
}

/// The matrix from its products with unit vectors.
pub(crate) fn dense_by_products(operator: &(impl Operator + ?Sized)) -> Result<Tensor> {
    guarded(|| {
        let p = operator.p();
        let whole = Tensor::zeros([p, p], (Kind::Double, Device::Cpu));
        let step = 256;
        let mut progress = Progress::new("columns of the matrix", p as u64);
        for start in (0..p).step_by(step as usize) {
            let rows = step.min(p - start);
            let unit = Tensor::zeros([rows, p], (Kind::Float, Device::Cpu));
            unit.narrow(1, start, rows).copy_(&Tensor::eye(rows, (Kind::Float, Device::Cpu)));
            whole.narrow(0, start, rows).copy_(&operator.product(&unit)?);
            progress.add(rows as u64);
        }
        let mut symmetric = &whole + whole.transpose(0, 1);
        drop(whole);
        Ok(symmetric.g_mul_scalar_(0.5))
    })
}

/// The mean eigenvalue from products with random signs, `sᵀHs / p`, and its standard error over these.
pub(crate) fn mean_by_products(operator: &(impl Operator + ?Sized)) -> Result<(f64, f64)> {
    guarded(|| {
        let each = products_with_signs(operator)?.mean_dim([1i64].as_slice(), false, Kind::Double);
        let error = each.std(true).double_value(&[]) / (SIGNS as f64).sqrt();
        Ok((each.mean(Kind::Double).double_value(&[]), error))
    })
}

/// The diagonal from products with random signs `s`: the mean of `s ∘ (H s)`.
pub(crate) fn diagonal_by_products(operator: &(impl Operator + ?Sized)) -> Result<Tensor> {
    guarded(|| Ok(products_with_signs(operator)?.mean_dim([0i64].as_slice(), false, Kind::Double)))
}

/// Random vectors for an estimate of the diagonal.
const SIGNS: i64 = 32;

/// `s ∘ (H s)` for vectors `s` of random signs, `[32, p]`.
fn products_with_signs(operator: &(impl Operator + ?Sized)) -> Result<Tensor> {
    let p = operator.p();
    let draws = random::uniform((SIGNS * p) as usize, 0, Purpose::Control, u64::MAX);
    let signs = Tensor::from_slice(&draws).ge(0.5).to_kind(Kind::Float).view([SIGNS, p]) * 2.0 - 1.0;
    let products = operator.product(&signs)?;
    Ok(signs * products)
}
