//! Running the MCP conformance suite's server scenarios and reading what it found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::exec;
use crate::workspace::Workspace;

const PACKAGE: &str = "node/node_modules/@modelcontextprotocol/conformance";
/// A requirement set takes some twenty seconds.
const LIMIT: Duration = Duration::from_mins(4);

/// A revision for which the suite has a requirement set.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) enum Revision {
    #[serde(rename = "2025-11-25")]
    Legacy,
    #[serde(rename = "2026-07-28")]
    Modern,
}

impl Revision {
    pub(super) const ALL: [Self; 2] = [Self::Legacy, Self::Modern];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }

    /// Scenarios of extensions that its requirement set does not run along.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Legacy => &[],
            Self::Modern => &["sep-2640-skills-directory", "sep-2640-skills-enumeration", "sep-2640-skills-manifest"],
        }
    }
}

/// How a check ended; the later the better.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Failure,
    Warning,
    Skipped,
    /// A note for the reader: nothing was demanded.
    Info,
    Success,
}

impl Status {
    /// Whether nothing is to be complained of.
    pub(super) fn holds(self) -> bool {
        self >= Self::Skipped
    }
}

/// A check's verdict and what the suite says about it.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) status: Status,
    pub(super) message: Option<String>,
}

/// A check of a scenario.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Check {
    pub(super) scenario: String,
    pub(super) id: String,
}

/// The worst verdict of every check.
pub(super) type Verdicts = BTreeMap<Check, Verdict>;

/// Which scenarios a revision demands, and which are only run along.
#[derive(Debug)]
pub(super) struct Requirements {
    scored: BTreeSet<String>,
}

/// The package's requirement files, of which the server's part is read.
#[derive(Deserialize)]
struct RequirementsFile {
    server: BTreeSet<String>,
}

impl Requirements {
    /// Whether a scenario counts for conformance.
    pub(super) fn scores(&self, scenario: &str) -> bool {
        self.scored.contains(scenario)
    }
}

/// The installed suite.
pub(super) struct Suite {
    node: PathBuf,
    package: PathBuf,
    results: PathBuf,
}

impl Suite {
    /// The suite among the real parts; results of earlier runs are removed.
    pub(super) fn find(workspace: &Workspace) -> Result<Self> {
        let package = workspace.real_parts().join(PACKAGE);
        ensure!(package.is_dir(), "the suite is not installed: run `cargo xtask real-parts`");
        let results = workspace.target().join("conformance");
        if results.exists() {
            fs::remove_dir_all(&results).context("removing the results of the last run")?;
        }
        Ok(Self { node: node(workspace), package, results })
    }

    /// Where results are.
    pub(super) fn results(&self) -> &Path {
        &self.results
    }

    /// What a revision demands.
    pub(super) fn requirements(&self, revision: Revision) -> Result<Requirements> {
        let path = self.package.join("requirements").join(format!("{}.yaml", revision.name()));
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let file: RequirementsFile = serde_saphyr::from_str(&text).context("the suite's requirements")?;
        Ok(Requirements { scored: file.server })
    }

    /// Runs a requirement set against the server at `url`; its results are kept in a folder called `name`.
    pub(super) fn run(&self, name: &str, revision: Revision, url: &str) -> Result<Verdicts> {
        let folder = self.results.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let mut command = self.command(url, &folder);
        command.args(["--requirements", revision.name()]);
        let mut output = exec::run_quietly(&mut command, LIMIT).with_context(|| format!("the suite, {name}"))?.output;
        for scenario in revision.extensions() {
            let mut command = self.command(url, &folder);
            // An extension belongs to no revision, which the suite has to be told.
            command.args(["--scenario", scenario, "--spec-version", revision.name(), "--force"]);
            output += &exec::run_quietly(&mut command, LIMIT).with_context(|| format!("{scenario}, {name}"))?.output;
        }
        fs::write(folder.join("output.txt"), &output).context("keeping the suite's output")?;
        let verdicts = read(&folder)?;
        // The exit code says that something failed, which the verdicts tell better; without any, nothing ran.
        ensure!(!verdicts.is_empty(), "the suite found nothing to check:\n{output}");
        Ok(verdicts)
    }

    fn command(&self, url: &str, results: &Path) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(self.package.join("dist/index.js")).args(["server", "--url", url, "--output-dir"]);
        command.arg(results).current_dir(results);
        command
    }
}

/// Node of the pinned version; on a platform that the registry has none for, the machine's own.
fn node(workspace: &Workspace) -> PathBuf {
    let arch = if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" };
    let platform = format!("node-{}-{arch}", std::env::consts::OS);
    let pinned = workspace.real_parts().join("node/node_modules").join(platform).join("bin/node");
    if pinned.is_file() { pinned } else { "node".into() }
}

/// A check as the suite writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    id: String,
    status: Status,
    error_message: Option<String>,
}

/// The verdicts in a folder with one folder per scenario.
fn read(folder: &Path) -> Result<Verdicts> {
    let mut verdicts = Verdicts::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let Some(scenario) = path.file_name().and_then(|name| name.to_str()).and_then(scenario_of) else { continue };
        let scenario = scenario.to_owned();
        let file = path.join("checks.json");
        // A scenario that broke before its end leaves an empty folder: it has no verdict, which counts as lost.
        let Ok(text) = fs::read(&file) else { continue };
        let written: Vec<Written> =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", file.display()))?;
        for Written { id, status, error_message } in written {
            note(&mut verdicts, Check { scenario: scenario.clone(), id }, Verdict { status, message: error_message });
        }
    }
    Ok(verdicts)
}

/// Keeps the worst: a check may be made several times.
fn note(verdicts: &mut Verdicts, check: Check, verdict: Verdict) {
    let known = verdicts.entry(check).or_insert_with(|| verdict.clone());
    if verdict.status < known.status {
        *known = verdict;
    }
}

/// The scenario in a folder's name: `server-SCENARIO-2026-11-23T18-33-54-460Z`.
fn scenario_of(folder: &str) -> Option<&str> {
    const TIME: usize = "-2026-11-23T18-33-54-460Z".len();
    let rest = folder.strip_prefix("server-")?;
    rest.get(..rest.len().checked_sub(TIME)?).filter(|_| rest.ends_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::{Check, Status, Verdict, Verdicts, note, scenario_of};

    #[test]
    fn a_folder_is_named_after_its_scenario() {
        assert_eq!(scenario_of("server-server-sse-polling-2026-11-23T18-33-54-460Z"), Some("server-sse-polling"));
        assert_eq!(scenario_of("server-ping-2026-11-23T18-33-54-460Z"), Some("ping"));
        assert_eq!(scenario_of("output.txt"), None);
        assert_eq!(scenario_of("server-Z"), None);
    }

    #[test]
    fn of_a_check_that_was_made_twice_the_worse_verdict_counts() {
        let check = || Check { scenario: "s".to_owned(), id: "c".to_owned() };
        for order in [[Status::Success, Status::Failure], [Status::Failure, Status::Success]] {
            let mut verdicts = Verdicts::new();
            for status in order {
                note(&mut verdicts, check(), Verdict { status, message: None });
            }
            assert_eq!(verdicts.get(&check()).map(|verdict| verdict.status), Some(Status::Failure));
        }
    }
}
