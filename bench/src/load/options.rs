//! The command line of the load.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use url::Url;

use super::request::{Asked, Era, Target};
use super::{Length, Plan};

/// Calls one tool of any MCP server over streamable HTTP, and tells what that took.
#[derive(Args)]
pub(crate) struct Options {
    /// The server's MCP endpoint.
    #[arg(long, value_name = "URL")]
    url: Url,
    /// The bearer token. Other processes can read a command line: for real tokens there is --token-file.
    #[arg(long, conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// legacy: `initialize`, and a session that every call names; modern: stateless requests of 2026-07-28.
    #[arg(long, default_value = "legacy")]
    era: Era,
    /// The tool.
    #[arg(long, default_value = "echo")]
    tool: String,
    /// Its arguments, a JSON object.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    arguments: String,
    /// Connections, each with one call at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Sessions (legacy), which the connections take turns with; at least one per connection.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    sessions: u32,
    /// Calls a second, whether or not answers keep up; without it, as fast as answers come.
    #[arg(long)]
    rate: Option<f64>,
    /// For how long, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many calls, instead of a time.
    #[arg(long, conflicts_with = "seconds")]
    calls: Option<u64>,
    /// For how long before that, in seconds.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// A shorter answer, in bytes, is an error.
    #[arg(long, default_value_t = 0)]
    least: usize,
    /// Also measure the processor time of this process and its descendants.
    #[arg(long)]
    pid: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn plan(&self) -> Result<Plan> {
        let arguments: Value = serde_json::from_str(&self.arguments).context("--arguments")?;
        ensure!(arguments.is_object(), "--arguments: not an object");
        Ok(Plan {
            target: self.target()?,
            era: self.era,
            asked: vec![Asked::call(&self.tool, &arguments)],
            connections: usize::try_from(self.connections)?,
            sessions: usize::try_from(self.sessions)?,
            rate: self.rate,
            warm_up: Duration::try_from_secs_f64(self.warm_up).context("--warm-up")?,
            length: match self.calls {
                Some(calls) => Length::Calls(calls),
                None => Length::Time(self.time()?),
            },
            least: self.least,
            pid: self.pid,
        })
    }

    pub(crate) fn time(&self) -> Result<Duration> {
        Duration::try_from_secs_f64(self.seconds).context("--seconds")
    }

    pub(crate) fn target(&self) -> Result<Target> {
        let token = match &self.token_file {
            Some(file) => Some(std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?),
            None => self.token.clone(),
        };
        Target::new(&self.url, token.as_deref().map(str::trim))
    }
}
