//! Sums of outer products, and such sums in turned coordinates.

use tch::{Device, Kind, Tensor};

use super::block::FLOPS_PER_TOUCH;

/// `Σ_t δ_t ⊗ a_t` for each of `g` groups; the bias's gradient is `Σ_t u_t δ_t`.
pub(crate) struct Outer {
    /// `[n, g, t, in]`
    pub a: Tensor,
    /// `[n, g, t, out]`
    pub delta: Tensor,
    /// `u`, the bias's own input, `[n, g, t]`; 1 everywhere unless a preconditioner has mapped it.
    pub unit: Option<Tensor>,
    /// Which positions count, `[n, t]`; the statistics of Kronecker factors leave out the rest, such as padding.
    pub mask: Option<Tensor>,
}

impl Outer {
    pub fn g(&self) -> i64 {
        self.a.size()[1]
    }

    pub fn t(&self) -> i64 {
        self.a.size()[2]
    }

    pub fn widths(&self) -> (i64, i64) {
        (self.a.size()[3], self.delta.size()[3])
    }

    /// Some of the examples.
    pub fn narrow(&self, start: i64, len: i64) -> Outer {
        let part = |x: &Tensor| x.narrow(0, start, len);
        Outer {
            a: part(&self.a),
            delta: part(&self.delta),
            unit: self.unit.as_ref().map(part),
            mask: self.mask.as_ref().map(part),
        }
    }

    /// Derivatives of the layer's outputs along `k` directions `[k, len]`, one for each position: `[n, k, g, t, out]`.
    pub fn along(&self, directions: &Tensor, bias: bool) -> Tensor {
        let (n, k, g, t, (input, output)) = (self.a.size()[0], directions.size()[0], self.g(), self.t(), self.widths());
        let weight = directions.narrow(1, 0, g * output * input).reshape([k, g, output, input]);
        let along = match (g, t) {
            (1, 1) => {
                self.a.reshape([n, input]).matmul(&weight.reshape([k * output, input]).transpose(0, 1)).view([n, k, 1, 1, output])
            }
            _ => Tensor::empty([n, k, g, t, output], (Kind::Float, Device::Cpu)),
        };
        for group in (0..g).filter(|_| g * t > 1) {
            let flat = weight.select(1, group).flatten(0, 1); // [k·out, in]
            let products = self.a.select(1, group).flatten(0, 1).matmul(&flat.transpose(0, 1)); // [n·t, k·out]
            along.select(2, group).copy_(&products.view([n, t, k, output]).transpose(1, 2));
        }
        if bias {
            let shift = directions.narrow(1, g * output * input, g * output).reshape([1, k, g, 1, output]);
            let _ = match &self.unit {
                Some(unit) => along.shallow_clone().g_add_(&(shift * unit.view([n, 1, g, t, 1]))),
                None => along.shallow_clone().g_add_(&shift),
            };
        }
        along
    }

    /// Inner products with formed vectors `[k, len]`: `[n, k]`.
    pub fn meet(&self, rows: &Tensor, bias: bool) -> Tensor {
        let (n, k) = (self.a.size()[0], rows.size()[0]);
        if !few(k, self) {
            let formed = if bias { Tensor::cat(&[self.weight(), self.bias()], 1) } else { self.weight() };
            return formed.matmul(&rows.transpose(0, 1));
        }
        let step = (ALONG / (self.delta.numel() as i64).max(1)).clamp(1, k.max(1));
        let parts: Vec<Tensor> = (0..k)
            .step_by(step as usize)
            .map(|start| self.contract(&self.along(&rows.narrow(0, start, step.min(k - start)), bias)))
            .collect();
        match parts.len() {
            0 => Tensor::zeros([n, 0], (Kind::Float, Device::Cpu)),
            _ => Tensor::cat(&parts, 1),
        }
    }

    /// `Σ δ ∘ x` over groups, positions and outputs: `[n, k, g, t, out] → [n, k]`.
    pub fn contract(&self, along: &Tensor) -> Tensor {
        let (n, k) = (along.size()[0], along.size()[1]);
        along.view([n, k, -1]).matmul(&self.delta.reshape([n, -1, 1])).squeeze_dim(-1)
    }

    /// `c ∘ δ` for coefficients `[n, k]`: `[n, k, g, t, out]`.
    pub fn weighted(&self, coefficients: &Tensor) -> Tensor {
        let (n, k) = (coefficients.size()[0], coefficients.size()[1]);
        self.delta.unsqueeze(1) * coefficients.reshape([n, k, 1, 1, 1])
    }

