//! `subscriptions/listen` and what stands behind it: what a backend cannot tell is not promised, what it holds for listeners is
//! given back, tasks are their owner's, and a backend that was lost is told of when it is back.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hawser_tests::{Answer, Capture, ChangingBackend, Gateway, Modern, Person, Speaks, Stage, until};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(15);
const WATCHED: &str = "test://watched-resource";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

type Handler = fn(&Shared, &str, &Value) -> Response;

/// An open stream, by the id of its request.
type Stream = (Value, mpsc::UnboundedSender<Value>);

/// The open streams of a small server.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<Stream>>>);

impl Shared {
    /// Tells all `subscriptions/listen` streams.
    fn tell(&self, method: &str, params: &Value) {
        for (id, stream) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let mut params = params.clone();
            params["_meta"] = json!({ SUBSCRIPTION: id });
            let _ = stream.send(json!({ "jsonrpc": "2.0", "method": method, "params": params }));
        }
    }
}

/// A server that answers as a function says; its state, and a gateway in front of it.
async fn gateway_before(handler: Handler) -> Result<(Shared, Gateway)> {
    let shared = Shared::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    let router = Router::new()
        .fallback(async move |State(shared): State<Shared>, method: Method, body: String| {
            let message: Value = serde_json::from_str(&body).unwrap_or_default();
            let name = message["method"].as_str().unwrap_or(method.as_str()).to_owned();
            handler(&shared, &name, &message)
        })
        .with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let backends = json!({ "b": { "url": url, "naming": "none" } });
    Ok((shared, Gateway::with_users(json!({ "backends": backends })).await?))
}

fn respond(message: &Value, result: &Value) -> Response {
    let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn client(gateway: &Gateway, name: &str) -> Result<Modern> {
    let url = gateway.mcp()?;
    let person = Person::log_in(&url, name).await?;
    Modern::new(&url, Some(person.token()), &Capture::new())
}

/// A server of the session era that promises to tell of everything and has no stream to tell it on.
fn mute(_: &Shared, name: &str, message: &Value) -> Response {
    let capabilities = json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true } });
    match name {
        "initialize" => respond(
            message,
            &json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": capabilities,
                "serverInfo": { "name": "mute", "version": "1" },
            }),
        ),
        "GET" => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        "server/discover" => StatusCode::BAD_REQUEST.into_response(),
        _ if message.get("id").is_none() => StatusCode::ACCEPTED.into_response(),
        "tools/list" => respond(message, &json!({ "tools": [] })),
        _ => respond(message, &json!({})),
    }
}

#[tokio::test]
async fn what_a_backend_cannot_tell_is_not_acknowledged() -> Result<()> {
    let (_, gateway) = gateway_before(mute).await?;
    let alice = client(&gateway, "alice").await?;
    let filter = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["x:y"] });
    let (_stream, honoured) = alice.listen(filter).await?;
    ensure!(honoured == json!({}), "{honoured}");
    Ok(())
}

