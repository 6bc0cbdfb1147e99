//! The file as its users know it: opened, killed, damaged, full.

#![allow(clippy::unwrap_used, reason = "tests")]

mod disk;
mod full;
mod kill;
mod opening;
mod rows;
mod stall;

use std::process::Command;

use super::*;

/// A row of these tests.
fn key(name: impl fmt::Display) -> Key {
    Key::new("row", &name.to_string()).unwrap()
}

/// Runs one test of this binary again in a process of its own, where `role` tells it what to do. The program is what
/// runs the test binary, if it is not run directly.
fn child(test: &str, role: &str, argument: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(role, argument);
    command
}
