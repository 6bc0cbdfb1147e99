//! `cargo xtask bench`: the gateway as it is shipped beside nginx and beside no gateway. The program is the crate `hawser-bench`; here
//! everything is built and installed first, so that nothing compiles while something is measured.

mod parts;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use crate::report::{Finding, Report, Status};
use crate::workspace::Workspace;
use crate::{exec, real_parts};

const BUILD_LIMIT: Duration = Duration::from_hours(1);
/// The program ends by itself before that.
const RUN_LIMIT: Duration = Duration::from_hours(4);

/// What is not built here.
#[derive(Default)]
struct Parts {
    nginx: PathBuf,
    valkey: Option<PathBuf>,
    peers: Option<PathBuf>,
}

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Small results at full load alone, about a minute.
    #[arg(long)]
    quick: bool,
    /// Also other gateways, which are installed from their registries first; that takes its time.
    #[arg(long)]
    peers: bool,
    /// Also how the cost of a call depends on sessions, backends and tools, and many open streams.
    #[arg(long)]
    scaling: bool,
    /// How often each is measured, in turns.
    #[arg(long)]
    rounds: Option<u32>,
    /// A gateway's program that is built already, instead of the one of this repository.
    #[arg(long, value_name = "FILE")]
    hawser: Option<PathBuf>,
    /// Write the tables to this file as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: crate::Output,
    /// Further flags of the program, after `--`: `-- --help` names them.
    #[arg(last = true)]
    further: Vec<String>,
}

/// Installs, builds, measures.
pub(crate) fn task(workspace: &Workspace, options: &Options, report: &mut Report) {
    let mut parts = Parts::default();
    let mut prepared = vec![report.step("nginx", || {
        parts.nginx = parts::nginx(&parts::folder(workspace))?;
        Ok(Finding::passed(parts::version(&parts.nginx)))
    })];
    if options.scaling {
        prepared.push(report.step("valkey", || {
            let installed = real_parts::install(workspace)?;
            parts.valkey = Some(parts::valkey(workspace)?);
            Ok(installed)
        }));
    }
    if options.peers {
        prepared.push(report.step("peers", || {
            let (list, finding) = parts::peers(workspace)?;
            parts.peers = Some(list);
            Ok(finding)
        }));
    }
    prepared.push(report.step("build", || build(workspace, options)));
    if prepared.contains(&Status::Failed) {
        report.not_run("bench", "a step before it");
        return;
    }
    let mut found = Value::Null;
    report.step("bench", || {
        found = measure(workspace, options, &parts)?;
        Ok(Finding::passed("the tables are above"))
    });
    report.attach(found);
}

/// The gateway as it is shipped; the load and the backend need no link-time optimisation.
fn build(workspace: &Workspace, options: &Options) -> Result<Finding> {
    let mut command = exec::cargo(workspace);
    exec::check(command.args(["build", "--locked", "--release", "-p", "hawser-bench"]), BUILD_LIMIT)?;
    if options.hawser.is_some() {
        return Ok(Finding::passed("the load and the backend"));
    }
    let mut command = exec::cargo(workspace);
    exec::check(command.args(["build", "--locked", "--profile", "dist", "-p", "hawser"]), BUILD_LIMIT)?;
    Ok(Finding::passed("the gateway with the profile `dist`"))
}

fn measure(workspace: &Workspace, options: &Options, parts: &Parts) -> Result<Value> {
    let json = workspace.target().join("bench.json");
    let mut command = Command::new(workspace.target().join("release").join("hawser-bench"));
    let hawser = options.hawser.clone().unwrap_or_else(|| workspace.target().join("dist").join("hawser"));
    command.arg("compare").arg("--hawser").arg(hawser).arg("--nginx").arg(&parts.nginx).arg("--json").arg(&json);
    let mut only = vec!["calls,first,large"];
    if let Some(valkey) = &parts.valkey {
        only.push("tools,backends,sessions,streams");
        command.arg("--valkey").arg(valkey);
    }
    if let Some(peers) = &parts.peers {
        only.push("peers");
        command.arg("--peers").arg(peers);
    }
    command.arg("--only").arg(only.join(","));
    if options.quick {
        command.arg("--quick");
    }
    if let Some(rounds) = options.rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(markdown) = &options.markdown {
        command.arg("--markdown").arg(std::path::absolute(markdown)?);
    }
    command.args(&options.further);
    exec::check(&mut command, RUN_LIMIT)?;
    let text = fs::read_to_string(&json).context("what was measured")?;
    serde_json::from_str(&text).context("what was measured")
}
