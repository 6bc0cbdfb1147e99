//! Telling clients of changes: `subscriptions/listen` for clients of the stateless era, the session's own stream and
//! `resources/subscribe` for those of the session era, over backends of both eras, with real changes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Answer, Modern, Person, Speaks, Stage, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const RESTRICTED: [Speaks; 2] = [Speaks::Legacy, Speaks::Modern];
const WATCHED: &str = "test://watched-resource";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

async fn change(client: &Modern, tool: &str) -> Result<()> {
    client.result("tools/call", json!({ "name": tool })).await.map(drop)
}

/// The names of a list's entries, asked for until the list is as `wanted` says: a change may still be on its way.
async fn listed(client: &Modern, method: &str, member: &str, name: &str, wanted: bool) -> Result<()> {
    until(&format!("{name} in {method}: {wanted}"), SOON, async || {
        let list = client.result(method, json!({})).await?;
        let entries = list[member].as_array().context("no list")?;
        let there = entries.iter().any(|entry| entry["name"] == name || entry["uri"] == name);
        Ok((there == wanted).then_some(()))
    })
    .await
}

/// Additions and removals of all three lists reach a listening client, and the list that it then asks for is the new one.
#[tokio::test]
async fn a_listening_client_is_told_of_what_comes_and_goes() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        let filter = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
        let (mut stream, honoured) = alice.listen(filter.clone()).await?;
        ensure!(honoured == filter, "{speaks}: {honoured}");
        for (tool, method, member, name) in [
            ("test_trigger_tool_change", "tools/list", "tools", "test_changing_tool"),
            ("test_trigger_prompt_change", "prompts/list", "prompts", "test_changing_prompt"),
            ("test_trigger_resource_change", "resources/list", "resources", "test://changing-resource"),
        ] {
            for there in [true, false] {
                listed(&alice, method, member, name, !there).await?;
                change(&alice, tool).await?;
                let told = format!("notifications/{member}/list_changed");
                stream.find(&told).await.with_context(|| format!("{speaks}: {name}: {there}"))?;
                listed(&alice, method, member, name, there).await.with_context(|| speaks.to_string())?;
            }
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// The same for a client of the session era, on its session's stream.
#[tokio::test]
async fn a_legacy_client_is_told_of_what_comes_and_goes() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let person = stage.log_in("alice").await?;
        let (modern, legacy) = (stage.modern(&person)?, stage.legacy(&person, json!({})).await?);
        let capabilities = &legacy.initialized()["capabilities"];
        ensure!(capabilities["tools"]["listChanged"] == true, "{speaks}: {capabilities}");
        ensure!(capabilities["resources"]["subscribe"] == true, "{speaks}: {capabilities}");
        let mut stream = legacy.stream(None).await?;
        for method in ["tools/list", "prompts/list", "resources/list"] {
            legacy.result(method, json!({})).await?;
        }
        for tool in ["test_trigger_tool_change", "test_trigger_prompt_change", "test_trigger_resource_change"] {
            let kind = tool.trim_start_matches("test_trigger_").trim_end_matches("_change");
            for _ in [true, false] {
                change(&modern, tool).await?;
                let told = stream.find(&format!("notifications/{kind}s/list_changed")).await;
                let told = told.with_context(|| format!("{speaks}: {kind}"))?;
                ensure!(!told.to_string().contains(SUBSCRIPTION), "of the other era: {told}");
            }
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// The next message of a stream, which must be this update.
async fn updated(stream: &mut Answer) -> Result<Value> {
    let message = stream.expect("notifications/resources/updated").await?;
    ensure!(message["params"]["uri"] == WATCHED, "{message}");
    Ok(message)
}

/// Subscriptions to resources: by URI, only while subscribed, in both eras of client and backend.
#[tokio::test]
async fn an_update_reaches_who_subscribed_and_nobody_else() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let a = stage.modern(&alice)?;
        let (mut mine, honoured) = a.listen(json!({ "resourceSubscriptions": [WATCHED] })).await?;
        ensure!(honoured == json!({ "resourceSubscriptions": [WATCHED] }), "{speaks}: {honoured}");
        // Others who listen to something else, or to nothing: what they hear first must be what they asked for.
        let e = stage.modern(&eve)?;
        let (mut other, _) =
            e.listen(json!({ "resourceSubscriptions": ["test://static-text"], "toolsListChanged": true })).await?;
        let session = stage.legacy(&alice, json!({})).await?;
        session.result("resources/subscribe", json!({ "uri": WATCHED })).await?;
        let unsubscribed = stage.legacy(&eve, json!({})).await?;
        unsubscribed.result("tools/list", json!({})).await?;
        let (mut session_stream, mut bare_stream) = (session.stream(None).await?, unsubscribed.stream(None).await?);

        change(&a, "test_write_resource").await?;
        updated(&mut mine).await.with_context(|| speaks.to_string())?;
        let told = updated(&mut session_stream).await.with_context(|| format!("{speaks}: legacy client"))?;
        ensure!(!told.to_string().contains(SUBSCRIPTION), "{told}");
        let read = a.result("resources/read", json!({ "uri": WATCHED })).await?;
        ensure!(read.to_string().contains("version 1"), "{speaks}: an old reading: {read}");

        session.result("resources/unsubscribe", json!({ "uri": WATCHED })).await?;
        change(&a, "test_write_resource").await?;
        updated(&mut mine).await?;
        change(&a, "test_trigger_tool_change").await?;
        other.expect("notifications/tools/list_changed").await.with_context(|| format!("{speaks}: another's"))?;
        for stream in [&mut session_stream, &mut bare_stream] {
            let next = stream.next().await?.context("the stream ended")?;
            ensure!(next["method"] == "notifications/tools/list_changed", "{speaks}: not asked for: {next}");
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// "The server MUST NOT send notification types the client has not explicitly requested", nor those of a request.
#[tokio::test]
async fn nothing_unasked_comes_on_a_listen_stream() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        let (mut stream, honoured) = alice.listen(json!({ "promptsListChanged": true })).await?;
        ensure!(honoured == json!({ "promptsListChanged": true }), "{speaks}: {honoured}");
        let call = json!({ "name": "test_tool_with_logging", "_meta": { "progressToken": 1 } });
        alice.request("tools/call", call).meta("logLevel", Some(json!("debug"))).send().await?.result().await?;
        alice.result("tools/call", json!({ "name": "test_tool_with_progress" })).await?;
        for tool in ["test_trigger_tool_change", "test_trigger_resource_change", "test_write_resource"] {
            change(&alice, tool).await?;
        }
        change(&alice, "test_trigger_prompt_change").await?;
        stream.expect("notifications/prompts/list_changed").await.with_context(|| speaks.to_string())?;

        let (mut idle, honoured) = alice.listen(json!({})).await?;
        ensure!(honoured == json!({}), "{honoured}");
        change(&alice, "test_trigger_prompt_change").await?;
        stream.expect("notifications/prompts/list_changed").await?;
        drop(stream);
        stage.gateway.stop_softly().await?;
        let end = idle.next().await?.context("no end was said")?;
        ensure!(end.get("result").is_some(), "{speaks}: not asked for: {end}");
        stage.capture.validate().await?;
    }
    Ok(())
}

/// Several streams of one client, each under the id of its request, type and all; and a graceful end is said.
#[tokio::test]
async fn every_message_of_a_stream_is_under_the_id_of_its_request() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.modern(&stage.log_in("alice").await?)?;
        let mut streams = Vec::new();
        for id in [json!(4711), json!("4711"), json!("ż")] {
            let params = json!({ "notifications": { "toolsListChanged": true, "resourceSubscriptions": [WATCHED] } });
            let request = alice.request("subscriptions/listen", params).member("id", Some(id.clone()));
            let mut stream = request.send().await?;
            ensure!(stream.header("x-accel-buffering") == "no", "{:?}", stream.headers);
            let first = stream.expect("notifications/subscriptions/acknowledged").await?;
            ensure!(first["params"]["_meta"][SUBSCRIPTION] == id, "{speaks}: {first}");
            streams.push((id, stream));
        }
        change(&alice, "test_write_resource").await?;
        for (id, stream) in &mut streams {
            let told = updated(stream).await?;
            ensure!(told["params"]["_meta"][SUBSCRIPTION] == *id, "{speaks}: {told}");
        }
        // One leaves; the others go on.
        drop(streams.pop());
        change(&alice, "test_trigger_tool_change").await?;
        for (id, stream) in &mut streams {
            let told = stream.expect("notifications/tools/list_changed").await?;
            ensure!(told["params"]["_meta"][SUBSCRIPTION] == *id, "{speaks}: {told}");
        }
        stage.gateway.stop_softly().await?;
        for (id, stream) in &mut streams {
            let end = stream.next().await?.context("the stream ended without a word")?;
            ensure!(end["id"] == *id && end["result"]["_meta"][SUBSCRIPTION] == *id, "{speaks}: {end}");
            ensure!(stream.next().await?.is_none(), "{speaks}: something follows the end");
        }
        stage.capture.validate().await?;
    }
    Ok(())
}

