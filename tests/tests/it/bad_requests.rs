//! Requests that no proper client sends. Each gets the status that says what is wrong, and the session goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Person, RawAnswer, exchange, odd_stdio, until};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(10);

struct Stage {
    gateway: Gateway,
    alice: Person,
}

async fn stage() -> Result<Stage> {
    let gateway = Gateway::with_users(json!({ "backends": { "odd": odd_stdio("well")? } })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    Ok(Stage { gateway, alice })
}

impl Stage {
    /// A proper request to the endpoint, to be spoilt by the caller.
    fn request(&self, method: Method) -> Result<reqwest::RequestBuilder> {
        let request = self.alice.mcp().wire().request(method, self.alice.mcp().url());
        Ok(request
            .bearer_auth(self.alice.token())
            .header("mcp-session-id", self.alice.session_id()?)
            .header("mcp-protocol-version", "2025-11-25")
            .header("accept", "application/json, text/event-stream"))
    }

    /// POSTs a body as JSON.
    async fn post(&self, body: impl Into<reqwest::Body>) -> Result<(u16, Value)> {
        let request = self.request(Method::POST)?.header("content-type", "application/json").body(body);
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let text = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or(&text);
        Ok((status, serde_json::from_str(text).unwrap_or(Value::Null)))
    }

    /// A request as bytes: the given header lines after the ones that every proper request has, then a `ping`.
    async fn raw(&self, leave_out: &str, lines: &str) -> Result<RawAnswer> {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let own = [
            format!("Host: {}", self.gateway.address()?),
            format!("Authorization: Bearer {}", self.alice.token()),
            format!("Mcp-Session-Id: {}", self.alice.session_id()?),
            "MCP-Protocol-Version: 2025-11-25".to_owned(),
            "Accept: application/json, text/event-stream".to_owned(),
            "Content-Type: application/json".to_owned(),
            format!("Content-Length: {}", body.len()),
            "Connection: close".to_owned(),
        ];
        let kept = own.iter().filter(|line| leave_out.is_empty() || !line.starts_with(leave_out));
        let kept: Vec<&str> = kept.map(String::as_str).collect();
        let request = format!("POST /mcp HTTP/1.1\r\n{}\r\n{lines}\r\n{body}", kept.join("\r\n"));
        exchange(&self.gateway.address()?, request.as_bytes()).await
    }

    /// Nothing that was sent did any harm.
    async fn goes_on(mut self) -> Result<()> {
        let tools = self.alice.tools().await.with_context(|| self.gateway.log())?;
        ensure!(tools == ["odd_act"], "{tools:?}");
        Ok(())
    }
}

#[tokio::test]
async fn what_is_not_json_is_refused_as_such() -> Result<()> {
    let stage = stage().await?;
    let nul = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\u{0}\"}";
    for body in
        ["", "{", "nonsense", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", "{'a':1}", "NaN", nul, "{} {}"]
    {
        let (status, answer) = stage.post(body).await?;
        ensure!(status == 400, "{body:?}: {status} {answer}");
        ensure!(answer["error"]["code"] == -32700 || answer["error"]["code"] == -32600, "{body:?}: {answer}");
    }
    let (status, answer) = stage.post(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}".to_vec()).await?;
    ensure!(status == 400, "not UTF-8: {status} {answer}");
    stage.goes_on().await
}

#[tokio::test]
async fn json_that_is_not_json_rpc_is_refused_as_such() -> Result<()> {
    let stage = stage().await?;
    let bodies = [
        json!(5),
        json!("text"),
        json!(null),
        json!({}),
        json!({ "id": 1, "method": "ping" }),
        json!({ "jsonrpc": "1.0", "id": 1, "method": "ping" }),
        json!({ "jsonrpc": 2.0, "id": 1, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": { "a": 1 }, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": [1], "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": true, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": null, "method": "ping" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": 5 }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": "text" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": 5 }),
        json!({ "jsonrpc": "2.0", "id": 1 }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {}, "error": { "code": 1, "message": "" } }),
        json!([]),
    ];
    for body in bodies {
        let (status, answer) = stage.post(body.to_string()).await?;
        ensure!(status == 400, "{body}: {status} {answer}");
        ensure!(answer["error"]["code"] == -32600, "{body}: {answer}");
    }
    stage.goes_on().await
}

