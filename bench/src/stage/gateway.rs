//! The gateway under test, with an issuer whose tokens it takes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::issuer::Issuer;
use super::process::Process;

const START_LIMIT: Duration = Duration::from_mins(1);

/// A running gateway.
pub(crate) struct Gateway {
    process: Process,
    url: Url,
}

#[derive(Deserialize)]
struct Ready {
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    url: Url,
}

impl Gateway {
    /// Starts this program in front of these backends. `more` goes into the configuration as it is.
    pub(crate) fn start(
        program: &Path,
        backends: &Value,
        issuer: &Issuer,
        more: &[(&str, Value)],
        dir: &Path,
    ) -> Result<Self> {
        let mut configuration = json!({
            "store": "memory",
            "backends": backends,
            "auth": { "authorization_server": { "enabled": false }, "issuers": [issuer.configuration()] },
        });
        for (key, value) in more {
            configuration[*key] = value.clone();
        }
        // JSON is YAML.
        let file = dir.join("hawser.yaml");
        std::fs::write(&file, configuration.to_string()).context("writing the configuration")?;
        let mut command = Command::new(program);
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.arg("--data-dir").arg(dir.join("data")).current_dir(dir);
        let mut process = Process::start("hawser", &mut command, dir)?;
        let ready: Ready = serde_json::from_value(process.ready(START_LIMIT)?)?;
        let url = ready.endpoints.into_iter().next().context("no endpoint")?.url;
        Ok(Self { process, url })
    }

    /// A new key ring for one whose store others could share.
    pub(crate) fn key_ring(program: &Path, dir: &Path) -> Result<Value> {
        let file = dir.join("key-ring.json");
        let made = Command::new(program).args(["keys", "generate"]).arg(&file).output().context("making a key ring")?;
        ensure!(made.status.success(), "making a key ring: {}", String::from_utf8_lossy(&made.stderr));
        Ok(json!(format!("file:{}", file.display())))
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}
