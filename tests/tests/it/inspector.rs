//! The MCP Inspector's command line against the gateway.

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Person, inspect, time_backend};
use serde_json::json;

/// The inspector's exit code for "log in first".
const AUTHENTICATION_REQUIRED: i32 = 3;

#[tokio::test]
async fn the_inspector_lists_and_calls_with_a_token_and_is_told_to_log_in_without() -> Result<()> {
    let gateway = Gateway::with_users(json!({ "backends": { "time": time_backend()? } })).await?;
    let url = gateway.mcp()?;
    let alice = Person::log_in(&url, "alice").await?;

    let listed = inspect(&url, Some(alice.token()), &["--method", "tools/list"]).await?;
    ensure!(listed.code == Some(0), "{listed:?}");
    let text = listed.result.context("no JSON")?.to_string();
    ensure!(text.contains("time_get_current_time") && text.contains("time_convert_time"), "{text}");

    let arguments = ["--method", "tools/call", "--tool-name", "time_get_current_time", "--tool-arg", "timezone=UTC"];
    let called = inspect(&url, Some(alice.token()), &arguments).await?;
    ensure!(called.code == Some(0), "{called:?}");
    ensure!(called.result.context("no JSON")?.to_string().contains("UTC"), "the time is not in the answer");

    let refused = inspect(&url, None, &["--method", "tools/list"]).await?;
    ensure!(refused.code == Some(AUTHENTICATION_REQUIRED), "{refused:?}");
    Ok(())
}
