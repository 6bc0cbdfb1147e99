//! The gateway as a program that is launched: `hawser stdio`, spoken to on its stdin and stdout.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::places;
use crate::process::Process;

const ANSWER_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A configuration for `hawser stdio`, in a folder of its own.
pub struct StdioConfiguration(TempDir);

impl StdioConfiguration {
    /// Writes it.
    pub fn new(configuration: &Value) -> Result<Self> {
        let dir = TempDir::with_prefix("hawser-test-")?;
        // JSON is YAML.
        std::fs::write(dir.path().join("hawser.yaml"), configuration.to_string())?;
        Ok(Self(dir))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// What a client is told to launch.
    pub fn command(&self) -> Result<Vec<String>> {
        let [hawser, file]: [PathBuf; 2] = [places::hawser()?, self.0.path().join("hawser.yaml")];
        let text = |path: PathBuf| path.into_os_string().into_string().ok().context("a path is not UTF-8");
        Ok(vec![text(hawser)?, "stdio".to_owned(), "--config".to_owned(), text(file)?])
    }
}

/// One that runs.
pub struct StdioGateway {
    _configuration: StdioConfiguration,
    process: Process,
}

impl StdioGateway {
    /// Starts it with this configuration.
    pub fn start(configuration: &Value) -> Result<Self> {
        let configuration = StdioConfiguration::new(configuration)?;
        let words = configuration.command()?;
        let (program, arguments) = words.split_first().context("no command")?;
        let mut command = Command::new(program);
        // Nothing but what a client may have: no folder to write to.
        command.args(arguments).current_dir(configuration.dir()).env("XDG_STATE_HOME", "/nonexistent");
        let process = Process::start("hawser stdio", &mut command)?;
        Ok(Self { _configuration: configuration, process })
    }

    /// Opens a session of the legacy era.
    pub async fn open(&mut self) -> Result<Value> {
        let info = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info });
        self.send(&json!({ "jsonrpc": "2.0", "id": "open", "method": "initialize", "params": params })).await?;
        let opened = self.answer(&"open".into()).await?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
        Ok(opened)
    }

    /// Writes a line.
    pub async fn send(&mut self, message: &Value) -> Result<()> {
        self.process.send(&message.to_string()).await
    }

    /// Writes a line that need not be a message.
    pub async fn send_text(&mut self, line: &str) -> Result<()> {
        self.process.send(line).await
    }

    /// Writes a request.
    pub async fn request(&mut self, id: &Value, method: &str, params: Value) -> Result<()> {
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await
    }

    /// The next message. Every line must be one.
    pub async fn next(&mut self) -> Result<Value> {
        let line = self.process.line(ANSWER_LIMIT).await?;
        let message: Value = serde_json::from_str(&line).with_context(|| format!("not a message: {line:.200}"))?;
        ensure!(message["jsonrpc"] == "2.0", "not a message: {message}");
        Ok(message)
    }

    /// The next message, which must answer this request.
    pub async fn answer(&mut self, id: &Value) -> Result<Value> {
        let message = self.next().await?;
        ensure!(message["id"] == *id && message.get("method").is_none(), "expected the answer to {id}: {message}");
        Ok(message)
    }

    /// The running process.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends its input; how it ends, and what it still says.
    pub async fn finish(mut self) -> Result<(ExitStatus, Vec<String>)> {
        self.process.end_input();
        let status = self.process.exit(STOP_LIMIT).await?;
        Ok((status, self.process.rest().await))
    }
}
