//! The cargo subcommands that the tasks use: found on the machine, or installed under the target directory.

use std::env;
use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::exec;
use crate::workspace::Workspace;

/// A cargo subcommand and the version that is installed where it is missing.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Runs the tests.
pub(crate) const NEXTEST: Tool = Tool { name: "nextest", version: "0.9.151" };
/// Checks licences, sources, duplicates and advisories of the dependencies.
pub(crate) const DENY: Tool = Tool { name: "deny", version: "0.20.2" };
/// Runs the fuzz targets.
pub(crate) const FUZZ: Tool = Tool { name: "fuzz", version: "0.13.2" };

/// Building a tool from source on a small machine.
const INSTALL_LIMIT: Duration = Duration::from_mins(20);

impl Tool {
    /// Makes the tool available and tells which version will be used.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<String> {
        if let Some(version) = self.version(workspace) {
            return Ok(version);
        }
        println!("    cargo-{} is missing: building {}", self.name, self.version);
        // Unoptimised: these run for seconds, but optimising them takes minutes.
        exec::check(
            exec::cargo(workspace)
                .args(["install", "--locked", "--debug", "--root"])
                .arg(workspace.tools())
                .arg(format!("cargo-{}@{}", self.name, self.version))
                .env("CARGO_TARGET_DIR", workspace.tools().join("build")),
            INSTALL_LIMIT,
        )?;
        self.version(workspace).with_context(|| format!("cargo-{} does not start", self.name))
    }

    /// `cargo NAME`, with the installed tools on the search path.
    pub(crate) fn command(&self, workspace: &Workspace) -> Result<Command> {
        let mut command = exec::cargo(workspace);
        command.arg(self.name).env("PATH", search_path(workspace)?);
        Ok(command)
    }

    fn version(&self, workspace: &Workspace) -> Option<String> {
        let answer = exec::probe(self.command(workspace).ok()?.arg("--version"))?;
        answer.lines().next().map(str::to_owned)
    }
}

/// The machine's search path, with our tools after its own.
fn search_path(workspace: &Workspace) -> Result<OsString> {
    let own = env::var_os("PATH").unwrap_or_default();
    let all = env::split_paths(&own).chain([workspace.tools().join("bin")]);
    env::join_paths(all).context("the target directory's name cannot stand in PATH")
}
