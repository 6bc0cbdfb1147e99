//! Behind a reverse proxy: whose address counts.

use std::time::Duration;

use anyhow::{Result, ensure};
use hawser_probe::wire::{Limits, Wire};
use hawser_tests::{Gateway, time_backend, until};
use serde_json::{Value, json};

/// Registers a client in the name of a caller that a proxy would have noted.
async fn register(gateway: &Gateway, forwarded_for: &str) -> Result<()> {
    let url = gateway.mcp()?;
    let wire = Wire::new(&url, Limits::default())?;
    let body = json!({ "redirect_uris": ["http://127.0.0.1:4711/callback"], "token_endpoint_auth_method": "none" });
    let request = wire.request(http::Method::POST, &url.join("/oauth/register")?).json(&body);
    let answer = wire.fetch(request.header("x-forwarded-for", forwarded_for)).await?;
    ensure!(answer.status == 201, "{}", answer.status);
    Ok(())
}

async fn logged_address(configuration: Value) -> Result<String> {
    let gateway = Gateway::with_users(configuration).await?;
    register(&gateway, "192.0.2.1, 198.51.100.7").await?;
    until("the registration is logged", Duration::from_secs(15), async || {
        let log = gateway.log();
        let event = log.lines().find(|line| line.contains("client_registered") && line.contains("address="));
        Ok(event.and_then(|event| event.split("address=").nth(1)).map(|address| address.trim().to_owned()))
    })
    .await
}

#[tokio::test]
async fn limits_count_the_caller_that_a_trusted_proxy_names_and_nobody_else_does() -> Result<()> {
    let backends = json!({ "time": time_backend()? });
    let trusting = json!({ "backends": backends, "trusted_proxies": ["127.0.0.1"] });
    let address = logged_address(trusting).await?;
    ensure!(address == "198.51.100.7", "behind a trusted proxy: {address:?}");
    let address = logged_address(json!({ "backends": backends })).await?;
    ensure!(address == "127.0.0.1", "without one: {address:?}");
    Ok(())
}
