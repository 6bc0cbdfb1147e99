//! The servers that are measured: the everything-server, and the gateway in front of it. Each is a process of its own on
//! a free loopback port, stopped when it goes out of scope.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::suite::Revision;
use crate::workspace::Workspace;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server.
pub(super) struct Server {
    child: Child,
    /// Its MCP address.
    pub(super) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing of it is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The everything-server, of both eras or of one only.
    pub(super) fn everything(workspace: &Workspace, only: Option<Revision>, log: &Path) -> Result<Self> {
        let era = match only {
            None => "dual",
            Some(Revision::Legacy) => "legacy",
            Some(Revision::Modern) => "modern",
        };
        let mut command = Command::new(workspace.target().join("debug/everything"));
        command.args(["--era", era, "--listen", "127.0.0.1:0"]);
        start("everything", &mut command, log, |ready| Some(ready.get("url")?.as_str()?.to_owned()))
    }

    /// The gateway with one backend, whose names it keeps, and no login.
    pub(super) fn gateway(workspace: &Workspace, backend: &str, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        // JSON is YAML.
        let configuration = json!({
            "backends": { "everything": { "url": backend, "naming": "none" } },
            "endpoints": { "default": { "path": "/mcp", "backends": ["everything"], "anonymous": true } },
            "store": "memory",
        });
        fs::write(folder.join("hawser.yaml"), configuration.to_string()).context("writing the configuration")?;
        let mut command = Command::new(workspace.target().join("debug/hawser"));
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--config", "hawser.yaml", "--data-dir", "data"]);
        start("hawser", command.current_dir(folder), &folder.join("log.txt"), |ready| {
            Some(ready.get("endpoints")?.get(0)?.get("url")?.as_str()?.to_owned())
        })
    }
}

/// Starts `command`, whose log goes to a file, and waits for the line of JSON that says where it listens.
fn start(name: &str, command: &mut Command, log: &Path, url: fn(&Value) -> Option<String>) -> Result<Server> {
    let log = fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
    let mut child = child.with_context(|| format!("cannot start {name}"))?;
    let stdout = child.stdout.take().context("no standard output")?;
    let mut server = Server { child, url: String::new() };
    let (sender, lines) = mpsc::channel();
    // Reads on to the end: nobody writes into a closed pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // After the first line nobody listens any more.
            let _ = sender.send(line);
        }
    });
    let Ok(line) = lines.recv_timeout(START_LIMIT) else { bail!("{name} did not say where it listens") };
    let ready: Value = serde_json::from_str(&line).with_context(|| format!("{name} said `{line}`"))?;
    server.url = url(&ready).with_context(|| format!("{name} names no address in `{line}`"))?;
    Ok(server)
}
