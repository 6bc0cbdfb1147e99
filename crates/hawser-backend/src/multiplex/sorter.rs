//! Hands out what arrives: to the exchange it belongs to, or to whoever listens outside of exchanges.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Body, ErrorObject, Message, Response, code, method, notification, parse_body};

use super::Multiplex;
use super::ends::{MessageEnds, Suspect};
use super::routes::Owner;
use crate::error::BackendError;
use crate::link::pong;
use crate::queue::Rejected;

/// Lines or events in a row that are no messages, before the server is taken for something else than an MCP server.
const GARBAGE_MAX: u32 = 100;
/// How long an exchange's holder may let all others wait.
const SLOW_READER_MAX: Duration = Duration::from_secs(2);

/// Hands out what arrives, in order. `answer` sends the gateway's own answers without waiting: who reads must not wait for a
/// server that waits for it.
pub(crate) struct Sorter<A> {
    shared: Arc<Multiplex>,
    answer: A,
    garbage: u32,
    /// Nobody took unsolicited messages the last time, so nobody is waited for.
    unheard: bool,
}

impl<A: Fn(Message)> Sorter<A> {
    pub(crate) const fn new(shared: Arc<Multiplex>, answer: A) -> Self {
        Self { shared, answer, garbage: 0, unheard: false }
    }

    /// Takes a line, or the data of an event, and its two ends; `Err` says why nothing more should be read.
    pub(crate) async fn take(&mut self, body: &Bytes, ends: &MessageEnds) -> Result<(), String> {
        let messages = match parse_body(body, &self.shared.config.limits) {
            Ok(Body::Single(message)) => vec![message],
            Ok(Body::Batch(messages)) if self.shared.allows_batches() => messages.into_iter().flatten().collect(),
            Ok(Body::Batch(_)) => return self.garbage(ends, "a batch, which this revision does not have"),
            Err(error) => return self.garbage(ends, &error.to_string()),
        };
        self.garbage = 0;
        for message in messages {
            self.message(message).await;
        }
        Ok(())
    }

    /// "The server MUST NOT write anything to its stdout that is not a valid MCP message": some print a banner.
    fn garbage(&mut self, ends: &MessageEnds, what: &str) -> Result<(), String> {
        self.garbage += 1;
        if self.garbage > GARBAGE_MAX {
            return Err("it keeps sending lines or events that are no messages".to_owned());
        }
        tracing::debug!(backend = %self.shared.config.name, reason = what, "what is no message is skipped");
        // An answer that cannot be read is the end of waiting for it.
        let suspect = match ends.suspect_by_head() {
            Suspect::Unknown => ends.suspect_by_tail(),
            suspect => suspect,
        };
        if let Suspect::ResponseTo(id) = suspect {
            let reason = format!("an answer cannot be read: {what}");
            self.shared.fail(id, BackendError::Protocol { backend: self.shared.config.name.clone(), reason });
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) {
        match message {
            // "The server MUST NOT write JSON-RPC requests", and "the client MUST NOT write JSON-RPC responses".
            Message::Request(request) if self.shared.is_modern() => {
                tracing::debug!(backend = %self.shared.config.name, method = %request.method, "a request of a modern server is ignored");
            }
            Message::Request(request) if request.method == method::PING => (self.answer)(pong(request)),
            Message::Response(response) => {
                if !self.shared.respond(response) {
                    tracing::debug!(backend = %self.shared.config.name, "a response to no request in flight is ignored");
                }
            }
            message => self.pass_on(message).await,
        }
    }

    async fn pass_on(&mut self, message: Message) {
        let owner = match self.shared.routes(|routes| routes.owner(&message)) {
            Owner::Exchange(id) => self.shared.routes(|routes| routes.messages(id)).map(|messages| (id, messages)),
            // Its token is one of the gateway's own, and may be a client's for something else.
            Owner::Everybody if self.shared.is_modern() && is_progress(&message) => {
                tracing::debug!(backend = %self.shared.config.name, "progress of no request in flight is ignored");
                return;
            }
            Owner::Everybody => None,
            Owner::Ends(id) => return self.shared.end_subscription(id),
            Owner::Nobody => {
                tracing::debug!(backend = %self.shared.config.name, "what belongs to no subscription is ignored");
                return;
            }
        };
        self.shared.state.heard(&message, owner.as_ref().map(|(id, _)| *id));
        let Some((id, messages)) = owner else { return self.offer(message).await };
        match messages.send_within(message, SLOW_READER_MAX).await {
            Ok(()) => {}
            // Between the look-up and here its holder has gone.
            Err(Rejected::Closed) => self.shared.state.exchange_ended(id),
            // One slow holder must not hold up the others for longer, and must not miss messages unknowingly.
            Err(Rejected::Full) => {
                self.shared.fail(id, BackendError::Overrun { backend: self.shared.config.name.clone() });
            }
        }
    }

    /// Passes on what belongs to no exchange. A reader that is merely slow is waited for, but only once if it is none. A
    /// server that asks what nobody hears gets an answer at least.
    async fn offer(&mut self, message: Message) {
        let asked = if let Message::Request(request) = &message { Some(request.id.clone()) } else { None };
        let unsolicited = self.shared.state.unsolicited();
        let passed = if self.unheard {
            unsolicited.try_send(message)
        } else {
            unsolicited.send_within(message, SLOW_READER_MAX).await
        };
        self.unheard = passed.is_err();
        if passed.is_ok() {
            return;
        }
        tracing::debug!(backend = %self.shared.config.name, "an unsolicited message was dropped: nobody reads them");
        if let Some(id) = asked {
            self.shared.state.answered(&id);
            let error = ErrorObject::new(code::INTERNAL_ERROR, "nobody listens for requests outside of an exchange");
            (self.answer)(Message::Response(Response::error(Some(id), &error)));
        }
    }
}

fn is_progress(message: &Message) -> bool {
    matches!(message, Message::Notification(told) if told.method == notification::PROGRESS)
}
