//! The weights inside a checkpoint of torch.

use std::collections::HashSet;
use std::path::Path;

use tch::Tensor;

use super::broken::{Outcome, about, quoted, refuse};
use super::source::open;
use super::value::{Value, listed};
use crate::error::Result;

/// Dictionaries of dictionaries that a checkpoint may have around its weights.
const DEEPEST: usize = 4;

/// The named tensors of a `.pt` or `.pth` file, in the order of the model.
///
/// The file is a state dict, or a dict that holds one (under `model_state_dict`, say) beside numbers and the optimiser's state.
/// Errors: [`Error::Data`](crate::Error::Data), which lists the keys to pass to [`state_dict_at`] where there is more than one.
pub fn state_dict(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    about(path.as_ref(), || weights(&super::torch::value(open(path.as_ref())?)?, None))
}

/// As [`state_dict`], under a given key; keys within keys are joined by a dot.
pub fn state_dict_at(path: impl AsRef<Path>, key: &str) -> Result<Vec<(String, Tensor)>> {
    about(path.as_ref(), || weights(&super::torch::value(open(path.as_ref())?)?, Some(key)))
}

pub(super) fn weights(value: &Value, key: Option<&str>) -> Outcome<Vec<(String, Tensor)>> {
    let mut found = Vec::new();
    candidates(value, String::new(), 0, &mut found);
    let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let chosen = match key {
        Some(key) => found.iter().find(|(name, _)| name == key),
        None if found.len() == 1 => found.first(),
        None => None,
    };
    match (chosen, key) {
        (Some((_, tensors)), _) => tensors_of(tensors),
        (None, _) if found.is_empty() => refuse(format!("expected a state dict (names to tensors), got {value:?}")),
        (None, Some(key)) => refuse(format!("no state dict under {}; there is one under {}", quoted(key), listed(&names))),
        (None, None) => refuse(format!(
            "more than one state dict, under {}: choose with `Checkpoint::load_at` or `read::state_dict_at`",
            listed(&names)
        )),
    }
}

/// Dictionaries whose keys are text and whose values are all tensors, outside the optimiser's and the scheduler's state.
fn candidates<'v>(value: &'v Value, name: String, depth: usize, found: &mut Vec<(String, &'v [(Value, Value)])>) {
    let Value::Dict(entries) = value else { return };
    if !entries.is_empty() && entries.iter().all(|entry| matches!(entry, (Value::Text(_), Value::Tensor(_)))) {
        return found.push((name, entries));
    }
    if depth == DEEPEST {
        return;
    }
    for (key, inner) in entries {
        let Value::Text(key) = key else { continue };
        let lower = key.to_lowercase();
        if !lower.starts_with("optim") && !lower.contains("scheduler") {
            let inside = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            candidates(inner, inside, depth + 1, found);
        }
    }
}

fn tensors_of(entries: &[(Value, Value)]) -> Outcome<Vec<(String, Tensor)>> {
    let tensors = entries.iter().map(|(name, tensor)| Ok((name.text()?.to_string(), tensor.tensor()?)));
    let tensors = tensors.collect::<Outcome<Vec<_>>>()?;
    let mut names = HashSet::new();
    match tensors.iter().find(|(name, _)| !names.insert(name.as_str())) {
        Some((twice, _)) => refuse(format!("two tensors named {}", quoted(twice))),
        None => Ok(tensors),
    }
}
