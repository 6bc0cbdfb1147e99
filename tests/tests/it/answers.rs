//! What is answered in each era over backends of both: streams, results, errors, and what a client that leaves causes. The
//! numbers in the names are the sections of the requirements: 1.1 transport, 1.3 versions, methods, results and errors.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Capture, Ended, Legacy, Modern, Speaks, Stage, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const RESTRICTED: [Speaks; 2] = [Speaks::Legacy, Speaks::Modern];

fn nothing() -> Value {
    json!({})
}

/// Receiving Messages: notifications of this request and then its response, never a request; not to be buffered on the way.
#[tokio::test]
async fn r11_progress_streams_while_the_call_runs_with_the_clients_own_token() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let person = stage.log_in("alice").await?;
        let modern = stage.modern(&person)?;
        let legacy = stage.legacy(&person, nothing()).await?;
        for token in [json!("a token"), json!(7), json!("7")] {
            let call = json!({ "name": "test_tool_with_progress", "_meta": { "progressToken": token } });
            let mut answers =
                [modern.request("tools/call", call.clone()).send().await?, legacy.request("tools/call", call).await?];
            for answer in &mut answers {
                ensure!(answer.is_stream(), "{speaks}: {:?}", answer.headers);
                ensure!(answer.header("x-accel-buffering") == "no", "{speaks}: {:?}", answer.headers);
                let mut seen = Vec::new();
                let result = loop {
                    let message = answer.next().await?.context("no response")?;
                    if let Some(result) = message.get("result") {
                        break result.clone();
                    }
                    ensure!(message["method"] == "notifications/progress" && message.get("id").is_none(), "{message}");
                    ensure!(message["params"]["progressToken"] == token, "{speaks}: {token} became {message}");
                    seen.push(message["params"]["progress"].as_f64().context("no progress")?);
                };
                ensure!(seen == [0.0, 50.0, 100.0], "{speaks}: {seen:?}");
                ensure!(result["content"][0]["text"] == "Progress reported", "{result}");
                ensure!(answer.next().await?.is_none(), "{speaks}: something follows the response");
            }
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// Logging: only what the request asks for, on its own stream.
#[tokio::test]
async fn r13_log_messages_come_only_to_who_asked_for_them() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let person = stage.log_in("alice").await?;
        let modern = stage.modern(&person)?;
        let call = || modern.request("tools/call", json!({ "name": "test_tool_with_logging" }));
        for (level, expected) in [(None, 0), (Some("info"), 3), (Some("debug"), 3), (Some("error"), 0)] {
            let request = call().meta("logLevel", level.map(|level| json!(level)));
            let messages = request.send().await?.all().await?;
            let logged = messages.iter().filter(|message| message["method"] == "notifications/message").count();
            // The legacy fixture logs beside its calls: nobody can tell for which of them.
            let expected = if speaks == Speaks::Legacy { 0 } else { expected };
            ensure!(logged == expected, "{speaks}: {level:?}: {logged} messages");
        }
        if speaks == Speaks::Legacy {
            let told = stage.recorder.of_method("logging/setLevel");
            let mut told: Vec<_> = told.iter().filter_map(|told| told.message["params"]["level"].as_str()).collect();
            told.sort_unstable();
            ensure!(told == ["debug", "error", "info"], "{told:?}");
        } else {
            ensure!(stage.recorder.count("logging/setLevel") == 0, "a method of the other era");
        }
        // Wrong on purpose: not among the messages that are judged.
        let unjudged = Modern::new(stage.url(), Some(person.token()), &Capture::new())?;
        let wrong = unjudged.request("tools/call", json!({ "name": "test_tool_with_logging" }));
        let (_, error) = wrong.meta("logLevel", Some(json!("loud"))).send().await?.refused().await?;
        ensure!(error["code"] == -32602, "{speaks}: a level that there is not: {error}");

        let legacy = stage.legacy(&person, nothing()).await?;
        for (level, expected) in [("info", 3), ("error", 0)] {
            legacy.result("logging/setLevel", json!({ "level": level })).await?;
            let mut answer = legacy.request("tools/call", json!({ "name": "test_tool_with_logging" })).await?;
            let messages = answer.all().await?;
            let logged = messages.iter().filter(|message| message["method"] == "notifications/message").count();
            // What the legacy fixture logs beside its calls may come after the response, on no stream of this client.
            let fits = if speaks == Speaks::Legacy { logged <= expected } else { logged == expected };
            ensure!(fits, "{speaks}, legacy client: {level}: {logged} messages");
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// Caching, and the members that every result of the stateless era has; a result of the session era has none of them.
#[tokio::test]
async fn r13_results_carry_what_their_era_demands() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let person = stage.log_in("alice").await?;
        let modern = stage.modern(&person)?;
        let legacy = stage.legacy(&person, nothing()).await?;
        let reference = json!({ "type": "ref/prompt", "name": "test_prompt_with_arguments" });
        for (method, params, cached) in [
            ("tools/list", nothing(), true),
            ("prompts/list", nothing(), true),
            ("resources/list", nothing(), true),
            ("resources/templates/list", nothing(), true),
            ("resources/read", json!({ "uri": "test://static-text" }), true),
            ("resources/read", json!({ "uri": "test://template/123/data" }), true),
            ("tools/call", json!({ "name": "test_simple_text" }), false),
            ("prompts/get", json!({ "name": "test_simple_prompt" }), false),
            ("completion/complete", json!({ "ref": reference, "argument": { "name": "arg1", "value": "p" } }), false),
        ] {
            let result = modern.result(method, params.clone()).await?;
            ensure!(result["resultType"] == "complete", "{speaks}: {method}: {result}");
            ensure!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string(), "{method}: {result}");
            ensure!(result["ttlMs"].is_u64() == cached, "{speaks}: {method}: {result}");
            let scope = result["cacheScope"].as_str();
            ensure!(matches!(scope, Some("public" | "private")) == cached, "{speaks}: {method}: {result}");

            let result = legacy.result(method, params).await?;
            for member in ["resultType", "ttlMs", "cacheScope"] {
                ensure!(result.get(member).is_none(), "{speaks}: {method} to a legacy client: {result}");
            }
            ensure!(result["_meta"].get("io.modelcontextprotocol/serverInfo").is_none(), "{method}: {result}");
        }
        let discovered = modern.result("server/discover", nothing()).await?;
        ensure!(discovered["ttlMs"].is_u64() && discovered["cacheScope"].is_string(), "{discovered}");
        ensure!(discovered["capabilities"]["tools"].is_object(), "{discovered}");
        stage.capture.validate().await?;
    }
    Ok(())
}

