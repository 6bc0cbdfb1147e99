//! Request Metadata of the stateless era (2026-07-28): the headers that repeat the body, checked towards clients and
//! written anew towards backends. The number in the names is the section of the requirements.

use anyhow::{Context, Result, ensure};
use hawser_tests::{Capture, Gateway, MODERN, Modern, Outgoing, Person, Recorder, Speaks, Stage, encode_header};
use serde_json::{Value, json};

const RESTRICTED: [Speaks; 2] = [Speaks::Legacy, Speaks::Modern];

/// An error unless the request is refused as one whose headers are not those of its body.
async fn mismatch(request: &Outgoing) -> Result<()> {
    let mut answer = request.send().await?;
    let response = answer.response().await?;
    let refused = answer.status == 400 && response["error"]["code"] == -32020;
    ensure!(refused, "{}: {response}", answer.status);
    Ok(())
}

#[tokio::test]
async fn r12_method_and_name_must_be_those_of_the_body() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        for (method, params) in [
            ("tools/call", json!({ "name": "test_simple_text" })),
            ("prompts/get", json!({ "name": "test_simple_prompt" })),
            ("resources/read", json!({ "uri": "test://static-text" })),
        ] {
            let good = alice.request(method, params);
            good.send().await?.result().await.with_context(|| format!("{speaks}: {method}"))?;
            for (what, bad) in [
                ("no method", good.clone().header("mcp-method", None)),
                ("another method", good.clone().header("mcp-method", Some("tools/list"))),
                ("the method in capitals", good.clone().header("mcp-method", Some(&method.to_uppercase()))),
                ("an empty method", good.clone().header("mcp-method", Some(""))),
                ("two methods", good.clone().another("mcp-method", method)),
                ("no name", good.clone().header("mcp-name", None)),
                ("another name", good.clone().header("mcp-name", Some("another"))),
                ("an empty name", good.clone().header("mcp-name", Some(""))),
                ("two names", good.clone().another("mcp-name", "another")),
                ("another name encoded", good.clone().header("mcp-name", Some("=?base64?YW5vdGhlcg==?="))),
                ("a name of bad Base64", good.clone().header("mcp-name", Some("=?base64?%%%?="))),
            ] {
                mismatch(&bad).await.with_context(|| format!("{speaks}: {method}: {what}"))?;
            }
            // Of which era is this? Refused before that is asked.
            let versions = good.another("mcp-protocol-version", MODERN).send().await?;
            ensure!(versions.status == 400, "{speaks}: {method}: two versions: {}", versions.status);
        }
        let before = stage.recorder.count("tools/call");
        ensure!(before == 1, "{speaks}: {before} calls reached the backend");
    }
    Ok(())
}

/// Value Encoding and Case Sensitivity.
#[tokio::test]
async fn r12_names_may_be_encoded_and_header_names_have_no_case() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let alice = stage.modern(&stage.log_in("alice").await?)?;
    let good = alice.request("tools/call", json!({ "name": "test_simple_text" }));
    let encoded = good.clone().header("mcp-name", Some("=?base64?dGVzdF9zaW1wbGVfdGV4dA==?="));
    encoded.send().await?.result().await.context("a plain name, encoded")?;
    // The markers are exact: this is a plain value, and not that of the body.
    let shouted = good.header("mcp-name", Some("=?BASE64?dGVzdF9zaW1wbGVfdGV4dA==?="));
    mismatch(&shouted).await.context("the markers in capitals")?;
    for name in ["zażółć", " padded ", "=?base64?literal?="] {
        let request = alice.request("tools/call", json!({ "name": name }));
        let (_, error) = request.send().await?.refused().await?;
        ensure!(error["code"] == -32602, "{name:?}, encoded as {}: {error}", encode_header(name));
    }
    Ok(())
}

