use tch::{Device, Kind, Tensor};

use super::backward;
use super::operator::{Operator, check_vectors};
use crate::error::{Error, Result, guarded};

type Scalar = Box<dyn Fn(&[Tensor]) -> Tensor>;
type Outputs = Box<dyn Fn(&[Tensor]) -> Tensor>;
type Loss = Box<dyn Fn(&Tensor) -> Tensor>;

/// A matrix of second derivatives of a closure over tensors, at given arguments: for trying out ideas without a network.
///
/// Vectors are flat, arguments one after the other. Cost of a product: two passes forward and backward for each row.
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::tch::Kind;
/// let x = Tensor::from_slice(&[0.3f32, 1.2]);
/// let f = Function::hessian(|x: &[Tensor]| x[0].sin().sum(None::<Kind>), &[x.shallow_clone()])?;
/// let error = (f.dense()?.diagonal(0, 0, 1) + x.sin()).abs().max().double_value(&[]);
/// assert!(error < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub struct Function {
    kind: Derivative,
    arguments: Vec<Tensor>,
    p: i64,
}

enum Derivative {
    Hessian(Scalar),
    GaussNewton(Outputs, Loss),
}

impl Function {
    /// `∇² f` of a number made of the arguments.
    ///
    /// Errors: [`Error::Data`] without arguments or with one that is not float or not finite.
    pub fn hessian(f: impl Fn(&[Tensor]) -> Tensor + 'static, at: &[Tensor]) -> Result<Function> {
        Function::new(Derivative::Hessian(Box::new(f)), at)
    }

    /// `Jᵀ B J` with the Jacobian `J` of the network's outputs in the arguments and `B` the Hessian of the loss in the outputs.
    ///
    /// Errors: as for [`Function::hessian`].
    pub fn gauss_newton(
        network: impl Fn(&[Tensor]) -> Tensor + 'static,
        loss: impl Fn(&Tensor) -> Tensor + 'static,
        at: &[Tensor],
    ) -> Result<Function> {
        Function::new(Derivative::GaussNewton(Box::new(network), Box::new(loss)), at)
    }

    fn new(kind: Derivative, at: &[Tensor]) -> Result<Function> {
        let arguments = leaves(at)?;
        let p = arguments.iter().map(|x| x.numel() as i64).sum();
        Ok(Function { kind, arguments, p })
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.kind {
            Derivative::Hessian(_) => "Hessian",
            Derivative::GaussNewton(..) => "Gauss-Newton matrix",
        };
        write!(f, "Function ({name} in {} numbers, {} arguments)", self.p, self.arguments.len())
    }
}

impl Operator for Function {
    fn p(&self) -> i64 {
        self.p
    }

    fn product(&self, vectors: &Tensor) -> Result<Tensor> {
        check_vectors(vectors, self.p)?;
        guarded(|| {
            let (x, total) = (&self.arguments, Tensor::zeros(vectors.size(), (Kind::Float, Device::Cpu)));
            let product: Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>> = match &self.kind {
                Derivative::Hessian(f) => {
                    let gradient = gradient(&scalar(f(x))?, x)?;
                    Box::new(move |v| hessian_product(&gradient, x, v))
                }
                Derivative::GaussNewton(network, loss) => {
                    let chain = Chain::new(network(x), loss, x)?;
                    Box::new(move |v| chain.product(x, v))
                }
            };
            for row in 0..vectors.size()[0] {
                total.get(row).copy_(&flatten(&product(&self.unflatten(&vectors.get(row)))?));
            }
            Ok(total)
        })
    }
}

impl Function {
    fn unflatten(&self, vector: &Tensor) -> Vec<Tensor> {
        let mut start = 0;
        let parts = self.arguments.iter().map(|x| {
            let part = vector.narrow(0, start, x.numel() as i64).reshape(x.size()).to_kind(x.kind());
            start += x.numel() as i64;
            part
        });
        parts.collect()
    }
}

fn flatten(tensors: &[Tensor]) -> Tensor {
    Tensor::cat(&tensors.iter().map(|t| t.reshape([-1]).to_kind(Kind::Float)).collect::<Vec<_>>(), 0)
}

/// Product of the Hessian of `f` at `x` with `v`, one tensor per argument, in their shapes.
///
/// Errors: [`Error::Shape`] where `v` is not shaped as `x`; see [`Function::hessian`].
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::tch::Kind;
/// let (x, v) = (Tensor::from_slice(&[0.3f64, 1.2]), Tensor::from_slice(&[1.0f64, 2.0]));
/// let product = curvature::hvp(|x| x[0].sin().sum(None::<Kind>), &[x.shallow_clone()], &[v.shallow_clone()])?;
/// assert!((&product[0] + x.sin() * v).abs().max().double_value(&[]) < 1e-12);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn hvp(f: impl Fn(&[Tensor]) -> Tensor, x: &[Tensor], v: &[Tensor]) -> Result<Vec<Tensor>> {
    let x = leaves(x)?;
    check_shapes(&x, v)?;
    guarded(|| hessian_product(&gradient(&scalar(f(&x))?, &x)?, &x, v))
}

