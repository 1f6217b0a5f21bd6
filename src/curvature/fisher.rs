//! Products with inverse Fisher matrices over gradients given as tensors, for work on new methods.

use tch::{Device, Kind, Tensor};

use super::explicit::Factored;
use super::{Damping, Preconditioner, check_rows};
use crate::error::{Error, Result, guarded};

fn check(gradients: &Tensor, v: &Tensor) -> Result<()> {
    if gradients.dim() != 2 || gradients.size()[0] == 0 {
        return Err(Error::shape("gradients", "[n, p] with n at least 1", format!("{:?}", gradients.size())));
    }
    check_rows(v, gradients.size()[1])
}

/// `((1/n) GᵀG + λ)⁻¹ v` for per-example gradients `G` `[n, p]` and rows `v` `[k, p]`: the empirical Fisher matrix, inverted among
/// the examples or the parameters, whichever are fewer. λ must be positive where n < p.
///
/// ```
/// use ascribe::prelude::*;
/// let g = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 2.0]).view([2, 2]); // Fisher matrix diag(1/2, 2)
/// let v = Tensor::from_slice(&[1.0f32, 1.0]).view([1, 2]);
/// let solved = curvature::ifvp_explicit(&g, &v, Damping::Absolute(0.5))?;
/// assert!((solved.double_value(&[0, 0]) - 1.0).abs() < 1e-6 && (solved.double_value(&[0, 1]) - 0.4).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ifvp_explicit(gradients: &Tensor, v: &Tensor, damping: Damping) -> Result<Tensor> {
    check(gradients, v)?;
    guarded(|| {
        let g = gradients.to_kind(Kind::Double);
        let (n, p) = (g.size()[0], g.size()[1]);
        let mean = || Ok(g.square().sum(None::<Kind>).double_value(&[]) / (n * p) as f64);
        let lambda = damping.value("damping", mean)?;
        if p <= n {
            return Factored::new(g.transpose(0, 1).matmul(&g) / n as f64, lambda)?.apply(v);
        }
        damping.positive("damping")?;
        let factor = Factored::new(g.matmul(&g.transpose(0, 1)), n as f64 * lambda)?;
        let v = v.to_kind(Kind::Double);
        let y = factor.apply(&v.matmul(&g.transpose(0, 1)).to_kind(Kind::Float))?.to_kind(Kind::Double);
        Ok(((v - y.matmul(&g)) / lambda).to_kind(Kind::Float))
    })
}

/// [`DataInf`](super::DataInf)'s map for each layer: gradients `[n, p_l]` and rows `[k, p_l]` of every layer → `[k, p_l]` of every layer.
///
/// λ must be positive; `Relative` is to each layer's mean squared entry.
///
/// ```
/// use ascribe::prelude::*;
/// let g = Tensor::from_slice(&[3.0f32, 4.0]).view([1, 2]); // one example: the exact inverse of g gᵀ + λ
/// let v = Tensor::from_slice(&[3.0f32, 4.0]).view([1, 2]);
/// let mapped = curvature::ifvp_datainf(&[g], &[v], Damping::Absolute(1.0))?.remove(0);
/// assert!((mapped.double_value(&[0, 0]) - 3.0 / 26.0).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ifvp_datainf(gradients: &[Tensor], v: &[Tensor], damping: Damping) -> Result<Vec<Tensor>> {
    damping.positive("damping")?;
    if gradients.len() != v.len() {
        return Err(Error::shape("v", format!("rows for {} layers", gradients.len()), format!("{} layers", v.len())));
    }
    let one = |(g, v): (&Tensor, &Tensor)| {
        check(g, v)?;
        guarded(|| {
            let n = g.size()[0] as f64;
            let squares = g.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            let lambda = damping.value("damping", || Ok(g.square().mean(Kind::Double).double_value(&[])))?;
            if lambda <= 0.0 {
                return Err(Error::numerical(
                    "DataInf",
                    "the gradients of a layer vanish, and so does a damping relative to them",
                ));
            }
            let weights = (squares + lambda).reciprocal() / n;
            Ok((v - (v.matmul(&g.transpose(0, 1)) * weights).matmul(g)) / lambda)
        })
    };
    gradients.iter().zip(v).map(one).collect()
}

