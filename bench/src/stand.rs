//! A gateway that stands there to be called, profiled and looked at: with the backend and the issuer that runs use.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::stage::gateway::Gateway;
use crate::stage::issuer::Issuer;
use crate::stage::nginx::Nginx;
use crate::stage::process::{end_on_signals, folder};
use crate::stage::server::Server;

const LIMIT: Duration = Duration::from_hours(24);

/// Starts a backend, an issuer and the gateway, prints where they are and a token, and leaves them there until it is interrupted or its
/// standard input ends.
#[derive(Args)]
pub(crate) struct Options {
    /// The gateway's program.
    #[arg(long, value_name = "FILE")]
    hawser: PathBuf,
    /// nginx's program, to have it there as well.
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
    /// How many tools the backend has.
    #[arg(long, default_value_t = 10)]
    tools: usize,
    /// Further configuration of the gateway: a JSON object.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    configuration: String,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    end_on_signals(LIMIT)?;
    let dir = folder()?;
    let more: serde_json::Map<String, Value> =
        serde_json::from_str(&options.configuration).context("--configuration")?;
    let more: Vec<(&str, Value)> = more.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let backend = Server::start(1, options.tools, dir.path())?;
    let issuer = Issuer::start()?;
    let backends = json!({ "bench": { "url": backend.url(), "naming": "none" } });
    let gateway = Gateway::start(&options.hawser, &backends, &issuer, &more, dir.path())?;
    let nginx = match &options.nginx {
        Some(program) => Some(Nginx::start(program, 1, backend.url(), dir.path())?),
        None => None,
    };
    let token = dir.path().join("token");
    std::fs::write(&token, issuer.token("caller", gateway.url().as_str())?).context("writing the token")?;
    let said = json!({
        "gateway": { "url": gateway.url(), "pid": gateway.pid() },
        "backend": { "url": backend.url(), "pid": backend.pid() },
        "nginx": nginx.as_ref().map(|nginx| json!({ "url": nginx.url(), "pid": nginx.pid() })),
        "token_file": token,
    });
    println!("{said:#}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("waiting for the end of the input")?;
    Ok(())
}