/// A stream outlives no token: it ends when its grant is revoked, and others go on.
#[tokio::test]
async fn a_stream_ends_when_its_grant_is_revoked() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let filter = json!({ "toolsListChanged": true });
        let (mut revoked, _) = stage.modern(&alice)?.listen(filter.clone()).await?;
        let (mut kept, _) = stage.modern(&eve)?.listen(filter).await?;
        alice.grant().revoke(alice.mcp().wire()).await?;
        ended(&mut revoked).await.with_context(|| format!("{speaks}: revoked"))?;
        change(&stage.modern(&eve)?, "test_trigger_tool_change").await?;
        kept.expect("notifications/tools/list_changed").await.with_context(|| format!("{speaks}: the other"))?;
        stage.capture.validate().await?;
    }
    Ok(())
}

/// A stream ends with the token that it was opened with, although the person has a new one by then.
#[tokio::test]
async fn a_stream_ends_when_its_token_expires() -> Result<()> {
    let auth = json!({ "authorization_server": { "access_token_lifetime": "3s" } });
    let stage = Stage::with(Speaks::Legacy, json!({ "auth": auth })).await?;
    let mut alice: Person = stage.log_in("alice").await?;
    let (mut stream, _) = stage.modern(&alice)?.listen(json!({ "toolsListChanged": true })).await?;
    alice.refresh().await?;
    let fresh = stage.modern(&alice)?;
    fresh.result("tools/list", json!({})).await?;
    ended(&mut stream).await
}

