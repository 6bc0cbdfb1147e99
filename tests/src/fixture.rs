//! The fixture `everything`: an MCP server with all that the conformance suite names, in the eras that a test wants.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;
use url::Url;

use crate::places;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(30);

/// What a fixture speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaks {
    /// 2025-11-25 and older, with sessions.
    Legacy,
    /// 2026-07-28 alone.
    Modern,
    /// Both.
    Dual,
}

impl Speaks {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Legacy, Self::Modern, Self::Dual];
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
            Self::Dual => "dual",
        })
    }
}

/// A running fixture.
pub struct Fixture {
    process: Process,
    url: Url,
}

impl Fixture {
    /// How often the fixture began and carried out the side effect of this key.
    pub async fn effects(&self, key: &str) -> Result<(u64, u64)> {
        let counts: Value = reqwest::get(self.url().join("/counts")?).await?.json().await?;
        let effects = counts.get("effects").context("no effects")?;
        ensure!(effects.is_object(), "{counts}");
        let number = |name: &str| effects[key][name].as_u64().unwrap_or_default();
        Ok((number("begun"), number("done")))
    }

    /// Starts one on a free port.
    pub async fn start(speaks: Speaks) -> Result<Self> {
        let mut command = Command::new(places::sibling("everything")?);
        command.args(["--era", &speaks.to_string(), "--listen", "127.0.0.1:0"]);
        let mut process = Process::start("everything", &mut command)?;
        let line = process.line(START_LIMIT).await?;
        let ready: Value = serde_json::from_str(&line).with_context(|| format!("the fixture said {line}"))?;
        let url = ready["url"].as_str().with_context(|| format!("no url in {line}"))?.parse()?;
        Ok(Self { process, url })
    }

    /// Its MCP address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Kills it.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// The configuration of a backend that runs it as a child process.
    pub fn stdio_backend(speaks: Speaks) -> Result<Value> {
        Ok(json!({ "command": [places::sibling("everything")?, "--era", speaks.to_string(), "--stdio"] }))
    }
}
