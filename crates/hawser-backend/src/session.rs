//! One session with a backend.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use hawser_mcp::{Era, Message, Notification, RawJson, Request, RequestId, Response};
use http::HeaderMap;
use tokio::time::Instant;

use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::exchange::{Course, Exchange};
use crate::hello::ServerHello;
use crate::known::Known;
use crate::link::Link;
use crate::modern::{Modern, ModernFlow, Port};
use crate::state::{Ending, SessionState};

/// One session. Clones share it; dropping the last clone and the last exchange closes it in the background.
#[derive(Clone, Debug)]
pub struct BackendSession {
    core: Arc<SessionCore>,
    server: Arc<ServerHello>,
}

/// A session as seen by who must not keep it open.
#[derive(Clone, Debug)]
pub struct WeakBackendSession(Weak<SessionCore>);

/// What clones and exchanges share.
#[derive(Debug)]
pub(crate) struct SessionCore {
    pub(crate) config: Arc<BackendConfig>,
    pub(crate) link: Arc<Link>,
    pub(crate) state: Arc<SessionState>,
    known: Arc<Known>,
    /// What is said of the client with every request, where the server speaks the stateless era.
    modern: OnceLock<Arc<Modern>>,
    next_id: Arc<AtomicU64>,
    /// What the handshake brought, for whoever comes back to a session through a weak handle.
    server: OnceLock<Arc<ServerHello>>,
}

impl SessionCore {
    pub(crate) fn new(config: Arc<BackendConfig>, link: Link, state: Arc<SessionState>, known: Arc<Known>) -> Self {
        Self {
            config,
            link: Arc::new(link),
            state,
            known,
            modern: OnceLock::new(),
            next_id: Arc::new(AtomicU64::new(1)),
            server: OnceLock::new(),
        }
    }

    /// From now on the stateless era is spoken.
    pub(crate) fn become_modern(&self, modern: Modern) {
        let _ = self.modern.set(Arc::new(modern));
    }

    /// The way to the server, for what does not keep the session open.
    pub(crate) fn port(&self) -> Port {
        Port {
            config: Arc::clone(&self.config),
            link: Arc::clone(&self.link),
            state: Arc::clone(&self.state),
            known: Arc::clone(&self.known),
            ids: Arc::clone(&self.next_id),
        }
    }

    pub(crate) fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request of the session era under a fresh id.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        method: &str,
        params: Option<RawJson>,
    ) -> Result<Exchange, BackendError> {
        self.begin_direct(method, params, None).await
    }

    /// Sends exactly this under a fresh id; `metadata` are the headers of a request of the stateless era.
    pub(crate) async fn begin_direct(
        self: &Arc<Self>,
        method: &str,
        params: Option<RawJson>,
        metadata: Option<&HeaderMap>,
    ) -> Result<Exchange, BackendError> {
        self.state.check_open()?;
        let began = Instant::now();
        let id = self.fresh_id();
        let request = Request { id: RequestId::number(id), method: method.to_owned(), params };
        let flow = self.link.begin(id, &request, metadata).await?;
        Ok(Exchange::new(id, method, began, Course::Direct(flow), Arc::clone(self)))
    }

    /// What a failure means for sessions that are opened later.
    pub(crate) fn note_failure(&self, error: &BackendError) {
        self.known.note_failure(error, self.modern.get().is_some());
    }
}

impl Drop for SessionCore {
    fn drop(&mut self) {
        // DELETE is for a session that the server still knows.
        if self.state.ending().is_none() {
            self.link.close_in_background();
        }
        self.state.end(Ending::Closed);
    }
}

impl BackendSession {
    pub(crate) fn new(core: Arc<SessionCore>, server: ServerHello) -> Self {
        let server = Arc::clone(core.server.get_or_init(|| Arc::new(server)));
        Self { core, server }
    }

    /// A handle that does not keep the session open.
    pub fn downgrade(&self) -> WeakBackendSession {
        WeakBackendSession(Arc::downgrade(&self.core))
    }

    /// Whether both are one session, not merely two with the same server.
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// What the server said about itself.
    pub fn server(&self) -> &ServerHello {
        &self.server
    }

    /// Whether the session is, as far as is known, alive.
    pub fn is_open(&self) -> bool {
        self.core.state.check_open().is_ok()
    }

    /// The era that is spoken to the server.
    pub fn era(&self) -> Era {
        if self.core.modern.get().is_some() { Era::Modern } else { Era::Legacy }
    }