/// Waits for the end of a stream, on which nothing may come any more but the word that it ends.
async fn ended(stream: &mut Answer) -> Result<()> {
    while let Some(message) = stream.next().await? {
        ensure!(message.get("method").is_none(), "after the end of its right: {message}");
    }
    Ok(())
}

/// Subscribing needs a filter that can be read, and no more of it than the gateway bounds.
#[tokio::test]
async fn a_filter_that_cannot_be_read_is_refused() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.modern(&stage.log_in("alice").await?)?;
    let many: Vec<String> = (0..100_000).map(|n| format!("test://template/{n}/data")).collect();
    for filter in [
        json!(null),
        json!("everything"),
        json!({ "toolsListChanged": "yes" }),
        json!({ "resourceSubscriptions": "test://static-text" }),
        json!({ "resourceSubscriptions": [7] }),
        json!({ "resourceSubscriptions": many }),
    ] {
        let (_, error) = alice.error("subscriptions/listen", json!({ "notifications": filter })).await?;
        ensure!(error["code"] == -32602, "{error}");
    }
    let (status, error) = alice.error("subscriptions/listen", json!({})).await?;
    ensure!(error["code"] == -32602, "no filter at all: {status} {error}");
    Ok(())
}

/// What is subscribed in one session is not in another one of the same owner.
#[tokio::test]
async fn a_subscription_is_its_sessions() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        let (one, two) = (stage.legacy(&alice, json!({})).await?, stage.legacy(&alice, json!({})).await?);
        one.result("resources/subscribe", json!({ "uri": WATCHED })).await?;
        two.result("tools/list", json!({})).await?;
        let (mut first, mut second): (Answer, Answer) = (one.stream(None).await?, two.stream(None).await?);
        let modern = stage.modern(&alice)?;
        change(&modern, "test_write_resource").await?;
        updated(&mut first).await.with_context(|| speaks.to_string())?;
        change(&modern, "test_trigger_tool_change").await?;
        let next = second.next().await?.context("the stream ended")?;
        ensure!(next["method"] == "notifications/tools/list_changed", "{speaks}: {next}");
    }
    Ok(())
}

/// Events of a task go to its owner, who declared the extension, and to nobody else.
#[tokio::test]
async fn a_task_is_listened_to_by_its_owner_alone() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
    let declared = json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let a = stage.modern(&alice)?.declaring(declared.clone());
    let e = stage.modern(&eve)?.declaring(declared);
    let call = json!({ "name": "slow_compute", "arguments": { "seconds": 1.5, "label": "listened to" } });
    let created = a.result("tools/call", call).await?;
    let task = created["taskId"].as_str().with_context(|| format!("no task: {created}"))?.to_owned();
    let filter = json!({ "taskIds": [task] });
    let params = json!({ "notifications": filter });
    let (status, error) = stage.modern(&alice)?.error("subscriptions/listen", params.clone()).await?;
    ensure!(status == 400 && error["code"] == -32021, "undeclared: {status} {error}");
    let mut foreign = e.request("subscriptions/listen", params).send().await?;
    let first = foreign.next().await?.context("nothing")?;
    let honoured = first.pointer("/params/notifications/taskIds").and_then(Value::as_array);
    ensure!(first.get("error").is_some() || honoured.is_none_or(Vec::is_empty), "another owner listens: {first}");

    let (mut stream, honoured) = a.listen(filter.clone()).await?;
    // A server need not tell of its tasks; what it tells is under the id that the client knows.
    if honoured == filter {
        let told = stream.find("notifications/tasks").await?;
        ensure!(told["params"]["taskId"] == task.as_str(), "{told}");
    } else {
        ensure!(honoured == json!({}), "{honoured}");
    }
    stage.capture.validate().await
}
