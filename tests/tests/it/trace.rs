//! What passes in `_meta`: trace context with a span of the gateway's own, foreign keys both ways, and none of the keys
//! that belong to one side of the gateway.

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hawser_tests::{Capture, Gateway, Legacy, MODERN, Modern, Person, Side, Speaks, Stage};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const RESTRICTED: [Speaks; 2] = [Speaks::Legacy, Speaks::Modern];
const KEY: &str = "io.modelcontextprotocol/";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The metadata and headers of a call as the fixture got them, from a client of each era.
async fn echoed(stage: &Stage, person: &Person, meta: &Value) -> Result<[Value; 2]> {
    let call = json!({ "name": "test_echo_request", "arguments": {}, "_meta": meta });
    let modern = stage.modern(person)?.result("tools/call", call.clone()).await?;
    let legacy = stage.legacy(person, json!({})).await?.result("tools/call", call).await?;
    let echo = |result: Value| result.get("structuredContent").cloned().with_context(|| format!("no echo: {result}"));
    Ok([echo(modern)?, echo(legacy)?])
}

/// W3C Trace Context: the same trace, a new parent that is the gateway's own span, the rest as it was.
#[tokio::test]
async fn trace_context_is_forwarded_with_a_child_span() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        let meta = json!({ "traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "user=ada" });
        let mut spans = Vec::new();
        for echo in echoed(&stage, &alice, &meta).await? {
            let parent = echo["meta"]["traceparent"].as_str().with_context(|| format!("{speaks}: {echo}"))?;
            let parts: Vec<&str> = parent.split('-').collect();
            ensure!(parts.len() == 4 && parts[0] == "00" && parts[3] == "01", "{speaks}: {parent}");
            ensure!(parts[1] == "0af7651916cd43dd8448eb211c80319c", "{speaks}: another trace: {parent}");
            let hexadecimal = parts[2].bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            ensure!(parts[2].len() == 16 && hexadecimal && parts[2] != "0000000000000000", "{speaks}: {parent}");
            ensure!(parts[2] != "b7ad6b7169203331", "{speaks}: no span of the gateway's own: {parent}");
            ensure!(echo["meta"]["tracestate"] == "a=1,b=2" && echo["meta"]["baggage"] == "user=ada", "{echo}");
            spans.push(parts[2].to_owned());
        }
        ensure!(spans[0] != spans[1], "{speaks}: two calls share a span");
    }
    Ok(())
}

/// A trace parent that is none is no parent of a span.
#[tokio::test]
async fn a_malformed_trace_parent_gets_no_child() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let alice = stage.log_in("alice").await?;
    for bad in ["", "00-0-0-0", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &PARENT.to_uppercase()] {
        for echo in echoed(&stage, &alice, &json!({ "traceparent": bad, "com.example/x": 1 })).await? {
            let found = echo["meta"].get("traceparent");
            ensure!(found.is_none_or(|found| found == bad), "{bad:?} became {found:?}");
            ensure!(echo["meta"]["com.example/x"] == 1, "{echo}");
        }
    }
    Ok(())
}

