//! Streams that a client of the session era takes up again, behind backends that may know nothing of it: what it missed, what
//! still comes, and nothing of anybody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hawser_tests::{Answer, Capture, Gateway, Legacy, Person, Speaks, Stage, until};
use serde_json::{Value, json};
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(20);

fn asks() -> Value {
    json!({ "elicitation": {} })
}

/// A call that asks its client before it carries out its side effect: begun, and waiting for the answer.
async fn begin(client: &Legacy, key: &str) -> Result<Answer> {
    let params = json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } });
    client.request("tools/call", params).await
}

/// Reads a stream up to the question, and gives its id.
async fn question(answer: &mut Answer) -> Result<Value> {
    let asked = answer.expect("elicitation/create").await?;
    Ok(asked["id"].clone())
}

async fn consent(client: &Legacy, question: &Value) -> Result<()> {
    let answer = json!({ "action": "accept", "content": { "ok": true } });
    let status = client.respond(question, answer).await?;
    ensure!(status == 202, "the answer: {status}");
    Ok(())
}

fn event_id(answer: &Answer) -> Result<String> {
    Ok(answer.last_event_id().context("no event id")?.to_owned())
}

/// What is compared of two refusals.
async fn refusal(mut answer: Answer) -> Result<(StatusCode, Vec<Value>)> {
    ensure!(!answer.is_stream(), "{}: a stream instead of a refusal", answer.status);
    Ok((answer.status, answer.all().await?))
}

#[tokio::test]
async fn a_call_goes_on_without_its_client_which_gets_what_it_missed_and_what_still_comes() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let mut answer = begin(&client, "once").await?;
    let priming = answer.event().await?.context("no priming event")?;
    ensure!(priming.data.as_deref() == Some("") && priming.retry.as_deref() == Some("1000"), "{priming:?}");
    let first = priming.id.clone().context("a priming event without an id")?;
    let asked = question(&mut answer).await?;
    let second = event_id(&answer)?;
    ensure!(first != second);
    // Leaving is not cancelling.
    drop(answer);

    let mut resumed = client.stream(Some(&first)).await?;
    ensure!(resumed.status == 200 && resumed.is_stream(), "{}", resumed.status);
    ensure!(question(&mut resumed).await? == asked, "what was missed comes first");
    consent(&client, &asked).await?;
    let messages = resumed.all().await?;
    ensure!(messages.len() == 1 && messages[0].get("result").is_some(), "then what still comes: {messages:?}");
    ensure!(messages[0]["result"].to_string().contains("carried out 1 times"), "{messages:?}");
    let third = event_id(&resumed)?;

    let again = client.stream(Some(&second)).await?.all().await?;
    ensure!(again == messages, "the response may have been lost on its way as well: {again:?}");
    let mut complete = client.stream(Some(&third)).await?;
    ensure!(complete.status == 204 && complete.all().await?.is_empty(), "{}", complete.status);
    ensure!(stage.effects("once").await? == (1, 1), "it ran once");
    stage.capture.validate().await?;
    Ok(())
}