/// Whichever way a backend says that there is no such resource, each client hears it in its own era's words.
#[tokio::test]
async fn r13_error_codes_are_of_the_clients_era() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let person = stage.log_in("alice").await?;
        let modern = stage.modern(&person)?;
        let legacy = stage.legacy(&person, nothing()).await?;
        let missing = json!({ "uri": "test://template//data" });
        let (_, error) = modern.error("resources/read", missing.clone()).await?;
        ensure!(error["code"] == -32602 && error["data"]["uri"] == missing["uri"], "{speaks}: {error}");
        let error = legacy.error("resources/read", missing.clone()).await?;
        ensure!(error["code"] == -32002 && error["data"]["uri"] == missing["uri"], "{speaks}: {error}");
        for (method, params) in [
            ("tools/call", json!({ "name": "no such tool" })),
            ("prompts/get", json!({ "name": "no such prompt" })),
            ("prompts/get", json!({ "name": "test_prompt_with_arguments" })),
            ("tools/list", json!({ "cursor": "no such cursor" })),
        ] {
            let (_, error) = modern.error(method, params.clone()).await?;
            ensure!(error["code"] == -32602, "{speaks}: {method}: {error}");
            let error = legacy.error(method, params).await?;
            ensure!(error["code"] == -32602, "{speaks}: {method}: {error}");
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// A capability that the request did not declare: an error with its own code in the stateless era, readable in the other.
#[tokio::test]
async fn r13_a_missing_capability_is_named() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let person = stage.log_in("alice").await?;
    let call = json!({ "name": "test_missing_capability" });
    let (status, error) = stage.modern(&person)?.error("tools/call", call.clone()).await?;
    ensure!(status == 400 && error["code"] == -32021, "{status} {error}");
    ensure!(error["data"]["requiredCapabilities"]["sampling"].is_object(), "{error}");
    let mut answer = stage.legacy(&person, nothing()).await?.request("tools/call", call).await?;
    let response = answer.response().await?;
    let code = response.pointer("/error/code").and_then(Value::as_i64);
    ensure!(code.is_none_or(|code| !(-32099..=-32020).contains(&code)), "a code of the other era: {response}");
    ensure!(code.is_some() || response["result"]["isError"] == true, "{response}");
    ensure!(response.to_string().contains("sampling"), "it does not say what is missing: {response}");
    stage.capture.validate().await
}

