//! One request in flight.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Notification, Outcome, Request, method};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::BackendError;
use crate::link::Flow;
use crate::modern::{ModernFlow, cancelled};
use crate::name::BackendName;
use crate::session::SessionCore;

/// One request in flight: the ordered stream of what belongs to it, the response last. Dropping it forgets the request
/// without telling the server; [`Exchange::cancel`] tells it.
#[derive(Debug)]
pub struct Exchange {
    id: u64,
    cancellable: bool,
    course: Option<Course>,
    core: Arc<SessionCore>,
    /// A subscription lives until it is dropped, once the server has said anything.
    endless: bool,
    subscribes: bool,
    quiet_until: Instant,
    began: Instant,
    ends_at: Instant,
    /// Until when the piece of a large result that was asked for has to come.
    piece_until: Option<Instant>,
}

/// How an exchange is held.
#[derive(Debug)]
pub(crate) enum Course {
    /// One request of the session era.
    Direct(Flow),
    /// With a server of the stateless era.
    Modern(Box<ModernFlow>),
}

/// What belongs to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeItem {
    /// Progress, log messages and the like.
    Notification(Notification),
    /// The server asks the client something; answer with [`crate::BackendSession::respond`].
    Request(Request),
    /// The answer. Ends the exchange.
    Response(Outcome),
    /// The answer is a large result, to be read with [`Exchange::piece`]. Comes only after [`Exchange::give_large_in_pieces`].
    LargeResult,
    /// There will be no answer. Ends the exchange.
    Failed(BackendError),
}

impl ExchangeItem {
    const fn is_end(&self) -> bool {
        matches!(self, Self::Response(_) | Self::Failed(_))
    }
}

impl Exchange {
    /// `began` is from before the request was sent: whatever the server asks because of it comes later.
    pub(crate) fn new(id: u64, method: &str, began: Instant, course: Course, core: Arc<SessionCore>) -> Self {
        Self {
            id,
            // "The `initialize` request MUST NOT be cancelled" (MCP, Utilities, Cancellation). What probes a server must not
            // tell an older one anything before `initialize` either.
            cancellable: !matches!(method, method::INITIALIZE | method::SERVER_DISCOVER),
            endless: false,
            subscribes: matches!(course, Course::Modern(_)) && method == method::SUBSCRIPTIONS_LISTEN,
            course: Some(course),
            quiet_until: Instant::now() + core.config.request_timeout,
            began,
            ends_at: began + core.config.request_timeout_max,
            piece_until: None,
            core,
        }
    }

    /// Which server it is with.
    pub fn backend(&self) -> &BackendName {
        &self.core.config.name
    }

    /// The next item. Cancel safe: no item is lost when the future is dropped. A failure to send the request also arrives
    /// here, so ask [`BackendError::was_not_processed`] of a first item that is [`ExchangeItem::Failed`]. After the end
    /// every further item is a failure.
    pub async fn next(&mut self) -> ExchangeItem {
        loop {
            let Some(course) = &mut self.course else {
                return ExchangeItem::Failed(self.closed());
            };
            if self.endless {
                let item = course.next().await;
                if let Some(item) = item {
                    return self.note(item);
                }
                continue;
            }
            let deadline = self.quiet_until.min(self.ends_at);
            match timeout_at(deadline, course.next()).await {
                // An answer that is there is given however late it is asked for; anything else may come without end.
                Ok(Some(item)) if item.is_end() || Instant::now() < self.ends_at => return self.note(item),
                // Cheap news can come without end, so the hard limit is looked at here, too.
                Ok(None) if Instant::now() >= self.ends_at => return ExchangeItem::Failed(self.time_out()),
                Ok(None) => self.quiet_until = Instant::now() + self.core.config.request_timeout,
                Err(_) if self.may_wait_on() => {}
                Ok(Some(_)) | Err(_) => return ExchangeItem::Failed(self.time_out()),
            }
        }
    }

    /// From now on a large result need not be held by anybody: it comes as [`ExchangeItem::LargeResult`]. Only what the server itself
    /// sends over streamable HTTP can come so.
    pub fn give_large_in_pieces(&mut self) {
        if let Some(Course::Direct(Flow::Http(flow))) = &mut self.course {
            flow.give_large_in_pieces();
        }
    }