#[tokio::test]
async fn a_reader_is_replaced_by_the_one_that_takes_the_stream_up() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let mut answer = begin(&client, "taken").await?;
    let asked = question(&mut answer).await?;
    let mut resumed = client.stream(Some(&event_id(&answer)?)).await?;
    ensure!(answer.next().await?.is_none(), "the first reader ends");
    consent(&client, &asked).await?;
    ensure!(resumed.result().await?.to_string().contains("carried out 1 times"));
    ensure!(stage.effects("taken").await? == (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_whether_its_client_reads_or_not() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let params = json!({ "name": "test_side_effects", "arguments": { "key": "no", "ask": true } });
    let mut answer = client.request_as(&json!("call"), "tools/call", params).await?;
    question(&mut answer).await?;
    let id = event_id(&answer)?;
    drop(answer);
    client.notify("notifications/cancelled", Some(json!({ "requestId": "call" }))).await?;
    let mut resumed = client.stream(Some(&id)).await?;
    if resumed.status == 200 {
        ensure!(resumed.all().await?.is_empty(), "a cancelled call has no response");
        resumed = client.stream(Some(&id)).await?;
    }
    ensure!(resumed.status == 204, "{}", resumed.status);
    ensure!(stage.effects("no").await? == (1, 0));
    Ok(())
}

#[tokio::test]
async fn an_event_id_is_good_for_its_owner_its_client_and_its_session_alone() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let mut answer = begin(&client, "mine").await?;
    let asked = question(&mut answer).await?;
    let id = event_id(&answer)?;
    let session = client.session().context("no session")?.to_owned();

    let bob = stage.log_in("bob").await?;
    let bobs = stage.legacy(&bob, asks()).await?;
    let unknown = refusal(bobs.stealing("unknown").stream(Some(&id)).await?).await?;
    ensure!(unknown.0 == 404);
    let at_same_client = alice.same_client_for("bob").await?;
    let elsewhere = stage.log_in("alice").await?;
    let second = stage.legacy(&alice, asks()).await?;
    let mut flipped = id.clone().into_bytes();
    let at = flipped.len() / 2;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped)?;
    let bobs_there = stage.legacy(&at_same_client, asks()).await?;
    for (what, client, id) in [
        ("another owner's session", &bobs, &id),
        ("another owner's session at the same client", &bobs_there, &id),
        ("another owner", &bobs.stealing(&session), &id),
        ("another owner at the same client", &client.presenting(at_same_client.token()), &id),
        ("another client of the same owner", &client.presenting(elsewhere.token()), &id),
        ("another session of the same client", &second, &id),
        ("a flipped bit", &client, &flipped),
        ("a session id", &client, &session),
    ] {
        let refused = refusal(client.stream(Some(id)).await?).await?;
        ensure!(refused == unknown, "{what}: {refused:?}");
    }
    let log = stage.gateway.log();
    let refused =
        |reason: &str| log.lines().filter(|line| line.contains("Last-Event-ID") && line.contains(reason)).count();
    for (reason, times) in [("not_owner", 4), ("other_client", 1), ("forged", 1), ("wrong_kind", 1)] {
        ensure!(refused(reason) == times, "{reason}: {} audit events", refused(reason));
    }
    // None of it did anything to the owner's stream: the first reader still reads.
    consent(&client, &asked).await?;
    ensure!(answer.result().await?.to_string().contains("carried out 1 times"));
    ensure!(client.delete().await? == 204);
    ensure!(refusal(client.stream(Some(&id)).await?).await? == unknown, "after DELETE");
    Ok(())
}

#[tokio::test]
async fn an_event_id_ends_with_its_session() -> Result<()> {
    let stage = Stage::with(Speaks::Legacy, json!({ "sessions": { "idle": "1s", "lifetime": "2s" } })).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let mut answer = begin(&client, "late").await?;
    question(&mut answer).await?;
    let id = event_id(&answer)?;
    until("the session ends", PATIENCE, async || {
        let status = client.stream(Some(&id)).await?.status;
        Ok((status == 404).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_standing_stream_goes_on_where_its_client_was() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, json!({})).await?;
    let change = async |tool: &str| {
        let called = client.result("tools/call", json!({ "name": tool, "arguments": {} })).await?;
        ensure!(called.get("isError").is_none_or(|error| error == false), "{called}");
        Ok(())
    };
    let mut standing = client.stream(None).await?;
    let priming = standing.event().await?.context("no priming event")?;
    ensure!(priming.data.as_deref() == Some("") && priming.id.is_some(), "{priming:?}");
    change("test_trigger_tool_change").await?;
    standing.expect("notifications/tools/list_changed").await?;
    let first = event_id(&standing)?;
    change("test_trigger_prompt_change").await?;
    standing.expect("notifications/prompts/list_changed").await?;
    drop(standing);
    let mut resumed = client.stream(Some(&first)).await?;
    let priming = resumed.event().await?.context("no priming event")?;
    ensure!(priming.data.as_deref() == Some("") && priming.id.is_some(), "{priming:?}");
    resumed.expect("notifications/prompts/list_changed").await?;
    change("test_trigger_resource_change").await?;
    resumed.expect("notifications/resources/list_changed").await?;
    Ok(())
}

#[tokio::test]
async fn a_client_of_a_stopped_gateway_learns_what_is_lost() -> Result<()> {
    let mut stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let mut standing = client.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    let mut answer = begin(&client, "lost").await?;
    question(&mut answer).await?;
    let (call, standing) = (event_id(&answer)?, event_id(&standing)?);
    stage.gateway.crash().await?;
    let (status, messages) = refusal(client.stream(Some(&call)).await?).await?;
    ensure!(status == 410 && messages.len() == 1, "{status} {messages:?}");
    let mut anew = client.stream(Some(&standing)).await?;
    for changed in ["tools", "prompts", "resources"] {
        anew.expect(&format!("notifications/{changed}/list_changed")).await?;
    }
    ensure!(stage.effects("lost").await? == (1, 0), "nothing runs a second time by itself");
    // The streams of the new log have the same numbers as those that are lost.
    let mut other = begin(&client, "other").await?;
    question(&mut other).await?;
    ensure!(refusal(client.stream(Some(&call)).await?).await?.0 == 410, "the id of one call takes up another");
    Ok(())
}

#[tokio::test]
async fn a_backend_that_wants_to_be_polled_is_polled_through_the_gateway() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, json!({})).await?;
    let call = json!({ "name": "test_reconnection", "arguments": {} });
    let mut answer = client.request("tools/call", call.clone()).await?;
    let priming = answer.event().await?.context("no priming event")?;
    ensure!(priming.data.as_deref() == Some("") && priming.retry.is_some(), "{priming:?}");
    ensure!(answer.next().await?.is_none(), "the connection ends before the stream");
    let result = client.stream(Some(&event_id(&answer)?)).await?.result().await?;
    ensure!(result.to_string().contains("completed"), "{result}");

    // Older clients know nothing of it, and get the whole at once.
    for revision in ["2025-03-26", "2025-06-18"] {
        let older = Legacy::open_at(revision, stage.url(), Some(alice.token()), asks(), &stage.capture).await?;
        ensure!(older.result("tools/call", call.clone()).await?.to_string().contains("completed"), "{revision}");
        if revision == "2025-03-26" {
            continue;
        }
        let mut answer = begin(&older, revision).await?;
        let first = answer.event().await?.context("no event")?;
        ensure!(first.id.is_some() && first.data.is_some_and(|data| data.contains("elicitation")), "{revision}");
    }
    Ok(())
}

