//! MCP clients that nobody here wrote, driven command by command: the Python SDK, `FastMCP` and both TypeScript SDKs, with
//! their own OAuth flow. The scripts under `tests/real/` only play the person who logs in.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;
use url::Url;

use crate::places;
use crate::process::Process;

const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// Which client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// PyPI `mcp`.
    Python,
    /// PyPI `fastmcp`: its client.
    FastMcp,
    /// npm `@modelcontextprotocol/sdk`.
    TypeScript,
    /// npm `@modelcontextprotocol/client`, its successor.
    TypeScript2,
}

/// A running client.
pub struct SdkClient {
    process: Process,
}

impl SdkClient {
    /// Starts the client's process; it connects to nothing yet.
    pub fn start(who: Who) -> Result<Self> {
        let mut command = match who {
            Who::Python | Who::FastMcp => {
                let mut command = Command::new(places::python("python")?);
                command.arg(places::script("client.py")?).env("PYTHONUNBUFFERED", "1");
                command.args((who == Who::FastMcp).then_some("fastmcp"));
                command
            }
            Who::TypeScript | Who::TypeScript2 => {
                let mut command = Command::new(places::node()?);
                command.arg(places::script("client.mjs")?).current_dir(places::node_home()?);
                command.arg(if who == Who::TypeScript { "sdk" } else { "client" });
                command
            }
        };
        Ok(Self { process: Process::start(&format!("the {who:?} client"), &mut command)? })
    }

    /// Connects to an MCP server, logging in as a user whose password is the name. `mode` is `legacy`, `modern`
    /// or `auto`.
    pub async fn connect(&mut self, url: &Url, user: &str, mode: &str) -> Result<Value> {
        let user = json!({ "name": user, "password": user });
        self.ask(json!({ "do": "connect", "url": url, "user": user, "mode": mode })).await
    }

    /// Starts a server as a child process and speaks to it on its stdin and stdout. `mode` as in [`SdkClient::connect`].
    pub async fn launch(&mut self, command: &[String], mode: &str) -> Result<Value> {
        self.ask(json!({ "do": "launch", "command": command, "mode": mode })).await
    }

    /// The same with a user who answers every form with `content`, and visits every address.
    pub async fn connect_accepting(&mut self, url: &Url, user: &str, mode: &str, content: Value) -> Result<Value> {
        let user = json!({ "name": user, "password": user });
        self.ask(json!({ "do": "connect", "url": url, "user": user, "mode": mode, "accept": content })).await
    }

    /// One command; an error if the SDK reports one.
    pub async fn ask(&mut self, command: Value) -> Result<Value> {
        let mut answer = self.try_ask(command.clone()).await?;
        if let Some(error) = answer.get("error") {
            bail!("{command}: {error}. Its log:\n{}", self.process.stderr());
        }
        Ok(answer.get_mut("ok").context("neither ok nor error")?.take())
    }

    /// One command; `ok` or `error` with `code`, as the SDK has it.
    pub async fn try_ask(&mut self, command: Value) -> Result<Value> {
        self.process.send(&command.to_string()).await?;
        Ok(serde_json::from_str(&self.process.line(ANSWER_LIMIT).await?)?)
    }

    /// Calls a tool.
    pub async fn call(&mut self, name: &str, arguments: Value) -> Result<Value> {
        self.ask(json!({ "do": "call", "name": name, "arguments": arguments })).await
    }
}
