//! Where a network parts from the same network elsewhere, such as the one in Python that its weights come from.

use polars::df;
use polars::prelude::DataFrame;
use tch::{Kind, Tensor, no_grad};

use super::Snapshot;
use crate::error::{Error, Result, guarded};

/// Differences up to this share of the largest stored value are rounding.
const ROUNDING: f64 = 1e-4;

/// What a comparison says of a layer.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Agrees,
    FirstToPart,
    Parts,
    OtherShape,
    NotStored,
    NotHere,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Agrees => "agrees",
            Verdict::FirstToPart => "first to part",
            Verdict::Parts => "parts",
            Verdict::OtherShape => "other shape",
            Verdict::NotStored => "not stored",
            Verdict::NotHere => "not in this network",
        }
    }
}

impl Snapshot {
    /// What each layer that goes through the tape gave, in the order of use: `("conv1", [n, ...])`.
    ///
    /// A layer used again is called `fc:2`, `fc:3`. Memory: all of it at once, so a few examples suffice.
    ///
    /// ```
    /// use ascribe::prelude::*;
    /// let data = dataset::digits()?.head(50)?;
    /// let task = Task::new(|p: &nn::Path| Mlp::new(p, &[64, 8, 10])).train(&Trainer { epochs: 1, ..default() }, &data)?;
    /// let layers = task.snapshot(0)?.layer_outputs(&data.inputs().narrow(0, 0, 3))?;
    /// assert_eq!((layers[0].0.as_str(), layers[0].1.size()), ("fc1", vec![3, 8]));
    /// # Ok::<(), ascribe::Error>(())
    /// ```
    pub fn layer_outputs(&self, inputs: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let (_, records) = guarded(|| Ok(no_grad(|| self.record(inputs))))?;
        let mut layers: Vec<(String, Tensor)> = Vec::new();
        for record in records {
            let again = |name: &String| *name == record.name || name.starts_with(&format!("{}:", record.name));
            let name = match layers.iter().filter(|(name, _)| again(name)).count() {
                0 => record.name.clone(),
                before => format!("{}:{}", record.name, before + 1),
            };
            layers.push((name, record.output));
        }
        Ok(layers)
    }

    /// This network's outputs beside stored ones, example by example; see [`Task::compare_outputs`](crate::task::Task::compare_outputs).
    pub fn compare_outputs(&self, inputs: &Tensor, outputs: &Tensor) -> Result<DataFrame> {
        let here = guarded(|| Ok(no_grad(|| self.forward(inputs))))?;
        if here.size() != outputs.size() {
            return Err(Error::shape(
                "stored outputs",
                format!("{:?}, as this network's", here.size()),
                format!("{:?}", outputs.size()),
            ));
        }
        let n = here.size().first().copied().unwrap_or(0);
        if n == 0 {
            return Err(Error::shape("stored outputs", "at least one example", "none"));
        }
        guarded(|| {
            let (here, there) = (here.to_kind(Kind::Double), outputs.to_kind(Kind::Double));
            let (largest, position) = apart(&here, &there).view([n, -1]).max_dim(1, false);
            let classes = if here.dim() > 1 { here.size().last().copied().unwrap_or(1).max(1) } else { 1 };
            // Of a sequence, the position where the difference is largest.
            let chosen = |x: &Tensor| -> Result<Vec<Option<i64>>> {
                let row = position.divide_scalar_mode(classes, "floor").view([n, 1, 1]).expand([n, 1, classes], false);
                let best = x.reshape([n, -1, classes]).gather(1, &row, false).argmax(-1, false).view([n]);
                let best = Vec::<i64>::try_from(&best)?;
                Ok(best.into_iter().map(|class| (classes > 1).then_some(class)).collect())
            };
            let largest = Vec::<f64>::try_from(&largest)?;
            let scale = scale(&there);
            let relative: Vec<f64> = largest.iter().map(|difference| difference / scale).collect();
            Ok(df!(
                "example" => (0..n).collect::<Vec<i64>>(),
                "difference" => &largest,
                "relative" => &relative,
                "argmax_here" => chosen(&here)?,
                "argmax_there" => chosen(&there)?,
                "agrees" => relative.iter().map(|&relative| relative <= ROUNDING).collect::<Vec<bool>>(),
            )?)
        })
    }

