//! The backend as a process of its own, and what it says of itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use url::Url;

use super::process::Process;

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running backend.
pub(crate) struct Server {
    _process: Process,
    ready: Ready,
}

#[derive(Deserialize)]
struct Ready {
    url: Url,
}

impl Server {
    /// With so many servers and tools each.
    pub(crate) fn start(servers: usize, tools: usize, dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("the own program")?);
        command.arg("backend").args(["--servers", &servers.to_string(), "--tools", &tools.to_string()]);
        let mut process = Process::start("backend", &mut command, dir)?;
        let ready = serde_json::from_value(process.ready(START_LIMIT)?)?;
        Ok(Self { _process: process, ready })
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.ready.url
    }
}
