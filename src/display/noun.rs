//! Scores, datasets and errors as they show themselves.

use std::fmt;

use polars::prelude::{Column, DataFrame, IntoColumn, NamedFrom, Series};

use super::{Show, escape, number, show, table};
use crate::dataset::Dataset;
use crate::error::{Error, Result, guarded};
use crate::posterior::Posterior;
use crate::scores::Scores;

const SHOWN: usize = 5;
const MOST_CLASSES: usize = 20;

impl Scores {
    /// Shows the method, the size and range of the matrix, and the strongest proponent and opponent of the first 5 tests.
    pub fn evcxr_display(&self) {
        let (line, table) = (self.line(), strongest(self));
        let html = table.as_ref().map(|table| table::with_caption(table, &first_of(self.n_test(), "test examples")));
        let plain = table.as_ref().map(DataFrame::to_string);
        show(&under(&line, &html.unwrap_or_else(|e| escape(&e.to_string()))), &format!("{line}\n{}", plain.unwrap_or_default()));
    }

    fn line(&self) -> String {
        let size = format!("{}: {} test × {} train", self.method(), self.n_test(), self.n_train());
        let range = guarded(|| {
            let values = self.tensor();
            let numbers =
                [values.mean(tch::Kind::Double), values.min(), values.max()].map(|t| number::short(t.double_value(&[])));
            Ok(format!("mean {}, from {} to {}", numbers[0], numbers[1], numbers[2]))
        });
        range.map_or(size.clone(), |range| format!("{size}, {range}"))
    }
}

impl Posterior {
    /// Shows the method, the size, and how much of the scores is noise by Student's t over runs.
    pub fn evcxr_display(&self) {
        let (line, summary) = (self.line(), self.summary(crate::posterior::Test::T));
        let html = summary.as_ref().map(|summary| table::with_caption(summary, "by Student's t over runs"));
        let plain = summary.as_ref().map(DataFrame::to_string);
        show(&under(&line, &html.unwrap_or_else(|e| escape(&e.to_string()))), &format!("{line}\n{}", plain.unwrap_or_default()));
    }

    fn line(&self) -> String {
        let (m, n) = self.size();
        format!("{}: {} draws of {} runs, {m} test × {n} train", self.method(), self.draws().len(), self.runs())
    }
}

impl fmt::Debug for Posterior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Posterior({})", self.line())
    }
}

impl fmt::Debug for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scores({})", self.line())
    }
}

impl Dataset {
    /// Shows the name, the shapes, the number of examples per class, and the first rows of the metadata.
    pub fn evcxr_display(&self) {
        let (line, head) = (self.line(), self.frame().head(Some(SHOWN)));
        let classes = self.class_counts().unwrap_or_default();
        let table = table::with_caption(&head, &first_of(self.len(), "rows of metadata"));
        let html = under(&line, &format!("<div style=\"opacity:.8;margin:2px 0\">{}</div>{table}", escape(&classes)));
        show(&html, &format!("{line}\n{classes}\n{head}"));
    }

    fn line(&self) -> String {
        let targets = match self.classes() {
            Some(classes) => format!("{classes} classes"),
            None => format!("targets {}", tensor(self.targets())),
        };
        format!("{}: {} examples, inputs {}, {targets}", self.name(), self.len(), tensor(self.inputs()))
    }

    /// `name count` for each class, or their range when there are many.
    fn class_counts(&self) -> Option<String> {
        let (classes, mut labels) = (self.classes()?, self.labels()?);
        labels.sort_unstable();
        let runs: Vec<(i64, usize)> = labels.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
        if classes > MOST_CLASSES {
            let (fewest, most) = (runs.iter().map(|run| run.1).min()?, runs.iter().map(|run| run.1).max()?);
            let fewest = if runs.len() < classes { 0 } else { fewest };
            return Some(format!("{fewest} to {most} examples per class"));
        }
        let count = |class: i64| runs.iter().find(|run| run.0 == class).map_or(0, |run| run.1);
        let classes = (0..classes as i64).map(|class| format!("class {}: {}", self.class_name(class), count(class)));
        Some(classes.collect::<Vec<_>>().join(" · "))
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dataset({})", self.line())
    }
}

impl Error {
    /// Shows the message as one framed line.
    pub fn evcxr_display(&self) {
        show_error(&self.to_string());
    }
}

/// Lets a `Result` of these show itself; the inherent methods above work without the trait in scope.
macro_rules! shown {
    ($($noun:ty),+) => { $(impl Show for $noun {
        fn evcxr_display(&self) {
            <$noun>::evcxr_display(self);
        }
    })+ };
}
shown!(Scores, Dataset, Error, Posterior, crate::plot::Figure);

