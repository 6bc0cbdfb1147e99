//! The authorization-server scenarios of the MCP conformance suite, against the real binary.
//!
//! The scenarios are run by the module `conformance` of the black-box tests, which starts the gateway and answers the
//! login; this task prepares what they need and shows their checks.

use std::time::Duration;

use anyhow::Result;

use crate::report::{Counts, Finding, Report, Status};
use crate::test::nextest_counts;
use crate::tools::NEXTEST;
use crate::workspace::Workspace;
use crate::{exec, real_parts};

const LIMIT: Duration = Duration::from_mins(15);

/// The whole task: install, build, run.
pub(crate) fn task(workspace: &Workspace, report: &mut Report) {
    let prepared = [
        report.step("tools", || Ok(Finding::passed(NEXTEST.ensure(workspace)?))),
        report.step("real-parts", || real_parts::install(workspace)),
        report.step("build", || build_gateway(workspace)),
    ];
    if prepared.contains(&Status::Failed) {
        report.not_run("conformance", "a step before it");
        return;
    }
    let mut counts = Counts::default();
    report.step("conformance", || run(workspace, &["--package", "hawser-tests"], &mut counts));
    report.count(counts);
}

/// Builds the binary that the black-box tests start.
pub(crate) fn build_gateway(workspace: &Workspace) -> Result<Finding> {
    exec::check(exec::cargo(workspace).args(["build", "--package", "hawser"]), Duration::from_mins(30))?;
    Ok(Finding::passed("the `hawser` binary"))
}

/// Runs the scenarios with the tests of the whole workspace built already, as `cargo xtask test` has.
pub(crate) fn step(workspace: &Workspace, counts: &mut Counts) -> Result<Finding> {
    run(workspace, &["--workspace", "--locked"], counts)
}

/// Runs the scenarios; the gateway must be built and the real parts installed. `selection` is what nextest builds.
fn run(workspace: &Workspace, selection: &[&str], counts: &mut Counts) -> Result<Finding> {
    let mut command = NEXTEST.command(workspace)?;
    command.arg("run").args(selection).args(["--success-output", "immediate", "--filterset"]);
    command.arg("test(/^conformance::/)").env("RUST_LIB_BACKTRACE", "0");
    let outcome = exec::run(&mut command, LIMIT)?;
    *counts = nextest_counts(&outcome.output);
    anyhow::ensure!(outcome.success, "not every scenario holds");
    Ok(Finding::passed("every scenario"))
}