/// The tool with parameters that are also headers, and all its headers.
fn call(client: &Modern, tool: &str) -> Outgoing {
    let ship = json!({ "name": "Hawser \u{1f6a2}" });
    let arguments = json!({ "region": "eu-west", "count": 42, "urgent": true, "ship": ship, "note": "n" });
    let request = client.request("tools/call", json!({ "name": tool, "arguments": arguments }));
    request
        .header("Mcp-Param-Region", Some("eu-west"))
        .header("Mcp-Param-Count", Some("42"))
        .header("Mcp-Param-Urgent", Some("true"))
        .header("Mcp-Param-Ship", Some(&encode_header("Hawser \u{1f6a2}")))
}

#[tokio::test]
async fn r12_parameters_in_headers_must_be_those_of_the_arguments() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let alice = stage.modern(&stage.log_in("alice").await?)?;
    let good = call(&alice, "test_header_parameters");
    for (what, request) in [
        ("as it should be", good.clone()),
        ("a number written otherwise", good.clone().header("mcp-param-count", Some("42.0"))),
        ("a plain value encoded", good.clone().header("MCP-PARAM-REGION", Some("=?base64?ZXUtd2VzdA==?="))),
        ("one that no tool names", good.clone().header("mcp-param-unknown", Some("x"))),
    ] {
        request.send().await?.result().await.with_context(|| what.to_owned())?;
    }
    for (what, bad) in [
        ("no string", good.clone().header("mcp-param-region", None)),
        ("another string", good.clone().header("mcp-param-region", Some("us-west"))),
        ("a string in capitals", good.clone().header("mcp-param-region", Some("EU-WEST"))),
        ("another number", good.clone().header("mcp-param-count", Some("43"))),
        ("no number", good.clone().header("mcp-param-count", Some("forty-two"))),
        ("another truth", good.clone().header("mcp-param-urgent", Some("false"))),
        ("a truth in capitals", good.clone().header("mcp-param-urgent", Some("True"))),
        ("nothing for a nested parameter", good.clone().header("mcp-param-ship", None)),
        ("bad Base64", good.clone().header("mcp-param-ship", Some("=?base64?%?="))),
        ("twice", good.clone().another("mcp-param-region", "us-west")),
    ] {
        mismatch(&bad).await.with_context(|| what.to_owned())?;
    }
    let sparse = json!({ "region": "eu", "count": null });
    let request = alice.request("tools/call", json!({ "name": "test_header_parameters", "arguments": sparse }));
    let request = request.header("mcp-param-region", Some("eu"));
    request.send().await?.result().await.context("null and absent arguments have no header")?;
    Ok(())
}

