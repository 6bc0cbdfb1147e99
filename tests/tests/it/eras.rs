//! The edge of the stateless era (2026-07-28), rule by rule, beside the session era on one endpoint. The numbers in the
//! names are the sections of the requirements: 1.1 transport, 1.3 versions, methods, results and errors.

use anyhow::{Context, Result, ensure};
use hawser_tests::{Legacy, MODERN, Modern, Outgoing, Speaks, Stage};
use serde_json::{Value, json};

const RESTRICTED: [Speaks; 2] = [Speaks::Legacy, Speaks::Modern];

fn nothing() -> Value {
    json!({})
}

/// HTTP status and error code of a request that must be refused, and its id, which must come back as it was.
async fn refused(request: &Outgoing) -> Result<(u16, i64)> {
    let mut answer = request.send().await?;
    let response = answer.response().await?;
    ensure!(response["id"] == *request.id(), "the id came back changed: {response}");
    let code = response.pointer("/error/code").and_then(Value::as_i64);
    Ok((answer.status.as_u16(), code.with_context(|| format!("{}: not refused: {response}", answer.status))?))
}

/// The checks of Request Metadata and of `_meta`, in their order: each fault is found although every later one is there too.
#[tokio::test]
async fn r13_faults_are_found_in_the_order_of_the_specification() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        // Every fault but the first ones: an unknown method under a false name.
        let wrong = alice.request("no/such", nothing()).header("mcp-method", Some("tools/list"));
        let unsupported = wrong
            .clone()
            .header("mcp-protocol-version", Some("2099-01-01"))
            .meta("protocolVersion", Some(json!("2099-01-01")));
        let unequal = unsupported.clone().meta("protocolVersion", Some(json!("2098-01-01")));
        let bare = unequal.clone().meta("clientCapabilities", None);
        let headerless = bare.clone().header("mcp-protocol-version", None);
        for (fault, request, expected) in [
            ("no version header", &headerless, (400, -32020)),
            ("no capabilities in _meta", &bare, (400, -32602)),
            ("header and _meta differ", &unequal, (400, -32020)),
            ("unsupported", &unsupported, (400, -32022)),
            ("unknown method", &wrong.clone().header("mcp-method", Some("no/such")), (404, -32601)),
            (
                "no version in _meta",
                &alice.request("tools/list", nothing()).meta("protocolVersion", None),
                (400, -32602),
            ),
            (
                "the header alone names the era",
                &alice.request("tools/list", nothing()).meta("protocolVersion", None).meta("clientCapabilities", None),
                (400, -32602),
            ),
            (
                "capabilities that are no object",
                &alice.request("tools/list", nothing()).meta("clientCapabilities", Some(json!(true))),
                (400, -32602),
            ),
            ("no Mcp-Method", &alice.request("tools/list", nothing()).header("mcp-method", None), (400, -32020)),
        ] {
            let found = refused(request).await.with_context(|| format!("{speaks}: {fault}"))?;
            ensure!(found == expected, "{speaks}: {fault}: {found:?} instead of {expected:?}");
        }
        let nameless = alice.request("tools/list", nothing()).meta("clientInfo", None);
        nameless.send().await?.result().await.context("clientInfo is not required")?;
    }
    Ok(())
}

#[tokio::test]
async fn r13_an_unsupported_version_is_told_what_discover_tells() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.modern(&stage.log_in("alice").await?)?;
    let discovered = alice.result("server/discover", nothing()).await?;
    let versions = discovered["supportedVersions"].as_array().context("no supportedVersions")?;
    ensure!(versions.contains(&json!(MODERN)), "{discovered}");
    for asked in ["2099-01-01", "DRAFT-2026-v1", "2025-11-25"] {
        let request = alice.request("tools/list", nothing()).header("mcp-protocol-version", Some(asked));
        let (status, error) = request.meta("protocolVersion", Some(json!(asked))).send().await?.refused().await?;
        ensure!(status == 400 && error["code"] == -32022, "{asked}: {status} {error}");
        ensure!(error["data"]["requested"] == asked, "{error}");
        let supported = error["data"]["supported"].as_array().context("no supported versions")?;
        ensure!(supported.contains(&json!(MODERN)), "{error}");
        ensure!(supported.iter().all(|version| versions.contains(version)), "{error} against {discovered}");
    }
    stage.capture.validate().await
}