/// Product `Jᵀ B J v` of the Gauss-Newton matrix of `loss(network(x))` with `v`, one tensor per argument, in their shapes.
///
/// Errors: as for [`hvp`].
///
/// ```
/// use ascribe::prelude::*;
/// use ascribe::tch::Kind;
/// let (x, v) = (Tensor::from_slice(&[0.3f64, 1.2]), Tensor::from_slice(&[1.0f64, 2.0]));
/// // outputs sin x, loss Σ outputs²: J = diag(cos x), B = 2.
/// let product = curvature::ggn_vp(|x| x[0].sin(), |o| o.square().sum(None::<Kind>), &[x.shallow_clone()], &[v.shallow_clone()])?;
/// assert!((&product[0] - x.cos().square() * v * 2.0).abs().max().double_value(&[]) < 1e-12);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ggn_vp(
    network: impl Fn(&[Tensor]) -> Tensor,
    loss: impl Fn(&Tensor) -> Tensor,
    x: &[Tensor],
    v: &[Tensor],
) -> Result<Vec<Tensor>> {
    let x = leaves(x)?;
    check_shapes(&x, v)?;
    guarded(|| Chain::new(network(&x), &loss, &x)?.product(&x, v))
}

/// Copies that gradients can be taken in.
fn leaves(x: &[Tensor]) -> Result<Vec<Tensor>> {
    if x.is_empty() {
        return Err(Error::data("arguments", "expected at least one tensor, got none"));
    }
    if let Some(at) = x.iter().position(|x| !matches!(x.kind(), Kind::Float | Kind::Double)) {
        return Err(Error::data(format!("argument {at}"), format!("expected floats, got {:?}", x[at].kind())));
    }
    guarded(|| Ok(x.iter().map(|x| x.detach().copy().set_requires_grad(true)).collect()))
}

fn check_shapes(x: &[Tensor], v: &[Tensor]) -> Result<()> {
    let sizes = |x: &[Tensor]| format!("{:?}", x.iter().map(Tensor::size).collect::<Vec<_>>());
    match sizes(x) == sizes(v) {
        true => Ok(()),
        false => Err(Error::shape("vector", sizes(x), sizes(v))),
    }
}

fn scalar(value: Tensor) -> Result<Tensor> {
    match value.numel() {
        1 => Ok(value.reshape([])),
        _ => Err(Error::shape("value of the function", "one number", format!("{:?}", value.size()))),
    }
}

/// With a graph; zero where the value does not depend on an argument.
fn gradient(value: &Tensor, x: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(or_zero(backward(value, x, true, true)?, x))
}

fn or_zero(gradients: Vec<Tensor>, x: &[Tensor]) -> Vec<Tensor> {
    gradients.into_iter().zip(x).map(|(g, x)| if g.defined() { g } else { x.detach().zeros_like() }).collect()
}

fn hessian_product(gradient: &[Tensor], x: &[Tensor], v: &[Tensor]) -> Result<Vec<Tensor>> {
    let terms: Vec<Tensor> = gradient.iter().zip(v).map(|(g, v)| (g * v).sum(None::<Kind>)).collect();
    let along = Tensor::stack(&terms, 0).sum(None::<Kind>);
    match along.requires_grad() {
        true => Ok(or_zero(backward(&along, x, true, false)?, x).iter().map(Tensor::detach).collect()),
        false => Ok(x.iter().map(|x| x.detach().zeros_like()).collect()),
    }
}

/// Outputs, their `Jᵀ u` as a function of `u`, and the gradient of the loss in them.
struct Chain {
    outputs: Tensor,
    dummy: Tensor,
    backwards: Vec<Tensor>,
    cut: Tensor,
    slope: Option<Tensor>,
}

impl Chain {
    fn new(outputs: Tensor, loss: impl Fn(&Tensor) -> Tensor, x: &[Tensor]) -> Result<Chain> {
        let dummy = outputs.detach().zeros_like().set_requires_grad(true);
        let backwards = gradient(&(&outputs * &dummy).sum(None::<Kind>), x)?;
        let cut = outputs.detach().set_requires_grad(true);
        let slope = backward(&scalar(loss(&cut))?, &[&cut], true, true)?.remove(0);
        let slope = (slope.defined() && slope.requires_grad()).then_some(slope);
        Ok(Chain { outputs, dummy, backwards, cut, slope })
    }

    fn product(&self, x: &[Tensor], v: &[Tensor]) -> Result<Vec<Tensor>> {
        let zero = || Ok(x.iter().map(|x| x.detach().zeros_like()).collect());
        let Some(slope) = &self.slope else { return zero() };
        let forwards = hessian_product(&self.backwards, std::slice::from_ref(&self.dummy), v)?.remove(0); // J v
        let curved = backward(&(slope * forwards).sum(None::<Kind>), &[&self.cut], true, false)?.remove(0); // B J v
        if !curved.defined() || !self.outputs.requires_grad() {
            return zero();
        }
        let along = (&self.outputs * curved.detach()).sum(None::<Kind>);
        Ok(or_zero(backward(&along, x, true, false)?, x).iter().map(Tensor::detach).collect())
    }
}
