//! A server of the first revision on loopback (2024-11-05, Transports, HTTP with SSE): a GET opens the one stream, messages
//! are posted to the address that it names, and a test writes what is said on the stream.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use hawser_backend::{BackendConfig, BackendName, Transport};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::scripted::{Call, Scripted, answer, event, status};

type Chunk = Result<String, Infallible>;

pub(crate) struct SseServer {
    pub(crate) http: Scripted,
    stream: Arc<Mutex<Option<mpsc::UnboundedSender<Chunk>>>>,
}

/// What a test's script does with a message.
pub(crate) enum Reply {
    /// Accepts it and says this on the stream.
    Say(String),
    /// Refuses the POST.
    Refuse(u16),
    /// Accepts it and ends the stream.
    End,
    /// Says this on the stream and never answers the POST itself.
    OnlySay(String),
}

impl SseServer {
    /// A server whose stream begins with this text; `script` answers messages, `plain` what it leaves out.
    pub(crate) async fn start(
        begin: &'static str,
        script: impl Fn(&Call) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let stream: Arc<Mutex<Option<mpsc::UnboundedSender<Chunk>>>> = Arc::default();
        let shared = Arc::clone(&stream);
        let http = Scripted::start(move |call| {
            if call.method == Method::GET {
                let (sender, receiver) = mpsc::unbounded_channel();
                sender.send(Ok(begin.to_owned())).unwrap();
                *shared.lock().unwrap() = Some(sender);
                return Some(opened(receiver));
            }
            if call.path != "/messages" {
                return Some(status(404));
            }
            let mut sender = shared.lock().unwrap();
            let say = |text: String| sender.as_ref().map(|sender| sender.send(Ok(text)));
            Some(match script(call).or_else(|| plain(call)) {
                None => status(202),
                Some(Reply::Say(text)) => {
                    say(text);
                    answer(202, "text/plain", "Accepted")
                }
                Some(Reply::Refuse(code)) => status(code),
                Some(Reply::OnlySay(text)) => {
                    say(text);
                    let silence = stream::pending::<Chunk>();
                    answer(200, "text/plain", Body::from_stream(silence))
                }
                Some(Reply::End) => {
                    sender.take();
                    status(202)
                }
            })
        })
        .await;
        Self { http, stream }
    }

    /// An ordinary server that does this with what is not part of the handshake.
    pub(crate) async fn ordinary(script: impl Fn(&Call) -> Option<Reply> + Send + Sync + 'static) -> Self {
        Self::start("event: endpoint\r\ndata: /messages?session=s-1\r\n\r\n", script).await
    }

    pub(crate) fn say(&self, text: String) {
        self.stream.lock().unwrap().as_ref().expect("the stream is open").send(Ok(text)).unwrap();
    }

    pub(crate) fn tell(&self, message: &Value) {
        self.say(event(message));
    }

    /// Waits until the stream is closed from the other side.
    pub(crate) async fn hung_up(&self) {
        let sender = self.stream.lock().unwrap().clone().expect("the stream was open");
        tokio::time::timeout(std::time::Duration::from_secs(10), sender.closed()).await.expect("the stream is closed");
    }

    /// Configured as HTTP+SSE.
    pub(crate) fn config(&self) -> BackendConfig {
        let Transport::Http { url, headers } = self.http.config().transport else { panic!("not HTTP") };
        BackendConfig::new(BackendName::new("sse").unwrap(), Transport::Sse { url, headers })
    }
}

fn opened(receiver: mpsc::UnboundedReceiver<Chunk>) -> Response {
    let chunks = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    answer(200, "text/event-stream", Body::from_stream(chunks.boxed()))
}

fn plain(call: &Call) -> Option<Reply> {
    match call.rpc() {
        "initialize" => Some(Reply::Say(event(&initialized(&call.body["id"], "2024-11-05")))),
        _ if call.body.get("id").is_none() || call.body.get("method").is_none() => None,
        _ => Some(Reply::Say(event(&crate::scripted::result(call)))),
    }
}

pub(crate) fn initialized(id: &Value, revision: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {
        "protocolVersion": revision, "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "1"},
    }})
}

/// The headers that hold credentials in tests.
pub(crate) fn credential(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization").map(|value| value.to_str().unwrap())
}