/// Two readers of one message must not see two different messages.
#[tokio::test]
async fn a_member_that_is_there_twice_is_refused() -> Result<()> {
    let stage = stage().await?;
    let bodies = [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"odd_act","name":"odd_other"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"odd_act","Name":"odd_other"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"m\\u0065thod\":\"tools/list\"}",
    ];
    for body in bodies {
        let (status, answer) = stage.post(body).await?;
        ensure!(answer["error"]["code"].is_i64(), "{body}: {status} {answer}");
        ensure!(answer["result"].is_null(), "{body}: {answer}");
    }
    stage.goes_on().await
}

#[tokio::test]
async fn what_is_nested_too_deep_is_refused() -> Result<()> {
    let stage = stage().await?;
    for depth in [100, 1_000, 100_000] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"odd_act","arguments":{"a":"#;
        for body in [deep.clone(), format!("{call}{deep}}}}}}}"), "{\"a\":".repeat(depth)] {
            let (status, answer) = stage.post(body).await?;
            ensure!(status == 400 && answer["error"]["code"].is_i64(), "{depth} deep: {status} {answer}");
        }
    }
    stage.goes_on().await
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_413() -> Result<()> {
    let stage = stage().await?;
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "x": "y".repeat(5 << 20) } }).to_string();
    let response = stage.request(Method::POST)?.header("content-type", "application/json").body(body).send().await;
    // The server may answer and close before it has read everything; then sending fails instead.
    if let Ok(response) = response {
        ensure!(response.status() == 413, "{}", response.status());
    }
    // Said in advance, it is refused before anything is sent.
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nMcp-Session-Id: {}\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n\
         Content-Length: 5242880\r\nConnection: close\r\n\r\n",
        stage.gateway.address()?,
        stage.alice.token(),
        stage.alice.session_id()?,
    );
    let refused = exchange(&stage.gateway.address()?, head.as_bytes()).await?;
    ensure!(refused.status == 413, "{refused:?}");
    stage.goes_on().await
}

#[tokio::test]
async fn an_unknown_method_gets_method_not_found() -> Result<()> {
    let stage = stage().await?;
    for method in ["no/such", "tools/CALL", "initialize2", "rpc.discover", "server/discover"] {
        let (status, answer) = stage.post(json!({ "jsonrpc": "2.0", "id": 1, "method": method }).to_string()).await?;
        ensure!(answer["error"]["code"] == -32601, "{method:?}: {status} {answer}");
        // On a legacy session 404 would mean that the session is gone.
        ensure!(status != 404, "{method:?}: {status}");
    }
    stage.goes_on().await
}

#[tokio::test]
async fn parameters_of_the_wrong_type_get_invalid_params() -> Result<()> {
    let stage = stage().await?;
    let bad = [
        ("tools/call", json!({})),
        ("tools/call", json!({ "name": 5 })),
        ("tools/call", json!({ "name": null })),
        ("tools/call", json!({ "name": ["odd_act"] })),
        ("tools/call", json!([])),
        ("tools/call", json!({ "name": "" })),
        ("tools/call", json!({ "name": "odd_no_such_tool" })),
        ("tools/call", json!({ "name": "nobody_act" })),
        ("tools/call", json!({ "name": "x".repeat(100_000) })),
        ("prompts/get", json!({ "name": 5 })),
        ("resources/read", json!({ "uri": {} })),
        ("tools/list", json!({ "cursor": 5 })),
        ("tools/list", json!({ "cursor": "made up" })),
        ("logging/setLevel", json!({ "level": "loud" })),
    ];
    for (method, params) in bad {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let (status, answer) = stage.post(body).await?;
        let code = answer["error"]["code"].as_i64();
        ensure!(matches!(code, Some(-32602..=-32600)), "{method} {params:.80}: {status} {answer}");
        ensure!(status != 404, "{method} {params:.80}: {status}");
    }
    stage.goes_on().await
}

