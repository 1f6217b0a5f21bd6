//! How a change of the weights after a step reads as a change of the weights before it: the backward recursion.

use tch::Tensor;

use crate::error::Result;

/// What some numbers that depend on the final weights feel of the optimiser's state after a step; one row each.
///
/// SGD with momentum μ and weight decay λ takes `v' = μ v + g + λ θ`, `θ' = θ − η v'` with `g` the mean loss gradient of the batch,
/// whose derivative in `θ` is `H`. With `u = ∂/∂θ'`, `r = −∂/∂v'` of later steps and `x = η u + r`, before the step
/// `∂/∂θ = u − (H + λ) x`, `−∂/∂v = μ x`, and `−∂/∂g = x`.
pub(super) struct Adjoint {
    u: Tensor,
    r: Option<Tensor>,
    momentum: f64,
    weight_decay: f64,
}

impl Adjoint {
    /// From derivatives `[m, k]` in the final weights.
    pub fn new(rows: Tensor, momentum: f64, weight_decay: f64) -> Adjoint {
        Adjoint { u: rows, r: None, momentum, weight_decay }
    }

    /// `x`: what a push along minus the gradient of a step at this rate does, `[m, k]`.
    pub fn along(&self, rate: f64) -> Tensor {
        match &self.r {
            Some(r) => &self.u * rate + r,
            None => &self.u * rate,
        }
    }

    /// Goes to before the step, given `x` and `H x`.
    pub fn back(&mut self, x: Tensor, curved: &Tensor) {
        self.u = match self.weight_decay > 0.0 {
            true => &self.u - curved - &x * self.weight_decay,
            false => &self.u - curved,
        };
        self.r = (self.momentum > 0.0).then(|| x * self.momentum);
    }
}

/// `G xᵀ / b` and `(1/b) Gᵀ G x`, for gradients `[b, k]` held as rows.
pub(super) fn meet_rows(rows: &Tensor, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let scores = rows.f_matmul(&x.transpose(0, 1))? / rows.size()[0] as f64; // [b, m]
    let curved = scores.transpose(0, 1).f_matmul(rows)?;
    Ok((scores, curved))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{Adjoint, meet_rows};

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn numbers(size: &[i64], seed: i64) -> Tensor {
        let count = size.iter().product::<i64>();
        ((Tensor::arange(count, F64) + seed as f64 * 17.0) * 12.9898).sin().view(size)
    }

    /// The paper's embeddings `V_t = η (G_t − G_t Mᵀ)`, `M ← M + V_tᵀ G_t`, written out with the p × p matrix.
    #[test]
    fn equals_the_matrix_form() {
        let (p, b, m) = (7, 4, 3);
        let steps: Vec<(Tensor, f64)> = (0..6).map(|t| (numbers(&[b, p], t), 0.1 + 0.02 * t as f64)).collect();
        let test = numbers(&[m, p], 99);
        let mut matrix = Tensor::zeros([p, p], F64);
        let mut adjoint = Adjoint::new(test.shallow_clone(), 0.0, 0.0);
        for (g, rate) in steps.iter().rev() {
            let v = (g - g.matmul(&matrix.transpose(0, 1))) * (rate / b as f64);
            matrix += v.transpose(0, 1).matmul(g);
            let x = adjoint.along(*rate);
            let (scores, curved) = meet_rows(g, &x).unwrap();
            adjoint.back(x, &curved);
            let apart = (scores - v.matmul(&test.transpose(0, 1))).abs().max().double_value(&[]);
            assert!(apart < 1e-12, "{apart:.1e}");
        }
        assert!(matrix.abs().max().double_value(&[]) > 0.1, "the later steps mattered");
    }

    /// A quadratic loss `½ θᵀ H_t θ − w c_tᵀ θ`, with momentum and weight decay: the recursion is the derivative in w.
    #[test]
    fn equals_finite_differences_with_momentum_and_decay() {
        let (p, momentum, decay) = (5, 0.8, 0.05);
        let steps: Vec<(Tensor, Tensor, f64)> = (0..8)
            .map(|t| {
                let root = numbers(&[p, p], t);
                (root.matmul(&root.transpose(0, 1)) * 0.2, numbers(&[p], 50 + t), 0.05 + 0.01 * t as f64)
            })
            .collect();
        let test = numbers(&[2, p], 99);
        let run = |w: f64, at: usize| {
            let (mut theta, mut velocity) = (numbers(&[p], 7), Tensor::zeros([p], F64));
            for (t, (h, c, rate)) in steps.iter().enumerate() {
                let gradient = h.mv(&theta) - c * if t == at { w } else { 1.0 };
                velocity = velocity * momentum + gradient + &theta * decay;
                theta -= &velocity * *rate;
            }
            test.mv(&theta)
        };
        let mut adjoint = Adjoint::new(test.shallow_clone(), momentum, decay);
        for (t, (h, c, rate)) in steps.iter().enumerate().rev() {
            let x = adjoint.along(*rate);
            let (score, curved) = (x.mv(c), x.matmul(h));
            adjoint.back(x, &curved);
            let truth = (run(1.0 + 1e-3, t) - run(1.0 - 1e-3, t)) / 2e-3;
            let apart = (score - truth).abs().max().double_value(&[]);
            assert!(apart < 1e-10, "step {t}: {apart:.1e}");
        }
    }
}
