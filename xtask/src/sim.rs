//! `cargo xtask sim`: every state of the small models, and many runs of the simulation in `sim/`, each a function of its seed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::Output;
use crate::exec;
use crate::models;
use crate::report::{Counts, Finding, Report};
use crate::workspace::Workspace;

/// Building the simulation and the gateway under it, on a small machine.
const BUILD_LIMIT: Duration = Duration::from_mins(30);
/// Running the seeds, besides the minutes that are asked for.
const RUN_LIMIT: Duration = Duration::from_mins(30);
/// Seeds that `cargo xtask test` runs each time, from zero on.
const FIXED_SEEDS: u64 = 25;
/// Seeds that nobody has run before.
const FRESH_SEEDS: u64 = 25;

/// Which seeds, and how long.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first seed; a fresh one, which is printed, if it is not named.
    #[arg(long)]
    seed: Option<u64>,
    /// Steps of each run.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Go on with more seeds for so many minutes.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Show the whole story of every seed.
    #[arg(long)]
    story: bool,
    /// Only the models, of which every state is looked at.
    #[arg(long)]
    models: bool,
    #[command(flatten)]
    output: Output,
}

/// What `hawser-sim` writes, as far as it is read here.
#[derive(Deserialize)]
struct Found {
    first_seed: u64,
    runs: u64,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    again: String,
}

/// Runs the seeds.
pub(crate) fn run(workspace: &Workspace, options: Options, report: &mut Report) -> Output {
    let mut arguments = vec![format!("--seeds={}", options.seeds), format!("--steps={}", options.steps)];
    arguments.push(format!("--minutes={}", options.minutes));
    arguments.extend(options.seed.map(|seed| format!("--seed={seed}")));
    arguments.extend(options.story.then(|| "--story".to_owned()));
    let limit = RUN_LIMIT + Duration::from_mins(options.minutes);
    report.step("models", || models::check(workspace));
    if options.models {
        return options.output;
    }
    report.step("build", || build(workspace));
    let mut found = None;
    report.step("seeds", || {
        let document = seeds(workspace, &arguments, limit)?;
        let finding = judge(&document);
        found = Some(document);
        finding
    });
    report.attach(found.unwrap_or_default());
    options.output
}

/// The step of `cargo xtask test`: the models, seeds that are always the same, so that a change that breaks one is seen, and fresh ones.
pub(crate) fn step(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    let models = models::check(workspace)?.detail;
    build(workspace)?;
    let fixed = seeds(workspace, &["--seed=0".to_owned(), format!("--seeds={FIXED_SEEDS}")], RUN_LIMIT)?;
    judge(&fixed)?;
    let fresh = seeds(workspace, &[format!("--seeds={FRESH_SEEDS}")], RUN_LIMIT)?;
    Ok(Finding::passed(format!("{models}; {FIXED_SEEDS} fixed seeds; {}", judge(&fresh)?.detail)))
}

fn build(workspace: &Workspace) -> Result<Finding> {
    exec::check(exec::cargo(workspace).args(["build", "--locked", "--package", "hawser-sim"]), BUILD_LIMIT)?;
    Ok(Finding::passed("hawser-sim"))
}

fn seeds(workspace: &Workspace, arguments: &[String], limit: Duration) -> Result<serde_json::Value> {
    let document = workspace.target().join("sim.json");
    let program = workspace.target().join("debug/hawser-sim");
    let mut command = std::process::Command::new(program);
    command.args(arguments).arg("--json").arg(&document).current_dir(workspace.root());
    remove(&document)?;
    exec::run(&mut command, limit)?;
    let text = std::fs::read(&document).context("the simulation did not come to an end")?;
    serde_json::from_slice(&text).context("reading what the simulation found")
}

/// What an earlier run found must not be taken for this one's.
fn remove(document: &Path) -> Result<()> {
    match std::fs::remove_file(document) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", document.display()))
        }
        _ => Ok(()),
    }
}

fn judge(document: &serde_json::Value) -> Result<Finding> {
    let found = Found::deserialize(document).context("reading what the simulation found")?;
    if let Some(failure) = found.failures.first() {
        bail!("{} of {} seeds broke a rule; again: {}", found.failures.len(), found.runs, failure.again);
    }
    Ok(Finding::passed(format!("{} seeds from {} on", found.runs, found.first_seed)))
}
