//! One gateway session's connection to one backend: opened on first use, opened again when it died.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use hawser_backend::{Backend, BackendError, BackendSession, ClientHello, Exchange};
use hawser_mcp::{RawJson, method};
use tokio::sync::Mutex;

use crate::ask::outcome;
use crate::session::Session;

/// The way to one backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    backend: Backend,
    position: usize,
    state: Mutex<State>,
    listening: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    session: Option<BackendSession>,
    /// What a new backend session has to be told, since the client told the old one.
    log_level: Option<RawJson>,
    subscriptions: BTreeSet<String>,
}

impl Upstream {
    pub(crate) fn new(backend: Backend, position: usize) -> Self {
        Self { backend, position, state: Mutex::default(), listening: AtomicBool::new(false) }
    }

    /// Its position among the endpoint's backends.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The open session, if there is one.
    pub(crate) async fn opened(&self) -> Option<BackendSession> {
        self.state.lock().await.session.clone().filter(BackendSession::is_open)
    }

    /// The open session, or a new one that has been told all that the client told the last.
    pub(crate) async fn open(&self, owner: &Arc<Session>) -> Result<BackendSession, BackendError> {
        let session = self.open_locked(owner).await?;
        // Looked at after the lock is gone: whoever asked to listen meanwhile did not wait for it.
        if self.listening.load(Ordering::Acquire) {
            session.listen();
        }
        Ok(session)
    }

    async fn open_locked(&self, owner: &Arc<Session>) -> Result<BackendSession, BackendError> {
        let mut state = self.state.lock().await;
        if let Some(session) = state.session.as_ref().filter(|session| session.is_open()) {
            return Ok(session.clone());
        }
        let hello = ClientHello {
            revision: owner.revision(),
            capabilities: owner.client_capabilities().clone(),
            client_info: owner.client_info().clone(),
        };
        let (session, unsolicited) = match self.backend.open(&hello).await {
            // A child that nobody uses makes way: its session opens it again when it is needed.
            Err(BackendError::TooManyChildren { .. }) if owner.free_a_child().await => {
                self.backend.open(&hello).await?
            }
            opened => opened?,
        };
        crate::unsolicited::forward(Weak::clone(owner.weak()), self.position, session.clone(), unsolicited);
        state.replay(&session).await;
        state.session = Some(session.clone());
        Ok(session)
    }

    /// From now on what the backend says unasked is wanted.
    pub(crate) fn listen(&self) {
        self.listening.store(true, Ordering::Release);
        // A lock that is held is held by who opens a session, and that one looks at the wish afterwards.
        if let Ok(state) = self.state.try_lock()
            && let Some(session) = &state.session
        {
            session.listen();
        }
    }

    /// Remembers the log level for sessions opened later.
    pub(crate) async fn set_log_level(&self, params: RawJson) {
        self.state.lock().await.log_level = Some(params);
    }

    /// Remembers or forgets a resource subscription for sessions opened later.
    pub(crate) async fn note_subscription(&self, uri: &str, subscribed: bool) {
        let mut state = self.state.lock().await;
        if subscribed {
            state.subscriptions.insert(uri.to_owned());
        } else {
            state.subscriptions.remove(uri);
        }
    }

    /// Whether a child process of this session runs for it, as far as that can be told without waiting.
    pub(crate) fn holds_a_child(&self) -> bool {
        let opened = |state: &State| state.session.as_ref().is_some_and(BackendSession::is_open);
        self.backend.is_stdio() && self.state.try_lock().is_ok_and(|state| opened(&state))
    }

    /// Ends the backend session.
    pub(crate) async fn close(&self) {
        let session = self.state.lock().await.session.take();
        if let Some(session) = session {
            session.close().await;
        }
    }
}

impl State {
    /// A backend that does not take a level or a subscription again still serves everything else.
    async fn replay(&self, session: &BackendSession) {
        if let Some(level) = &self.log_level {
            settle(session.request(method::LOGGING_SET_LEVEL, Some(level.clone())).await).await;
        }
        for uri in &self.subscriptions {
            let params = RawJson::from_serialize(&serde_json::json!({ "uri": uri })).ok();
            settle(session.request(method::RESOURCES_SUBSCRIBE, params).await).await;
        }
    }
}

/// Waits for the end of an exchange whose answer nobody needs.
async fn settle(exchange: Result<Exchange, BackendError>) {
    if let Ok(exchange) = exchange {
        let _ = outcome(exchange).await;
    }
}
