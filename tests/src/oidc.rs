//! An OpenID provider that nobody here wrote (`oidc-provider`), as an external issuer. Any user name and password log in,
//! and the name becomes the subject: so two of them have users with equal subjects.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::places;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running issuer.
pub struct Oidc {
    process: Process,
    issuer: String,
}

impl Oidc {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        Self::with_options(json!({})).await
    }

    /// The same with options of `tests/real/oidc.mjs`: `access_token_lifetime` in seconds, `algorithm`, and
    /// `key_prefix` for the names of its keys.
    pub async fn with_options(options: Value) -> Result<Self> {
        let (process, issuer) = launch(&options).await?;
        Ok(Self { process, issuer })
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Kills it and starts it again on the same port, with new keys and having forgotten everything.
    pub async fn restart_with(&mut self, mut options: Value) -> Result<()> {
        self.process.kill().await?;
        let port: u16 = self.issuer.rsplit(':').next().context("no port")?.parse()?;
        if let Some(members) = options.as_object_mut() {
            members.insert("port".to_owned(), port.into());
        }
        (self.process, self.issuer) = launch(&options).await?;
        Ok(())
    }

    /// Kills it.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }
}

async fn launch(options: &Value) -> Result<(Process, String)> {
    let mut command = Command::new(places::node()?);
    command.arg(places::script("oidc.mjs")?).arg(options.to_string()).current_dir(places::node_home()?);
    let mut process = Process::start("oidc-provider", &mut command)?;
    let ready = process.event("listening", START_LIMIT).await?;
    let issuer = ready.get("issuer").and_then(Value::as_str).context("oidc-provider names no issuer")?;
    Ok((process, issuer.to_owned()))
}
