//! The judge of all messages: it must know right from wrong, in each revision.

use anyhow::{Context, Result, ensure};
use hawser_tests::{Capture, Gateway, Legacy, OddBackend, Person, Recorder, Script, Sender, Side};
use serde_json::{Value, json};

fn response(result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "result": result })
}

/// Whether a response to `tools/list` is right in a revision, by the capture that the tests of both eras use.
async fn is_right(revision: &str, result: &Value) -> Result<bool> {
    let capture = Capture::new();
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": revision,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
    capture.take(Side::Client, Sender::Client, "one", revision, &request);
    capture.take(Side::Client, Sender::Server, "one", revision, &response(result));
    ensure!(capture.messages().len() == 2);
    Ok(capture.wrong().await?.is_empty())
}

#[tokio::test]
async fn a_message_is_right_or_wrong_by_its_revision() -> Result<()> {
    let tool = json!({ "name": "t", "inputSchema": { "type": "object" } });
    let bare = json!({ "tools": [tool] });
    let complete = json!({ "tools": [tool], "resultType": "complete", "ttlMs": 0, "cacheScope": "private" });
    let nameless = json!({ "tools": [{ "inputSchema": { "type": "object" } }] });
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        ensure!(is_right(revision, &bare).await?, "{revision}");
        ensure!(!is_right(revision, &nameless).await?, "{revision}");
    }
    ensure!(is_right("2026-07-28", &complete).await?);
    ensure!(!is_right("2026-07-28", &bare).await?, "no resultType, no ttlMs, no cacheScope");
    ensure!(!is_right("1999-01-01", &bare).await?, "a revision without a schema");
    Ok(())
}

#[tokio::test]
async fn a_message_without_the_members_of_its_method_is_wrong() -> Result<()> {
    for (revision, message) in [
        ("2026-07-28", json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} })),
        ("2026-07-28", json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -32022, "message": "no data" } })),
        ("2025-11-25", json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {} })),
        ("2025-11-25", json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": {} })),
        ("2025-06-18", json!({ "jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {} })),
        ("2025-03-26", json!({ "jsonrpc": "2.0", "id": null, "method": "ping" })),
    ] {
        let capture = Capture::new();
        capture.take(Side::Client, Sender::Server, "one", revision, &message);
        ensure!(capture.wrong().await?.len() == 1, "{revision}: {message}");
    }
    Ok(())
}

/// Both sides of a gateway are captured, and what passes in the session era is valid.
#[tokio::test]
async fn every_message_of_a_legacy_session_is_right_on_both_sides() -> Result<()> {
    let backend = OddBackend::start(Script::default()).await?;
    let capture = Capture::new();
    let recorder = Recorder::start(&backend.url().parse()?, &capture).await?;
    let gateway = Gateway::with_users(json!({ "backends": { "odd": { "url": recorder.url() } } })).await?;
    let url = gateway.mcp()?;
    let alice = Person::log_in(&url, "alice").await?;
    for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = Legacy::open_at(revision, &url, Some(alice.token()), json!({}), &capture).await?;
        let listed = client.result("tools/list", json!({})).await?;
        ensure!(listed["tools"][0]["name"] == "odd_act", "{listed}");
        let called = client.result("tools/call", json!({ "name": "odd_act", "arguments": {} })).await?;
        ensure!(called["content"][0]["text"] == "acted", "{called}");
        client.error("no/such", json!({})).await?;
    }
    for side in [Side::Client, Side::Backend] {
        let calls = capture.count(side, "tools/call");
        ensure!(calls >= 3, "{calls} calls were seen on the {side:?} side");
        let answered = |c: &&hawser_tests::Captured| c.side == side && c.answers.as_deref() == Some("tools/call");
        capture.messages().iter().find(answered).with_context(|| format!("no answer was seen: {side:?}"))?;
    }
    capture.validate().await?;
    Ok(())
}
