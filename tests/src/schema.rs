//! The official JSON Schema of every revision, as the conformance suite's package carries it, and a validator that nobody
//! here wrote (`tests/real/schema.mjs`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::capture::Captured;
use crate::places;
use crate::process::Process;

const START_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The validator, running.
pub struct Schemas {
    process: Process,
}

impl Schemas {
    /// Starts it; it must know every revision that the gateway speaks.
    pub async fn start() -> Result<Self> {
        let mut command = Command::new(places::node()?);
        command.arg(places::script("schema.mjs")?).current_dir(places::node_home()?);
        let mut process = Process::start("the schema validator", &mut command)?;
        let ready = process.event("ready", START_LIMIT).await?;
        let wanted = json!(["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"]);
        ensure!(ready.get("revisions") == Some(&wanted), "schemas are missing: {ready}");
        Ok(Self { process })
    }

    /// What is wrong with a message; nothing if it is valid.
    pub async fn errors(&mut self, captured: &Captured) -> Result<Vec<String>> {
        let Captured { revision, answers, message, .. } = captured;
        let line = json!({ "revision": revision, "method": answers, "message": message });
        self.process.send(&line.to_string()).await?;
        let verdict: Value = serde_json::from_str(&self.process.line(ANSWER_LIMIT).await?)?;
        let errors = verdict.get("errors").and_then(Value::as_array).context("no verdict")?;
        Ok(errors.iter().map(|error| error.as_str().unwrap_or_default().to_owned()).collect())
    }
}