/// A server of the stateless era whose one tool is always a task.
fn tasks(shared: &Shared, name: &str, message: &Value) -> Response {
    let task = json!({
        "resultType": "task", "taskId": "own-task-1", "status": "working", "createdAt": "2026-07-28T00:00:00Z",
        "lastUpdatedAt": "2026-07-28T00:00:00Z", "ttlMs": null, "pollIntervalMs": 1000,
    });
    match name {
        "server/discover" => {
            let extensions = json!({ "io.modelcontextprotocol/tasks": {} });
            let capabilities = json!({ "tools": {}, "extensions": extensions });
            respond(
                message,
                &json!({
                    "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                    "ttlMs": 0, "cacheScope": "private",
                }),
            )
        }
        "tools/list" => {
            let tool = json!({ "name": "work", "inputSchema": { "type": "object" } });
            respond(message, &json!({ "resultType": "complete", "tools": [tool], "ttlMs": 0, "cacheScope": "private" }))
        }
        "tools/call" => respond(message, &task),
        "subscriptions/listen" => listen(shared, message),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Acknowledges everything, and then some.
fn listen(shared: &Shared, message: &Value) -> Response {
    let (stream, receiver) = mpsc::unbounded_channel();
    shared.0.lock().unwrap_or_else(PoisonError::into_inner).push((message["id"].clone(), stream));
    let mut filter = message["params"]["notifications"].clone();
    filter["toolsListChanged"] = true.into();
    if let Some(tasks) = filter["taskIds"].as_array_mut() {
        tasks.push("own-task-2".into());
    }
    let params = json!({ "_meta": { SUBSCRIPTION: message["id"] }, "notifications": filter });
    let first = json!({ "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params });
    let told = stream::unfold(receiver, |mut receiver: mpsc::UnboundedReceiver<Value>| async {
        Some((receiver.recv().await?, receiver))
    });
    let events = stream::once(async { first }).chain(told);
    let events = events.map(|message| Ok::<_, Infallible>(format!("data: {message}\n\n")));
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

/// "Authorization MUST be checked on each task request", and in filters; a task is told of under the id that its owner knows.
#[tokio::test]
async fn a_task_is_told_of_to_its_owner_under_the_owners_id() -> Result<()> {
    let (shared, gateway) = gateway_before(tasks).await?;
    let declared = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let alice = client(&gateway, "alice").await?.declaring(declared.clone());
    let eve = client(&gateway, "eve").await?.declaring(declared);
    let created = alice.result("tools/call", json!({ "name": "work" })).await?;
    ensure!(created["resultType"] == "task" && created["taskId"] != "own-task-1", "{created}");
    let filter = json!({ "taskIds": [created["taskId"]] });

    let (_theirs, honoured) = eve.listen(filter.clone()).await?;
    ensure!(honoured == json!({}), "another's task: {honoured}");
    let (_theirs, honoured) = eve.listen(json!({ "taskIds": ["own-task-1"] })).await?;
    ensure!(honoured == json!({}), "the backend's own id: {honoured}");
    let undeclared = client(&gateway, "alice").await?;
    let (status, error) = undeclared.error("subscriptions/listen", json!({ "notifications": filter })).await?;
    ensure!(status == 400 && error["code"] == -32021, "{status} {error}");

    let (mut stream, honoured) = alice.listen(filter.clone()).await?;
    ensure!(honoured == filter, "{honoured}");
    shared.tell("notifications/tools/list_changed", &json!({}));
    shared.tell("notifications/tasks", &json!({ "taskId": "own-task-2", "status": "working" }));
    let state = json!({ "taskId": "own-task-1", "status": "completed", "result": { "content": [] } });
    shared.tell("notifications/tasks", &state);
    let told = stream.expect("notifications/tasks").await?;
    ensure!(told["params"]["taskId"] == created["taskId"], "{told}");
    ensure!(told["params"]["status"] == "completed" && !told.to_string().contains("own-task"), "{told}");
    ensure!(told["params"]["_meta"][SUBSCRIPTION].is_u64(), "{told}");
    Ok(())
}

async fn updated(stream: &mut Answer) -> Result<()> {
    let told = stream.expect("notifications/resources/updated").await?;
    ensure!(told["params"]["uri"] == WATCHED, "{told}");
    Ok(())
}

/// A resource is subscribed to once for all who listen, and until the last of them has left.
#[tokio::test]
async fn a_subscription_is_shared_and_given_back() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.modern(&stage.log_in("alice").await?)?;
    let filter = json!({ "resourceSubscriptions": [WATCHED, WATCHED] });
    let (mut first, honoured) = alice.listen(filter.clone()).await?;
    ensure!(honoured == json!({ "resourceSubscriptions": [WATCHED] }), "{honoured}");
    let (mut second, _) = alice.listen(filter).await?;
    let write = json!({ "name": "test_write_resource" });
    alice.result("tools/call", write.clone()).await?;
    updated(&mut first).await?;
    updated(&mut second).await?;
    drop(first);
    alice.result("tools/call", write).await?;
    updated(&mut second).await?;
    ensure!(stage.recorder.count("resources/unsubscribe") == 0, "given up while somebody listens");
    drop(second);
    let given_back = async || Ok((stage.recorder.count("resources/unsubscribe") > 0).then_some(()));
    until("the subscription is given back", SOON, given_back).await?;
    ensure!(stage.recorder.count("resources/subscribe") == 1 && stage.recorder.count("resources/unsubscribe") == 1);
    Ok(())
}

/// A listening client asks for nothing, so it would never learn that a backend is another one by now.
#[tokio::test]
async fn a_backend_that_was_lost_is_told_of_when_it_is_back() -> Result<()> {
    let backend = ChangingBackend::start(&["one"]).await?;
    let backends = json!({ "b": { "url": backend.url() } });
    let gateway = Gateway::with_users(json!({ "backends": backends })).await?;
    let alice = client(&gateway, "alice").await?;
    let (mut stream, honoured) = alice.listen(json!({ "toolsListChanged": true })).await?;
    ensure!(honoured == json!({ "toolsListChanged": true }), "{honoured}");
    backend.announce();
    stream.expect("notifications/tools/list_changed").await?;
    backend.set_tools(&["two"]);
    backend.become_another();
    stream.expect("notifications/tools/list_changed").await.context("after the loss")?;
    let tools = alice.result("tools/list", json!({})).await?;
    ensure!(tools["tools"][0]["name"] == "b_two", "{tools}");
    backend.announce();
    stream.expect("notifications/tools/list_changed").await.context("from the new one")?;
    Ok(())
}

#[tokio::test]
async fn streams_are_counted_and_their_places_come_back() -> Result<()> {
    let (_, gateway) = gateway_before(mute).await?;
    let alice = client(&gateway, "alice").await?;
    let mut streams = Vec::new();
    let refused = loop {
        let answer = alice.request("subscriptions/listen", json!({ "notifications": {} })).send().await?;
        if answer.status != 200 {
            break answer;
        }
        streams.push(answer);
        ensure!(streams.len() <= 100, "there is no end of streams");
    };
    ensure!(refused.status == 400 && streams.len() == 32, "{} after {}", refused.status, streams.len());
    // Calls are not among them.
    alice.result("tools/list", json!({})).await?;
    streams.pop();
    until("there is a place again", SOON, async || Ok(alice.listen(json!({})).await.ok())).await?;
    Ok(())
}
