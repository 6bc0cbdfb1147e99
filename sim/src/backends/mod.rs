//! The MCP servers behind the gateways: one of each era, outside of every node, so that no node's death is theirs.
//!
//! Both have two tools. `act` does something that must be done once at most; `ask` wants to know something from the client first.
//! What was done, and for whom, is told to [`Calls`], which judges it. Nodes reach them over pipes in memory; a restart breaks
//! all connections and forgets all sessions.

mod session_era;
mod stateless_era;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hawser_backend::{Backend, BackendConfig, BackendName, Dial, Dialing, Transport};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Channel, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::calls::Calls;
use crate::random::draw;
use session_era::Sessions;

/// Bytes that may be on their way in one direction of a connection.
const PIPE_BYTES: usize = 64 * 1024;
/// Longest work before, and after, what a call does, in milliseconds.
const WORK_MAX: u64 = 1_500;

/// The servers.
#[derive(Debug)]
pub struct Backends {
    seed: u64,
    calls: Arc<Calls>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Cancelled by a restart.
    running: CancellationToken,
    sessions: Sessions,
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Old,
    New,
}

type Body = http_body_util::Either<Full<Bytes>, Channel<Bytes, Infallible>>;

/// The way from one start of one node to the servers.
#[derive(Debug)]
struct Way {
    backends: Arc<Backends>,
    which: Which,
    died: CancellationToken,
}

impl Backends {
    /// Servers that have just been started.
    pub fn new(seed: u64, calls: Arc<Calls>) -> Arc<Self> {
        Arc::new(Self { seed, calls, state: Mutex::default() })
    }

    /// Both, as a node is told of them that is there until `died`.
    pub fn of_node(self: &Arc<Self>, died: &CancellationToken) -> [Backend; 2] {
        [(Which::Old, "old"), (Which::New, "new")].map(|(which, name)| {
            let url = Url::parse(&format!("http://{name}.example/mcp")).expect("the address is well formed");
            let transport = Transport::Http { url, headers: HeaderMap::new() };
            let name = BackendName::new(name).expect("the name is well formed");
            let way: Arc<dyn Dial> = Arc::new(Way { backends: Arc::clone(self), which, died: died.clone() });
            Backend::in_process(BackendConfig::new(name, transport), &way).expect("the configuration is well formed")
        })
    }

    /// Breaks all connections, and forgets all sessions and what was being done.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.running.cancel();
        *state = State { running: CancellationToken::new(), sessions: state.sessions.emptied() };
    }

    async fn answer(self: Arc<Self>, which: Which, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Ok(status(StatusCode::BAD_REQUEST)) };
        let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        Ok(match which {
            Which::Old => session_era::answer(&self, &head, &body).await,
            Which::New => stateless_era::answer(&self, &head, &body).await,
        })
    }

    /// Works, does what the call is for, works on.
    async fn act(&self, call: u64) {
        let wait = |part| {
            let number = draw(self.seed, &["work", part, &call.to_string()]);
            // Many calls are quick.
            Duration::from_millis(if number.is_multiple_of(2) { number / 2 % 20 } else { number / 2 % WORK_MAX })
        };
        tokio::time::sleep(wait("before")).await;
        self.calls.runs(call);
        tokio::time::sleep(wait("after")).await;
    }

    fn running(&self) -> CancellationToken {
        self.lock().running.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dial for Way {
    fn dial(&self, _: &Uri) -> Dialing {
        let (backends, which, died) = (Arc::clone(&self.backends), self.which, self.died.clone());
        Box::pin(async move {
            if died.is_cancelled() {
                // What a node does after its death comes to nothing.
                std::future::pending::<()>().await;
            }
            let (here, there) = tokio::io::duplex(PIPE_BYTES);
            let running = backends.running();
            tokio::spawn(async move {
                let serve = service_fn(move |request| Arc::clone(&backends).answer(which, request));
                tokio::select! {
                    biased;
                    () = died.cancelled() => {}
                    () = running.cancelled() => {}
                    _ = http1::Builder::new().serve_connection(TokioIo::new(there), serve) => {}
                }
            });
            Ok::<_, io::Error>(here)
        })
    }
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Left(Full::default()));
    *response.status_mut() = status;
    response
}

fn json_answer(message: &Value) -> Response<Body> {
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    response.body(Body::Left(Full::from(message.to_string()))).expect("the parts of a response are well formed")
}

fn result(request: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result})
}

fn error(request: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}})
}

fn tools() -> Value {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    json!([tool("act"), tool("ask")])
}

/// Which tool is called, and as which call.
fn called(request: &Value) -> Option<(&str, u64)> {
    let params = &request["params"];
    Some((params["name"].as_str()?, params["arguments"]["call"].as_u64()?))
}

/// What `ask` wants to know.
fn question() -> Value {
    json!({"mode": "form", "message": "may I?", "requestedSchema": {"type": "object", "properties": {"by": {"type": "string"}}}})
}

/// Who answered, if it was agreed to.
fn agreed(answer: &Value) -> Option<&str> {
    (answer["action"] == "accept").then(|| answer["content"]["by"].as_str())?
}

/// What a call says when it is done.
fn done(call: u64) -> Value {
    json!({"content": [{"type": "text", "text": format!("call {call}")}]})
}
