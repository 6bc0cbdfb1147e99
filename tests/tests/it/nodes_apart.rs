//! What a client of several nodes would notice if one of them stopped, were out of date, or were kept busy by somebody else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, future, stream};
use hawser_tests::{Answer, Legacy, Nodes, Speaks, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

const PATIENCE: Duration = Duration::from_secs(10);
/// A server that has answered asks after this time.
const LATER: Duration = Duration::from_millis(300);

fn side_effect(key: &str) -> Value {
    json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } })
}

fn accept() -> Value {
    json!({ "action": "accept", "content": { "ok": true } })
}

fn text(result: &Value) -> &str {
    result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default()
}

fn event_id(answer: &Answer) -> Result<String> {
    Ok(answer.last_event_id().context("no event id")?.to_owned())
}

async fn soon<T>(what: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.context(what)?
}

/// A node that drains for as long as a call takes has ended its clients' streams: they go on at the other nodes, at once.
#[tokio::test]
async fn who_listened_at_a_node_that_drains_listens_at_another() -> Result<()> {
    let nodes = Nodes::with(2, Speaks::Legacy, json!({ "drain": { "grace": "30s" } })).await?;
    let alice = nodes.log_in("alice").await?;
    let here = nodes.legacy_on(0, &alice, json!({ "elicitation": {} })).await?.at(&nodes.at(0)?);
    let there = here.at(&nodes.at(1)?);
    let mut standing = here.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    let mut call = here.request("tools/call", side_effect("drained")).await?;
    let question = call.expect("elicitation/create").await?["id"].clone();
    nodes.nodes[0].stop_softly().await?;
    soon("the stream goes on", standing.all()).await?;
    let mut anew = there.stream(Some(&event_id(&standing)?)).await?;
    ensure!(anew.status == 200, "{}", anew.status);
    soon("nothing on the stream", anew.expect("notifications/tools/list_changed")).await?;
    // What drains is the call: it is finished through the other node.
    ensure!(there.respond(&question, accept()).await? == 202);
    ensure!(text(&soon("no result", call.result()).await?) == "drained was carried out 1 times");
    Ok(())
}

/// What a call came to at a node that stops is there for a client that was away just then.
#[tokio::test]
async fn who_left_a_call_at_a_node_that_drains_comes_back_for_its_result() -> Result<()> {
    let nodes = Nodes::with(2, Speaks::Legacy, json!({ "drain": { "grace": "30s" } })).await?;
    let alice = nodes.log_in("alice").await?;
    let here = nodes.legacy_on(0, &alice, json!({ "elicitation": {} })).await?.at(&nodes.at(0)?);
    let there = here.at(&nodes.at(1)?);
    let mut standing = here.stream(None).await?;
    let mut call = here.request("tools/call", side_effect("left")).await?;
    let question = call.expect("elicitation/create").await?["id"].clone();
    let event = event_id(&call)?;
    drop(call);
    nodes.nodes[0].stop_softly().await?;
    soon("the node drains", standing.all()).await?;
    ensure!(there.respond(&question, accept()).await? == 202);
    until("it is carried out", PATIENCE, async || Ok((nodes.fixture.effects("left").await? == (1, 1)).then_some(())))
        .await?;
    let mut resumed = there.stream(Some(&event)).await?;
    ensure!(resumed.status == 200, "{}", resumed.status);
    ensure!(text(&soon("no result", resumed.result()).await?) == "left was carried out 1 times");
    Ok(())
}

/// Answers to nodes that never were cost who sends them, not everybody.
#[tokio::test]
async fn who_answers_nodes_that_never_were_keeps_nobody_from_others() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let (alice, eve) = (nodes.log_in("alice").await?, nodes.log_in("eve").await?);
    let here = nodes.legacy_on(0, &alice, json!({ "elicitation": {} })).await?.at(&nodes.at(0)?);
    let there = here.at(&nodes.at(1)?);
    let at = nodes.at(1)?;
    let flooding = Legacy::open_at("2025-03-26", &at, Some(eve.token()), json!({}), &nodes.capture).await?;
    let mut call = here.request("tools/call", side_effect("flooded")).await?;
    let question = call.expect("elicitation/create").await?["id"].clone();
    ensure!(there.request("ping", json!({})).await?.status == 200);
    let batch: Value = (0..64)
        .map(|node| json!({ "jsonrpc": "2.0", "id": format!("{node:016x}.1"), "result": {} }))
        .collect::<Vec<_>>()
        .into();
    let flood = future::join_all((0..60).map(|_| flooding.post(&batch))).await;
    ensure!(flood.iter().all(Result::is_ok));
    ensure!(there.respond(&question, accept()).await? == 202);
    ensure!(text(&soon("no result", call.result()).await?) == "flooded was carried out 1 times");
    Ok(())
}

