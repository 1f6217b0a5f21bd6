use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use crate::error::{Error, Result};
use crate::gradient::Entry;

/// An optimiser, with PyTorch's semantics and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields stand in each variant's formula
pub enum Optimizer {
    /// `v ← momentum·v + g + weight_decay·θ`, `θ ← θ − lr·v`.
    Sgd { momentum: f64, weight_decay: f64 },
    /// Adam (arXiv 1412.6980); weight decay is added to the gradient.
    Adam { beta1: f64, beta2: f64, epsilon: f64, weight_decay: f64 },
    /// Adam with decoupled weight decay (arXiv 1711.05101): `θ ← θ − lr·weight_decay·θ` beside the step.
    AdamW { beta1: f64, beta2: f64, epsilon: f64, weight_decay: f64 },
}

impl Optimizer {
    /// Stochastic gradient descent.
    pub fn sgd(momentum: f64, weight_decay: f64) -> Optimizer {
        Optimizer::Sgd { momentum, weight_decay }
    }

    /// Adam with β = (0.9, 0.999), ε = 1e-8.
    pub fn adam(weight_decay: f64) -> Optimizer {
        Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// AdamW with β = (0.9, 0.999), ε = 1e-8.
    pub fn adam_w(weight_decay: f64) -> Optimizer {
        Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::option(format!("Optimizer.{name}"), "at least 0 and below 1", value)),
        };
        let (weight_decay, epsilon) = match *self {
            Optimizer::Sgd { momentum, weight_decay } => {
                share("momentum", momentum)?;
                (weight_decay, 1.0)
            }
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay }
            | Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                (weight_decay, epsilon)
            }
        };
        if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
            return Err(Error::option("Optimizer.weight_decay", "at least 0", weight_decay));
        }
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(Error::option("Optimizer.epsilon", "above 0", epsilon));
        }
        Ok(())
    }
}

/// What an optimiser remembers between steps.
pub(crate) struct State {
    optimizer: Optimizer,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
    steps: i32,
}

/// The same at one moment, of one network, by the names of its parameters.
pub(crate) struct Memory {
    pub steps: i32,
    /// Running mean of the gradients, or velocity.
    pub first: Vec<(String, Tensor)>,
    /// Running mean of their squares; none but for Adam.
    pub second: Vec<(String, Tensor)>,
}

impl Clone for Memory {
    fn clone(&self) -> Memory {
        let shared = |kept: &[(String, Tensor)]| kept.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        Memory { steps: self.steps, first: shared(&self.first), second: shared(&self.second) }
    }
}

/// Before the names of parameters in a file.
const PREFIXES: [&str; 2] = ["optimizer.first.", "optimizer.second."];

impl Memory {
    /// What goes into a file beside the weights.
    pub fn stored(&self) -> Vec<(String, Tensor)> {
        let kept = PREFIXES.into_iter().zip([&self.first, &self.second]);
        kept.flat_map(|(prefix, all)| all.iter().map(move |(name, t)| (format!("{prefix}{name}"), t.shallow_clone()))).collect()
    }

    /// Takes it out from among the tensors of a file; `steps` if the file says them.
    pub fn taken(tensors: &mut Vec<(String, Tensor)>, steps: Option<i32>) -> Option<Memory> {
        let steps = steps?;
        let [first, second] = PREFIXES.map(|prefix| {
            let (found, rest): (Vec<_>, Vec<_>) =
                std::mem::take(tensors).into_iter().partition(|(name, _)| name.starts_with(prefix));
            *tensors = rest;
            found.into_iter().map(|(name, t)| (name[prefix.len()..].to_string(), t)).collect()
        });
        Some(Memory { steps, first, second })
    }
}

impl State {
    /// A copy of what is remembered, by the names that `named` gives to the parts of what is moved.
    pub fn memory(&self, named: impl Fn(&[Tensor]) -> Vec<(String, Tensor)>) -> Memory {
        let copied = |all: &[Tensor]| named(all).into_iter().map(|(name, t)| (name, t.detach().copy())).collect();
        Memory { steps: self.steps, first: copied(&self.first), second: copied(&self.second) }
    }