    /// Sends a request under an id of its own. The id that the end client used never leaves the gateway. To a modern server
    /// the request says who the client is and what it can do, whatever the params' own `_meta` says of that.
    pub async fn request(&self, method: &str, params: Option<RawJson>) -> Result<Exchange, BackendError> {
        self.request_with_headers(method, params, &HeaderMap::new()).await
    }

    /// The same for a client that spoke HTTP: `Mcp-Param-*` headers that are not recognised are passed on, where the server
    /// can be sent headers.
    pub async fn request_with_headers(
        &self,
        method: &str,
        params: Option<RawJson>,
        headers: &HeaderMap,
    ) -> Result<Exchange, BackendError> {
        let core = &self.core;
        let Some(modern) = core.modern.get() else { return core.begin(method, params).await };
        core.state.check_open()?;
        let (id, began) = (core.fresh_id(), Instant::now());
        let flow = ModernFlow::new(core.port(), modern, id, method, params, headers);
        Ok(Exchange::new(id, method, began, Course::Modern(Box::new(flow)), Arc::clone(core)))
    }

    /// Sends a notification. A modern server takes none from a client.
    pub async fn notify(&self, notification: &Notification) -> Result<(), BackendError> {
        self.core.state.check_open()?;
        if self.core.modern.get().is_some() {
            return Ok(());
        }
        self.core.link.send(&Message::Notification(notification.clone())).await
    }

    /// Answers a request of the server, under the id that it used.
    pub async fn respond(&self, response: &Response) -> Result<(), BackendError> {
        self.core.state.check_open()?;
        if let Some(id) = &response.id {
            self.core.state.answered(id);
        }
        if let Some(modern) = self.core.modern.get() {
            modern.deliver(response.clone());
            return Ok(());
        }
        self.core.link.send(&Message::Response(response.clone())).await
    }

    /// Sends a notification some time soon, for who cannot wait. Only a few may be on their way at a time; one more, or one
    /// for a session that is over, is dropped. Several may arrive in another order.
    pub fn notify_in_background(&self, notification: Notification) {
        self.send_in_background(Message::Notification(notification));
    }

    /// Answers a request of the server some time soon; bounded like [`BackendSession::notify_in_background`]. To the
    /// timeouts the question counts as answered at once, so a dropped answer does not make anybody wait for longer.
    pub fn respond_in_background(&self, response: Response) {
        if let Some(id) = &response.id {
            self.core.state.answered(id);
        }
        self.send_in_background(Message::Response(response));
    }

    fn send_in_background(&self, message: Message) {
        match (self.core.state.check_open(), self.core.modern.get(), message) {
            (Ok(()), Some(modern), Message::Response(response)) => modern.deliver(response),
            (Ok(()), Some(_), _) => {}
            (Ok(()), None, message) => self.core.link.send_in_background(message),
            (Err(error), ..) => tracing::debug!(%error, "a message was dropped"),
        }
    }

    /// Listens to what the server says outside of any exchange: starts the standalone GET stream of HTTP, once. Nothing to
    /// do for stdio. A modern server is asked to tell of the changes of its lists, as far as it says that it does.
    pub fn listen(&self) {
        match self.core.modern.get() {
            Some(modern) => modern.listen(&self.core.port()),
            None => self.core.link.listen(),
        }
    }

    /// Whether the session is open, and whatever the server said outside of exchanges since then has arrived here: what it
    /// would have told of its changes, it has told.
    pub fn has_heard_since(&self, since: Instant) -> bool {
        self.is_open()
            && match self.core.modern.get() {
                Some(modern) => modern.has_heard_since(since),
                None => self.core.link.has_heard_since(since),
            }
    }

    /// Whether the server, which is listened to, is heard when it tells of such changes of its lists or resources; waits until
    /// that is known, which may be never. Give it a time limit.
    pub async fn hears(&self, method: &str) -> bool {
        match self.core.modern.get() {
            Some(modern) => modern.hears(method).await,
            None => self.core.link.hears().await,
        }
    }

    /// Ends the session: HTTP DELETE, or an orderly stop of the child, and waits for it. Safe to call twice.
    pub async fn close(&self) {
        let was_open = self.is_open();
        self.core.state.end(Ending::Closed);
        if was_open || matches!(*self.core.link, Link::Stdio(_)) {
            self.core.link.close().await;
        }
    }
}

impl WeakBackendSession {
    /// The session, while a clone or an exchange holds it. It may be over all the same: [`BackendSession::is_open`] tells.
    pub fn upgrade(&self) -> Option<BackendSession> {
        let core = self.0.upgrade()?;
        let server = Arc::clone(core.server.get()?);
        Some(BackendSession { core, server })
    }
}