/// A node that cannot be reached for a moment, since the store was away, still is there: what is said to it then is not lost.
#[tokio::test]
async fn an_answer_right_after_an_outage_reaches_its_node() -> Result<()> {
    let mut nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = nodes.legacy_on(0, &alice, json!({ "elicitation": {} })).await?.at(&nodes.at(0)?);
    let there = here.at(&nodes.at(1)?);
    for round in 0..4 {
        let mut call = here.request("tools/call", side_effect(&format!("round {round}"))).await?;
        let question = call.expect("elicitation/create").await?["id"].clone();
        ensure!(there.request("ping", json!({})).await?.status == 200);
        nodes.store.stop().await?;
        nodes.store.start_again().await?;
        let taken = async || Ok((there.respond(&question, accept()).await? == 202).then_some(()));
        until("the answer is taken", PATIENCE, taken).await?;
        ensure!(
            text(&soon("the answer is lost", call.result()).await?) == format!("round {round} was carried out 1 times")
        );
    }
    Ok(())
}

/// A server of the session era that asks on the stream that belongs to no call, as many do.
#[derive(Clone, Default)]
struct Asking(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// By session.
    streams: HashMap<String, mpsc::UnboundedSender<Value>>,
    /// By the id of the question.
    waiting: HashMap<String, oneshot::Sender<Value>>,
    /// What its questions were answered with.
    answers: Vec<Value>,
    /// The log levels that each session took, in the order in which it did.
    levels: HashMap<String, Vec<String>>,
    last: u64,
}