    /// This network's layers beside stored ones; see [`Task::compare_layers`](crate::task::Task::compare_layers).
    pub fn compare_layers(&self, inputs: &Tensor, stored: &[(String, Tensor)]) -> Result<DataFrame> {
        let layers = self.layer_outputs(inputs)?;
        if layers.is_empty() {
            return Err(Error::Unsupported("comparing layers of a network that calls none through the tape".into()));
        }
        if !layers.iter().any(|(name, _)| stored.iter().any(|(other, _)| other == name)) {
            let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
            let got: Vec<&str> = stored.iter().map(|(name, _)| name.as_str()).collect();
            let reason = format!("no output is stored for any layer; expected names such as {}, got {}", few(&names), few(&got));
            return Err(Error::data("stored layers", reason));
        }
        let shape = |x: &Tensor| format!("{:?}", x.size());
        let mut rows = Vec::new();
        let mut parted = false;
        for (name, here) in &layers {
            let Some((_, there)) = stored.iter().find(|(other, _)| other == name) else {
                rows.push((name.as_str(), Some(shape(here)), None, None, None, Verdict::NotStored));
                continue;
            };
            let (found, (difference, relative)) = match here.size() == there.size() {
                false => (Verdict::OtherShape, (None, None)),
                true => {
                    let (difference, scale) = guarded(|| {
                        let (here, there) = (here.to_kind(Kind::Double), there.to_kind(Kind::Double));
                        Ok((apart(&here, &there).max().double_value(&[]), scale(&there)))
                    })?;
                    let agrees = difference / scale <= ROUNDING;
                    let verdict = if agrees {
                        Verdict::Agrees
                    } else if parted {
                        Verdict::Parts
                    } else {
                        Verdict::FirstToPart
                    };
                    (verdict, (Some(difference), Some(difference / scale)))
                }
            };
            parted |= found != Verdict::Agrees;
            rows.push((name.as_str(), Some(shape(here)), Some(shape(there)), difference, relative, found));
        }
        for (name, there) in stored.iter().filter(|(name, _)| !layers.iter().any(|(own, _)| own == name)) {
            rows.push((name.as_str(), None, Some(shape(there)), None, None, Verdict::NotHere));
        }
        Ok(df!(
            "layer" => rows.iter().map(|row| row.0).collect::<Vec<_>>(),
            "here" => rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>(),
            "there" => rows.iter().map(|row| row.2.clone()).collect::<Vec<_>>(),
            "difference" => rows.iter().map(|row| row.3).collect::<Vec<_>>(),
            "relative" => rows.iter().map(|row| row.4).collect::<Vec<_>>(),
            "verdict" => rows.iter().map(|row| row.5.text()).collect::<Vec<_>>(),
        )?)
    }
}

/// Absolute differences; infinite where only one side is a number.
fn apart(here: &Tensor, there: &Tensor) -> Tensor {
    let equal = here.isclose(there, 0.0, 0.0, true); // NaN equals NaN, infinity infinity
    (here - there).abs().nan_to_num(f64::INFINITY, f64::INFINITY, f64::INFINITY).masked_fill(&equal, 0.0)
}

/// The largest finite absolute value.
fn scale(there: &Tensor) -> f64 {
    there.nan_to_num(0.0, 0.0, 0.0).abs().max().double_value(&[]).max(f64::from(f32::MIN_POSITIVE))
}

fn few(names: &[&str]) -> String {
    let dots = if names.len() > 4 { ", ..." } else { "" };
    format!("{}{dots}", names.iter().take(4).copied().collect::<Vec<_>>().join(", "))
}
