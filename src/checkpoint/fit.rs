//! Which weights of a checkpoint are those of an architecture.

use std::collections::{HashMap, HashSet};

use polars::df;
use polars::prelude::DataFrame;
use tch::Tensor;

use super::Checkpoint;
use crate::error::Result;
use crate::names::nearest;

/// Names that an error lists of one sort.
const SHOWN: usize = 12;
/// Comparisons of names that are made to find the nearest ones; beyond, none is named.
const COMPARISONS: usize = 200_000;

/// One line of the comparison.
struct Row {
    parameter: String,
    expected: Option<Vec<i64>>,
    found: Option<Vec<i64>>,
    verdict: Verdict,
    nearest: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Fits,
    Missing,
    Misshapen,
    NotFinite,
    Extra,
    /// A counter of torch's batch norm, which changes no output.
    Counter,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Fits => "fits",
            Verdict::Missing => "missing",
            Verdict::Misshapen => "misshapen",
            Verdict::NotFinite => "not finite",
            Verdict::Extra => "extra",
            Verdict::Counter => "not used",
        }
    }
}

/// A checkpoint compared with the tensors of a network.
pub(crate) struct Fit {
    rows: Vec<Row>,
}

impl Fit {
    pub(crate) fn of(network: &[(String, Tensor)], checkpoint: &Checkpoint) -> Fit {
        let stored: HashMap<&str, &Tensor> = checkpoint.tensors().iter().map(|(name, t)| (name.as_str(), t)).collect();
        let expected: HashSet<&str> = network.iter().map(|(name, _)| name.as_str()).collect();
        let mut rows = Vec::with_capacity(network.len());
        for (name, tensor) in network {
            let found = stored.get(name.as_str()).copied();
            let verdict = match found {
                None => Verdict::Missing,
                Some(found) if found.size() != tensor.size() => Verdict::Misshapen,
                Some(found) if found.isfinite().all().int64_value(&[]) == 0 => Verdict::NotFinite,
                Some(_) => Verdict::Fits,
            };
            let (expected, found) = (Some(tensor.size()), found.map(Tensor::size));
            rows.push(Row { parameter: name.clone(), expected, found, verdict, nearest: None });
        }
        for (name, tensor) in checkpoint.tensors().iter().filter(|(name, _)| !expected.contains(name.as_str())) {
            let counter = name.ends_with("num_batches_tracked") && tensor.numel() == 1;
            let verdict = if counter { Verdict::Counter } else { Verdict::Extra };
            rows.push(Row { parameter: name.clone(), expected: None, found: Some(tensor.size()), verdict, nearest: None });
        }
        let mut fit = Fit { rows };
        fit.find_nearest();
        fit
    }

    /// For what is missing the nearest of what is left over, and the other way round; of the same shape, if there is such a one.
    fn find_nearest(&mut self) {
        let of = |verdict| self.rows.iter().enumerate().filter(move |(_, row)| row.verdict == verdict).map(|(at, _)| at);
        let (missing, extra): (Vec<usize>, Vec<usize>) = (of(Verdict::Missing).collect(), of(Verdict::Extra).collect());
        if missing.len() * extra.len() > COMPARISONS {
            return;
        }
        let shape = |at: usize| self.rows[at].expected.as_ref().or(self.rows[at].found.as_ref());
        let name = |at: usize| self.rows[at].parameter.as_str();
        let mut found = Vec::new();
        for (mine, others) in [(&missing, &extra), (&extra, &missing)] {
            for &at in mine {
                let alike = others.iter().filter(|&&other| shape(other) == shape(at));
                let near = nearest(name(at), alike.map(|&other| name(other)))
                    .or_else(|| nearest(name(at), others.iter().map(|&other| name(other))));
                found.push((at, near.map(str::to_string)));
            }
        }
        found.into_iter().for_each(|(at, near)| self.rows[at].nearest = near);
    }

    /// All that keeps the weights from being this network's, in one line; with `strict`, what the network has no place for, too.
    pub(crate) fn trouble(&self, strict: bool) -> Option<String> {
        let of = |verdict: Verdict| self.rows.iter().filter(move |row| row.verdict == verdict);
        let near = |row: &Row| row.nearest.as_ref().map_or_else(String::new, |name| format!(" (nearest: {name})"));
        let size = |shape: &Option<Vec<i64>>| shape.as_ref().map_or_else(String::new, |shape| format!("{shape:?}"));
        let parts = [
            some(of(Verdict::Missing).map(|row| format!("{} is missing{}", row.parameter, near(row)))),
            some(of(Verdict::Misshapen).map(|row| {
                let turned = row
                    .expected
                    .as_ref()
                    .zip(row.found.as_ref())
                    .is_some_and(|(a, b)| a.len() == 2 && a.iter().eq(b.iter().rev()));
                let hint = if turned { ", the transpose" } else { "" };
                format!("{} expected {}, got {}{hint}", row.parameter, size(&row.expected), size(&row.found))
            })),
            some(of(Verdict::NotFinite).map(|row| format!("{} holds NaN or infinity", row.parameter))),
        ];
        let mut parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() && !strict {
            return None;
        }
        let extra = of(Verdict::Extra)
            .map(|row| format!("{} {} has no place in the network{}", row.parameter, size(&row.found), near(row)));
        parts.extend(some(extra));
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Columns: `parameter`, `expected`, `found` (shapes), `verdict`, `nearest`; what does not fit comes first.
    pub(crate) fn frame(&self) -> Result<DataFrame> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| matches!(row.verdict, Verdict::Fits | Verdict::Counter));
        let shape = |shape: &Option<Vec<i64>>| shape.as_ref().map(|shape| format!("{shape:?}"));
        Ok(df!(
            "parameter" => rows.iter().map(|row| row.parameter.as_str()).collect::<Vec<_>>(),
            "expected" => rows.iter().map(|row| shape(&row.expected)).collect::<Vec<_>>(),
            "found" => rows.iter().map(|row| shape(&row.found)).collect::<Vec<_>>(),
            "verdict" => rows.iter().map(|row| row.verdict.name()).collect::<Vec<_>>(),
            "nearest" => rows.iter().map(|row| row.nearest.as_deref()).collect::<Vec<_>>(),
        )?)
    }
}

/// The first of some findings in a line, and how many more there are.
fn some(mut findings: impl Iterator<Item = String>) -> Option<String> {
    let shown: Vec<String> = findings.by_ref().take(SHOWN).collect();
    let more = match findings.count() {
        0 => String::new(),
        more => format!("; and {more} more (Task::compare lists them)"),
    };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join("; ")))
}
