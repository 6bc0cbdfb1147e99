//! The models that are looked at exhaustively: tests in modules named `model`, each of which says how many states it has.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::exec;
use crate::report::Finding;
use crate::test::nextest_counts;
use crate::tools::NEXTEST;
use crate::workspace::Workspace;

/// Building the crates that have models, and looking at them, which takes less than a minute.
const LIMIT: Duration = Duration::from_mins(30);
/// The tests that are models, for the test runner.
pub(crate) const FILTER: &str = "test(/(^|::)model::/)";

/// Looks at every state of every model.
pub(crate) fn check(workspace: &Workspace) -> Result<Finding> {
    let mut command = NEXTEST.command(workspace)?;
    command.args(["run", "--workspace", "--lib", "--locked", "--no-fail-fast", "--status-level", "none"]);
    // A model is told by what it prints; the way to a broken rule by how it fails.
    command.args(["--success-output", "final", "--filterset", FILTER]).env("RUST_BACKTRACE", "0");
    let outcome = exec::run(&mut command, LIMIT)?;
    let counts = nextest_counts(&outcome.output);
    if !outcome.success {
        bail!("{} models do not hold", counts.failed.max(1));
    }
    let states = states(&outcome.output);
    if states.is_empty() || states.len() as u64 != counts.passed {
        bail!("{} models ran and {} said what they looked at", counts.passed, states.len());
    }
    Ok(Finding::passed(format!("{} models, all their {} states", states.len(), states.iter().sum::<u64>())))
}

/// How many states each has: `model NAME: 123 states, …`, wherever the test runner puts it in a line.
fn states(output: &str) -> Vec<u64> {
    let of = |line: &str| {
        let (_, told) = line.trim_start().strip_prefix("model ")?.split_once(": ")?;
        told.split_once(" states, ")?.0.parse().ok()
    };
    output.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::states;

    #[test]
    fn models_say_how_many_states_they_have() {
        let output = "\nrunning 1 test\n    model a family: 1234 states, 5678 steps, 9 deep, 0.1 s\ntest x ... ok\n\
                      model other: 6 states, 7 steps, 8 deep, 0.0 s\nmodel broken: never seen: 7 states, or so";
        assert_eq!(states(output), [1234, 6]);
    }
}
