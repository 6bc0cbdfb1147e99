//! The demonstration's gateway: this very binary as a child process, with its data in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::say;
use crate::config::{self, Overrides};
use crate::console::{Listening, Paint, banner};
use crate::failure::Failure;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const LOG_FILE: &str = "gateway.log";
const CONFIGURATION_FILE: &str = "hawser.yaml";

/// A gateway that can be killed.
pub(super) struct DemoGateway {
    folder: TempDir,
    child: Child,
    /// Kept open so that the child never writes to a closed pipe; ends with the child.
    output: Lines<BufReader<ChildStdout>>,
    ready: Ready,
}

/// The line that `hawser serve --json` prints.
#[derive(Deserialize)]
struct Ready {
    url: String,
    endpoints: Vec<ReadyEndpoint>,
    pid: u32,
}

#[derive(Deserialize)]
struct ReadyEndpoint {
    url: String,
}

impl DemoGateway {
    /// Starts it on a free port.
    pub(super) async fn start() -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::run(format!("cannot prepare the demonstration: {error}"));
        let folder = TempDir::with_prefix("hawser-demo-").map_err(cannot)?;
        let configuration = serde_json::json!({
            "data_dir": "data",
            "backends": {
                "clock": { "command": [binary()?, "example-server", "clock"] },
                "notes": { "command": [binary()?, "example-server", "notes"] },
            },
        });
        // JSON is YAML.
        std::fs::write(folder.path().join(CONFIGURATION_FILE), configuration.to_string()).map_err(cannot)?;
        let (child, output, ready) = launch(folder.path(), "127.0.0.1:0").await?;
        Ok(Self { folder, child, output, ready })
    }

    /// The MCP endpoint.
    pub(super) fn url(&self) -> &str {
        self.ready.endpoints.first().map_or(self.ready.url.as_str(), |endpoint| &endpoint.url)
    }

    pub(super) const fn pid(&self) -> u32 {
        self.ready.pid
    }

    /// SIGKILL, then a start at the same address with the same data.
    pub(super) async fn kill_and_start(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(|error| Failure::run(format!("cannot kill the gateway: {error}")))?;
        let address = self.ready.url.strip_prefix("http://").unwrap_or(&self.ready.url).to_owned();
        let (child, output, ready) = launch(self.folder.path(), &address).await?;
        self.child = child;
        self.output = output;
        self.ready = ready;
        Ok(())
    }

    /// Leaves it running until the person has seen enough.
    pub(super) async fn keep(&mut self, json: bool, paint: Paint) -> Result<(), Failure> {
        if json {
            say(&serde_json::json!({ "event": "kept", "url": self.url(), "pid": self.pid() }).to_string())?;
        } else {
            let file = self.folder.path().join(CONFIGURATION_FILE);
            let loaded = config::load(Some(&file), &Overrides::default())?;
            let bound = self.ready.url.strip_prefix("http://").and_then(|address| address.parse().ok());
            if let Some(bound) = bound {
                say(&format!("\n{}", banner(&Listening::new(&loaded.settings, bound), paint)))?;
            }
        }
        let cannot = |error: std::io::Error| Failure::run(format!("cannot wait for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let ended = async { while matches!(self.output.next_line().await, Ok(Some(_))) {} };
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            () = ended => Err(failed(self.folder.path(), "the gateway ended")),
        }
    }

    /// Stops it the way a service manager would, and at last the hard way.
    pub(super) async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn binary() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::run(format!("cannot find this program's own file: {error}")))
}

async fn launch(folder: &Path, listen: &str) -> Result<(Child, Lines<BufReader<ChildStdout>>, Ready), Failure> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(LOG_FILE));
    let log = log.map_err(|error| Failure::run(format!("cannot write the gateway's log: {error}")))?;
    let mut child = Command::new(binary()?)
        .args(["serve", "--json", "--config", CONFIGURATION_FILE, "--listen", listen])
        .current_dir(folder)
        .env_remove("HAWSER_DATA_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::run(format!("cannot start the gateway: {error}")))?;
    let output = child.stdout.take().ok_or_else(|| failed(folder, "the gateway has no output"))?;
    let mut lines = BufReader::new(output).lines();
    let line = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
    let line = line.map_err(|_| failed(folder, "the gateway did not start in time"))?;
    let line = line.ok().flatten().ok_or_else(|| failed(folder, "the gateway did not start"))?;
    let ready =
        serde_json::from_str(&line).map_err(|_| failed(folder, "the gateway said something else than expected"))?;
    Ok((child, lines, ready))
}

/// The failure with the last of what the gateway logged.
fn failed(folder: &Path, what: &str) -> Failure {
    let log = std::fs::read_to_string(folder.join(LOG_FILE)).unwrap_or_default();
    let last: Vec<_> = log.lines().rev().take(5).collect();
    let last = last.into_iter().rev().collect::<Vec<_>>().join("\n  ");
    Failure::run_with_hint(what.to_owned(), format!("its last words were:\n  {last}"))
}
