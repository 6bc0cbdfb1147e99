//! A backend that has its calls polled (SEP-1699), and what that must not cost anybody: no call is cut off for want of room, and
//! none at a graceful stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hawser_tests::{Answer, Capture, Gateway, Legacy, Person, until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(20);
/// More than go on in one session without their client.
const CALLS: usize = 40;

/// A server that closes the connection of each call at once, and answers whoever polls as soon as it may.
#[derive(Clone)]
struct Polled(Arc<Inner>);

struct Inner {
    polls: AtomicUsize,
    may_answer: Semaphore,
}

impl Polled {
    async fn start() -> Result<(Self, String)> {
        let polled = Self(Arc::new(Inner { polls: AtomicUsize::new(0), may_answer: Semaphore::new(0) }));
        let router = Router::new().fallback(answer).with_state(polled.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/mcp", listener.local_addr()?);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok((polled, url))
    }

    async fn is_polled(&self, times: usize) -> Result<()> {
        let polled = async || Ok((self.0.polls.load(Ordering::SeqCst) >= times).then_some(()));
        until("every call is polled", PATIENCE, polled).await
    }

    fn let_answer(&self, calls: usize) {
        self.0.may_answer.add_permits(calls);
    }
}

async fn answer(State(polled): State<Polled>, method: Method, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let response = |id: &str, result: Value| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let stream = |text: String| ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response();
    if method == Method::GET {
        let Some(call) = headers.get("last-event-id").and_then(|id| id.to_str().ok()) else {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        };
        polled.0.polls.fetch_add(1, Ordering::SeqCst);
        if let Ok(permit) = polled.0.may_answer.acquire().await {
            permit.forget();
        }
        return stream(format!("data: {}\n\n", response(call, json!({ "content": [] }))));
    }
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id").map(Value::to_string) else { return StatusCode::ACCEPTED.into_response() };
    let answer = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "polled", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [{ "name": "poll", "inputSchema": { "type": "object" } }] }),
        "tools/call" => return stream(format!("id: {id}\nretry: 50\ndata: \n\n")),
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
            return ([(header::CONTENT_TYPE, "application/json")], text).into_response();
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], response(&id, answer)).into_response()
}

async fn in_front_of(url: &str) -> Result<(Gateway, Legacy)> {
    let backend = json!({ "url": url, "naming": "none" });
    let gateway = Gateway::with_users(json!({ "backends": { "polled": backend } })).await?;
    let alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    let client = Legacy::open(&gateway.mcp()?, Some(alice.token()), json!({}), &Capture::new()).await?;
    Ok((gateway, client))
}

async fn begin(client: &Legacy) -> Result<(Answer, String)> {
    let mut answer = client.request("tools/call", json!({ "name": "poll", "arguments": {} })).await?;
    let priming = answer.event().await?.context("no priming event")?;
    Ok((answer, priming.id.context("a priming event without an id")?))
}

#[tokio::test]
async fn who_is_polled_loses_no_call_however_many_there_are() -> Result<()> {
    let (polled, url) = Polled::start().await?;
    let (_gateway, client) = in_front_of(&url).await?;
    let call = async || {
        let (mut answer, first) = begin(&client).await?;
        if let Some(response) = answer.next().await? {
            return Ok(response["result"].is_object());
        }
        Ok(client.stream(Some(&first)).await?.result().await?.is_object())
    };
    let answered = async {
        polled.is_polled(CALLS).await?;
        polled.let_answer(CALLS);
        Ok::<_, anyhow::Error>(())
    };
    let calls = futures_util::future::try_join_all((0..CALLS).map(|_| call()));
    let (calls, ()) = tokio::try_join!(calls, answered)?;
    ensure!(calls.iter().all(|answered| *answered), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_polled_gets_its_answer_while_the_gateway_stops() -> Result<()> {
    let (polled, url) = Polled::start().await?;
    let (mut gateway, client) = in_front_of(&url).await?;
    let (mut answer, first) = begin(&client).await?;
    ensure!(answer.next().await?.is_none(), "the connection ends before the stream");
    let mut resumed = client.stream(Some(&first)).await?;
    polled.is_polled(1).await?;
    let mut standing = client.stream(None).await?;
    let (stopped, told) = tokio::join!(gateway.stop(), async {
        ensure!(standing.all().await?.is_empty(), "the GET stream ends at once");
        polled.let_answer(1);
        resumed.result().await
    });
    ensure!(stopped?.success());
    ensure!(told?.is_object());
    Ok(())
}
