//! The MCP Inspector in its command-line mode, with a token that was got elsewhere.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use crate::places;

const LIMIT: Duration = Duration::from_mins(1);
const ENTRY: &str = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";

/// What one run of the inspector gave.
#[derive(Debug)]
pub struct Inspection {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output, read as JSON if it is.
    pub result: Option<Value>,
    /// Its standard error.
    pub errors: String,
}

/// Runs the inspector against `url` with `arguments`, for example `["--method", "tools/list"]`.
pub async fn inspect(url: &Url, token: Option<&str>, arguments: &[&str]) -> Result<Inspection> {
    // A home of its own, so that it neither reads nor writes anybody's catalog or stored logins.
    let home = TempDir::with_prefix("hawser-inspector-")?;
    let mut command = Command::new(places::node()?);
    command.arg(places::package_file(ENTRY)?).arg("--cli").arg(url.as_str());
    command.args(["--transport", "http", "--format", "json", "--stored-auth-only"]).args(arguments);
    if let Some(token) = token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    command.env("HOME", home.path()).current_dir(home.path()).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.context("the inspector did not end")??;
    Ok(Inspection {
        code: output.status.code(),
        result: serde_json::from_slice(&output.stdout).ok(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
