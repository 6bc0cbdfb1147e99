//! One session over streamable HTTP.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Body, Message, Request, Revision, method, parse_body};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::background::{Background, in_background};
use super::client::{HttpClient, NotAccepted, PROTOCOL_VERSION, SESSION_ID, accept, send_failure};
use super::flow::{HttpFlow, Kind};
use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::state::{Ending, SessionState};

/// How long a goodbye may take.
const DELETE_TIME_MAX: Duration = Duration::from_secs(5);

/// One session over streamable HTTP.
#[derive(Debug)]
pub(crate) struct HttpLink {
    pub(super) config: Arc<BackendConfig>,
    pub(super) client: Arc<HttpClient>,
    pub(super) state: Arc<SessionState>,
    session_id: OnceLock<HeaderValue>,
    revision: OnceLock<Revision>,
    listening: AtomicBool,
    hearing: watch::Sender<Hearing>,
    background: Background,
}

/// How the standalone stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hearing {
    /// Not open, or not open again.
    #[default]
    NotNow,
    /// Open without a break.
    Since(Instant),
    /// The server offers none.
    Never,
}

impl HttpLink {
    pub(crate) fn new(config: Arc<BackendConfig>, client: Arc<HttpClient>, state: Arc<SessionState>) -> Self {
        Self {
            config,
            client,
            state,
            session_id: OnceLock::new(),
            revision: OnceLock::new(),
            listening: AtomicBool::new(false),
            hearing: watch::Sender::default(),
            background: Background::default(),
        }
    }

    /// Sends a request; with `metadata` one of the stateless era.
    pub(crate) fn begin(self: &Arc<Self>, id: u64, request: &Request, metadata: Option<&HeaderMap>) -> HttpFlow {
        let kind = match (metadata, request.method.as_str()) {
            (Some(_), method::SUBSCRIPTIONS_LISTEN) => Kind::Listening,
            (Some(_), _) => Kind::Stateless,
            (None, method::INITIALIZE) => Kind::Opening,
            (None, _) => Kind::InSession,
        };
        let in_session = metadata.is_none().then(|| self.session_headers());
        let headers = metadata.or(in_session.as_ref());
        let response = self.client.post(headers.unwrap_or(&HeaderMap::new()), request.to_bytes());
        HttpFlow::new(Arc::clone(self), id, kind, response)
    }

    pub(crate) async fn send(&self, message: &Message) -> Result<(), BackendError> {
        let sending = async {
            let response = self.client.post(&self.session_headers(), message.to_bytes());
            let response = response.await.map_err(|error| send_failure(&self.config.name, &error))?;
            accept(response, self.in_session(), &self.config.limits).await.map_err(|refused| match refused {
                NotAccepted::SessionGone => self.gone(),
                NotAccepted::Refused(status) => self.refused(status),
            })
        };
        timeout(self.config.request_timeout, sending).await.unwrap_or_else(|_| {
            Err(BackendError::TimedOut { backend: self.config.name.clone(), after: self.config.request_timeout })
        })
    }

    pub(crate) fn send_in_background(self: &Arc<Self>, message: Message) {
        let link = Arc::clone(self);
        self.background.send(&self.config.name, async move { link.send(&message).await });
    }

    pub(crate) fn settle(&self, revision: Revision) {
        let _ = self.revision.set(revision);
    }

    /// Takes the id that an answer to `initialize` brought.
    pub(super) fn enter(&self, session_id: HeaderValue) {
        let _ = self.session_id.set(session_id);
    }

    pub(super) fn in_session(&self) -> bool {
        self.session_id.get().is_some()
    }

    /// What every request of the session carries.
    pub(super) fn session_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(2);
        if let Some(id) = self.session_id.get() {
            headers.insert(SESSION_ID, id.clone());
        }
        if let Some(revision) = self.revision.get() {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
        }
        headers
    }

    pub(crate) fn listen(self: &Arc<Self>) {
        if !self.listening.swap(true, Ordering::Relaxed) {
            in_background(super::listen::listen(Arc::clone(self)));
        }
    }

    /// Notes that the standalone stream is open, until what this gives is dropped.
    pub(super) fn hearing(&self) -> impl Drop + '_ {
        struct Open<'a>(&'a HttpLink);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.hearing.send_replace(Hearing::NotNow);
            }
        }
        self.hearing.send_replace(Hearing::Since(Instant::now()));
        Open(self)
    }

    /// Notes that there is no standalone stream and will not be one.
    pub(super) fn hears_nothing(&self) {
        self.hearing.send_replace(Hearing::Never);
    }

    /// Whether the standalone stream has been open ever since.
    pub(crate) fn has_heard_since(&self, since: Instant) -> bool {
        matches!(*self.hearing.borrow(), Hearing::Since(began) if began <= since)
    }

    /// Whether the standalone stream is open, once that is known.
    pub(crate) async fn hears(&self) -> bool {
        let mut hearing = self.hearing.subscribe();
        let known = hearing.wait_for(|hearing| *hearing != Hearing::NotNow).await;
        known.is_ok_and(|hearing| matches!(*hearing, Hearing::Since(_)))
    }

    /// "Clients that no longer need a particular session SHOULD send an HTTP DELETE"; whatever comes back is fine.
    pub(crate) async fn delete(&self) {
        if self.in_session() {
            let _ = timeout(DELETE_TIME_MAX, self.client.delete(&self.session_headers())).await;
        }
    }

    pub(crate) fn delete_in_background(self: &Arc<Self>) {
        if self.in_session() {
            let link = Arc::clone(self);
            in_background(async move { link.delete().await });
        }
    }

    /// Reads what a JSON body or an event carries.
    pub(super) fn read(&self, bytes: &Bytes) -> Result<Vec<Message>, BackendError> {
        match parse_body(bytes, &self.config.limits) {
            Ok(Body::Single(message)) => Ok(vec![message]),
            Ok(Body::Batch(messages)) if self.revision.get().is_none_or(|revision| revision.allows_batches()) => {
                messages
                    .into_iter()
                    .collect::<Result<_, _>>()
                    .map_err(|error| self.broken(format!("a message of a batch cannot be read: {error}")))
            }
            Ok(Body::Batch(_)) => Err(self.broken("it sent a batch, which this revision does not have".to_owned())),
            Err(error) => Err(self.broken(format!("a message cannot be read: {error}"))),
        }
    }

    /// The server has forgotten the session.
    pub(super) fn gone(&self) -> BackendError {
        self.state.end(Ending::Forgotten);
        BackendError::SessionGone { backend: self.config.name.clone() }
    }

    pub(super) fn refused(&self, status: StatusCode) -> BackendError {
        BackendError::Refused { backend: self.config.name.clone(), status: status.as_u16() }
    }

    pub(super) fn broken(&self, reason: String) -> BackendError {
        BackendError::Protocol { backend: self.config.name.clone(), reason }
    }

    pub(super) fn too_large(&self) -> BackendError {
        BackendError::TooLarge { backend: self.config.name.clone(), bytes_max: self.config.message_bytes_max }
    }
    pub(super) fn too_large_to_stream(&self) -> BackendError {
        let bytes_max = usize::try_from(self.config.streamed_bytes_max).unwrap_or(usize::MAX);
        BackendError::TooLarge { backend: self.config.name.clone(), bytes_max }
    }
}
