//! An issuer as a real HTTP server on loopback, whose answers the test decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::signing::{SigningKey, key_set};

pub(crate) const KEYS: &str = "/keys";
/// When a test that waits for an issuer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct IssuerServer {
    /// The issuer identifier: the server's origin and the path it was given.
    pub(crate) issuer: String,
    /// The server's origin.
    pub(crate) origin: String,
    board: Arc<Board>,
    server: JoinHandle<()>,
}

struct Board {
    answers: Mutex<HashMap<String, (StatusCode, HeaderMap, String)>>,
    asked: Mutex<Vec<String>>,
    /// Answers wait for a permit, which they give back.
    gate: Semaphore,
}

impl IssuerServer {
    /// An issuer that publishes RFC 8414 metadata and these keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let server = Self::start_at("").await;
        server.publish("/.well-known/oauth-authorization-server", &server.metadata());
        server.publish(KEYS, &key_set(keys));
        server
    }

    /// A server that knows nothing yet, with a path in its issuer identifier.
    pub(crate) async fn start_at(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        let board = Arc::new(Board { answers: Mutex::default(), asked: Mutex::default(), gate });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&board));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer: format!("{origin}{path}"), origin, board, server }
    }

    pub(crate) fn metadata(&self) -> Value {
        json!({ "issuer": self.issuer, "jwks_uri": format!("{}{KEYS}", self.origin) })
    }

    pub(crate) fn publish(&self, path: &str, document: &Value) {
        self.answer(path, StatusCode::OK, document.to_string());
    }

    pub(crate) fn answer(&self, path: &str, status: StatusCode, body: String) {
        self.board.answers.lock().unwrap().insert(path.to_owned(), (status, HeaderMap::new(), body));
    }

    pub(crate) fn redirect(&self, path: &str, to: &str) {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::try_from(to).unwrap())]);
        let mut answers = self.board.answers.lock().unwrap();
        answers.insert(path.to_owned(), (StatusCode::FOUND, headers, String::new()));
    }

    pub(crate) fn break_keys(&self) {
        self.answer(KEYS, StatusCode::INTERNAL_SERVER_ERROR, String::new());
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.board.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }

    /// Everything that was asked for, in order.
    pub(crate) fn all_asked(&self) -> Vec<String> {
        self.board.asked.lock().unwrap().clone()
    }

    /// Holds all answers back until [`Self::release`].
    pub(crate) fn hold(&self) {
        self.board.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.board.gate.add_permits(1_000);
    }

    /// Waits until a path has been asked for so many times.
    pub(crate) async fn until_asked(&self, path: &str, times: usize) {
        let asked = async {
            while self.asked(path) < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("the issuer is asked");
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(board): State<Arc<Board>>, uri: Uri) -> Response {
    board.asked.lock().unwrap().push(uri.path().to_owned());
    let _permit = board.gate.acquire().await.unwrap();
    let answer = board.answers.lock().unwrap().get(uri.path()).cloned();
    answer.unwrap_or((StatusCode::NOT_FOUND, HeaderMap::new(), String::new())).into_response()
}