#[tokio::test]
async fn r13_methods_of_the_session_era_are_unknown_in_the_stateless_one() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        for method in [
            "initialize",
            "ping",
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
            "tasks/result",
            "tasks/list",
            "roots/list",
            "sampling/createMessage",
            "elicitation/create",
            "TOOLS/LIST",
        ] {
            let params = json!({ "level": "info", "uri": "test://static-text" });
            let request = alice.request(method, params).header("mcp-method", Some(method));
            let found = refused(&request).await.with_context(|| format!("{speaks}: {method:?}"))?;
            ensure!(found == (404, -32601), "{speaks}: {method:?}: {found:?}");
        }
        ensure!(stage.recorder.count("ping") == 0, "a removed method reached the backend");
    }
    Ok(())
}

/// Earlier Streamable HTTP Revisions: session ids and event ids are ignored, and none are given out.
#[tokio::test]
async fn r11_session_ids_and_event_ids_mean_nothing_and_are_never_given_out() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let session = stage.legacy(&alice, nothing()).await?;
        let id = session.session().context("no session id")?.to_owned();
        for (person, presented) in [(&alice, id.as_str()), (&eve, id.as_str()), (&eve, "no-such-session")] {
            let modern = stage.modern(person)?;
            for (method, params) in
                [("tools/list", nothing()), ("tools/call", json!({ "name": "test_tool_with_progress" }))]
            {
                let request = modern.request(method, params).header("mcp-session-id", Some(presented));
                let request = request.header("last-event-id", Some("1"));
                let mut answer = request.bare_meta("progressToken", Some(json!("p"))).send().await?;
                ensure!(answer.status == 200 && answer.header("mcp-session-id").is_empty(), "{:?}", answer.headers);
                if answer.is_stream() {
                    while let Some(event) = answer.event().await? {
                        ensure!(event.id.is_none() && event.retry.is_none(), "{event:?}");
                    }
                } else {
                    answer.result().await?;
                }
            }
        }
        session.result("tools/list", nothing()).await.context("the session suffered")?;
    }
    Ok(())
}

#[tokio::test]
async fn r11_get_and_delete_are_of_the_session_era_alone() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let session = stage.legacy(&alice, nothing()).await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    for verb in [reqwest::Method::GET, reqwest::Method::DELETE, reqwest::Method::PUT] {
        let request = http.request(verb.clone(), stage.url().clone()).bearer_auth(alice.token());
        let request = request.header("accept", "text/event-stream").header("mcp-protocol-version", MODERN);
        let answer = request.header("mcp-session-id", session.session().unwrap_or_default()).send().await?;
        ensure!(answer.status() == 405, "{verb}: {}", answer.status());
        ensure!(answer.headers().get("allow").is_some_and(|allow| !allow.is_empty()), "{verb}: no Allow");
    }
    session.result("tools/list", nothing()).await.context("the session suffered")?;
    let stream = session.stream(None).await?;
    ensure!(stream.status == 200 && stream.is_stream(), "GET of the session era: {}", stream.status);
    drop(stream);
    let deleted = session.delete().await?;
    ensure!(deleted.is_success(), "DELETE of the session era: {deleted}");
    ensure!(session.request("tools/list", nothing()).await?.status == 404, "the session goes on after DELETE");
    Ok(())
}

/// Sending Messages: one request or notification in each POST, and never a response.
#[tokio::test]
async fn r11_a_body_is_one_request() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let person = stage.log_in("alice").await?;
    let alice = stage.modern(&person)?;
    let request = alice.request("tools/list", nothing());
    let http = reqwest::Client::builder().no_proxy().build()?;
    let good = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
    } } });
    for body in [
        json!([good]).to_string(),
        json!([]).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "action": "accept" } }).to_string(),
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": 1, "message": "m" } }).to_string(),
        good.to_string().replace("\"id\":1", "\"id\":null"),
        good.to_string().replace("\"id\":1", "\"id\":1.5"),
        good.to_string().replace("\"id\":1", "\"id\":{}"),
        good.to_string().replace("\"id\":1", "\"id\":1,\"id\":2"),
        good.to_string().replace("2.0", "1.0"),
        "{".to_owned(),
        String::new(),
    ] {
        let post = http.post(stage.url().clone()).bearer_auth(person.token());
        let post = post.header("content-type", "application/json").header("mcp-protocol-version", MODERN);
        let post = post.header("accept", "application/json, text/event-stream").header("mcp-method", "tools/list");
        let answer = post.body(body.clone()).send().await?;
        ensure!(answer.status() == 400, "{body}: {}", answer.status());
    }
    for (name, value, status) in [("content-type", "text/plain", 415), ("accept", "application/json", 406)] {
        let answer = request.clone().header(name, Some(value)).send().await?;
        ensure!(answer.status == status, "{name}: {value}: {}", answer.status);
    }
    let foreign = request.clone().header("origin", Some("https://evil.example.com")).send().await?;
    ensure!(foreign.status == 403, "a foreign Origin: {}", foreign.status);
    ensure!(stage.recorder.count("tools/list") <= 1, "something of it reached the backend");
    Ok(())
}