impl Asking {
    async fn start() -> Result<(Self, String)> {
        let asking = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        let router = Router::new()
            .fallback(async |State(asking): State<Self>, method: Method, headers: HeaderMap, body: String| {
                asking.serve(&method, &headers, &body).await
            })
            .with_state(asking.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((asking, url))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, method: &Method, headers: &HeaderMap, body: &str) -> Response {
        let session = headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        if method == Method::GET {
            let (stream, said) = mpsc::unbounded_channel();
            self.lock().streams.insert(session, stream);
            let events = stream::unfold(said, async |mut said| {
                let message: Value = said.recv().await?;
                Some((Ok::<_, Infallible>(format!("data: {message}\n\n")), said))
            });
            return ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events.boxed())).into_response();
        }
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        match message["method"].as_str() {
            Some("initialize") => {
                let mut inner = self.lock();
                inner.last += 1;
                let result = json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "tools": { "listChanged": true }, "logging": {} },
                    "serverInfo": { "name": "asking", "version": "1" },
                });
                let id = [("mcp-session-id", format!("session-{}", inner.last))];
                (id, Self::result(&message, &result)).into_response()
            }
            Some("tools/list") => {
                let tool = |name: &str| json!({ "name": name, "inputSchema": { "type": "object" } });
                Self::result(&message, &json!({ "tools": [tool("ask"), tool("ask_later"), tool("change")] }))
            }
            Some("tools/call") if message["params"]["name"] == "ask" => {
                let length = message.pointer("/params/arguments/length").and_then(Value::as_u64).unwrap_or(1);
                let answer = self.ask(&session, usize::try_from(length).unwrap_or(1));
                let said = answer.await.unwrap_or_default().to_string();
                Self::result(&message, &json!({ "content": [{ "type": "text", "text": said }] }))
            }
            Some("tools/call") if message["params"]["name"] == "change" => {
                let params = json!({ "_meta": { "test/long": "x".repeat(20_000) } });
                let changed =
                    json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": params });
                let told = self.lock().streams.get(&session).map(|stream| stream.send(changed));
                Self::result(&message, &json!({ "content": [{ "type": "text", "text": told.is_some().to_string() }] }))
            }
            Some("logging/setLevel") => {
                let level = message["params"]["level"].as_str().unwrap_or_default().to_owned();
                if level == "debug" {
                    tokio::time::sleep(LATER).await;
                }
                self.lock().levels.entry(session).or_default().push(level);
                Self::result(&message, &json!({}))
            }
            Some("tools/call") => {
                let asking = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(LATER).await;
                    drop(asking.ask(&session, 1));
                });
                Self::result(&message, &json!({ "content": [] }))
            }
            Some(_) if message.get("id").is_some() => Self::result(&message, &json!({})),
            Some(_) => StatusCode::ACCEPTED.into_response(),
            None => {
                self.lock().answers.push(message.clone());
                let waiting = message["id"].as_str().and_then(|id| self.lock().waiting.remove(id));
                waiting.map(|waiting| waiting.send(message));
                StatusCode::ACCEPTED.into_response()
            }
        }
    }

    fn ask(&self, session: &str, length: usize) -> oneshot::Receiver<Value> {
        let (answer, answered) = oneshot::channel();
        let mut inner = self.lock();
        inner.last += 1;
        let id = format!("question-{}", inner.last);
        let schema = json!({ "type": "object", "properties": { "ok": { "type": "boolean" } } });
        let params = json!({ "message": "?".repeat(length), "requestedSchema": schema });
        if let Some(stream) = inner.streams.get(session) {
            let question = json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params });
            let _ = stream.send(question);
            inner.waiting.insert(id, answer);
        }
        answered
    }

    fn result(message: &Value, result: &Value) -> Response {
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// Two nodes before such a server, and alice's session on the first.
async fn asking() -> Result<(Nodes, Legacy)> {
    asking_with(Asking::start().await?.1).await
}

async fn asking_with(url: String) -> Result<(Nodes, Legacy)> {
    let backends = json!({ "asks": { "url": url, "naming": "none" } });
    let nodes = Nodes::with(2, Speaks::Legacy, json!({ "backends": backends })).await?;
    let alice = nodes.log_in("alice").await?;
    let here = nodes.legacy_on(0, &alice, json!({ "elicitation": {} })).await?.at(&nodes.at(0)?);
    here.result("tools/list", json!({})).await?;
    Ok((nodes, here))
}

/// A call during which the server asks: the question comes with the call, and is answered at another node.
async fn is_asked(client: &Legacy, answers: &Legacy, length: usize) -> Result<()> {
    let params = json!({ "name": "ask", "arguments": { "length": length } });
    let mut call = soon("the call does not begin", client.request("tools/call", params)).await?;
    let question = soon("no question", call.find("elicitation/create")).await?;
    ensure!(answers.respond(&question["id"], accept()).await? == 202);
    let result = soon("no result", call.result()).await?;
    ensure!(text(&result).contains("accept"), "{result}");
    Ok(())
}

/// What a server asks while a call is under way reaches the client, also where it listened to another node once, or does and the
/// question is long.
#[tokio::test]
async fn a_question_finds_its_client_wherever_that_listened_before() -> Result<()> {
    let (mut nodes, here) = asking().await?;
    let there = here.at(&nodes.at(1)?);
    let mut standing = there.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    for _ in 0..3 {
        is_asked(&here, &there, 100_000).await.context("a long question")?;
    }
    drop(standing);
    for _ in 0..3 {
        is_asked(&here, &there, 1).await.context("the stream of another node has ended")?;
    }
    nodes.nodes[1].kill().await?;
    is_asked(&here, &here, 1).await.context("the other node has ended")
}

/// The stream that was opened last is the one that counts, also for a node that asks where the client listens while it is opened.
#[tokio::test]
async fn an_older_stream_of_another_node_does_not_count() -> Result<()> {
    let (nodes, here) = asking().await?;
    let there = here.at(&nodes.at(1)?);
    let mut old = here.stream(None).await?;
    old.event().await?.context("no priming event")?;
    let mut standing = there.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    there.result("tools/list", json!({})).await?;
    drop(old);
    there.result("tools/call", json!({ "name": "ask_later" })).await?;
    soon("no question", standing.expect("elicitation/create")).await?;
    Ok(())
}

/// A server that asks on its own is not left waiting by a node that has ended, whether or not that has put the question.
#[tokio::test]
async fn a_question_that_is_lost_with_a_node_is_declined() -> Result<()> {
    for put in [false, true] {
        let (asking, url) = Asking::start().await?;
        let (mut nodes, here) = asking_with(url).await?;
        let there = here.at(&nodes.at(1)?);
        let mut standing = there.stream(None).await?;
        standing.event().await?.context("no priming event")?;
        let ask = async || here.result("tools/call", json!({ "name": "ask_later" })).await;
        ask().await?;
        let question = soon("no question", standing.expect("elicitation/create")).await?;
        if !put {
            ensure!(there.respond(&question["id"], accept()).await? == 202);
        }
        nodes.nodes[1].kill().await?;
        if !put {
            ask().await?;
        }
        let declined = async || {
            let answers = asking.lock().answers.clone();
            Ok(answers.iter().any(|answer| answer.get("error").is_some()).then_some(()))
        };
        until("it is declined", 3 * PATIENCE, declined).await.with_context(|| format!("put: {put}"))?;
    }
    Ok(())
}

/// What another node tells of a session's log level is told to the server in that order, however slow the server is.
#[tokio::test]
async fn the_last_log_level_is_the_last_one_at_every_node() -> Result<()> {
    let (asking, url) = Asking::start().await?;
    let (nodes, here) = asking_with(url).await?;
    let there = here.at(&nodes.at(1)?);
    there.result("tools/list", json!({})).await?;
    let set = |level: &'static str| here.request("logging/setLevel", json!({ "level": level }));
    for level in ["debug", "error"] {
        ensure!(set(level).await?.status == 200);
    }
    let told = async || {
        let levels = asking.lock().levels.clone();
        Ok((levels.len() == 2 && levels.values().all(|levels| levels.len() >= 2)).then_some(levels))
    };
    let levels = until("both nodes have told it", PATIENCE, told).await?;
    ensure!(levels.values().all(|levels| levels.last().is_some_and(|last| last == "error")), "{levels:?}");
    Ok(())
}

/// What is kept for a listener and is too long to be carried to another node is kept on.
#[tokio::test]
async fn a_long_notice_is_not_lost_where_its_client_listens_at_another_node() -> Result<()> {
    let (nodes, here) = asking().await?;
    let there = here.at(&nodes.at(1)?);
    let changed = here.result("tools/call", json!({ "name": "change" })).await?;
    ensure!(text(&changed) == "true", "the server has nobody to tell");
    ensure!(there.request("ping", json!({})).await?.status == 200);
    let mut elsewhere = there.stream(None).await?;
    elsewhere.event().await?.context("no priming event")?;
    // It is known at the first node where the client listens.
    here.result("tools/call", json!({ "name": "ask_later" })).await?;
    soon("no question", elsewhere.expect("elicitation/create")).await?;
    let mut standing = here.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    soon("the notice is lost", standing.expect("notifications/tools/list_changed")).await?;
    Ok(())
}

/// However long the client says why.
#[tokio::test]
async fn a_cancellation_with_a_long_reason_reaches_the_node_of_its_call() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = nodes.legacy_on(0, &alice, json!({ "elicitation": {} })).await?.at(&nodes.at(0)?);
    let there = here.at(&nodes.at(1)?);
    let mut answer = here.request_as(&json!("call"), "tools/call", side_effect("cancelled at length")).await?;
    answer.expect("elicitation/create").await?;
    ensure!(there.request("ping", json!({})).await?.status == 200);
    let params = json!({ "requestId": "call", "reason": "\u{e4}".repeat(50_000) });
    there.notify("notifications/cancelled", Some(params)).await?;
    let rest = soon("it goes on", answer.all()).await?;
    ensure!(rest.iter().all(|message| message.get("result").is_none()), "{rest:?}");
    Ok(())
}