    /// More of the result after [`ExchangeItem::LargeResult`]: its raw JSON. `None` says that all of it was given, and that it was
    /// the well-formed answer to the request; until then it must not look complete to anybody. Cancel safe.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, BackendError> {
        // From now on: whoever reads may have taken their time, and that was no silence of the server.
        let quiet_until = *self.piece_until.get_or_insert_with(|| Instant::now() + self.core.config.request_timeout);
        let Some(Course::Direct(Flow::Http(flow))) = &mut self.course else {
            return Err(self.closed());
        };
        let deadline = quiet_until.min(self.ends_at);
        let piece = match timeout_at(deadline, flow.piece()).await {
            Ok(piece) if Instant::now() < self.ends_at => piece,
            Ok(_) | Err(_) => Err(self.time_out()),
        };
        self.piece_until = None;
        if let Err(error) = &piece {
            self.core.note_failure(error);
        }
        if !matches!(piece, Ok(Some(_))) {
            self.course = None;
        }
        piece
    }

    /// The server waited for this long for an answer that nobody here could give sooner: the exchange may take so much longer as
    /// a whole.
    pub fn extend(&mut self, waited: Duration) {
        self.ends_at += waited;
    }

    /// Tells when the server has closed a connection whose stream goes on (2025-11-25, Transports, Sending Messages 6): it wants
    /// to be polled. The exchange does that by itself; whoever forwards it may do likewise.
    pub fn pauses(&self) -> Option<Arc<Notify>> {
        match &self.course {
            Some(Course::Direct(Flow::Http(flow))) => Some(flow.pauses()),
            _ => None,
        }
    }

    /// Tells the server that the answer is no longer wanted (`notifications/cancelled`) and forgets it.
    pub async fn cancel(mut self, reason: Option<&str>) {
        match self.course.take() {
            Some(Course::Modern(flow)) => return flow.cancel(reason),
            Some(direct) if self.cancellable => self.course = Some(direct),
            _ => return,
        }
        let told = timeout(self.core.config.connect_timeout, self.core.link.send(&cancelled(self.id, reason))).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!(backend = %self.core.config.name, "the server could not be told of a cancellation");
        }
    }

    /// What there is after the end.
    pub fn closed(&self) -> BackendError {
        BackendError::Closed { backend: self.core.config.name.clone() }
    }

    fn note(&mut self, item: ExchangeItem) -> ExchangeItem {
        if let ExchangeItem::Failed(error) = &item {
            self.core.note_failure(error);
        }
        if item.is_end() {
            self.course = None;
        }
        self.endless = self.subscribes;
        self.quiet_until = Instant::now() + self.core.config.request_timeout;
        item
    }

    /// After a silence: whether somebody on this side let the server wait meanwhile.
    fn may_wait_on(&mut self) -> bool {
        let now = Instant::now();
        let Some(excused) = self.core.state.excuse(self.id, self.began, now) else { return false };
        self.quiet_until = excused + self.core.config.request_timeout;
        now < self.quiet_until.min(self.ends_at)
    }

    /// "The sender SHOULD issue a cancellation notification for that request and stop waiting" (MCP, Lifecycle, Timeouts).
    fn time_out(&mut self) -> BackendError {
        let direct = matches!(self.course.take(), Some(Course::Direct(_)));
        if self.cancellable && direct {
            self.core.link.send_in_background(cancelled(self.id, Some("timeout")));
        }
        let after: Duration = if Instant::now() >= self.ends_at {
            self.core.config.request_timeout_max
        } else {
            self.core.config.request_timeout
        };
        BackendError::TimedOut { backend: self.core.config.name.clone(), after }
    }
}

impl Course {
    /// The next item; `None` is a sign of life. Cancel safe.
    async fn next(&mut self) -> Option<ExchangeItem> {
        match self {
            Self::Direct(flow) => Some(flow.next().await),
            Self::Modern(flow) => flow.next().await,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // First the way by which further questions would come.
        self.course = None;
        self.core.state.exchange_ended(self.id);
    }
}
