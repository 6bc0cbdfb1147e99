//! The three revisions of the session era, and what only one of them has; lists in pages.

use anyhow::{Context, Result, ensure};
use hawser_probe::mcp::{Presented, Reply};
use hawser_tests::{Gateway, Person, odd_stdio, time_backend};
use serde_json::{Value, json};

async fn stage() -> Result<(Gateway, Person)> {
    let gateway = Gateway::with_users(json!({ "backends": { "time": time_backend()? } })).await?;
    let alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    Ok((gateway, alice))
}

async fn initialize(person: &Person, revision: &str) -> Result<(String, Value)> {
    let body = json!({
        "jsonrpc": "2.0", "id": "first", "method": "initialize",
        "params": {
            "protocolVersion": revision, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        },
    });
    let presented = Presented { token: Some(&person.grant().tokens.access), ..Presented::default() };
    let reply = person.mcp().post(presented, body.to_string(), Some("first")).await?;
    let id = reply.session_id().context("no session id")?.to_owned();
    let answer: Value = serde_json::from_slice(&reply.answer.body)?;
    Ok((id, answer["result"].clone()))
}

async fn post(person: &Person, session: &str, revision: Option<&str>, body: &Value) -> Result<Reply> {
    let presented = Presented { token: Some(&person.grant().tokens.access), session: Some(session), revision };
    Ok(person.mcp().post(presented, body.to_string(), None).await?)
}

/// Lifecycle, Version Negotiation: the same revision if it is spoken, otherwise the latest.
#[tokio::test]
async fn a_client_gets_its_revision_or_the_latest() -> Result<()> {
    let (_gateway, alice) = stage().await?;
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let (session, result) = initialize(&alice, asked).await?;
        ensure!(result["protocolVersion"] == given, "{asked}: {result}");
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": { "name": "time_get_current_time", "arguments": { "timezone": "UTC" } },
        });
        // The header is required from 2025-06-18 on; who does not know it is taken for an older client.
        for header in [Some(given), None] {
            let reply = post(&alice, &session, header, &call).await?;
            ensure!(reply.answer.status == 200, "{asked} with {header:?}: {}", reply.answer.status);
        }
    }
    Ok(())
}

/// 2025-03-26, Basic Protocol, Batching: "implementations MUST support receiving JSON-RPC batches".
#[tokio::test]
async fn a_batch_of_2025_03_26_is_answered_message_by_message() -> Result<()> {
    let (_gateway, alice) = stage().await?;
    let (session, _) = initialize(&alice, "2025-03-26").await?;
    let batch = json!([
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": 1, "method": "ping" },
        { "jsonrpc": "2.0", "id": "1", "method": "tools/call",
          "params": { "name": "time_get_current_time", "arguments": { "timezone": "UTC" } } },
        { "jsonrpc": "2.0", "id": 3, "method": "no/such" },
        { "jsonrpc": "1.0", "id": 4, "method": "ping" },
        { "jsonrpc": "2.0", "id": 5, "method": "initialize", "params": {} },
    ]);
    let reply = post(&alice, &session, None, &batch).await?;
    ensure!(reply.answer.status == 200, "{}", reply.answer.status);
    let outcome = |id: &str| reply.response(id).map(|response| response.error.as_ref().map(|error| error.code));
    ensure!(outcome("1") == Some(None) && outcome("\"1\"") == Some(None), "{:?}", reply.messages);
    ensure!(outcome("3") == Some(Some(-32601)), "{:?}", reply.messages);
    ensure!(outcome("5") == Some(Some(-32600)), "{:?}", reply.messages);
    ensure!(reply.messages.len() == 5, "each request and the bad message has one answer: {:?}", reply.messages);

    let notifications = json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]);
    let reply = post(&alice, &session, None, &notifications).await?;
    ensure!(reply.answer.status == 202 && reply.answer.body.is_empty(), "{}", reply.answer.status);
    for bad in [json!([]), json!(vec![json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }); 65])] {
        let reply = post(&alice, &session, None, &bad).await?;
        ensure!(reply.answer.status == 400, "{}", reply.answer.status);
    }
    Ok(())
}

#[tokio::test]
async fn later_revisions_have_no_batches() -> Result<()> {
    let (_gateway, alice) = stage().await?;
    for revision in ["2025-06-18", "2025-11-25"] {
        let (session, _) = initialize(&alice, revision).await?;
        let batch = json!([{ "jsonrpc": "2.0", "id": 1, "method": "ping" }]);
        let reply = post(&alice, &session, Some(revision), &batch).await?;
        ensure!(reply.answer.status == 400, "{revision}: {}", reply.answer.status);
    }
    Ok(())
}

/// A backend's pages are read to the end, and the client gets pages of our own under cursors that are its alone.
#[tokio::test]
async fn long_lists_come_in_pages_that_only_their_owner_can_turn() -> Result<()> {
    let backends = json!({ "many": odd_stdio("many")?, "time": time_backend()? });
    let gateway = Gateway::with_users(json!({ "backends": backends })).await?;
    let url = gateway.mcp()?;
    let mut alice = Person::log_in(&url, "alice").await?;
    let mut eve = Person::log_in(&url, "eve").await?;
    alice.open().await?;
    eve.open().await?;

    let mut names = Vec::new();
    let mut cursors: Vec<String> = Vec::new();
    loop {
        let params = cursors.last().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
        let page = alice.result("tools/list", params).await?;
        let tools = page["tools"].as_array().context("no tools")?;
        ensure!(!tools.is_empty() && tools.len() <= 1000, "a page of {}", tools.len());
        names.extend(tools.iter().filter_map(|tool| tool["name"].as_str().map(str::to_owned)));
        match page["nextCursor"].as_str() {
            Some(next) => cursors.push(next.to_owned()),
            None => break,
        }
        ensure!(cursors.len() < 10, "the list does not end");
    }
    ensure!(names.len() == 2502, "{} tools", names.len());
    ensure!(names.first().map(String::as_str) == Some("many_tool-0"), "{:?}", names.first());
    ensure!(names.get(2499).map(String::as_str) == Some("many_tool-2499"), "{:?}", names.get(2499));

    let first = cursors.first().context("no cursor")?.clone();
    let again = alice.result("tools/list", json!({ "cursor": first })).await?;
    ensure!(again["tools"][0]["name"] == "many_tool-1000", "{}", again["tools"][0]);
    eve.result("tools/list", json!({})).await?;
    let (code, _) = eve.error("tools/list", json!({ "cursor": first })).await?;
    ensure!(code == -32602, "another owner's cursor: {code}");
    for (method, cursor) in
        [("prompts/list", first.clone()), ("tools/list", format!("{first}A")), ("tools/list", "700".to_owned())]
    {
        let (code, _) = alice.error(method, json!({ "cursor": cursor })).await?;
        ensure!(code == -32602, "{method} with a cursor that is not its: {code}");
    }
    Ok(())
}