/// [`Ekfac`](super::Ekfac)'s map for one layer `s = W ã`: inputs `a` `[n, in]` or `[n, t, in]` (append a 1 for a bias), derivatives `δ`
/// `[n, out]` or `[n, t, out]` in its outputs, rows `v` `[k, out, in]` → `[k, out, in]`.
///
/// `Relative` damping is to the mean corrected eigenvalue.
///
/// ```
/// use ascribe::prelude::*;
/// // One example: Λ has one entry, and the map is the exact inverse of vec(δ aᵀ) vec(δ aᵀ)ᵀ + λ.
/// let (a, delta) = (Tensor::from_slice(&[3.0f32, 4.0]).view([1, 2]), Tensor::from_slice(&[2.0f32]).view([1, 1]));
/// let v = Tensor::from_slice(&[3.0f32, 4.0]).view([1, 1, 2]);
/// let mapped = curvature::ifvp_ekfac(&a, &delta, &v, Damping::Absolute(1.0))?;
/// assert!((mapped.double_value(&[0, 0, 0]) - 3.0 / 101.0).abs() < 1e-6);
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn ifvp_ekfac(a: &Tensor, delta: &Tensor, v: &Tensor, damping: Damping) -> Result<Tensor> {
    let positions = |x: &Tensor| match x.dim() {
        2 => Ok(x.unsqueeze(1)),
        3 => Ok(x.shallow_clone()),
        _ => Err(Error::shape("a and δ", "[n, width] or [n, t, width]", format!("{:?}", x.size()))),
    };
    let (a, delta) = (positions(a)?, positions(delta)?);
    if a.size()[..2] != delta.size()[..2] || a.size()[0] == 0 {
        return Err(Error::shape("δ", format!("{:?} as a", &a.size()[..2]), format!("{:?}", &delta.size()[..2])));
    }
    let (input, output) = (a.size()[2], delta.size()[2]);
    if v.dim() != 3 || v.size()[1..] != [output, input] {
        return Err(Error::shape("v", format!("[k, {output}, {input}]"), format!("{:?}", v.size())));
    }
    guarded(|| {
        let moment = |x: &Tensor| {
            let rows = x.flatten(0, 1).to_kind(Kind::Double);
            rows.transpose(0, 1).matmul(&rows)
        };
        let ((_, qa), (_, qs)) = (moment(&a).linalg_eigh("L"), moment(&delta).linalg_eigh("L"));
        let (qa, qs) = (qa.to_kind(Kind::Float), qs.to_kind(Kind::Float));
        let (turned, outputs) = (a.matmul(&qa), delta.matmul(&qs));
        let mut sum = Tensor::zeros([output, input], (Kind::Double, Device::Cpu));
        for i in 0..a.size()[0] {
            sum += outputs.get(i).transpose(0, 1).matmul(&turned.get(i)).square();
        }
        let eigenvalues = sum / a.size()[0] as f64;
        let lambda = damping.value("damping", || Ok(eigenvalues.mean(None::<Kind>).double_value(&[])))?;
        let damped = eigenvalues + lambda;
        if damped.min().double_value(&[]) <= 0.0 {
            return Err(Error::numerical(
                "EK-FAC",
                "an eigenvalue is 0 and so is the damping; use Damping::Absolute with a number above 0",
            ));
        }
        let inside = qs.transpose(0, 1).matmul(v).matmul(&qa) / damped.to_kind(Kind::Float);
        Ok(qs.matmul(&inside).matmul(&qa.transpose(0, 1)))
    })
}
