//! The MCP conformance suite's authorization-server scenarios against the embedded authorization server.
//!
//! The suite prints the authorization URL and waits for a browser; `tests/real/visit.mjs` plays it.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Process, node, package_file, script};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_mins(1);
const SUITE: &str = "@modelcontextprotocol/conformance/dist/index.js";

/// Registers a client for `redirect_uri`, as the suite expects to find one.
async fn register(gateway: &Gateway, redirect_uri: &str) -> Result<String> {
    let metadata: Value =
        reqwest::get(format!("{}/.well-known/oauth-authorization-server", gateway.url())).await?.json().await?;
    let endpoint = metadata["registration_endpoint"].as_str().context("no registration endpoint")?;
    let body = json!({
        "client_name": "conformance suite",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let response = reqwest::Client::new().post(endpoint).json(&body).send().await?;
    ensure!(response.status() == 201, "registration: {} {}", response.status(), response.text().await?);
    let client: Value = response.json().await?;
    Ok(client["client_id"].as_str().context("no client_id")?.to_owned())
}

/// Plays the person with the browser.
async fn visit(authorize: &str, redirect_uri: &str) -> Result<()> {
    let mut command = Command::new(node()?);
    command.arg(script("visit.mjs")?).args([authorize, redirect_uri, "alice"]).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.context("the login did not end")??;
    ensure!(output.status.success(), "the login failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs the suite and returns its checks.
async fn run() -> Result<Vec<Value>> {
    let gateway = Gateway::with_users(json!({})).await?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let client_id = register(&gateway, &redirect_uri).await?;
    let results = TempDir::with_prefix("hawser-conformance-")?;

    let mut command = Command::new(node()?);
    command.arg(package_file(SUITE)?).args(["authorization", "--url", gateway.url()]);
    command.args(["--client-id", &client_id, "--resource", gateway.mcp()?.as_str(), "--port", &port.to_string()]);
    command.arg("--output-dir").arg(results.path()).current_dir(results.path());
    let mut suite = Process::start("the conformance suite", &mut command)?;
    let mut seen = Vec::new();
    let status = loop {
        match suite.line(LIMIT).await {
            Ok(line) if line.starts_with("http") && line.contains("code_challenge=") => {
                visit(&line, &redirect_uri).await?;
            }
            Ok(line) => seen.push(line),
            Err(_) => break suite.exit(LIMIT).await?,
        }
    };
    let report = seen.join("\n");
    println!("{report}");
    ensure!(status.success(), "the suite failed:\n{report}\n{}\n{}", suite.stderr(), gateway.log());
    checks_in(results.path())
}

/// The checks of every `checks.json` below a folder.
fn checks_in(folder: &std::path::Path) -> Result<Vec<Value>> {
    let mut checks = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            checks.extend(checks_in(&path)?);
        } else if path.file_name().is_some_and(|name| name == "checks.json") {
            checks.extend(serde_json::from_slice::<Vec<Value>>(&std::fs::read(&path)?)?);
        }
    }
    Ok(checks)
}

/// What the suite only recommends, and this authorization server does not offer: client ID metadata documents.
const NOT_OFFERED: &str = "authorization-server-metadata-cimd";

/// One test for both scenarios: the second one goes on with what the first one found.
#[tokio::test]
async fn the_authorization_server_holds_every_scenario() -> Result<()> {
    let checks = run().await?;
    for id in ["authorization-server-metadata", "authorization-code-grant"] {
        ensure!(checks.iter().any(|check| check["id"] == id), "{id} was not checked: {checks:#?}");
    }
    for check in &checks {
        let wanted = if check["id"] == NOT_OFFERED { "WARNING" } else { "SUCCESS" };
        ensure!(check["status"] == wanted, "{check:#}");
    }
    Ok(())
}