/// A server whose calls wait for the test, and which counts those that it brought to their end.
#[derive(Clone, Default)]
struct Gated(Arc<Gate>);

#[derive(Default)]
struct Gate {
    arrived: Notify,
    open: Notify,
    done: AtomicUsize,
}

const FLOOD: usize = 1500;

impl Gated {
    async fn start(&self) -> Result<String> {
        let router = Router::new().fallback(gated).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(url)
    }
}

async fn gated(State(Gated(gate)): State<Gated>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else {
        let get = !headers.contains_key(header::CONTENT_TYPE);
        return if get { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::ACCEPTED }.into_response();
    };
    let respond = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
    let answer = match message["method"].as_str().unwrap_or_default() {
        "initialize" => respond(json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "gated", "version": "1" },
        })),
        "tools/list" => {
            let tool = |name| json!({ "name": name, "inputSchema": { "type": "object" } });
            respond(json!({ "tools": [tool("wait"), tool("flood")] }))
        }
        "tools/call" if message["params"]["name"] == "flood" => {
            let told = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": "x" } });
            let events = format!("data: {told}\n\n").repeat(FLOOD);
            let events = format!("{events}data: {}\n\n", respond(json!({ "content": [] })));
            return ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response();
        }
        "tools/call" => {
            gate.arrived.notify_one();
            gate.open.notified().await;
            gate.done.fetch_add(1, Ordering::SeqCst);
            respond(json!({ "content": [] }))
        }
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
}

async fn in_front_of(gated: &Gated) -> Result<(Gateway, Person, Capture)> {
    let backend = json!({ "url": gated.start().await?, "naming": "none" });
    let gateway = Gateway::with_users(json!({ "backends": { "gated": backend } })).await?;
    let alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    Ok((gateway, alice, Capture::new()))
}

#[tokio::test]
async fn what_a_client_began_is_done_even_if_it_leaves_before_the_first_byte() -> Result<()> {
    let gated = Gated::default();
    let (gateway, alice, capture) = in_front_of(&gated).await?;
    let client = Legacy::open(&gateway.mcp()?, Some(alice.token()), json!({}), &capture).await?;
    let leaving = client.clone();
    let call = json!({ "name": "wait", "arguments": {} });
    let leaving = tokio::spawn(async move { leaving.request_as(&json!("gone"), "tools/call", call).await });
    gated.0.arrived.notified().await;
    leaving.abort();
    ensure!(leaving.await.is_err_and(|error| error.is_cancelled()));
    // Until the gateway has had time to see that the connection is closed.
    for _ in 0..50 {
        client.result("ping", json!({})).await?;
    }
    gated.0.open.notify_one();
    until("the call ends", PATIENCE, async || Ok((gated.0.done.load(Ordering::SeqCst) == 1).then_some(()))).await
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_not_pretended_to_be() -> Result<()> {
    let gated = Gated::default();
    let (gateway, alice, capture) = in_front_of(&gated).await?;
    let client = Legacy::open(&gateway.mcp()?, Some(alice.token()), json!({}), &capture).await?;
    let mut answer = client.request("tools/call", json!({ "name": "flood", "arguments": {} })).await?;
    answer.event().await?.context("no priming event")?;
    let first = event_id(&answer)?;
    ensure!(answer.all().await?.len() == FLOOD + 1, "who reads gets all of it");
    let (status, messages) = refusal(client.stream(Some(&first)).await?).await?;
    ensure!(status == 410 && messages.len() == 1, "{status} {messages:?}");
    ensure!(client.result("ping", json!({})).await? == json!({}), "the session stands");
    Ok(())
}
