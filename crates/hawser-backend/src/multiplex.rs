//! Exchanges that share one way in: a child's pipe, or the one stream of HTTP+SSE. Nothing but the ids of responses and the
//! tokens of progress notifications says there what belongs to which exchange.
//!
//! - [`Multiplex`]: the exchanges in flight;
//! - [`MultiplexFlow`]: one of them, as its holder reads it;
//! - [`Sorter`]: hands out what arrives. It belongs to the one task that reads.

mod ends;
mod routes;
mod sorter;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hawser_mcp::{Message, Outcome, RawJson, Request, Response, Revision, meta_key, method};
use tokio::sync::oneshot;

pub(crate) use ends::{MessageEnds, Suspect};
use routes::{Route, Routes, progress_token};
pub(crate) use sorter::Sorter;

use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::queue::{self, queue};
use crate::state::SessionState;

/// Messages of one exchange that wait to be read.
const MESSAGES_MAX: usize = 256;

/// The exchanges of one session whose messages all arrive the same way.
#[derive(Debug)]
pub(crate) struct Multiplex {
    pub(crate) config: Arc<BackendConfig>,
    pub(crate) state: Arc<SessionState>,
    routes: Mutex<Routes>,
    revision: OnceLock<Revision>,
}

/// What belongs to one request.
#[derive(Debug)]
pub(crate) struct MultiplexFlow {
    id: u64,
    shared: Arc<Multiplex>,
    messages: queue::Receiver,
    end: oneshot::Receiver<ExchangeItem>,
}

impl Multiplex {
    pub(crate) fn new(config: Arc<BackendConfig>, state: Arc<SessionState>) -> Arc<Self> {
        Arc::new(Self { config, state, routes: Mutex::default(), revision: OnceLock::new() })
    }

    /// Makes room for what will belong to a request, which is not sent yet. Dropping the flow takes it away again.
    pub(crate) fn begin(self: &Arc<Self>, id: u64, request: &Request) -> Result<MultiplexFlow, BackendError> {
        let (sender, messages) = queue(MESSAGES_MAX, self.config.message_bytes_max);
        let (end_sender, end) = oneshot::channel();
        let route = Route {
            messages: sender,
            end: end_sender,
            progress_token: progress_token(request.params.as_ref()),
            listens: request.method == method::SUBSCRIPTIONS_LISTEN,
            sent: false,
        };
        if !self.routes(|routes| routes.add(id, route)) {
            return Err(self.gone());
        }
        Ok(MultiplexFlow { id, shared: Arc::clone(self), messages, end })
    }

    /// Notes whether the server can have read any of a request.
    pub(crate) fn mark_sent(&self, id: u64, sent: bool) {
        self.routes(|routes| routes.mark_sent(id, sent));
    }

    /// Ends the exchange that a response answers; `false` if there is none.
    fn respond(&self, response: Response) -> bool {
        self.routes(|routes| routes.respond(response))
    }

    /// Ends an exchange without an answer.
    pub(crate) fn fail(&self, id: u64, error: BackendError) {
        self.routes(|routes| routes.end(id, ExchangeItem::Failed(error)));
    }

    /// Ends a subscription as if the server had sent its result.
    fn end_subscription(&self, id: u64) {
        let meta = RawJson::object(&[(meta_key::SUBSCRIPTION_ID, &RawJson::number(id))]);
        let result = RawJson::object(&[("resultType", &RawJson::string("complete")), ("_meta", &meta)]);
        self.routes(|routes| routes.end(id, ExchangeItem::Response(Outcome::Result(result))));
    }

    /// The exchange, if exactly one is in flight.
    pub(crate) fn only(&self) -> Option<u64> {
        self.routes(|routes| routes.only())
    }

    /// Ends everything in flight, each by whether it was sent, and lets nothing new in.
    pub(crate) fn close(&self, failure: impl FnMut(bool) -> BackendError) {
        self.routes(|routes| routes.close(failure));
    }

    /// The same, when nothing more will arrive: what was sent may have been processed.
    pub(crate) fn close_lost(&self, reason: &str) {
        self.close(|sent| {
            let (backend, reason) = (self.config.name.clone(), reason.to_owned());
            if sent { BackendError::Lost { backend, reason } } else { BackendError::Gone { backend, reason } }
        });
    }

    /// Why nothing can be sent any more.
    pub(crate) fn gone(&self) -> BackendError {
        self.state.check_open().err().unwrap_or_else(|| BackendError::Gone {
            backend: self.config.name.clone(),
            reason: "it reads no more".to_owned(),
        })
    }

    pub(crate) fn too_large(&self) -> BackendError {
        BackendError::TooLarge { backend: self.config.name.clone(), bytes_max: self.config.message_bytes_max }
    }

    pub(crate) fn settle(&self, revision: Revision) {
        let _ = self.revision.set(revision);
    }

    /// Whether the server has nothing to ask and must not be answered.
    fn is_modern(&self) -> bool {
        self.revision.get().is_some_and(|revision| revision.is_modern())
    }

    fn allows_batches(&self) -> bool {
        self.revision.get().is_none_or(|revision| revision.allows_batches())
    }

    fn routes<T>(&self, act: impl FnOnce(&mut Routes) -> T) -> T {
        act(&mut self.routes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MultiplexFlow {
    /// The next item. Cancel safe.
    pub(crate) async fn next(&mut self) -> ExchangeItem {
        // The sender goes with the entry, so the queue ends exactly when the end is there.
        match self.messages.recv().await {
            Some(Message::Notification(notification)) => ExchangeItem::Notification(notification),
            Some(Message::Request(request)) => ExchangeItem::Request(request),
            Some(Message::Response(response)) => ExchangeItem::Response(response.outcome),
            None => (&mut self.end).await.unwrap_or_else(|_| ExchangeItem::Failed(self.shared.gone())),
        }
    }
}

impl Drop for MultiplexFlow {
    fn drop(&mut self) {
        self.shared.routes(|routes| routes.remove(self.id));
    }
}