/// Foreign keys reach the backend as they are; of the protocol's own, a backend gets what its own era has, from the
/// gateway; and nothing of the client's connection.
#[tokio::test]
async fn a_backend_gets_foreign_keys_and_no_key_of_the_other_side() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        let foreign = json!({ "deep": [1, 2.50, null], "text": "zażółć" });
        let meta = json!({ "com.example/foreign": foreign, "bare": true, "x/y": "z" });
        for echo in echoed(&stage, &alice, &meta).await? {
            let found = &echo["meta"];
            ensure!(found["com.example/foreign"] == foreign && found["bare"] == true && found["x/y"] == "z", "{echo}");
            let protocol: Vec<&str> =
                found.as_object().into_iter().flatten().filter_map(|(key, _)| key.strip_prefix(KEY)).collect();
            if speaks == Speaks::Legacy {
                ensure!(protocol.is_empty(), "of the other era: {found}");
            } else {
                ensure!(found[format!("{KEY}protocolVersion")] == MODERN, "{found}");
                ensure!(protocol.contains(&"clientCapabilities") && !protocol.contains(&"logLevel"), "{found}");
            }
            let headers = echo["headers"].as_object().context("no headers")?;
            ensure!(!headers.contains_key("authorization"), "the client's credential: {headers:?}");
            ensure!(!echo.to_string().contains(alice.token()), "the client's token reached the backend");
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// A client cannot speak for others: what only servers say of themselves and their streams is not passed on from it.
#[tokio::test]
async fn a_client_cannot_say_what_only_servers_say() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        let claims = json!({
            "io.modelcontextprotocol/subscriptionId": "someone else's",
            "io.modelcontextprotocol/serverInfo": { "name": "not me", "version": "1" },
            "com.example/x": 1,
        });
        let [modern, legacy] = echoed(&stage, &alice, &claims).await?;
        let echoes = if speaks == Speaks::Modern { vec![modern, legacy] } else { vec![modern] };
        for echo in echoes {
            ensure!(!echo.to_string().contains("someone else's"), "{speaks}: {echo}");
            ensure!(!echo.to_string().contains("not me"), "{speaks}: {echo}");
            ensure!(echo["meta"]["com.example/x"] == 1, "{echo}");
        }
    }
    Ok(())
}

/// A backend of one era whose every result carries metadata.
async fn marked_backend(speaks: Speaks) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let router = Router::new().fallback(move |headers, body| async move { marked(speaks, &headers, &body) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

fn marked(speaks: Speaks, headers: &HeaderMap, body: &Bytes) -> Response {
    let message: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(id) = message.get("id") else { return StatusCode::ACCEPTED.into_response() };
    let modern = headers.get("mcp-protocol-version").is_some_and(|version| version == MODERN);
    if modern != (speaks == Speaks::Modern) && message["method"] != "initialize" {
        return (StatusCode::BAD_REQUEST, "what is this?").into_response();
    }
    let info = json!({ "name": "marked", "version": "1" });
    let mut result = match message["method"].as_str().unwrap_or_default() {
        "initialize" if speaks == Speaks::Modern => return StatusCode::BAD_REQUEST.into_response(),
        "initialize" => json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": info }),
        "server/discover" => json!({ "supportedVersions": [MODERN], "capabilities": { "tools": {} } }),
        "tools/list" => json!({ "tools": [{ "name": "act", "inputSchema": { "type": "object" } }] }),
        _ => json!({ "content": [{ "type": "text", "text": "acted", "_meta": { "com.example/block": 1 } }] }),
    };
    result["_meta"] = json!({ "com.example/reply": { "exact": 1.50 } });
    if modern {
        result["_meta"][format!("{KEY}serverInfo")] = info;
        result["resultType"] = json!("complete");
        if message["method"] != "tools/call" {
            (result["ttlMs"], result["cacheScope"]) = (json!(0), json!("public"));
        }
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Foreign keys of a backend's results reach the client; that by which servers name themselves does not.
#[tokio::test]
async fn a_client_gets_foreign_keys_and_no_key_of_the_other_side() -> Result<()> {
    for speaks in RESTRICTED {
        let backend = marked_backend(speaks).await?;
        let gateway = Gateway::with_users(json!({ "backends": { "marked": { "url": backend } } })).await?;
        let url = gateway.mcp()?;
        let alice = Person::log_in(&url, "alice").await?;
        let capture = Capture::new();
        let modern = Modern::new(&url, Some(alice.token()), &capture)?;
        let legacy = Legacy::open(&url, Some(alice.token()), json!({}), &capture).await?;
        let call = json!({ "name": "marked_act", "arguments": {} });
        for result in [modern.result("tools/call", call.clone()).await?, legacy.result("tools/call", call).await?] {
            ensure!(result["_meta"]["com.example/reply"]["exact"] == 1.5, "{speaks}: {result}");
            ensure!(result["content"][0]["_meta"]["com.example/block"] == 1, "{speaks}: {result}");
            let server = result["_meta"].get(format!("{KEY}serverInfo"));
            ensure!(server.is_none_or(|info| info["name"] != "marked"), "{speaks}: the backend's own: {result}");
        }
        ensure!(capture.count(Side::Client, "tools/call") == 2);
        capture.validate().await?;
    }
    Ok(())
}
