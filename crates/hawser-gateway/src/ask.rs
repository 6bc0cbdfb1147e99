//! A question of the gateway's own to a backend, within an owner's session.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hawser_backend::{BackendError, BackendName, BackendSession, Exchange, ExchangeItem};
use hawser_mcp::{Era, ErrorObject, Message, Outcome, RawJson};
use http::HeaderMap;
use tokio::time::Instant;

use crate::session::Session;
use crate::unsolicited;
use crate::upstream::Upstream;

/// Most messages that may come before the answer to one request.
const MESSAGES_MAX: usize = 10_000;
/// A client's call may last as long as it likes, but say only so many messages in this time.
const COUNTED_FOR: Duration = Duration::from_mins(1);

/// Counts what a backend says in the course of one call.
#[derive(Debug, Default)]
pub(crate) struct MessageCount {
    messages: usize,
    /// When the first of them came; most calls say nothing before their answer, and read no clock.
    since: Option<Instant>,
}

impl MessageCount {
    /// One more that came before the answer.
    pub(crate) fn add(&mut self) {
        let now = Instant::now();
        if now - *self.since.get_or_insert(now) > COUNTED_FOR {
            *self = Self { messages: 0, since: Some(now) };
        }
        self.messages += 1;
    }

    pub(crate) const fn is_too_high(&self) -> bool {
        self.messages > MESSAGES_MAX
    }
}

/// Asks, and asks once more in a new backend session if the first one turns out to be dead. Only for methods without side
/// effects.
pub(crate) async fn ask(
    session: &Arc<Session>,
    upstream: &Upstream,
    method: &str,
    params: Option<RawJson>,
) -> Result<Outcome, BackendError> {
    let position = upstream.position();
    let (from, exchange) = begin(session, upstream, method, params.clone()).await?;
    match outcome(exchange, Some((session.weak(), position, &from))).await {
        Err(error) if may_repeat(&error) => {
            let (from, exchange) = begin(session, upstream, method, params).await?;
            outcome(exchange, Some((session.weak(), position, &from))).await
        }
        other => other,
    }
}

/// Sends a request over the session's connection to a backend. If the connection proves dead and the request certainly was
/// not processed, it is sent once more over a new one.
pub(crate) async fn begin(
    session: &Arc<Session>,
    upstream: &Upstream,
    method: &str,
    params: Option<RawJson>,
) -> Result<(BackendSession, Exchange), BackendError> {
    let opened = upstream.open(session).await?;
    match opened.request(method, params.clone()).await {
        Ok(exchange) => Ok((opened, exchange)),
        Err(error) if error.was_not_processed() => {
            let opened = upstream.open(session).await?;
            let exchange = opened.request(method, params).await?;
            Ok((opened, exchange))
        }
        Err(error) => Err(error),
    }
}

/// Why a request was not sent.
#[derive(Debug)]
pub(crate) enum NotBegun {
    /// The backend could not be reached, or not be told.
    Failed(BackendError),
    /// It cannot be put to a server of the era that the backend speaks.
    Unfit(ErrorObject),
}

impl From<BackendError> for NotBegun {
    fn from(error: BackendError) -> Self {
        Self::Failed(error)
    }
}

/// Like [`begin`], with params that depend on the era which is spoken with the backend.
pub(crate) async fn begin_with(
    session: &Arc<Session>,
    upstream: &Upstream,
    method: &str,
    params: &impl Fn(Era) -> Result<Option<RawJson>, ErrorObject>,
    headers: &HeaderMap,
) -> Result<(BackendSession, Exchange), NotBegun> {
    let opened = upstream.open(session).await?;
    let sent = params(opened.era()).map_err(NotBegun::Unfit)?;
    match opened.request_with_headers(method, sent, headers).await {
        Ok(exchange) => Ok((opened, exchange)),
        Err(error) if error.was_not_processed() => {
            let opened = upstream.open(session).await?;
            let sent = params(opened.era()).map_err(NotBegun::Unfit)?;
            let exchange = opened.request_with_headers(method, sent, headers).await?;
            Ok((opened, exchange))
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a request without side effects is worth repeating after this error.
pub(crate) const fn may_repeat(error: &BackendError) -> bool {
    error.was_not_processed() || matches!(error, BackendError::Lost { .. })
}

/// Whose exchange it is, so that what the backend says meanwhile gets where it belongs.
pub(crate) type Audience<'a> = (&'a Weak<Session>, usize, &'a BackendSession);

/// The outcome of an exchange of the gateway's own. What the backend says or asks meanwhile is delivered as if it had been said
/// outside the exchange; without an audience questions are declined.
pub(crate) async fn outcome(mut exchange: Exchange, audience: Option<Audience<'_>>) -> Result<Outcome, BackendError> {
    for _ in 0..MESSAGES_MAX {
        let message = match exchange.next().await {
            ExchangeItem::Response(outcome) => return Ok(outcome),
            ExchangeItem::Failed(error) => return Err(error),
            // Nobody asked for pieces here.
            ExchangeItem::LargeResult => return Err(exchange.closed()),
            ExchangeItem::Notification(notification) => Message::Notification(notification),
            ExchangeItem::Request(request) => Message::Request(request),
        };
        if let Some((owner, position, from)) = audience {
            unsolicited::deliver(owner, position, from, message);
        }
    }
    let backend = exchange.backend().clone();
    exchange.cancel(Some("too many messages")).await;
    Err(flood(backend))
}

/// What a backend that does not stop talking is refused with.
pub(crate) fn flood(backend: BackendName) -> BackendError {
    BackendError::Protocol { backend, reason: format!("it sent more than {MESSAGES_MAX} messages before its answer") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_may_say_so_much_in_a_minute_and_again_in_the_next() {
        let mut count = MessageCount::default();
        for _ in 0..2 {
            for _ in 0..MESSAGES_MAX {
                count.add();
            }
            assert!(!count.is_too_high());
            tokio::time::advance(COUNTED_FOR + Duration::from_secs(1)).await;
        }
        for _ in 0..=MESSAGES_MAX {
            count.add();
        }
        assert!(count.is_too_high());
    }
}
