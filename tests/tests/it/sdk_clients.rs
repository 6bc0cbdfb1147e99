//! Both SDK families, with their own OAuth flow: log in, call, refresh, call again, over a stdio and an HTTP backend.

use anyhow::{Result, ensure};
use hawser_tests::{Everything, Gateway, Hawser, SdkClient, Who, called_text, time_backend};
use serde_json::json;

/// A gateway in front of both real backends, and the HTTP one.
async fn gateway() -> Result<(Gateway, Everything)> {
    let everything = Everything::start().await?;
    let backends = json!({ "time": time_backend()?, "everything": { "url": everything.url() } });
    Ok((Gateway::with_users(json!({ "backends": backends })).await?, everything))
}

/// Calls one tool of each backend.
async fn call_both(client: &mut SdkClient) -> Result<()> {
    let now = client.call("time_get_current_time", json!({ "timezone": "Europe/Warsaw" })).await?;
    ensure!(called_text(&now)?.contains("Europe/Warsaw"), "{now}");
    let echoed = client.call("everything_echo", json!({ "message": "zażółć \u{1f980}" })).await?;
    ensure!(called_text(&echoed)?.contains("zażółć \u{1f980}"), "{echoed}");
    Ok(())
}

/// The story of the issue: login, call, refresh, call again, in one session and with one login.
async fn logs_in_calls_refreshes_and_calls_again(who: Who, mode: &str) -> Result<()> {
    let (gateway, _everything) = gateway().await?;
    let mut client = SdkClient::start(who)?;
    client.connect(&gateway.mcp()?, "alice", mode).await?;
    call_both(&mut client).await?;
    let before = client.ask(json!({ "do": "state" })).await?;
    // Who asks the gateway what it speaks finds the era without sessions.
    ensure!(before["session"].is_string() == (mode == "legacy") && before["logins"] == 1, "{before}");

    client.ask(json!({ "do": "spoil" })).await?;
    call_both(&mut client).await?;

    let after = client.ask(json!({ "do": "state" })).await?;
    ensure!(
        after["access_token"].is_string() && after["access_token"] != before["access_token"],
        "not refreshed: {after}"
    );
    ensure!(after["session"] == before["session"], "the session changed: {before} {after}");
    ensure!(after["logins"] == 1, "a second login instead of a refresh: {after}");
    client.ask(json!({ "do": "close" })).await?;
    Ok(())
}

#[tokio::test]
async fn python_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::Python, "legacy").await
}

/// The Python SDK's default: it first asks whether the server is a modern one, which the gateway is.
#[tokio::test]
async fn python_probing_for_a_modern_server_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::Python, "auto").await
}

#[tokio::test]
async fn fastmcp_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::FastMcp, "legacy").await
}

#[tokio::test]
async fn typescript_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::TypeScript, "legacy").await
}

#[tokio::test]
async fn typescript2_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::TypeScript2, "legacy").await
}

#[tokio::test]
async fn typescript2_probing_for_a_modern_server_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::TypeScript2, "auto").await
}

/// The gateway is killed and started under a connected client, which notices nothing: not even a login.
async fn goes_on_after_the_gateway_was_killed(who: Who) -> Result<()> {
    let (mut gateway, _everything) = gateway().await?;
    let mut client = SdkClient::start(who)?;
    client.connect(&gateway.mcp()?, "alice", "legacy").await?;
    call_both(&mut client).await?;
    let before = client.ask(json!({ "do": "state" })).await?;
    gateway.crash().await?;
    call_both(&mut client).await?;
    client.ask(json!({ "do": "spoil" })).await?;
    call_both(&mut client).await?;
    let after = client.ask(json!({ "do": "state" })).await?;
    ensure!(after["session"] == before["session"] && after["logins"] == 1, "{before} {after}");
    Ok(())
}

#[tokio::test]
async fn python_goes_on_after_the_gateway_was_killed() -> Result<()> {
    goes_on_after_the_gateway_was_killed(Who::Python).await
}

#[tokio::test]
async fn typescript_goes_on_after_the_gateway_was_killed() -> Result<()> {
    goes_on_after_the_gateway_was_killed(Who::TypeScript).await
}

/// With no users configured, on loopback, one click logs in.
#[tokio::test]
async fn the_development_login_is_enough_without_any_users() -> Result<()> {
    let gateway = Gateway::start(json!({ "backends": { "time": time_backend()? } })).await?;
    let mut client = SdkClient::start(Who::Python)?;
    client.connect(&gateway.mcp()?, "alice", "legacy").await?;
    let now = client.call("time_get_current_time", json!({ "timezone": "UTC" })).await?;
    called_text(&now)?;
    Ok(())
}

/// A password hashed by the command line, as a person would put it into the configuration.
#[tokio::test]
async fn a_password_that_the_command_line_hashed_logs_in() -> Result<()> {
    let users = json!([{ "name": "zoë", "password": Hawser::hash_password("zoë").await? }]);
    let auth = json!({ "authorization_server": { "users": users } });
    let gateway = Gateway::start(json!({ "backends": { "time": time_backend()? }, "auth": auth })).await?;
    let mut client = SdkClient::start(Who::TypeScript)?;
    client.connect(&gateway.mcp()?, "zoë", "legacy").await?;
    let now = client.call("time_get_current_time", json!({ "timezone": "UTC" })).await?;
    called_text(&now)?;
    Ok(())
}
