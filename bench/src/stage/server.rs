//! The backend as a process of its own, and what it says of itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::process::Process;
use crate::load::connection::Connection;
use crate::load::request::Target;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running backend.
pub(crate) struct Server {
    process: Process,
    ready: Ready,
}

#[derive(Deserialize)]
struct Ready {
    url: Url,
    control: Url,
}

impl Server {
    /// With so many servers and tools each.
    pub(crate) fn start(servers: usize, tools: usize, dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("the own program")?);
        command.arg("backend").args(["--servers", &servers.to_string(), "--tools", &tools.to_string()]);
        let mut process = Process::start("backend", &mut command, dir)?;
        let ready = serde_json::from_value(process.ready(START_LIMIT)?)?;
        Ok(Self { process, ready })
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.ready.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The address of one of the servers.
    pub(crate) fn url_of(&self, number: usize) -> String {
        format!("{}/{number}", self.ready.url)
    }

    /// How many requests of any kind all servers got so far.
    pub(crate) async fn requests(&self) -> Result<u64> {
        let counts = self.ask("GET", "counts").await?;
        let counts = counts.get("requests").and_then(Value::as_object).context("no counts")?;
        Ok(counts.values().filter_map(Value::as_u64).sum())
    }

    /// Gives the servers one tool more, and tells all who listen. Gives how many were told.
    pub(crate) async fn change(&self) -> Result<u64> {
        self.ask("POST", "change").await?.get("told").and_then(Value::as_u64).context("nobody was told")
    }

    async fn ask(&self, method: &str, what: &str) -> Result<Value> {
        let target = Target::new(&self.ready.control, None)?;
        let request = format!("{method} {}/{what} HTTP/1.1\r\nhost: {}\r\n\r\n", target.path, target.host);
        let mut connection = Connection::open(&target).await?;
        let (head, body) = connection.exchange(request.as_bytes()).await?;
        ensure!(head.status == 200, "{what}: status {}", head.status);
        serde_json::from_slice(body).with_context(|| what.to_owned())
    }
}