#[tokio::test]
async fn r13_ids_come_back_as_they_were() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        for id in
            [json!(0), json!(-7), json!(9_007_199_254_740_991_i64), json!("7"), json!(""), json!("ż \" \\ \u{1f980}")]
        {
            for (method, params) in
                [("tools/call", json!({ "name": "test_simple_text" })), ("tools/call", json!({ "name": "no such" }))]
            {
                let response =
                    alice.request(method, params).member("id", Some(id.clone())).send().await?.response().await?;
                ensure!(response["id"] == id, "{speaks}: {id} came back in {response}");
            }
        }
    }
    Ok(())
}

/// Both eras at once, on one endpoint, each by its own rules, over a backend of either.
#[tokio::test]
async fn r13_both_eras_are_served_at_once_on_one_endpoint() -> Result<()> {
    for speaks in Speaks::ALL {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let modern = [stage.modern(&alice)?, stage.modern(&eve)?];
        let legacy = [stage.legacy(&alice, nothing()).await?, stage.legacy(&eve, nothing()).await?];
        let greet = |name: String| json!({ "name": "greet", "arguments": { "name": name } });
        let calls = (0..12).map(|n| {
            let (modern, legacy) = (&modern[n % 2], &legacy[n % 2]);
            async move {
                let (m, l) = (format!("modern {n}"), format!("legacy {n}"));
                let (a, b) = tokio::join!(
                    modern.result("tools/call", greet(m.clone())),
                    legacy.result("tools/call", greet(l.clone()))
                );
                let (a, b) = (a?, b?);
                ensure!(a["content"][0]["text"] == format!("Hello, {m}!"), "{a}");
                ensure!(b["content"][0]["text"] == format!("Hello, {l}!"), "{b}");
                Ok(())
            }
        });
        futures_util::future::try_join_all(calls).await.with_context(|| speaks.to_string())?;
        let names = |list: &Value| -> Vec<String> {
            let tools = list["tools"].as_array().into_iter().flatten();
            tools.filter_map(|tool| tool["name"].as_str().map(str::to_owned)).collect()
        };
        let (m, l) =
            (modern[0].result("tools/list", nothing()).await?, legacy[0].result("tools/list", nothing()).await?);
        ensure!(names(&m) == names(&l) && !names(&m).is_empty(), "{speaks}: {:?} and {:?}", names(&m), names(&l));
        ensure!(names(&modern[1].result("tools/list", nothing()).await?) == names(&m), "{speaks}: order");
        if speaks == Speaks::Dual {
            let versions: Vec<_> = stage
                .recorder
                .of_method("tools/call")
                .iter()
                .map(|call| call.header("mcp-protocol-version").to_owned())
                .collect();
            let of = |version: &str| versions.iter().filter(|found| *found == version).count();
            ensure!(of(MODERN) == 12 && of("2025-11-25") == 12, "each client's era is spoken: {versions:?}");
        }
        stage.capture.validate().await.with_context(|| speaks.to_string())?;
    }
    Ok(())
}

/// Without a version header and without `_meta` a request is of the session era, as 2025-03-26 has no such header.
#[tokio::test]
async fn r13_a_request_that_names_no_version_is_of_the_session_era() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let alice = stage.log_in("alice").await?;
    let old = Legacy::open_at("2025-03-26", stage.url(), Some(alice.token()), nothing(), &stage.capture).await?;
    let listed = old.result("tools/list", nothing()).await?;
    ensure!(listed["tools"].is_array(), "{listed}");
    let modern: Modern = stage.modern(&alice)?;
    let bare = modern.request("tools/list", nothing()).header("mcp-protocol-version", None);
    let bare = bare.meta("protocolVersion", None).meta("clientCapabilities", None).meta("clientInfo", None);
    let answer = bare.send().await?;
    ensure!(answer.status == 400, "neither session nor version: {}", answer.status);
    Ok(())
}
