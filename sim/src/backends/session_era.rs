//! The server of the session era (2025-11-25, streamable HTTP). What it is told in the middle of a call it asks on the call's stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Channel;
use http_body_util::channel::Sender;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Backends, Body, agreed, called, done, error, json_answer, question, result, status, tools};
use crate::random::draw;

const SESSION_ID: &str = "mcp-session-id";

/// The sessions of this server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<String, Session>,
    /// No number is given twice.
    last: u64,
}

/// One session: the questions that wait for an answer in it.
#[derive(Debug, Default)]
struct Session {
    questions: BTreeMap<u64, oneshot::Sender<Value>>,
}

impl Sessions {
    /// What is left after a restart.
    pub(super) const fn emptied(&self) -> Self {
        Self { open: BTreeMap::new(), last: self.last }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

pub(super) async fn answer(backends: &Arc<Backends>, head: &Parts, body: &Value) -> Response<Body> {
    if head.method == Method::GET {
        return status(StatusCode::METHOD_NOT_ALLOWED);
    }
    if body["method"] == "initialize" {
        return initialize(backends, body);
    }
    if body["method"] == "server/discover" {
        let mut response = json_answer(&error(body, -32601, "no such method"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let Some(session) = head.headers.get(SESSION_ID).and_then(|id| id.to_str().ok()).map(str::to_owned) else {
        return status(StatusCode::BAD_REQUEST);
    };
    if !backends.lock().sessions.open.contains_key(&session) {
        return status(StatusCode::NOT_FOUND);
    }
    if head.method == Method::DELETE {
        backends.lock().sessions.open.remove(&session);
        return status(StatusCode::OK);
    }
    match body["method"].as_str() {
        None => {
            take_answer(backends, &session, body);
            status(StatusCode::ACCEPTED)
        }
        Some(method) if method.starts_with("notifications/") => status(StatusCode::ACCEPTED),
        Some("ping") => json_answer(&result(body, &json!({}))),
        Some("tools/list") => json_answer(&result(body, &json!({"tools": tools()}))),
        Some("tools/call") => call(backends, &session, body).await,
        Some(_) => json_answer(&error(body, -32601, "no such method")),
    }
}

fn initialize(backends: &Backends, body: &Value) -> Response<Body> {
    let mut state = backends.lock();
    let id = format!("session-{}", state.sessions.next());
    state.sessions.open.insert(id.clone(), Session::default());
    drop(state);
    let server = json!({
        "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "1"},
    });
    let mut response = json_answer(&result(body, &server));
    response.headers_mut().insert(SESSION_ID, id.try_into().expect("an id is plain text"));
    response
}

fn take_answer(backends: &Backends, session: &str, body: &Value) {
    let waiting = body["id"].as_u64().and_then(|id| {
        let mut state = backends.lock();
        state.sessions.open.get_mut(session)?.questions.remove(&id)
    });
    if let Some(waiting) = waiting {
        // Whoever asked may have gone.
        let _ = waiting.send(body["result"].clone());
    }
}

/// A call goes on when its connection is lost, as it would at any server that does not take that for a wish.
async fn call(backends: &Arc<Backends>, session: &str, body: &Value) -> Response<Body> {
    let Some((tool, call)) = called(body) else { return json_answer(&error(body, -32602, "no such call")) };
    backends.calls.seen_in(session, call);
    let (running, owned) = (backends.running(), Arc::clone(backends));
    if tool == "act" && draw(backends.seed, &["plain", &call.to_string()]).is_multiple_of(2) {
        let answer = result(body, &done(call));
        let (done, answered) = oneshot::channel();
        tokio::spawn(running.run_until_cancelled_owned(async move {
            owned.act(call).await;
            // Whoever asked may have gone.
            let _ = done.send(answer);
        }));
        return answered.await.map_or_else(|_| status(StatusCode::SERVICE_UNAVAILABLE), |answer| json_answer(&answer));
    }
    let (events, stream) = Channel::new(8);
    let (session, body, asks) = (session.to_owned(), body.clone(), tool == "ask");
    tokio::spawn(
        running.run_until_cancelled_owned(async move { work(owned, &session, &body, call, asks, events).await }),
    );
    let response = Response::builder().header(CONTENT_TYPE, "text/event-stream").body(Body::Right(stream));
    response.expect("the parts of a response are well formed")
}

async fn work(
    backends: Arc<Backends>,
    session: &str,
    body: &Value,
    call: u64,
    asks: bool,
    mut events: Sender<Bytes, std::convert::Infallible>,
) {
    if asks {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut state = backends.lock();
            let id = state.sessions.next();
            let Some(open) = state.sessions.open.get_mut(session) else { return };
            open.questions.insert(id, answer);
            id
        };
        let asked = json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": question()});
        tell(&mut events, &asked).await;
        let Ok(answer) = answered.await else { return };
        let Some(by) = agreed(&answer) else {
            return tell(&mut events, &result(body, &json!({"content": [], "isError": true}))).await;
        };
        backends.calls.answered(call, by);
    }
    backends.act(call).await;
    tell(&mut events, &result(body, &done(call))).await;
}

/// Nobody may be listening any more.
async fn tell(events: &mut Sender<Bytes, std::convert::Infallible>, message: &Value) {
    let _ = events.send_data(Bytes::from(format!("data: {message}\n\n"))).await;
}
