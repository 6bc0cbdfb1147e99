//! `cargo xtask budget`: instructions and allocations of each step of a request, counted by callgrind and compared with what the
//! repository has recorded. Counts, not times: a busy machine counts the same as an idle one.
//!
//! The program is the crate `hawser-budget`. It does one step N times and 2 N times; the difference is what N of them cost.

mod count;
mod judge;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::count::{Valgrind, count};
use self::judge::{Cost, Record, judge};
use crate::exec;
use crate::report::{Finding, Report, Status};
use crate::workspace::Workspace;

const BUILD_LIMIT: Duration = Duration::from_mins(30);
/// The steps, and how often each is done: so often that what differs from run to run is far below what is tolerated.
const STAGES: [(&str, u64); 8] = [
    ("edge", 1000),
    ("authenticate", 1000),
    ("admit", 1000),
    ("route", 1000),
    ("splice", 1000),
    ("reply", 1000),
    ("call", 500),
    ("call-modern", 500),
];

/// Whether to compare or to record.
#[derive(Args)]
pub(crate) struct Options {
    /// Write what is counted to the repository, instead of comparing it with what is there.
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    pub(crate) output: crate::Output,
}

/// Counts, and compares or records.
pub(crate) fn task(workspace: &Workspace, options: &Options, report: &mut Report) {
    let mut found = serde_json::Value::Null;
    report.step("budget", || {
        let record = count_all(workspace)?;
        found = serde_json::to_value(&record)?;
        if options.record { write(workspace, &record) } else { compare(workspace, &record) }
    });
    report.attach(found);
}

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace) -> Result<Finding> {
    compare(workspace, &count_all(workspace)?)
}

fn count_all(workspace: &Workspace) -> Result<Record> {
    let valgrind = Valgrind::ensure(workspace)?;
    let arguments = ["build", "--locked", "--profile", "budget", "-p", "hawser-budget"];
    exec::check(exec::cargo(workspace).args(arguments), BUILD_LIMIT)?;
    let program = workspace.target().join("budget/hawser-budget");
    let mut stages = BTreeMap::new();
    for (stage, times) in STAGES {
        let cost =
            count(&valgrind, workspace, &program, stage, times).with_context(|| format!("counting `{stage}`"))?;
        println!("    {stage:14} {:>8} instructions {:>4} allocations", cost.instructions, cost.allocations);
        stages.insert(stage.to_owned(), cost);
    }
    Ok(Record { counted_with: counted_with(&valgrind)?, stages })
}

/// What else decides the numbers.
fn counted_with(valgrind: &Valgrind) -> Result<BTreeMap<String, String>> {
    let compiler = exec::probe(Command::new("rustc").arg("--version")).context("rustc does not tell its version")?;
    let library = exec::probe(Command::new("getconf").arg("GNU_LIBC_VERSION")).unwrap_or_else(|| "unknown".to_owned());
    let versions = [("compiler", compiler), ("library", library), ("valgrind", valgrind.version()?)];
    Ok(versions.map(|(name, version)| (name.to_owned(), version)).into())
}

/// One file for each kind of machine: another instruction set has other instructions.
fn file(workspace: &Workspace) -> PathBuf {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    workspace.root().join("budget").join(format!("{arch}-{os}.json"))
}

fn write(workspace: &Workspace, record: &Record) -> Result<Finding> {
    let path = file(workspace);
    let text = serde_json::to_string_pretty(record)?;
    fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    Ok(Finding::passed(format!("recorded in {}", shown(workspace, &path))))
}

fn compare(workspace: &Workspace, found: &Record) -> Result<Finding> {
    let path = file(workspace);
    if !path.exists() {
        let detail = format!("{} is not there: `cargo xtask budget --record` writes it", shown(workspace, &path));
        return Ok(Finding { status: Status::NotChecked, detail });
    }
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let recorded: Record = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
    let judged = judge(&recorded, found);
    for line in &judged.told {
        println!("    {line}");
    }
    if !judged.over.is_empty() {
        bail!("{}", judged.over.join("; "));
    }
    let call = found.stages.get("call").copied().unwrap_or_default();
    let Cost { instructions, allocations } = call;
    let mut detail = format!("{instructions} instructions and {allocations} allocations for a call");
    if !judged.told.is_empty() {
        detail += "; there is something to record, see above";
    }
    Ok(Finding::passed(detail))
}

fn shown(workspace: &Workspace, path: &Path) -> String {
    path.strip_prefix(workspace.root()).unwrap_or(path).display().to_string()
}
