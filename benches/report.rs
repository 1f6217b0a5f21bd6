//! Rows of text that are written as CSV and printed as an aligned table.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where all results go.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("bench")
}

pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&'static str]) -> Table {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    pub fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.header.len(), "one cell per column");
        self.rows.push(row);
    }

    /// Writes `<name>.csv` into the folder of results, aside and then renamed, so that a killed run leaves the old file or none.
    pub fn save(&self, name: &str) -> io::Result<PathBuf> {
        let path = folder().join(format!("{name}.csv"));
        let aside = path.with_extension("csv.tmp");
        let header = self.header.iter().map(|cell| cell.to_string()).collect();
        let lines: Vec<String> = std::iter::once(&header).chain(&self.rows).map(|row| line(row)).collect();
        fs::write(&aside, lines.concat())?;
        fs::rename(&aside, &path)?;
        Ok(path)
    }

    /// The given columns (all if none are given), text to the left and numbers to the right.
    pub fn text(&self, columns: &[&str]) -> String {
        let shown: Vec<usize> = match columns {
            [] => (0..self.header.len()).collect(),
            names => names.iter().filter_map(|name| self.header.iter().position(|h| h == name)).collect(),
        };
        let cells = |at: usize| self.rows.iter().map(move |row| row[at].as_str());
        let width = |at: usize| cells(at).chain([self.header[at]]).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let number = |at: usize| cells(at).all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok());
        let columns: Vec<(usize, usize, bool)> = shown.into_iter().map(|at| (at, width(at), number(at))).collect();
        let pad = |cell: &str, width: usize, right: bool| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        };
        let mut text = String::new();
        let header: Vec<String> = self.header.iter().map(|cell| cell.to_string()).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let cells: Vec<String> = columns.iter().map(|&(at, width, right)| pad(&row[at], width, right)).collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

fn line(row: &[String]) -> String {
    let quoted = row.iter().map(|cell| match cell.contains([',', '"', '\n']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

/// Four significant digits, without an exponent where the number is readable without one.
pub fn number(x: f64) -> String {
    match x.abs() {
        a if a == 0.0 || !x.is_finite() => format!("{x}"),
        a if !(1e-4..1e7).contains(&a) => format!("{x:.3e}"),
        a => {
            let digits = (3 - a.log10().floor() as i32).max(0) as usize;
            format!("{x:.digits$}")
        }
    }
}

/// A cell that may be unknown.
pub fn known(x: Option<f64>) -> String {
    x.map_or_else(String::new, number)
}