/// The stream of a request that is closed cancels it, at backends of both eras.
#[tokio::test]
async fn r11_a_modern_client_that_leaves_cancels_its_call() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        let call = json!({ "name": "slow_compute", "arguments": { "seconds": 500, "label": "never" } });
        let request = alice.request("tools/call", call);
        let running = tokio::spawn(async move { request.send().await.map(drop) });
        until("the call at the backend", SOON, async || Ok((stage.recorder.count("tools/call") == 1).then_some(())))
            .await?;
        running.abort();
        until("the end of the call", SOON, async || {
            let calls = stage.recorder.of_method("tools/call");
            let closed = calls.iter().all(|call| call.ended == Ended::Dropped);
            let told = stage.recorder.count("notifications/cancelled") == 1;
            Ok((if speaks == Speaks::Legacy { told } else { closed }).then_some(()))
        })
        .await
        .with_context(|| speaks.to_string())?;
        ensure!(stage.recorder.count("tools/call") == 1, "the call was sent again");
        stage.capture.validate().await?;
    }
    Ok(())
}

/// Sending Messages of the session era: "Disconnection SHOULD NOT be interpreted as the client cancelling its request."
#[tokio::test]
async fn r11_a_legacy_client_that_leaves_cancels_nothing() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.legacy(&stage.log_in("alice").await?, nothing()).await?;
        let before = stage.effects("left").await?;
        ensure!(before == (0, 0), "{before:?}");
        let call = json!({ "name": "slow_compute", "arguments": { "seconds": 1.5, "label": "goes on" } });
        let client = alice.clone();
        let running = tokio::spawn(async move { client.request("tools/call", call).await.map(drop) });
        until("the call at the backend", SOON, async || Ok((stage.recorder.count("tools/call") == 1).then_some(())))
            .await?;
        running.abort();
        until("the end of the call", SOON, async || {
            let ended = stage.recorder.of_method("tools/call").first().map(|call| call.ended);
            Ok(ended.filter(|ended| *ended != Ended::Open))
        })
        .await
        .with_context(|| speaks.to_string())?;
        let ended = stage.recorder.of_method("tools/call").first().map(|call| call.ended);
        ensure!(ended == Some(Ended::Whole), "{speaks}: the call was broken off: {ended:?}");
        ensure!(stage.recorder.count("notifications/cancelled") == 0, "{speaks}: the call was cancelled");
    }
    Ok(())
}

/// Every revision with sessions over backends of both eras; what a revision does not have, it is not shown.
#[tokio::test]
async fn r13_every_legacy_revision_is_served_over_backends_of_both_eras() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let client = Legacy::open_at(revision, stage.url(), Some(alice.token()), nothing(), &stage.capture).await?;
            ensure!(client.initialized()["protocolVersion"] == revision, "{}", client.initialized());
            for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
                client.result(method, nothing()).await?;
            }
            for tool in [
                "test_simple_text",
                "test_image_content",
                "test_audio_content",
                "test_embedded_resource",
                "test_resource_link",
                "test_multiple_content_types",
                "test_structured_object",
                "test_structured_list",
                "test_error_handling",
            ] {
                let result = client.result("tools/call", json!({ "name": tool })).await?;
                let blocks = result["content"].as_array().context("no content")?;
                ensure!(!blocks.is_empty(), "{speaks}, {revision}: {tool}: {result}");
                if tool == "test_structured_list" && speaks == Speaks::Modern {
                    ensure!(result.get("structuredContent").is_none(), "{revision}: a list: {result}");
                    ensure!(result.to_string().contains("bowline"), "{revision}: the list is lost: {result}");
                }
            }
            client.result("prompts/get", json!({ "name": "test_prompt_with_image" })).await?;
            client.result("resources/read", json!({ "uri": "test://static-binary" })).await?;
            client.result("ping", nothing()).await?;
        }
        // 2025-03-26, Batching: several requests in one body, over this backend as over any other.
        let old = Legacy::open_at("2025-03-26", stage.url(), Some(alice.token()), nothing(), &stage.capture).await?;
        let call = |id: Value, name: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name } });
        let mut answer = old.post(&json!([call(json!("a"), "test_simple_text"), call(json!(2), "greet")])).await?;
        ensure!(answer.status == 200, "a batch: {}", answer.status);
        let answers: Vec<Value> = answer.all().await?.into_iter().flat_map(flattened).collect();
        for id in [json!("a"), json!(2)] {
            ensure!(answers.iter().filter(|answer| answer["id"] == id).count() == 1, "{speaks}: {id}: {answers:?}");
        }
        // The list is what a server of these revisions said wrongly: only the gateway's translation is judged here.
        if speaks == Speaks::Modern {
            stage.capture.validate().await?;
        }
    }
    Ok(())
}

fn flattened(message: Value) -> Vec<Value> {
    match message {
        Value::Array(messages) => messages,
        message => vec![message],
    }
}
