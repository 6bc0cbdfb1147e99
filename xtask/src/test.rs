//! `cargo xtask test`: everything that must hold before a change lands, from a fresh clone.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::report::{Counts, Finding, Report, Status};
use crate::tools::{DENY, NEXTEST};
use crate::workspace::Workspace;
use crate::{budget, conformance, exec, models, real_parts, sim};

const LIMIT: Duration = Duration::from_mins(45);
/// cargo-deny's arguments before the names of the checks.
const DENY_CHECK: [&str; 3] = ["--workspace", "check", "--hide-inclusion-graph"];
const ADVISORIES_LIMIT: Duration = Duration::from_mins(3);

/// A step: its name, what it stands on, and what it does.
struct Step {
    name: &'static str,
    about: &'static str,
    needs: &'static [&'static str],
    work: fn(&Workspace, &mut Counts) -> Result<Finding>,
}

/// In the order they run: the quick verdicts first, the test runner's summary late.
const STEPS: &[Step] = &[
    Step { name: "format", about: "rustfmt has nothing to change", needs: &[], work: format },
    Step { name: "tools", about: "cargo-nextest and cargo-deny are there", needs: &[], work: tools },
    Step {
        name: "real-parts",
        about: "pinned npm and PyPI packages and the store's servers are installed",
        needs: &[],
        work: |workspace, _| real_parts::install(workspace),
    },
    Step { name: "clippy", about: "no warning in any target", needs: &[], work: clippy },
    Step { name: "build", about: "the binary and all tests", needs: &["tools"], work: build },
    Step { name: "doc-tests", about: "the examples in the documentation", needs: &["build"], work: doc_tests },
    Step { name: "bans", about: "licences, sources and bans of the dependencies", needs: &["tools"], work: bans },
    Step {
        name: "advisories",
        about: "known vulnerabilities of the dependencies",
        needs: &["tools"],
        work: advisories,
    },
    Step {
        name: "sim",
        about: "every state of the models; simulated nodes over one store, with fixed and with fresh seeds",
        needs: &["build"],
        work: sim::step,
    },
    Step {
        name: "budget",
        about: "instructions and allocations of each step of a request, against what is recorded",
        needs: &[],
        work: |workspace, _| budget::step(workspace),
    },
    Step {
        name: "conformance",
        about: "the conformance suite's authorization-server scenarios",
        needs: &["build", "real-parts"],
        work: conformance::step,
    },
    Step {
        name: "server-conformance",
        about: "the conformance suite's server scenarios, direct, through the gateway, and across the eras",
        needs: &["build", "real-parts"],
        work: conformance::server_step,
    },
    Step { name: "tests", about: "all other tests", needs: &["build", "real-parts"], work: tests },
];

/// Names the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:18} {}", step.name, step.about);
    }
}

/// Runs all steps, or those named in `only`.
pub(crate) fn run(workspace: &Workspace, only: &[String], report: &mut Report) -> Result<()> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        bail!("there is no step `{unknown}`; `cargo xtask test --list` names them");
    }
    let mut failed: Vec<&str> = Vec::new();
    for step in STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)) {
        if let Some(cause) = step.needs.iter().find(|name| failed.contains(name)) {
            report.not_run(step.name, cause);
            failed.push(step.name);
            continue;
        }
        let mut counts = Counts::default();
        if report.step(step.name, || (step.work)(workspace, &mut counts)) == Status::Failed {
            failed.push(step.name);
        }
        if counts.passed + counts.failed > 0 {
            report.count(counts);
        }
    }
    Ok(())
}

fn format(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    exec::check(exec::cargo(workspace).args(["fmt", "--all", "--check"]), LIMIT)?;
    Ok(Finding::passed("formatted"))
}

fn tools(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    let versions = [NEXTEST.ensure(workspace)?, DENY.ensure(workspace)?];
    Ok(Finding::passed(versions.join(", ")))
}

fn clippy(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    exec::check(exec::cargo(workspace).args(arguments), LIMIT)?;
    Ok(Finding::passed("no warnings"))
}

fn build(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    conformance::build_servers(workspace)?;
    exec::check(NEXTEST.command(workspace)?.args(["run", "--workspace", "--locked", "--no-run"]), LIMIT)?;
    Ok(Finding::passed("binary and tests"))
}

fn doc_tests(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    exec::check(exec::cargo(workspace).args(["test", "--doc", "--workspace", "--locked", "--quiet"]), LIMIT)?;
    Ok(Finding::passed("examples run"))
}

fn bans(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    exec::check(DENY.command(workspace)?.args(DENY_CHECK).args(["bans", "licenses", "sources"]), LIMIT)?;
    Ok(Finding::passed("bans, licences and sources"))
}

/// The advisory database is a git repository that not every environment reaches: then this says so, and never `passed`.
fn advisories(workspace: &Workspace, _: &mut Counts) -> Result<Finding> {
    let mut command = DENY.command(workspace)?;
    command.args(DENY_CHECK).arg("advisories").env("GIT_TERMINAL_PROMPT", "0");
    let outcome = exec::run(&mut command, ADVISORIES_LIMIT)?;
    if outcome.success {
        return Ok(Finding::passed("no advisory"));
    }
    if outcome.output.contains("failed to fetch advisory database") {
        let detail = "the advisory database is out of reach from here".to_owned();
        return Ok(Finding { status: Status::NotChecked, detail });
    }
    bail!("cargo-deny reports advisories")
}

fn tests(workspace: &Workspace, counts: &mut Counts) -> Result<Finding> {
    let mut command = NEXTEST.command(workspace)?;
    command.args(["run", "--workspace", "--locked", "--no-fail-fast", "--status-level", "slow", "--filterset"]);
    // A failed test says what failed; where in the test runner's stack it did is noise.
    command.arg(format!("not test(/^conformance::/) and not {}", models::FILTER)).env("RUST_LIB_BACKTRACE", "0");
    let outcome = exec::run(&mut command, LIMIT)?;
    *counts = nextest_counts(&outcome.output);
    if !outcome.success {
        bail!("{} tests failed", counts.failed.max(1));
    }
    Ok(Finding::passed(format!("{} tests", counts.passed)))
}

/// The numbers in nextest's closing line: `Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 2 failed, 0 skipped`.
pub(crate) fn nextest_counts(output: &str) -> Counts {
    let mut counts = Counts::default();
    let Some(summary) = output.lines().rev().find(|line| line.trim_start().starts_with("Summary [")) else {
        return counts;
    };
    let Some((_, parts)) = summary.split_once(" run: ") else { return counts };
    for part in parts.split(", ") {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse().ok()), words.next()) else {
            continue;
        };
        match what {
            "passed" => counts.passed = number,
            "failed" | "timed" | "exec" => counts.failed += number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::{STEPS, nextest_counts};

    #[test]
    fn the_closing_line_is_read_with_and_without_its_optional_parts() {
        let counts = nextest_counts("x\n     Summary [   0.004s] 3 tests run: 3 passed, 0 skipped");
        assert_eq!((counts.passed, counts.failed), (3, 0));
        let line = "     Summary [   9.1s] 9 tests run: 5 passed (1 slow, 2 leaky), 3 failed, 1 timed out, 4 skipped";
        let counts = nextest_counts(line);
        assert_eq!((counts.passed, counts.failed), (5, 4));
        assert_eq!(nextest_counts("error: no tests to run").passed, 0);
    }

    #[test]
    fn a_step_stands_only_on_steps_before_it() {
        for (index, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(STEPS.iter().take(index).any(|earlier| earlier.name == *need), "{} needs {need}", step.name);
            }
        }
    }
}
