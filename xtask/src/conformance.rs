//! `cargo xtask conformance`: the MCP conformance suite, against the embedded authorization server, against the
//! everything-server, and against the gateway in front of it.
//!
//! The authorization-server scenarios are run by the module `conformance` of the black-box tests, which starts the
//! gateway and answers the login. The server scenarios are measured here (`cells`): what holds without the gateway must
//! hold through it, and what is lost between the eras must be exactly what is listed (`inherent-losses.yaml`).

mod cells;
mod judge;
mod servers;
mod suite;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use self::cells::{Cell, Measurement};
use crate::report::{Counts, Finding, Report, Status};
use crate::test::nextest_counts;
use crate::tools::NEXTEST;
use crate::workspace::Workspace;
use crate::{exec, real_parts};

const LIMIT: Duration = Duration::from_mins(15);
/// The name of the step that runs the authorization-server scenarios.
const AUTHORIZATION: &str = "authorization";

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only these parts: `authorization`, or a cell such as `through-2026-07-28` (several: repeat or separate by
    /// commas). The run that a cell is compared with comes along.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    pub(crate) output: crate::Output,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == part)
    }
}

/// The whole task: install, build, run.
pub(crate) fn task(workspace: &Workspace, options: &Options, report: &mut Report) -> Result<()> {
    let known = |name: &String| name == AUTHORIZATION || Cell::all().any(|cell| cell.name() == name);
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        let cells: Vec<_> = Cell::all().map(Cell::name).collect();
        bail!("there is no part `{unknown}`; there are {AUTHORIZATION}, {}", cells.join(", "));
    }
    let prepared = [
        report.step("real-parts", || real_parts::install(workspace)),
        report.step("build", || build_servers(workspace)),
    ];
    if prepared.contains(&Status::Failed) {
        report.not_run("conformance", "a step before it");
        return Ok(());
    }
    if options.wants(AUTHORIZATION) {
        let mut counts = Counts::default();
        report.step(AUTHORIZATION, || {
            NEXTEST.ensure(workspace)?;
            authorization(workspace, &["--package", "hawser-tests"], &mut counts)
        });
        report.count(counts);
    }
    measure(workspace, options, report);
    Ok(())
}

/// Builds the binaries that are started: the gateway and the everything-server.
pub(crate) fn build_servers(workspace: &Workspace) -> Result<Finding> {
    let packages = ["build", "--locked", "--package", "hawser", "--package", "hawser-fixture-everything"];
    exec::check(exec::cargo(workspace).args(packages), Duration::from_mins(30))?;
    Ok(Finding::passed("the `hawser` and `everything` binaries"))
}

/// Runs the authorization-server scenarios with the tests of the whole workspace built already, as `cargo xtask test`
/// has.
pub(crate) fn step(workspace: &Workspace, counts: &mut Counts) -> Result<Finding> {
    authorization(workspace, &["--workspace", "--locked"], counts)
}

/// Runs all server scenarios as one step.
pub(crate) fn server_step(workspace: &Workspace, counts: &mut Counts) -> Result<Finding> {
    let mut measurement = Measurement::new(workspace)?;
    let mut failed = Vec::new();
    for cell in Cell::all() {
        println!("  -- {}", cell.name());
        match measurement.run(cell, counts) {
            Ok(finding) => println!("    {}", finding.detail),
            Err(error) => failed.push(format!("{}: {error:#}", cell.name())),
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(Finding::passed(format!("{} checks hold", counts.passed)))
}

/// Runs the server scenarios, a step for each cell.
fn measure(workspace: &Workspace, options: &Options, report: &mut Report) {
    let wanted: Vec<_> = Cell::all().filter(|cell| options.wants(cell.name())).collect();
    if wanted.is_empty() {
        return;
    }
    let mut measurement = None;
    report.step("suite", || {
        measurement = Some(Measurement::new(workspace)?);
        Ok(Finding::passed("found, with the list of inherent losses"))
    });
    let Some(mut measurement) = measurement else {
        report.not_run("server scenarios", "suite");
        return;
    };
    for cell in Cell::all().filter(|cell| wanted.iter().any(|wanted| *cell == *wanted || *cell == wanted.reference())) {
        let mut counts = Counts::default();
        report.step(cell.name(), || measurement.run(cell, &mut counts));
        report.count(counts);
    }
    report.attach(measurement.details());
}

/// Runs the authorization-server scenarios; the gateway must be built and the real parts installed. `selection` is what
/// nextest builds.
fn authorization(workspace: &Workspace, selection: &[&str], counts: &mut Counts) -> Result<Finding> {
    let mut command = NEXTEST.command(workspace)?;
    command.arg("run").args(selection).args(["--success-output", "immediate", "--filterset"]);
    command.arg("test(/^conformance::/)").env("RUST_LIB_BACKTRACE", "0");
    let outcome = exec::run(&mut command, LIMIT)?;
    *counts = nextest_counts(&outcome.output);
    anyhow::ensure!(outcome.success, "not every scenario holds");
    Ok(Finding::passed("every scenario"))
}
