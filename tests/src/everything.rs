//! The reference server `@modelcontextprotocol/server-everything`, over streamable HTTP, over HTTP+SSE, or as a
//! child process.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::places;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(30);
const ENTRY: &str = "@modelcontextprotocol/server-everything/dist/index.js";

/// The server, running over HTTP.
pub struct Everything {
    process: Process,
    port: u64,
    transport: Transport,
}

#[derive(Clone, Copy)]
enum Transport {
    Streamable,
    Sse,
}

impl Everything {
    /// Starts it over streamable HTTP, on a free port.
    pub async fn start() -> Result<Self> {
        let (process, port) = launch(0, Transport::Streamable).await?;
        Ok(Self { process, port, transport: Transport::Streamable })
    }

    /// Starts it over HTTP+SSE (2024-11-05), on a free port.
    pub async fn start_sse() -> Result<Self> {
        let (process, port) = launch(0, Transport::Sse).await?;
        Ok(Self { process, port, transport: Transport::Sse })
    }

    /// Its MCP address.
    pub fn url(&self) -> String {
        let path = match self.transport {
            Transport::Streamable => "mcp",
            Transport::Sse => "sse",
        };
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Kills it and starts it again on the same port: it has forgotten all its sessions.
    pub async fn crash(&mut self) -> Result<()> {
        self.process.kill().await?;
        (self.process, self.port) = launch(self.port, self.transport).await?;
        Ok(())
    }

    /// The configuration of a backend that runs it as a child process.
    pub fn stdio_backend() -> Result<Value> {
        Ok(json!({ "command": [places::node()?, places::package_file(ENTRY)?, "stdio"] }))
    }
}

async fn launch(port: u64, transport: Transport) -> Result<(Process, u64)> {
    let mut command = Command::new(places::node()?);
    command.arg("--import").arg(places::script("loopback.mjs")?).arg(places::package_file(ENTRY)?);
    command.arg(match transport {
        Transport::Streamable => "streamableHttp",
        Transport::Sse => "sse",
    });
    command.env("PORT", port.to_string()).current_dir(places::node_home()?);
    let mut process = Process::start("server-everything", &mut command)?;
    let ready = process.event("listening", START_LIMIT).await?;
    let port = ready.get("port").and_then(Value::as_u64).context("server-everything names no port")?;
    Ok((process, port))
}