/// Under a prefix: the client names what it sees, the backend gets headers for its own names, from clients of both eras.
#[tokio::test]
async fn r12_headers_are_written_anew_for_the_backends_own_names() -> Result<()> {
    let fixture = hawser_tests::Fixture::start(Speaks::Modern).await?;
    let capture = Capture::new();
    let recorder = Recorder::start(fixture.url(), &capture).await?;
    let gateway = Gateway::with_users(json!({ "backends": { "ship": { "url": recorder.url() } } })).await?;
    let url = gateway.mcp()?;
    let alice = Person::log_in(&url, "alice").await?;
    let modern = Modern::new(&url, Some(alice.token()), &capture)?;
    let legacy = hawser_tests::Legacy::open(&url, Some(alice.token()), json!({}), &capture).await?;

    let request = call(&modern, "ship_test_header_parameters").header("mcp-param-foreign", Some("kept"));
    request.send().await?.result().await?;
    let ship = json!({ "name": "Hawser \u{1f6a2}" });
    let arguments = json!({ "region": "eu-west", "count": 42, "urgent": true, "ship": ship, "note": "n" });
    legacy.result("tools/call", json!({ "name": "ship_test_header_parameters", "arguments": arguments })).await?;
    modern.result("prompts/get", json!({ "name": "ship_test_simple_prompt" })).await?;
    modern.result("resources/read", json!({ "uri": "test://static-text" })).await?;

    let calls = recorder.of_method("tools/call");
    ensure!(calls.len() == 2, "{} calls", calls.len());
    for call in &calls {
        ensure!(call.header("mcp-protocol-version") == MODERN && call.header("mcp-method") == "tools/call");
        ensure!(call.header("mcp-name") == "test_header_parameters", "{:?}", call.headers);
        for (name, value) in [
            ("mcp-param-region", "eu-west"),
            ("mcp-param-count", "42"),
            ("mcp-param-urgent", "true"),
            ("mcp-param-ship", &encode_header("Hawser \u{1f6a2}")),
        ] {
            ensure!(call.header(name) == value, "{name}: {:?}", call.headers);
            ensure!(call.headers.get_all(name).iter().count() == 1, "{name}: {:?}", call.headers);
        }
    }
    ensure!(calls[0].header("mcp-param-foreign") == "kept", "{:?}", calls[0].headers);
    let prompts = recorder.of_method("prompts/get");
    ensure!(prompts[0].header("mcp-name") == "test_simple_prompt", "{:?}", prompts[0].headers);
    let reads = recorder.of_method("resources/read");
    ensure!(reads[0].header("mcp-name") == "test://static-text", "{:?}", reads[0].headers);
    for exchange in recorder.exchanges() {
        ensure!(!exchange.headers.contains_key("authorization") && !exchange.headers.contains_key("mcp-session-id"));
    }
    capture.validate().await
}

/// Every request to a backend of the stateless era carries what it must, whoever caused it.
#[tokio::test]
async fn r12_every_request_to_a_modern_backend_is_dressed() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let alice = stage.log_in("alice").await?;
    let legacy = stage.legacy(&alice, json!({ "roots": {} })).await?;
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        legacy.result(method, json!({})).await?;
    }
    legacy.result("logging/setLevel", json!({ "level": "info" })).await?;
    legacy.result("resources/subscribe", json!({ "uri": "test://watched-resource" })).await?;
    legacy.result("resources/read", json!({ "uri": "test://template/%C5%BC/data" })).await?;
    legacy.result("tools/call", json!({ "name": "test_tool_with_logging" })).await?;
    let mut seen = 0;
    for exchange in stage.recorder.exchanges() {
        // The first question of all may be put in either era's words.
        if exchange.method() == "initialize" || exchange.message.is_null() {
            continue;
        }
        seen += 1;
        let (method, params) = (exchange.method(), &exchange.message["params"]);
        ensure!(exchange.header("mcp-method") == method, "{method}: {:?}", exchange.headers);
        ensure!(exchange.header("mcp-protocol-version") == MODERN, "{method}: {:?}", exchange.headers);
        let accept = exchange.header("accept");
        ensure!(accept.contains("application/json") && accept.contains("text/event-stream"), "{method}: {accept}");
        let meta = &params["_meta"];
        ensure!(meta["io.modelcontextprotocol/protocolVersion"] == MODERN, "{method}: {params}");
        let named = params.get("name").or_else(|| params.get("uri")).and_then(Value::as_str);
        if ["tools/call", "resources/read"].contains(&method) {
            let named = named.map(encode_header).unwrap_or_default();
            ensure!(exchange.header("mcp-name") == named, "{method}: {:?}", exchange.headers);
            let capabilities = &meta["io.modelcontextprotocol/clientCapabilities"];
            ensure!(capabilities["roots"].is_object() && capabilities.get("sampling").is_none(), "{method}: {params}");
            ensure!(meta["io.modelcontextprotocol/logLevel"] == "info", "{method}: {params}");
        }
    }
    ensure!(seen >= 7, "{seen} requests");
    ensure!(stage.recorder.count("resources/subscribe") + stage.recorder.count("logging/setLevel") == 0);
    stage.capture.validate().await
}
