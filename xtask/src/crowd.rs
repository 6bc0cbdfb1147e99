//! `cargo xtask crowd`: many idle sessions on one node, opened over real HTTP, and what they cost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use crate::exec;
use crate::report::{Finding, Report, Status};
use crate::workspace::Workspace;

/// The most that one idle session may cost the node, all in all.
const SESSION_BYTES_MAX: u64 = 1024;
/// The most memory that a million idle sessions may take together with everything else in the process.
const MILLION_BYTES_MAX: u64 = 1536 << 20;
const BUILD_LIMIT: Duration = Duration::from_hours(1);
/// Plenty for two busy cores.
const PER_SESSION: Duration = Duration::from_millis(3);
const BESIDES: Duration = Duration::from_mins(10);

/// How large a crowd, and of whom.
#[derive(Args)]
pub(crate) struct Options {
    /// How many sessions are opened.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,
    /// How many owners they belong to.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    owners: u32,
    /// Where the rows of the sessions are: in a Valkey server beside the gateway, as with many nodes, or in the memory of the
    /// gateway itself, where they count as well and where there is room for half a million.
    #[arg(long, default_value = "valkey", value_parser = ["valkey", "memory"])]
    rows: String,
    #[command(flatten)]
    output: super::Output,
}

impl Options {
    pub(crate) fn json(&self) -> Option<&Path> {
        self.output.json.as_deref()
    }
}

/// What the crowd reports.
#[derive(Deserialize)]
struct Measured {
    bytes_per_session: u64,
    before: Moment,
    after: Moment,
    opening_seconds: u64,
}

#[derive(Deserialize)]
struct Moment {
    resident_bytes: u64,
    call: Latency,
    idle_cpu_percent: f64,
}

#[derive(Deserialize)]
struct Latency {
    p50_us: u64,
    p99_us: u64,
}

pub(crate) fn task(workspace: &Workspace, options: &Options, report: &mut Report) {
    if report.step("build", || build(workspace)) != Status::Passed {
        report.not_run("crowd", "build");
        return;
    }
    let mut details = serde_json::Value::Null;
    report.step("crowd", || {
        details = crowd(workspace, options)?;
        judge(options, &Measured::deserialize(&details)?)
    });
    report.attach(details);
}

fn build(workspace: &Workspace) -> Result<Finding> {
    let mut command = exec::cargo(workspace);
    command.args([
        "build",
        "--release",
        "--bins",
        "-p",
        "hawser",
        "-p",
        "hawser-tests",
        "-p",
        "hawser-fixture-everything",
    ]);
    exec::check(&mut command, BUILD_LIMIT)?;
    Ok(Finding::passed("the release profile"))
}

fn crowd(workspace: &Workspace, options: &Options) -> Result<serde_json::Value> {
    let program: PathBuf = workspace.target().join("release").join("crowd");
    let mut command = Command::new(program);
    command.args([options.sessions.to_string(), options.owners.to_string(), options.rows.clone()]);
    let outcome = exec::check(&mut command, PER_SESSION * options.sessions + BESIDES)?;
    let last = outcome.output.lines().rfind(|line| line.starts_with('{')).context("it reports nothing")?;
    serde_json::from_str(last).context("its report")
}

fn judge(options: &Options, measured: &Measured) -> Result<Finding> {
    let (bytes, resident) = (measured.bytes_per_session, measured.after.resident_bytes);
    let (before, after) = (&measured.before, &measured.after);
    let detail = format!(
        "{} sessions in {} s: {bytes} bytes each, {} MiB resident before and {} MiB after; a call took {} µs (p99 {} µs) and takes \
         {} µs (p99 {} µs); at rest {} % of a core, then {} %",
        options.sessions,
        measured.opening_seconds,
        before.resident_bytes >> 20,
        resident >> 20,
        before.call.p50_us,
        before.call.p99_us,
        after.call.p50_us,
        after.call.p99_us,
        before.idle_cpu_percent,
        after.idle_cpu_percent,
    );
    ensure!(bytes <= SESSION_BYTES_MAX, "an idle session costs more than {SESSION_BYTES_MAX} bytes. {detail}");
    // For each million that was begun.
    let allowed = MILLION_BYTES_MAX * u64::from(options.sessions).div_ceil(1_000_000);
    ensure!(resident <= allowed, "the node takes more than {} MiB. {detail}", allowed >> 20);
    Ok(Finding::passed(detail))
}
