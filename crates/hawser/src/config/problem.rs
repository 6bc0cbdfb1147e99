//! What is wrong with a configuration, and how it is shown: like a compiler would, with the place, the line and a way out.

use std::fmt::{self, Write as _};

use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use serde_saphyr::{Location, Spanned};

use super::redact::{self, Structure};
use crate::console::Paint;

/// Longest source line that is shown, in characters; beyond it only the place is named.
const LINE_CHARS_MAX: usize = 160;
/// Most problems that are told at once.
const PROBLEMS_MAX: usize = 20;

/// A place in the configuration file, counted from 1 in lines and characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
    /// How many characters are meant.
    pub length: usize,
}

impl Place {
    /// `None` where the parser could not tell.
    pub(super) fn of(location: Location) -> Option<Self> {
        let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let place = Self {
            line: number(location.line()),
            column: number(location.column()),
            length: number(location.span().len()).max(1),
        };
        (place.line > 0 && place.column > 0).then_some(place)
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The configuration file as a whole, or the lack of something in it.
    File,
    /// A place in the configuration file.
    Place(Place),
    /// A command-line flag or environment variable, by its name.
    Flag(&'static str),
}

impl Source {
    pub(super) fn of<T>(value: &Spanned<T>) -> Self {
        Place::of(value.referenced).map_or(Self::File, Self::Place)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// What is wrong, naming the key.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(source: Source, message: impl Into<String>) -> Self {
        Self { source, message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn to_json(&self) -> serde_json::Value {
        let (line, column, flag) = match &self.source {
            Source::File => (None, None, None),
            Source::Place(place) => (Some(place.line), Some(place.column), None),
            Source::Flag(flag) => (None, None, Some(*flag)),
        };
        serde_json::json!({"line": line, "column": column, "flag": flag, "message": self.message, "help": self.help})
    }
}

/// Everything that is wrong with a configuration, with the text it is about.
pub struct Report {
    name: String,
    text: String,
    structure: Structure,
    problems: Vec<Problem>,
}

impl Report {
    /// `name` is how the user knows the file.
    pub(super) fn new(name: String, text: String, structure: Structure, mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.source.cmp(&b.source));
        Self { name, text, structure, problems }
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The report as text for people, problem by problem.
    pub fn render(&self, paint: Paint) -> String {
        let mut out = String::new();
        let lines = redact::lines(&self.text);
        for problem in self.problems.iter().take(PROBLEMS_MAX) {
            // Writing to a String cannot fail.
            let _ = self.render_one(&mut out, problem, &lines, paint);
        }
        if let Some(more) = self.problems.len().checked_sub(PROBLEMS_MAX).filter(|more| *more > 0) {
            let _ = writeln!(out, "… and {more} more");
        }
        out
    }

    fn render_one(&self, out: &mut String, problem: &Problem, lines: &[&str], paint: Paint) -> fmt::Result {
        writeln!(out, "{}{}", paint.error("error"), paint.strong(&format!(": {}", problem.message)))?;
        let mut margin = 2;
        match &problem.source {
            Source::Place(place) => {
                margin = self.render_place(out, *place, lines, paint)?;
            }
            Source::File => writeln!(out, "  {} {}", paint.frame("-->"), self.name)?,
            Source::Flag(flag) => writeln!(out, "  {} {flag}", paint.frame("-->"))?,
        }
        if let Some(help) = &problem.help {
            writeln!(out, "{:margin$} {} help: {help}", "", paint.frame("="))?;
        }
        writeln!(out)
    }

    /// Shows the line and marks the place; returns the width of the left margin.
    fn render_place(&self, out: &mut String, place: Place, lines: &[&str], paint: Paint) -> Result<usize, fmt::Error> {
        let number = place.line.to_string();
        let margin = number.len();
        writeln!(out, "{:margin$}{} {}:{number}:{}", "", paint.frame("-->"), self.name, place.column)?;
        let shown =
            redact::line(lines, place.line - 1, self.structure).filter(|line| line.chars().count() <= LINE_CHARS_MAX);
        let Some(line) = shown else { return Ok(margin) };
        // Tabs and control characters would move the caret or the terminal.
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = line.trim_end();
        let room = line.chars().count().saturating_sub(place.column - 1).max(1);
        let carets = "^".repeat(place.length.min(room));
        writeln!(out, "{:margin$} {}", "", paint.frame("|"))?;
        writeln!(out, "{} {} {line}", paint.frame(&number), paint.frame("|"))?;
        writeln!(
            out,
            "{:margin$} {} {:skip$}{}",
            "",
            paint.frame("|"),
            "",
            paint.error(&carets),
            skip = place.column - 1
        )?;
        Ok(margin)
    }
}

/// `{"ok":false,"file":…,"problems":[{"line":…,"column":…,"message":…,"help":…}]}`
impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let problems: Vec<_> = self.problems.iter().map(Problem::to_json).collect();
        let mut report = serializer.serialize_struct("Report", 3)?;
        report.serialize_field("ok", &false)?;
        report.serialize_field("file", &self.name)?;
        report.serialize_field("problems", &problems)?;
        report.end()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Paint::plain()).trim_end())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("name", &self.name).field("problems", &self.problems).finish_non_exhaustive()
    }
}

impl std::error::Error for Report {}
