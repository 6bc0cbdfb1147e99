//! `cargo xtask soak`: three gateway nodes, one Valkey, a balancer without stickiness, hundreds of owners of both eras, and
//! everything going wrong. The program is the crate `hawser-soak`; here it is built, run, and its report attached.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::report::{Finding, Report, Status};
use crate::workspace::Workspace;
use crate::{exec, real_parts};

const BUILD_LIMIT: Duration = Duration::from_mins(45);
/// What a run takes besides its time: logging everybody in, waiting for the last answers.
const AROUND: Duration = Duration::from_mins(5);

/// How to run it.
#[derive(Args)]
pub(crate) struct Options {
    /// How long it goes on.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// What chance is made of: the same seed has the same faults at the same times.
    #[arg(long)]
    seed: Option<u64>,
    /// Build with the release profile.
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    pub(crate) output: crate::Output,
    /// Further flags of the program, after `--`: `-- --help` names them.
    #[arg(last = true)]
    further: Vec<String>,
}

/// Installs, builds, runs.
pub(crate) fn task(workspace: &Workspace, options: &Options, report: &mut Report) {
    let prepared = [
        report.step("real-parts", || real_parts::install(workspace)),
        report.step("build", || build(workspace, options.release)),
    ];
    if prepared.contains(&Status::Failed) {
        report.not_run("soak", "a step before it");
        return;
    }
    let mut found = Value::Null;
    report.step("soak", || run(workspace, options, &mut found));
    report.attach(found);
}

fn build(workspace: &Workspace, release: bool) -> Result<Finding> {
    let mut command = exec::cargo(workspace);
    command.args(["build", "--locked", "-p", "hawser", "-p", "hawser-fixture-everything", "-p", "hawser-soak"]);
    if release {
        command.arg("--release");
    }
    exec::check(&mut command, BUILD_LIMIT)?;
    Ok(Finding::passed("the gateway, its backends, and everybody else"))
}

fn run(workspace: &Workspace, options: &Options, found: &mut Value) -> Result<Finding> {
    let profile = if options.release { "release" } else { "debug" };
    let json = workspace.target().join("soak.json");
    let mut command = std::process::Command::new(workspace.target().join(profile).join("hawser-soak"));
    command.args(["--minutes", &options.minutes.to_string(), "--json"]).arg(&json);
    if let Some(seed) = options.seed {
        command.args(["--seed", &seed.to_string()]);
    }
    command.args(&options.further);
    let limit = Duration::try_from_secs_f64(options.minutes * 60.0).context("--minutes")? + AROUND;
    let outcome = exec::run(&mut command, limit)?;
    if let Ok(text) = std::fs::read_to_string(&json) {
        *found = serde_json::from_str(&text).context("the report of the run")?;
    }
    let calls = &found["report"]["calls"];
    let count = |name: &str| calls[name].as_u64().unwrap_or_default();
    let detail = format!("{} owner calls, {} lost, seed {}", count("sent"), count("lost"), found["report"]["seed"]);
    ensure!(outcome.success, "{detail}");
    Ok(Finding::passed(detail))
}
