//! An MCP server with an authorization server of its own, small and correct, into which one hole at a time can be cut.

mod authorization;
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::Notify;
use url::Url;

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hole {
    /// Nothing.
    None,
    /// Anybody's token works on any session.
    NoBinding,
    /// The session is bound to the bytes of the token, and ends when other bytes come (the original report).
    BindsTokenBytes,
    /// A stranger is refused, and the session ended.
    KillsOnMismatch,
    /// Only tools/call looks at the owner.
    ChecksCallOnly,
    /// GET does not look at the owner.
    ForgetsGet,
    /// GET by anybody takes the stream over.
    StealsStream,
    /// DELETE does not look at the owner.
    ForgetsDelete,
    /// A stranger gets 403 instead of 404.
    Answers403,
    /// A stranger gets a tool error.
    AnswersInBand,
    /// `initialize` takes the session id that the client proposes.
    AdoptsIds,
    /// notifications/cancelled does not look at the owner.
    CancelsOthers,
    /// Responses do not look at the owner.
    TakesOthersAnswers,
    /// A session id without a token is enough.
    SessionIsPassword,
    /// DELETE answers well and does nothing.
    NeverDeletes,
    /// Only the first half of the session id counts.
    ComparesHalf,
    /// Unknown sessions get 400.
    Unknown400,
    /// Session ids are given out and never looked at.
    IgnoresSessions,
    /// A refresh changes the subject.
    RenamesOnRefresh,
}

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With tokens and sessions.
    Guarded,
    /// With sessions, without tokens.
    Open,
    /// With tokens, without sessions.
    Stateless,
    /// 2026-07-28 only.
    Modern,
}

/// How users log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginPage {
    /// By one button per user; consent is not asked.
    Development,
    /// By name and password (the name, reversed), then a consent page.
    Form,
}

/// A running fake.
pub(crate) struct Fake {
    pub(crate) url: Url,
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) base: String,
    pub(crate) hole: Hole,
    pub(crate) kind: Kind,
    pub(crate) login: LoginPage,
    pub(crate) state: Mutex<Tables>,
    counter: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Tables {
    /// Access token to user.
    pub(crate) tokens: HashMap<String, String>,
    pub(crate) sessions: HashMap<String, Session>,
    /// Tool names called, and by whom.
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) codes: HashMap<String, authorization::Code>,
    pub(crate) refresh: HashMap<String, String>,
    pub(crate) revoked: usize,
}

pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) running: HashMap<String, Arc<Notify>>,
    pub(crate) stream: Arc<Notify>,
}

impl Shared {
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.state.lock().unwrap()
    }

    /// A number that was not there before, spread over 64 bits so that ids look random and stay reproducible.
    pub(crate) fn fresh(&self) -> u64 {
        let number = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17)
    }
}

impl Fake {
    pub(crate) async fn start(hole: Hole) -> Self {
        Self::with(hole, Kind::Guarded, LoginPage::Development).await
    }

    /// An access token and a refresh token, without a login.
    pub(crate) fn issue(&self, user: &str) -> (String, String) {
        authorization::issue(&self.shared, user)
    }

    pub(crate) async fn with(hole: Hole, kind: Kind, login: LoginPage) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let url = Url::parse(&format!("{base}/mcp")).unwrap();
        let (state, counter) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { base, hole, kind, login, state, counter });
        let app = axum::Router::new().fallback(route).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }
}

async fn route(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    if parts.uri.path() == "/mcp" {
        server::serve(&shared, &parts, &body).await
    } else {
        authorization::serve(&shared, &parts, &body)
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

fn json(status: u16, value: &serde_json::Value) -> Response {
    answer(status, &[("content-type", "application/json")], value.to_string())
}