pub(super) fn show_error(message: &str) {
    let style = "border:1px solid #d33;border-left-width:4px;border-radius:4px;padding:4px 10px;margin:4px 0";
    show(&format!("<div style=\"{style}\">{}</div>", escape(message)), message);
}

fn under(line: &str, html: &str) -> String {
    let (name, rest) = line.split_once(": ").unwrap_or((line, ""));
    format!("<div><b>{}</b> &nbsp;{}</div>{html}", escape(name), escape(rest))
}

fn first_of(n: usize, noun: &str) -> String {
    if n > SHOWN { format!("first {SHOWN} of {n} {noun}") } else { format!("{n} {noun}") }
}

/// Shape of one example and the kind of number, such as `[1, 8, 8] float`.
fn tensor(tensor: &tch::Tensor) -> String {
    let kind = format!("{:?}", tensor.kind()).to_lowercase();
    match tensor.size().get(1..) {
        Some([]) | None => kind,
        Some(shape) => format!("{shape:?} {kind}"),
    }
}

/// Test example, its strongest proponent and opponent with scores, and their labels where there are any.
fn strongest(scores: &Scores) -> Result<DataFrame> {
    let n = scores.n_test().min(SHOWN);
    let mut table: Vec<Column> = renamed(&scores.test().head(Some(n)), &[("example", "test"), ("label", "test_label")]);
    for (side, largest) in [("proponent", true), ("opponent", false)] {
        let rows = (0..n).map(|i| if largest { scores.top(i, 1) } else { scores.bottom(i, 1) });
        let at: Vec<u32> = rows.collect::<Result<Vec<_>>>()?.into_iter().flatten().map(|column| column as u32).collect();
        let values = at.iter().enumerate().map(|(i, &j)| scores.get(i, j as usize)).collect::<Result<Vec<f32>>>()?;
        let picked = scores.train().take(&polars::prelude::IdxCa::from_vec("".into(), at))?;
        table.extend(renamed(&picked, &[("example", side), ("label", &format!("{side}_label"))]));
        table.push(Series::new(format!("{side}_score").into(), values).into_column());
    }
    Ok(DataFrame::new(n, table)?)
}

fn renamed(frame: &DataFrame, names: &[(&str, &str)]) -> Vec<Column> {
    let columns = names.iter().filter_map(|(from, to)| Some(frame.column(from).ok()?.clone().with_name((*to).into())));
    columns.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    fn pair() -> Result<(Dataset, Scores)> {
        let inputs = Tensor::arange(8, (tch::Kind::Float, tch::Device::Cpu)).view([4, 2]);
        let data = Dataset::new(inputs, Tensor::from_slice(&[0i64, 1, 1, 1]))?.named("toy").with_class_names(&["cat", "<dog>"]);
        let values = Tensor::from_slice(&[0.5f32, -2.0, 1.0, 0.0, 3.0, 0.25, 0.0, -1.0]).view([2, 4]);
        let scores = Scores::new(values, "GradDot", &data.head(2)?, &data)?;
        Ok((data, scores))
    }

    #[test]
    fn classes_are_counted_whatever_their_numbers() {
        let data = |labels: &[i64]| Dataset::new(Tensor::from_slice(&[0f32, 1.0, 2.0]), Tensor::from_slice(labels)).unwrap();
        assert_eq!(data(&[2, 0, 2]).class_counts().unwrap(), "class 0: 1 · class 1: 0 · class 2: 2");
        assert_eq!(data(&[1 << 60, 0, 1 << 60]).class_counts().unwrap(), "0 to 2 examples per class");
    }

    #[test]
    fn nouns_are_one_line() -> Result<()> {
        let (data, scores) = pair()?;
        assert_eq!(format!("{data:?}"), "Dataset(toy: 4 examples, inputs [2] float, 2 classes)");
        assert_eq!(format!("{scores:?}"), "Scores(GradDot: 2 test × 4 train, mean 0.2188, from -2 to 3)");
        assert_eq!(data.class_counts().as_deref(), Some("class cat: 1 · class <dog>: 3"));
        Ok(())
    }

    #[test]
    fn scores_show_the_strongest_of_each_test() -> Result<()> {
        let table = strongest(&pair()?.1)?;
        let names = [
            "test",
            "test_label",
            "proponent",
            "proponent_label",
            "proponent_score",
            "opponent",
            "opponent_label",
            "opponent_score",
        ];
        assert_eq!(table.get_column_names(), names);
        assert_eq!(Vec::from(table.column("proponent")?.u32()?), [Some(2), Some(0)]);
        assert_eq!(Vec::from(table.column("opponent_score")?.f32()?), [Some(-2.0), Some(-1.0)]);
        Ok(())
    }
}
