//! Both SDK families, with their own OAuth flow: log in, call, refresh, call again, over a stdio and an HTTP backend.

use anyhow::{Result, ensure};
use hawser_tests::{Everything, Gateway, SdkClient, Who, called_text, text_of, time_backend};
use serde_json::{Value, json};

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
    ensure!(before["session"].is_string() && before["logins"] == 1, "{before}");

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

/// The Python SDK's default: it first asks whether the server is a modern one.
#[tokio::test]
async fn python_probing_for_a_modern_server_logs_in_calls_refreshes_and_calls_again() -> Result<()> {
    logs_in_calls_refreshes_and_calls_again(Who::Python, "auto").await
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

/// Every kind of list and of request to a backend, and progress on the way.
async fn uses_everything_a_backend_offers(who: Who) -> Result<()> {
    let (gateway, _everything) = gateway().await?;
    let mut client = SdkClient::start(who)?;
    client.connect(&gateway.mcp()?, "alice", "legacy").await?;

    let tools = client.ask(json!({ "do": "tools" })).await?;
    for name in ["time_get_current_time", "time_convert_time", "everything_echo", "everything_get-sum"] {
        ensure!(tools["names"].as_array().is_some_and(|names| names.contains(&name.into())), "no {name} in {tools}");
    }
    let prompts = client.ask(json!({ "do": "prompts" })).await?;
    ensure!(
        prompts["names"].as_array().is_some_and(|names| names.contains(&"everything_simple-prompt".into())),
        "{prompts}"
    );
    let prompt = client.ask(json!({ "do": "prompt", "name": "everything_simple-prompt", "arguments": {} })).await?;
    ensure!(prompt["messages"].as_array().is_some_and(|messages| !messages.is_empty()), "{prompt}");

    let resources = client.ask(json!({ "do": "resources" })).await?;
    let uri = resources["uris"][0].as_str().unwrap_or_default().to_owned();
    let read = client.ask(json!({ "do": "read", "uri": uri })).await?;
    ensure!(read["contents"].as_array().is_some_and(|contents| !contents.is_empty()), "{uri}: {read}");
    let templates = client.ask(json!({ "do": "templates" })).await?;
    ensure!(templates["templates"].as_array().is_some_and(|templates| !templates.is_empty()), "{templates}");

    let arguments = json!({ "duration": 0.3, "steps": 3 });
    let name = "everything_trigger-long-running-operation";
    let done = client.ask(json!({ "do": "progress", "name": name, "arguments": arguments })).await?;
    let steps: Vec<&Value> = done["progress"].as_array().into_iter().flatten().map(|step| &step["progress"]).collect();
    ensure!(steps == [1, 2, 3], "{done}");
    client.ask(json!({ "do": "ping" })).await?;
    Ok(())
}

#[tokio::test]
async fn python_uses_everything_a_backend_offers() -> Result<()> {
    uses_everything_a_backend_offers(Who::Python).await
}

#[tokio::test]
async fn typescript_uses_everything_a_backend_offers() -> Result<()> {
    uses_everything_a_backend_offers(Who::TypeScript).await
}

#[tokio::test]
async fn typescript2_uses_everything_a_backend_offers() -> Result<()> {
    uses_everything_a_backend_offers(Who::TypeScript2).await
}

/// A backend asks the client (sampling, roots, elicitation) in the middle of a call, and gets the client's answers.
async fn answers_what_a_backend_asks(who: Who) -> Result<()> {
    let (gateway, _everything) = gateway().await?;
    let mut client = SdkClient::start(who)?;
    client.connect(&gateway.mcp()?, "alice", "legacy").await?;
    let asked =
        client.call("everything_trigger-sampling-request", json!({ "prompt": "hello", "maxTokens": 10 })).await?;
    ensure!(called_text(&asked)?.contains("a sampled answer"), "{asked}");
    let asked = client.call("everything_get-roots-list", json!({})).await?;
    ensure!(asked.to_string().contains("file:///a-root"), "{asked}");
    let asked = client.call("everything_trigger-elicitation-request", json!({})).await?;
    ensure!(text_of(&asked)?.contains("declined"), "{asked}");
    Ok(())
}

#[tokio::test]
async fn python_answers_what_a_backend_asks() -> Result<()> {
    answers_what_a_backend_asks(Who::Python).await
}

#[tokio::test]
async fn typescript_answers_what_a_backend_asks() -> Result<()> {
    answers_what_a_backend_asks(Who::TypeScript).await
}

#[tokio::test]
async fn typescript2_answers_what_a_backend_asks() -> Result<()> {
    answers_what_a_backend_asks(Who::TypeScript2).await
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
