//! One request of the client that a backend answers: sent, watched, and everything that belongs to it passed on in order.

use std::sync::Arc;

use bytes::Bytes;
use hawser_backend::{BackendError, BackendSession, Exchange, ExchangeItem};
use hawser_mcp::{
    ErrorObject, Notification, Outcome, RawJson, RequestId, Response, code, method, notification, translate,
};
use tokio::sync::Notify;
use tracing::warn;

use crate::ask::{MessageCount, begin, flood, may_repeat};
use crate::in_flight::{Attached, Flight, News, Over};
use crate::large;
use crate::pending::decline;
use crate::reply::Out;
use crate::session::Session;
use crate::unsolicited::{note_change, put_to_client, withdraw};
use crate::upstream::Upstream;

/// What is called, and where.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) session: &'a Arc<Session>,
    pub(crate) upstream: &'a Upstream,
    pub(crate) method: &'a str,
    pub(crate) params: Option<RawJson>,
    /// The client that asks: it alone may answer what the backend asks meanwhile.
    pub(crate) client_id: Option<&'a str>,
}

/// Runs a call to its end. `None`: the client has cancelled it and wants no answer.
pub(crate) async fn run(call: &Call<'_>, flight: &mut Flight, out: &Out) -> Option<Result<Outcome, ErrorObject>> {
    let backend = call.upstream.position();
    flight.at_backend(backend);
    let mut asked = Asked { session: call.session, numbers: Vec::new(), elicitations: Vec::new() };
    let started = tokio::select! {
        biased;
        over = flight.over() => return no_answer(over),
        started = start(call) => started,
    };
    let (mut from, mut exchange) = match started {
        Ok(started) => started,
        Err(error) => return Some(Err(failure(call, &error))),
    };
    large::prepare(call, &from, &mut exchange, out);
    let mut pauses = exchange.pauses();
    let mut repeatable = true;
    let mut messages = MessageCount::default();
    loop {
        if messages.is_too_high() {
            exchange.cancel(Some("too many messages")).await;
            return Some(Err(failure(call, &flood(call.upstream.backend().name().clone()))));
        }
        let item = tokio::select! {
            biased;
            news = flight.news() => {
                match news {
                    News::Over(over) => {
                        if over == Over::Cancelled {
                            exchange.cancel(flight.reason().as_deref()).await;
                        }
                        return no_answer(over);
                    }
                    News::Attached(Attached::Message(message)) => out.message(message).await,
                    News::Attached(Attached::Question(from, request)) => decline(&from, request.id),
                }
                continue;
            }
            item = exchange.next() => item,
            () = paused(pauses.as_deref()) => {
                out.pause();
                continue;
            }
        };
        match item {
            ExchangeItem::Response(outcome) => {
                for elicitation in asked.elicitations.drain(..) {
                    out.message(elicitation_complete(&elicitation)).await;
                }
                return Some(Ok(translated(call, &from, outcome)));
            }
            ExchangeItem::LargeResult => return large::answer(call, exchange, flight, out).await,
            ExchangeItem::Failed(error) => {
                let safe = error.was_not_processed() || (has_no_effects(call.method) && may_repeat(&error));
                if !(repeatable && safe) {
                    return Some(Err(failure(call, &error)));
                }
                repeatable = false;
                (from, exchange) = match start(call).await {
                    Ok(started) => started,
                    Err(error) => return Some(Err(failure(call, &error))),
                };
                large::prepare(call, &from, &mut exchange, out);
                pauses = exchange.pauses();
            }
            ExchangeItem::Notification(found) => {
                messages.add();
                // What the client has seen cannot be taken back by a silent second attempt.
                repeatable = false;
                note_change(call.session, backend, &from, &found);
                let message = if found.method == notification::CANCELLED {
                    withdraw(call.session, &from, &found)
                } else {
                    let translated = translate::notification(found, from.server().revision, call.session.revision());
                    translated.map(|found| found.to_bytes())
                };
                if let Some(message) = message {
                    out.message(message).await;
                }
            }
            ExchangeItem::Request(request) => {
                messages.add();
                repeatable = false;
                match put_to_client(call.session, backend, &from, &request, call.client_id, None) {
                    Some(put) => {
                        asked.numbers.push(put.number);
                        asked.elicitations.extend(put.elicitation);
                        out.message(put.message).await;
                    }
                    None => decline(&from, request.id),
                }
            }
        }
    }
}

/// What a backend said, as the client's revision knows it.
fn translated(call: &Call<'_>, from: &BackendSession, outcome: Outcome) -> Outcome {
    let (from, to) = (from.server().revision, call.session.revision());
    if from == to {
        return outcome;
    }
    match outcome {
        Outcome::Result(result) => Outcome::Result(translate::result(call.method, result, from, to)),
        Outcome::Error(error) => Outcome::Error(translate::error(error, from, to)),
    }
}

/// `notifications/elicitation/complete` (2025-11-25, Elicitation, URL mode).
fn elicitation_complete(id: &str) -> Bytes {
    let params = RawJson::from_serialize(&serde_json::json!({ "elicitationId": id })).ok();
    Notification::new(notification::ELICITATION_COMPLETE, params).to_bytes()
}

/// Waits until the backend has closed the connection of a stream that goes on.
async fn paused(pauses: Option<&Notify>) {
    match pauses {
        Some(pauses) => pauses.notified().await,
        None => std::future::pending().await,
    }
}

async fn start(call: &Call<'_>) -> Result<(BackendSession, Exchange), BackendError> {
    begin(call.session, call.upstream, call.method, call.params.clone()).await
}

/// Questions that were put to the client on behalf of a call end with it, and their backend is told.
struct Asked<'a> {
    session: &'a Session,
    numbers: Vec<u64>,
    /// URL elicitations that the gateway named; done when the call is.
    elicitations: Vec<String>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        for number in &self.numbers {
            self.session.work().pending.decline(*number);
        }
    }
}

/// Methods that may be repeated after a connection broke: they read.
fn has_no_effects(name: &str) -> bool {
    matches!(
        name,
        method::RESOURCES_READ
            | method::PROMPTS_GET
            | method::COMPLETION_COMPLETE
            | method::RESOURCES_SUBSCRIBE
            | method::RESOURCES_UNSUBSCRIBE
            | method::LOGGING_SET_LEVEL
    )
}

/// What the client is told of a request that is over without an answer of its backend: nothing, if it wants none.
pub(crate) fn no_answer<T>(over: Over) -> Option<Result<T, ErrorObject>> {
    match over {
        Over::SessionEnded => Some(Err(session_ended())),
        Over::Cancelled => None,
    }
}

fn session_ended() -> ErrorObject {
    ErrorObject::new(code::INTERNAL_ERROR, "the session has ended")
}

pub(crate) fn failure(call: &Call<'_>, error: &BackendError) -> ErrorObject {
    warn!(endpoint = call.session.endpoint().name(), method = call.method, %error, "a call failed");
    ErrorObject::new(code::INTERNAL_ERROR, error.client_message())
}

/// The answer to a request, under the id the client gave it.
pub(crate) fn response(id: RequestId, outcome: Result<Outcome, ErrorObject>) -> Response {
    match outcome {
        Ok(outcome) => Response { id: Some(id), outcome },
        Err(error) => Response::error(Some(id), &error),
    }
}
