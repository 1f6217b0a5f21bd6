//! A `DataFrame` as an HTML table.

use std::fmt::Write;

use polars::prelude::{AnyValue, Column, DataFrame};

use super::{cut, escape, number};

const ROWS: Window = Window { whole: 20, first: 8, last: 4 };
const COLUMNS: Window = Window { whole: 20, first: 12, last: 4 };
const LONGEST_TEXT: usize = 60;

// Colours are those of the page, so that the table reads in light and dark themes; two classes outrank Jupyter's own rules.
const STYLE: &str = "<style>\
table.ascribe.frame{border-collapse:collapse;border:0;margin:4px 0;font-size:13px;color:inherit}\
table.ascribe.frame th,table.ascribe.frame td{padding:3px 10px;border:0;max-width:none;vertical-align:top;text-align:left;\
background:transparent;border-bottom:1px solid rgba(127,127,127,.3);\
border-bottom-color:color-mix(in srgb,currentColor 20%,transparent)}\
table.ascribe.frame th{font-weight:600;vertical-align:bottom}\
table.ascribe.frame thead th{border-bottom-width:2px}\
table.ascribe.frame th.n,table.ascribe.frame td.n{text-align:right;font-variant-numeric:tabular-nums}\
table.ascribe.frame td{white-space:nowrap}\
table.ascribe.frame td.gap{text-align:center;opacity:.6}\
table.ascribe.frame caption{caption-side:bottom;text-align:left;padding:4px 10px;white-space:nowrap;font-size:12px;\
color:inherit;opacity:.7}\
</style>";

/// How much of a long list is shown: all up to `whole`, otherwise the first and last few.
struct Window {
    whole: usize,
    first: usize,
    last: usize,
}

impl Window {
    /// Positions to show; `None` stands for those left out.
    fn of(&self, n: usize) -> Vec<Option<usize>> {
        match n <= self.whole {
            true => (0..n).map(Some).collect(),
            false => (0..self.first).map(Some).chain([None]).chain((n - self.last..n).map(Some)).collect(),
        }
    }
}

/// A table as HTML, small whatever the size of the frame.
///
/// Numbers are right-aligned, floats of a column share a format of four significant digits, text is cut at 60 characters,
/// a missing value is a dash. More than 20 rows become the first 8 and the last 4, more than 20 columns the first 12 and the
/// last 4. The caption counts all rows and columns; a column's name tells its type when pointed at.
///
/// ```
/// use polars::prelude::*;
/// let names = Column::new("name".into(), ["a<b", "c"]);
/// let scores = Column::new("score".into(), [0.1f32, 12.0]);
/// let html = ascribe::display::html(&DataFrame::new(2, vec![names, scores])?);
/// assert!(html.contains("<td>a&lt;b</td><td class=\"n\">0.1</td>"));
/// # Ok::<(), PolarsError>(())
/// ```
pub fn html(frame: &DataFrame) -> String {
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    with_caption(frame, &format!("{} × {}", count(frame.height(), "row"), count(frame.width(), "column")))
}

pub(super) fn with_caption(frame: &DataFrame, caption: &str) -> String {
    let rows = ROWS.of(frame.height());
    let shown = COLUMNS.of(frame.width());
    let columns: Vec<Option<Shown>> = shown.iter().map(|at| Some(Shown::of(&frame.columns()[(*at)?], &rows))).collect();
    let mut html = format!("{STYLE}\n<table class=\"ascribe frame\"><caption>{}</caption>\n<thead><tr>", escape(caption));
    for column in &columns {
        html.push_str(column.as_ref().map_or("<th>…</th>", |column| &column.head));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for (line, row) in rows.iter().enumerate() {
        html.push_str("<tr>");
        for column in &columns {
            match (row, column) {
                (None, _) => html.push_str("<td class=\"gap\">⋮</td>"),
                (_, None) => html.push_str("<td class=\"gap\">…</td>"),
                (_, Some(column)) => html.push_str(&column.cell(line)),
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table>");
    html
}

/// A column made ready: its header cell and the text of each shown row.
struct Shown {
    head: String,
    numeric: bool,
    cells: Vec<String>,
}

impl Shown {
    fn of(column: &Column, rows: &[Option<usize>]) -> Shown {
        let kind = column.dtype();
        let numeric = kind.is_primitive_numeric();
        let mut head = String::new();
        let (name, class) = (escape(&cut(column.name(), LONGEST_TEXT)), if numeric { " class=\"n\"" } else { "" });
        // A long name may break after an underscore where room is short.
        let name = name.replace('_', "_<wbr>");
        let _ = write!(head, "<th{class} title=\"{}\">{name}</th>", escape(&kind.to_string()));
        let values = rows.iter().map(|row| row.and_then(|row| column.get(row).ok()).unwrap_or(AnyValue::Null));
        let cells = match kind.is_float() {
            true => number::column(&values.map(|value| value.extract::<f64>()).collect::<Vec<_>>()),
            false => values.map(|value| text(&value)).collect(),
        };
        Shown { head, numeric, cells }
    }

    fn cell(&self, line: usize) -> String {
        let text = self.cells.get(line).map_or("", String::as_str);
        if self.numeric {
            return format!("<td class=\"n\">{}</td>", escape(text));
        }
        let short = cut(text, LONGEST_TEXT);
        match short == text {
            true => format!("<td>{}</td>", escape(text)),
            false => format!("<td title=\"{}\">{}</td>", escape(&cut(text, 10 * LONGEST_TEXT)), escape(&short)),
        }
    }
}

fn text(value: &AnyValue) -> String {
    match value {
        AnyValue::Null => "—".to_string(),
        AnyValue::String(text) => text.to_string(),
        AnyValue::StringOwned(text) => text.to_string(),
        other => other.to_string(),
    }
}