    /// Goes on from there; `None` unless such an optimiser of these parameters remembers such tensors.
    pub fn resumed(optimizer: &Optimizer, entries: &[Entry], parameters: &[Tensor], memory: &Memory) -> Option<State> {
        let mut state = State::new(optimizer, parameters);
        let found = |fresh: &[Tensor], kept: &[(String, Tensor)]| {
            let of = |(entry, fresh): (&Entry, &Tensor)| {
                kept.iter().find(|(name, t)| *name == entry.name && t.size() == fresh.size()).map(|(_, t)| t.copy())
            };
            (kept.len() == fresh.len()).then(|| entries.iter().zip(fresh).map(of).collect::<Option<Vec<_>>>())?
        };
        (state.first, state.second) = (found(&state.first, &memory.first)?, found(&state.second, &memory.second)?);
        state.steps = memory.steps;
        Some(state)
    }

    pub fn new(optimizer: &Optimizer, parameters: &[Tensor]) -> State {
        let zeros = |wanted: bool| match wanted {
            true => parameters.iter().map(|p| p.detach().zeros_like()).collect(),
            false => Vec::new(),
        };
        let adaptive = !matches!(optimizer, Optimizer::Sgd { .. });
        let momentum = matches!(optimizer, Optimizer::Sgd { momentum, .. } if *momentum > 0.0);
        State { optimizer: *optimizer, first: zeros(adaptive || momentum), second: zeros(adaptive), steps: 0 }
    }

    /// One step downhill.
    pub fn step(&mut self, parameters: &[Tensor], gradients: &[Tensor], rate: f64) {
        self.steps += 1;
        no_grad(|| {
            for (i, (parameter, gradient)) in parameters.iter().zip(gradients).enumerate() {
                self.update(i, &mut parameter.shallow_clone(), gradient, rate);
            }
        });
    }

    fn update(&mut self, i: usize, parameter: &mut Tensor, gradient: &Tensor, rate: f64) {
        match self.optimizer {
            Optimizer::Sgd { momentum, weight_decay } => {
                let gradient = decayed(gradient, parameter, weight_decay);
                let step = match self.first.get_mut(i) {
                    Some(velocity) => {
                        *velocity = gradient.addcmul(velocity, &number(momentum, parameter));
                        velocity.shallow_clone()
                    }
                    None => gradient,
                };
                let _ = parameter.addcmul_(&step, &number(-rate, parameter));
            }
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
                let gradient = decayed(gradient, parameter, weight_decay);
                self.adapt(i, parameter, &gradient, rate, (beta1, beta2, epsilon));
            }
            Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let _ = parameter.g_mul_scalar_(1.0 - rate * weight_decay);
                self.adapt(i, parameter, gradient, rate, (beta1, beta2, epsilon));
            }
        }
    }

    fn adapt(
        &mut self,
        i: usize,
        parameter: &mut Tensor,
        gradient: &Tensor,
        rate: f64,
        (beta1, beta2, epsilon): (f64, f64, f64),
    ) {
        let (first, second) = (&mut self.first[i], &mut self.second[i]);
        let _ = first.lerp_(gradient, 1.0 - beta1);
        let _ = second.g_mul_scalar_(beta2).addcmul_(gradient, &(gradient * (1.0 - beta2)));
        let (correction1, correction2) = (1.0 - beta1.powi(self.steps), 1.0 - beta2.powi(self.steps));
        let denominator = second.sqrt().g_div_scalar_(correction2.sqrt()).g_add_scalar_(epsilon);
        let _ = parameter.addcdiv_(&(&*first * (-rate / correction1)), &denominator);
    }
}

/// A number as a tensor: the third factor of an operation that goes through memory once.
fn number(value: f64, like: &Tensor) -> Tensor {
    Tensor::from(value).to_kind(like.kind()).to_device(like.device())
}

fn decayed(gradient: &Tensor, parameter: &Tensor, weight_decay: f64) -> Tensor {
    match weight_decay == 0.0 {
        true => gradient.shallow_clone(),
        false => gradient + parameter * weight_decay,
    }
}