    /// `Σ_i Σ_t x_ikt ⊗ a_it`: `[n, k, g, t, out] → [k, len]`.
    pub fn spread(&self, x: &Tensor, bias: bool) -> Tensor {
        let (n, k, g, t, (input, output)) = (x.size()[0], x.size()[1], self.g(), self.t(), self.widths());
        let parts: Vec<Tensor> = (0..g)
            .map(|group| {
                let flat = x.select(2, group).transpose(1, 2).reshape([n * t, k * output]);
                flat.transpose(0, 1).matmul(&self.a.select(1, group).flatten(0, 1)).view([k, output * input])
            })
            .collect();
        let weight = Tensor::cat(&parts, 1);
        if !bias {
            return weight;
        }
        let x = match &self.unit {
            Some(unit) => x * unit.view([n, 1, g, t, 1]),
            None => x.shallow_clone(),
        };
        Tensor::cat(&[weight, x.sum_dim_intlist([0i64, 3].as_slice(), false, None::<Kind>).reshape([k, g * output])], 1)
    }

    /// One group, positions flattened into examples: `[n·t, in]`, `[n·t, out]`, `[n·t, 1]`.
    pub fn group(&self, group: i64) -> (Tensor, Tensor, Option<Tensor>) {
        let rows = |x: &Tensor| x.select(1, group).flatten(0, 1);
        (rows(&self.a), rows(&self.delta), self.unit.as_ref().map(|u| rows(u).unsqueeze(1)))
    }

    /// `[n, g·out·in]`
    pub fn weight(&self) -> Tensor {
        self.delta.transpose(2, 3).matmul(&self.a).flatten(1, -1)
    }

    /// `[n, g·out]`
    pub fn bias(&self) -> Tensor {
        let delta = match &self.unit {
            Some(unit) => &self.delta * unit.unsqueeze(-1),
            None => self.delta.shallow_clone(),
        };
        delta.sum_dim_intlist([2i64].as_slice(), false, None::<Kind>).flatten(1, -1)
    }
}

/// Gradients `G` of one linear layer at one position as `Q_Sᵀ G Q_A`, weight and bias together.
pub(crate) struct Turned {
    /// `[n, out · (in + 1)]`, or `[n, out · in]` without a bias.
    pub rows: Tensor,
    /// `[in + 1, in + 1]` with orthonormal columns.
    pub qa: Tensor,
    /// `[out, out]` with orthonormal columns.
    pub qs: Tensor,
}

impl Turned {
    /// The factors in these coordinates; the bias is one more input.
    pub fn turn(&self, outer: &Outer, bias: bool) -> Outer {
        let a = match bias {
            true => {
                let inputs = self.qa.size()[0] - 1;
                let last = self.qa.narrow(0, inputs, 1);
                let shift = outer.unit.as_ref().map_or_else(|| last.shallow_clone(), |unit| unit.unsqueeze(-1) * &last);
                outer.a.matmul(&self.qa.narrow(0, 0, inputs)) + shift
            }
            false => outer.a.matmul(&self.qa),
        };
        Outer { a, delta: outer.delta.matmul(&self.qs), unit: None, mask: None }
    }

    /// `[n, len]`, weight then bias, in the coordinates of the parameters.
    pub fn dense(&self, bias: bool) -> Tensor {
        let (n, input, output) = (self.rows.size()[0], self.qa.size()[0], self.qs.size()[0]);
        let whole = self.qs.matmul(&self.rows.view([n, output, input])).matmul(&self.qa.transpose(0, 1));
        match bias {
            true => Tensor::cat(&[whole.narrow(2, 0, input - 1).reshape([n, -1]), whole.select(2, input - 1)], 1),
            false => whole.reshape([n, -1]),
        }
    }
}

/// Numbers of a layer's outputs along some vectors that are held at once: about what a cache holds.
const ALONG: i64 = 1 << 21;

/// Whether `k` vectors are so few that to go through the layer's outputs touches less memory than to form the gradients.
fn few(k: i64, outer: &Outer) -> bool {
    k * outer.t() < 2 * outer.widths().0
}

/// Whether formed gradients are cheaper, for a side of `m` with `u` positions that each of `partners` gradients meets.
///
/// Counted per pair, in multiplications: factors cost `g·t·u·(in + out)` and touch `g·t·u` numbers three times; formed gradients
/// cost `g·in·out` plus the share of forming both sides.
pub(super) fn cheaper_dense(outer: &Outer, u: i64, m: i64, partners: i64) -> bool {
    let (g, t, (input, output)) = (outer.g(), outer.t(), outer.widths());
    let factored = g * t * u * (input + output + 3 * FLOPS_PER_TOUCH);
    let forming = |positions: i64| g * input * output * (positions + FLOPS_PER_TOUCH);
    g * input * output + forming(t) / m.max(1) + forming(u) / partners.max(1) < factored
}
