//! What a task found: a line per step while it works, a table at the end, and the same as JSON.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

/// How a step ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// It held.
    Passed,
    /// It did not hold.
    Failed,
    /// It could not be examined here, through no fault of the code; never shown as passed.
    NotChecked,
    /// A step it stands on failed.
    NotRun,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotChecked => "NOT CHECKED",
            Self::NotRun => "not run",
        }
    }
}

/// What a step that ran to its end has to say.
pub(crate) struct Finding {
    /// How it ended.
    pub(crate) status: Status,
    /// One line for the table.
    pub(crate) detail: String,
}

impl Finding {
    /// The step held.
    pub(crate) fn passed(detail: impl Into<String>) -> Self {
        Self { status: Status::Passed, detail: detail.into() }
    }
}

/// Counts of single tests, summed over the steps that ran some.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Counts {
    /// Tests that held.
    pub(crate) passed: u64,
    /// Tests that did not.
    pub(crate) failed: u64,
}

#[derive(Serialize)]
struct Step {
    name: String,
    status: Status,
    seconds: f64,
    detail: String,
}

/// The report of one task.
pub(crate) struct Report {
    task: &'static str,
    started: Instant,
    steps: Vec<Step>,
    counts: Option<Counts>,
    details: serde_json::Value,
}

impl Report {
    /// An empty report for `task`.
    pub(crate) fn new(task: &'static str) -> Self {
        Self { task, started: Instant::now(), steps: Vec::new(), counts: None, details: serde_json::Value::Null }
    }

    /// Runs one step, telling when it starts and how it ended.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Finding>) -> Status {
        println!("==> {name}");
        let started = Instant::now();
        let finding = work().unwrap_or_else(|error| Finding { status: Status::Failed, detail: format!("{error:#}") });
        let seconds = started.elapsed().as_secs_f64();
        println!("<== {name}: {} in {seconds:.1} s. {}", finding.status.word(), finding.detail);
        self.steps.push(Step { name: name.to_owned(), status: finding.status, seconds, detail: finding.detail });
        finding.status
    }

    /// Notes a step that was left out because `cause` failed.
    pub(crate) fn not_run(&mut self, name: &str, cause: &str) {
        let detail = format!("stands on {cause}, which failed");
        println!("<== {name}: not run, {detail}");
        self.steps.push(Step { name: name.to_owned(), status: Status::NotRun, seconds: 0.0, detail });
    }

    /// Adds the tests that a step ran.
    pub(crate) fn count(&mut self, more: Counts) {
        let sum = self.counts.get_or_insert_default();
        sum.passed += more.passed;
        sum.failed += more.failed;
    }

    /// Adds what the task has to say beyond its steps; it goes into the JSON alone.
    pub(crate) fn attach(&mut self, details: serde_json::Value) {
        self.details = details;
    }

    /// Prints the table, writes the JSON, and tells whether everything held.
    pub(crate) fn finish(self, json: Option<&Path>) -> Result<bool> {
        let ok = !self.steps.iter().any(|step| matches!(step.status, Status::Failed | Status::NotRun));
        let seconds = self.started.elapsed().as_secs_f64();
        self.print_table(ok, seconds);
        if let Some(path) = json {
            let document = serde_json::json!({
                "task": self.task, "ok": ok, "seconds": seconds, "tests": self.counts, "steps": self.steps,
                "details": self.details,
            });
            std::fs::write(path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
        }
        if let Some(counts) = self.counts {
            println!("tests: {} passed, {} failed", counts.passed, counts.failed);
        }
        Ok(ok)
    }

    fn print_table(&self, ok: bool, seconds: f64) {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        println!("\n{:width$}  {:11}  {:>8}  detail", "step", "result", "seconds");
        for step in &self.steps {
            let detail = step.detail.lines().next().unwrap_or_default();
            println!("{:width$}  {:11}  {:8.1}  {detail}", step.name, step.status.word(), step.seconds);
        }
        let unchecked = self.steps.iter().filter(|step| step.status == Status::NotChecked).count();
        let verdict = match (ok, unchecked) {
            (false, _) => "FAILED".to_owned(),
            (true, 0) => "everything held".to_owned(),
            (true, _) => format!("everything that could be checked held, {unchecked} not checked"),
        };
        println!("{}: {verdict} in {seconds:.0} s", self.task);
    }
}