#[tokio::test]
async fn a_second_initialize_on_a_session_changes_nothing() -> Result<()> {
    let stage = stage().await?;
    let params =
        json!({ "protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
    let (status, answer) = stage.post(body.to_string()).await?;
    // A client-sent id is never adopted: either a new session is given, or the request is refused.
    ensure!(status == 200 || status == 400, "{status} {answer}");
    stage.goes_on().await
}

#[tokio::test]
async fn a_wrong_content_type_gets_415() -> Result<()> {
    let stage = stage().await?;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    for wrong in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data", ""] {
        let response = stage.request(Method::POST)?.header("content-type", wrong).body(body.clone()).send().await?;
        ensure!(response.status() == 415, "{wrong:?}: {}", response.status());
    }
    let response = stage.request(Method::POST)?.body(body.clone()).send().await?;
    ensure!(response.status() == 415, "none: {}", response.status());
    let right = stage.request(Method::POST)?.header("content-type", "Application/JSON; charset=utf-8").body(body);
    let response = right.send().await?;
    ensure!(response.status() == 200, "letter case and parameters: {}", response.status());
    stage.goes_on().await
}

#[tokio::test]
async fn an_answer_type_that_is_not_accepted_gets_406() -> Result<()> {
    let stage = stage().await?;
    let post = stage.raw("Accept", "Accept: text/html\r\n").await?;
    ensure!(post.status == 406, "POST: {post:?}");
    let url = stage.alice.mcp().url();
    let get = stage.alice.mcp().wire().request(Method::GET, url).bearer_auth(stage.alice.token());
    let get =
        get.header("mcp-session-id", stage.alice.session_id()?).header("accept", "application/json").send().await?;
    ensure!(get.status() == 406, "GET: {}", get.status());
    stage.goes_on().await
}

#[tokio::test]
async fn other_http_methods_get_405() -> Result<()> {
    let stage = stage().await?;
    for method in [Method::PUT, Method::PATCH, Method::TRACE] {
        let response = stage.request(method.clone())?.send().await?;
        ensure!(response.status() == 405, "{method}: {}", response.status());
        let allow = response.headers().get("allow").and_then(|allow| allow.to_str().ok()).unwrap_or_default();
        for allowed in ["POST", "GET", "DELETE"] {
            ensure!(allow.contains(allowed), "{method}: Allow is {allow:?}");
        }
    }
    stage.goes_on().await
}

/// RS5 for the credential; the same for everything that decides where a request goes.
#[tokio::test]
async fn rs5_headers_that_are_there_twice_are_refused() -> Result<()> {
    let stage = stage().await?;
    let (token, session) = (stage.alice.token().to_owned(), stage.alice.session_id()?.to_owned());
    let twice = [
        ("Authorization", format!("Authorization: Bearer {token}\r\n"), &[400, 401][..]),
        ("Mcp-Session-Id", format!("Mcp-Session-Id: {session}\r\n"), &[400]),
        ("MCP-Protocol-Version", "MCP-Protocol-Version: 2025-11-25\r\n".to_owned(), &[400]),
        ("Content-Type", "Content-Type: application/json\r\n".to_owned(), &[400]),
        ("Host", format!("Host: {}\r\n", stage.gateway.address()?), &[400]),
    ];
    for (name, line, wanted) in twice {
        let refused = stage.raw("", &line).await?;
        ensure!(wanted.contains(&refused.status), "{name} twice: {refused:?}");
    }
    let good = stage.raw("", "").await?;
    ensure!(good.status == 200, "the request without duplicates: {good:?}");
    stage.goes_on().await
}

#[tokio::test]
async fn a_protocol_version_that_is_not_one_gets_400() -> Result<()> {
    let stage = stage().await?;
    for bad in ["2024-11-05", "2025-06-19", "latest", "2025-11-25, 2025-06-18", "\u{201c}2025-11-25\u{201d}"] {
        let refused = stage.raw("MCP-Protocol-Version", &format!("MCP-Protocol-Version: {bad}\r\n")).await?;
        ensure!(refused.status == 400, "{bad}: {refused:?}");
    }
    stage.goes_on().await
}

#[tokio::test]
async fn a_request_without_a_session_gets_400() -> Result<()> {
    let stage = stage().await?;
    let refused = stage.raw("Mcp-Session-Id", "").await?;
    ensure!(refused.status == 400, "{refused:?}");
    stage.goes_on().await
}

#[tokio::test]
async fn credentials_that_are_none_get_401_with_the_way_to_log_in() -> Result<()> {
    let stage = stage().await?;
    let token = stage.alice.token().to_owned();
    let bad = [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer nonsense\r\n".to_owned(),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: Bearer {token}x\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("Authorization: Bearer {}\r\n", "a".repeat(20_000)),
        "Authorization: Bearer a.b.c\r\n".to_owned(),
        format!("X-Authorization: Bearer {token}\r\n"),
    ];
    for line in bad {
        let refused = stage.raw("Authorization", &line).await?;
        let shown: String = line.chars().take(40).collect();
        ensure!(refused.status == 401, "{shown:?}: {refused:?}");
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        ensure!(
            challenge.contains("Bearer") && challenge.contains("resource_metadata=\"http"),
            "{shown:?}: {challenge}"
        );
    }
    // RS4: the scheme's letter case does not matter.
    let accepted = stage.raw("Authorization", &format!("Authorization: bEaReR {token}\r\n")).await?;
    ensure!(accepted.status == 200, "{accepted:?}");
    stage.goes_on().await
}

/// RS3: a token in the address is not a credential.
#[tokio::test]
async fn rs3_a_token_in_the_query_is_ignored() -> Result<()> {
    let stage = stage().await?;
    let mut url = stage.alice.mcp().url().clone();
    url.query_pairs_mut().append_pair("access_token", stage.alice.token());
    let request = stage.alice.mcp().wire().request(Method::POST, &url);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    let refused = request.header("accept", "application/json, text/event-stream").json(&body).send().await?;
    ensure!(refused.status() == 401, "{}", refused.status());
    stage.goes_on().await
}

#[tokio::test]
async fn a_page_of_another_origin_and_a_rebound_name_are_refused_with_403() -> Result<()> {
    let stage = stage().await?;
    for origin in ["http://evil.example.com", "null", "http://127.0.0.1.evil.example.com", "file://"] {
        let refused = stage.raw("", &format!("Origin: {origin}\r\n")).await?;
        ensure!(refused.status == 403, "Origin {origin}: {refused:?}");
    }
    let refused = stage.raw("Host", "Host: evil.example.com\r\n").await?;
    ensure!(refused.status == 403, "{refused:?}");
    let own = format!("Origin: {}\r\n", stage.gateway.url());
    let accepted = stage.raw("", &own).await?;
    ensure!(accepted.status == 200, "the gateway's own origin: {accepted:?}");
    stage.goes_on().await
}

#[tokio::test]
async fn bytes_that_are_not_http_are_answered_or_closed_and_harm_nobody() -> Result<()> {
    let stage = stage().await?;
    let address = stage.gateway.address()?;
    let huge = format!("GET /mcp HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(2 << 20));
    let many = format!("GET /mcp HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(20_000));
    let smuggled = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
    );
    for bytes in [
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &huge,
        &many,
        &smuggled,
    ] {
        if let Ok(answer) = exchange(&address, bytes.as_bytes()).await {
            let shown: String = bytes.chars().take(40).collect();
            ensure!((400..500).contains(&answer.status), "{shown:?}: {answer:?}");
        }
    }
    stage.goes_on().await
}

/// No byte of any token that was used may be in the log.
#[tokio::test]
async fn no_credential_is_in_the_log() -> Result<()> {
    let mut stage = stage().await?;
    let mut secrets = vec![stage.alice.token().to_owned(), stage.alice.session_id()?.to_owned()];
    secrets.extend(stage.alice.grant().tokens.refresh.as_ref().map(|token| token.expose().to_owned()));
    stage.alice.refresh().await?;
    secrets.push(stage.alice.token().to_owned());
    stage.raw("Authorization", &format!("Authorization: Bearer {}x\r\n", stage.alice.token())).await?;
    stage.raw("Mcp-Session-Id", &format!("Mcp-Session-Id: {}x\r\n", stage.alice.session_id()?)).await?;
    let log = stage.gateway.log();
    for secret in secrets {
        ensure!(!log.contains(&secret), "a credential is in the log");
        // Nor the part of it that makes it valid.
        let tail = secret.get(secret.len().saturating_sub(24)..).unwrap_or(&secret);
        ensure!(!log.contains(tail), "the end of a credential is in the log");
    }
    stage.goes_on().await
}

/// A client may send the head of a request before its body, and be refused in between: what it sends next on the connection,
/// which nobody said would close, is answered all the same.
#[tokio::test]
async fn a_refusal_before_the_body_leaves_the_connection_to_the_next_request() -> Result<()> {
    let gateway = Gateway::with_users(json!({ "backends": { "odd": odd_stdio("well")? } })).await?;
    let address = gateway.address()?;
    let mut connection = tokio::net::TcpStream::connect(&address).await?;
    connection.set_nodelay(true)?;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..3 {
        let refusals = || gateway.log().matches("no credential was presented").count();
        let before = refusals();
        connection.write_all(head.as_bytes()).await?;
        until("the refusal", SOON, async || Ok((refusals() > before).then_some(()))).await?;
        connection.write_all(body.as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(SOON, connection.read(&mut answer)).await??;
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 401"), "not answered: {answer:?}");
        ensure!(!answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    Ok(())
}
