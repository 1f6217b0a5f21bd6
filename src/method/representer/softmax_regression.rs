//! Softmax regression on soft targets with an L2 penalty, solved until the representer values are right.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// Largest side of a matrix that is factored to speed up the conjugate gradients.
const FACTORED: i64 = 8192;

/// Most conjugate gradients for one Newton step.
const INNER: usize = 2000;

/// `L(Θ) = (1/n) Σ_i CE(softmax(Θ f_i), y_i) + λ‖Θ‖²`, strictly convex.
pub(super) struct Problem {
    /// `[n, d]`, float64.
    pub features: Tensor,
    /// Probabilities, `[n, classes]`, float64.
    pub targets: Tensor,
    /// λ.
    pub strength: f64,
}

/// Where the solver stopped.
pub(super) struct Solution {
    /// Θ, `[classes, d]`.
    pub weight: Tensor,
    /// `softmax(Θ f_i) − y_i`, `[n, classes]`.
    pub slopes: Tensor,
    /// `‖∇L‖`.
    pub gradient: f64,
    /// `‖∇L‖ / 2λ‖Θ‖`.
    pub error: f64,
    /// Newton steps.
    pub iterations: usize,
}

/// `L`, what its derivatives are made of, and `∇L`.
struct Place {
    value: f64,
    probabilities: Tensor,
    slopes: Tensor,
    gradient: Tensor,
}

impl Problem {
    fn n(&self) -> f64 {
        self.features.size()[0] as f64
    }

    fn at(&self, weight: &Tensor) -> Place {
        let log = self.features.matmul(&weight.transpose(0, 1)).log_softmax(-1, Kind::Double); // [n, classes]
        let value = -dot(&self.targets, &log) / self.n() + self.strength * dot(weight, weight);
        let probabilities = log.exp();
        let slopes = &probabilities - &self.targets;
        let gradient = slopes.transpose(0, 1).matmul(&self.features) / self.n() + weight * (2.0 * self.strength);
        Place { value, probabilities, slopes, gradient }
    }

    /// `∇²L V`, all `[classes, d]`.
    fn curved(&self, probabilities: &Tensor, v: &Tensor) -> Tensor {
        let moved = probabilities * self.features.matmul(&v.transpose(0, 1)); // [n, classes]
        let turned = &moved - probabilities * moved.sum_dim_intlist([1i64].as_slice(), true, Kind::Double);
        turned.transpose(0, 1).matmul(&self.features) / self.n() + v * (2.0 * self.strength)
    }

    /// Minimises from `start` by Newton's method; steps come from conjugate gradients and are halved until they descend.
    ///
    /// It stops at `‖∇L‖ ≤ tolerance · 2λ‖Θ‖`. The penalty makes `L` strongly convex, so Θ is then that close to the optimum,
    /// `‖Θ − Θ*‖ ≤ tolerance ‖Θ‖`, and the representer values sum to Θ with just this error.
    pub fn solve(&self, start: &Tensor, tolerance: f64, iterations: usize) -> Result<Solution> {
        let mut weight = start.to_kind(Kind::Double);
        let mut place = self.at(&weight);
        let lengths = self.features.linalg_norm(2.0, [1i64].as_slice(), false, Kind::Double);
        let rounding = 1e-14 * lengths.mean(Kind::Double).double_value(&[]);
        for taken in 0..=iterations {
            let (gradient, length) = (norm(&place.gradient), norm(&weight));
            let error = gradient / (2.0 * self.strength * length).max(f64::MIN_POSITIVE);
            if !gradient.is_finite() {
                let reason = "the fine-tuned layer has a gradient that is not finite; look for very large features";
                return Err(Error::numerical("Representer", reason));
            }
            if error <= tolerance || gradient <= rounding {
                return Ok(Solution { weight, slopes: place.slopes, gradient, error, iterations: taken });
            }
            if taken == iterations {
                let reached = format!("{iterations} Newton steps left a relative error of {error:.1e} (gradient {gradient:.1e})");
                let hint = format!("{reached}, not {tolerance:.0e}; raise Representer.iterations, tolerance or strength");
                return Err(Error::numerical("Representer", hint));
            }
            // Rough far from the optimum, and no better than is needed near it.
            let step = self.step(&place, error.sqrt().max(0.3 * tolerance / error).min(0.1));
            (weight, place) = self.descend(&weight, place, &step)?;
        }
        unreachable!("the last round returns")
    }

    /// `−(∇²L)⁻¹ ∇L` up to a residual of `forcing` times the gradient.
    fn step(&self, place: &Place, forcing: f64) -> Tensor {
        let precondition = self.preconditioner(&place.probabilities);
        let mut step = place.gradient.zeros_like();
        let mut rest = -&place.gradient;
        let mut turned = precondition(&rest);
        let mut direction = turned.copy();
        let mut energy = dot(&rest, &turned);
        let enough = forcing * forcing * energy;
        for _ in 0..INNER {
            if energy <= enough {
                break;
            }
            let curved = self.curved(&place.probabilities, &direction);
            let along = energy / dot(&direction, &curved);
            step += &direction * along;
            rest -= curved * along;
            turned = precondition(&rest);
            let next = dot(&rest, &turned);
            direction = &turned + direction * (next / energy);
            energy = next;
        }
        step
    }

    /// The inverse of `Fᵀ W F/n + 2λ`, with `w_i` the mean of `p(1 − p)` over the classes: the curvature as if classes were
    /// alike. By the smaller of the two Gram matrices of `√W F` (Woodbury); the identity where both are too large to factor.
    fn preconditioner(&self, probabilities: &Tensor) -> impl Fn(&Tensor) -> Tensor {
        let [n, d] = [self.features.size()[0], self.features.size()[1]];
        let ridge = 2.0 * self.strength;
        let weights = (probabilities - probabilities.square()).mean_dim([1i64].as_slice(), true, Kind::Double);
        let rows = &self.features * (weights / n as f64).sqrt(); // [n, d]
        let inverse = (n.min(d) <= FACTORED).then(|| {
            let gram = if d <= n { rows.transpose(0, 1).matmul(&rows) } else { rows.matmul(&rows.transpose(0, 1)) };
            let _ = gram.diagonal(0, 0, 1).g_add_scalar_(ridge);
            gram.linalg_cholesky(false).cholesky_inverse(false)
        });
        move |v: &Tensor| match &inverse {
            None => v.shallow_clone(),
            Some(inverse) if d <= n => v.matmul(inverse),
            Some(inverse) => (v - v.matmul(&rows.transpose(0, 1)).matmul(inverse).matmul(&rows)) / ridge,
        }
    }

    /// The step, halved until it descends as Armijo asks, up to rounding.
    fn descend(&self, weight: &Tensor, from: Place, step: &Tensor) -> Result<(Tensor, Place)> {
        let slope = dot(&from.gradient, step);
        let mut length = 1.0;
        for _ in 0..60 {
            let next = weight + step * length;
            let place = self.at(&next);
            if place.value <= from.value + 1e-4 * length * slope + 1e-14 * from.value.abs() {
                return Ok((next, place));
            }
            length /= 2.0;
        }
        let gradient = norm(&from.gradient);
        let reason = format!("no step descends at a gradient of {gradient:.1e}; raise Representer.tolerance or strength");
        Err(Error::numerical("Representer", reason))
    }
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(Kind::Double).double_value(&[])
}

fn norm(a: &Tensor) -> f64 {
    dot(a, a).sqrt()
}
