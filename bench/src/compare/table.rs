//! A table that reads well on a terminal and is Markdown as well.

use std::fmt;

/// A table with a title and a note below it.
pub(super) struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    below: Vec<Self>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|&name| name.to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new(), notes: Vec::new(), below: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Puts another table below this one.
    pub(super) fn follow(&mut self, other: Self) {
        self.below.push(other);
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |out: &mut fmt::Formatter<'_>, cells: &[String]| {
            for (cell, width) in cells.iter().zip(&widths) {
                write!(out, "| {cell:width$} ")?;
            }
            writeln!(out, "|")
        };
        writeln!(out, "### {}\n", self.title)?;
        line(out, &self.head)?;
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        line(out, &rule)?;
        for row in &self.rows {
            line(out, row)?;
        }
        for note in &self.notes {
            writeln!(out, "\n{note}")?;
        }
        for table in &self.below {
            write!(out, "\n{table}")?;
        }
        Ok(())
    }
}
