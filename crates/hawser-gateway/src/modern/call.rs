//! One request of a modern client at one backend, whatever era that speaks: everything that belongs to it passed on in order,
//! until there is an answer, or a legacy backend asks for input and the call has to wait for the client's next request.

use std::sync::Arc;
use std::time::Duration;

use hawser_backend::{BackendError, ExchangeItem};
use hawser_mcp::{
    Era, ErrorObject, Members, Notification, Outcome, RawJson, Request, RequestId, Revision, can_be_asked, method,
    notification, translate,
};
use http::HeaderMap;
use tokio::time::{Instant, sleep_until};

use super::parked::Running;
use crate::ask::{MessageCount, NotBegun, begin_with, flood, may_repeat};
use crate::in_flight::{Attached, Flight, News, Over};
use crate::pending::decline;
use crate::reply::Out;
use crate::session::Session;
use crate::unsolicited;
use crate::upstream::Upstream;

/// After a first question, how long others may take to be asked together with it.
const TOGETHER: Duration = Duration::from_millis(20);

/// How a call is seen by its client.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) session: &'a Arc<Session>,
    pub(crate) method: &'a str,
    /// The client's own progress token, raw.
    pub(crate) progress_token: Option<&'a RawJson>,
    /// Whether the client wants log messages.
    pub(crate) logs: bool,
    /// What the client can be asked.
    pub(crate) capabilities: &'a RawJson,
}

/// How a call came to rest.
#[derive(Debug)]
pub(crate) enum Rest {
    /// It is answered, by a server of this revision.
    Answered(Outcome, Revision),
    /// It waits for the client's input.
    Asks(Box<Running>),
    /// There is no answer.
    Failed(BackendError),
    /// It was not sent: it cannot be put to a server of that era.
    Unfit(ErrorObject),
    /// The session has ended, or the credential was revoked.
    Over(&'static str),
}

/// Sends a request to a backend and follows it until it rests.
pub(crate) async fn start(
    view: &View<'_>,
    upstream: &Upstream,
    params: impl Fn(Era) -> Result<Option<RawJson>, ErrorObject>,
    headers: &HeaderMap,
    flight: &mut Flight,
    out: &Out,
) -> Rest {
    flight.at_backend(upstream.position());
    let mut repeatable = true;
    loop {
        let begun = tokio::select! {
            biased;
            over = flight.over() => return Rest::Over(reason(over)),
            begun = begin_with(view.session, upstream, view.method, &params, headers) => begun,
        };
        let (from, exchange) = match begun {
            Ok(begun) => begun,
            Err(NotBegun::Failed(error)) => return Rest::Failed(error),
            Err(NotBegun::Unfit(error)) => return Rest::Unfit(error),
        };
        let mut said = false;
        let running = Running::new(from, upstream.position(), exchange);
        match follow(view, running, flight, out, &mut said).await {
            Rest::Failed(error) if repeatable && !said && is_safe(view.method, &error) => repeatable = false,
            rest => return rest,
        }
    }
}

/// Why there is no answer. A modern client cancels by going away; what is cancelled here was begun with a credential that was
/// revoked.
pub(super) const fn reason(over: Over) -> &'static str {
    match over {
        Over::SessionEnded => "the session has ended",
        Over::Cancelled => "the credential was revoked",
    }
}

/// What certainly was not processed may be sent again; after a broken connection only what reads.
fn is_safe(name: &str, error: &BackendError) -> bool {
    let reads = matches!(name, method::RESOURCES_READ | method::PROMPTS_GET | method::COMPLETION_COMPLETE);
    error.was_not_processed() || (reads && may_repeat(error))
}

/// Follows a running call until it rests. `said` becomes true when the backend has said anything.
pub(crate) async fn follow(
    view: &View<'_>,
    mut running: Running,
    flight: &mut Flight,
    out: &Out,
    said: &mut bool,
) -> Rest {
    flight.at_backend(running.backend);
    if asks_for_input(view.method) {
        flight.take_questions();
    }
    let revision = running.from.server().revision;
    let mut together = Instant::now() + TOGETHER;
    let mut messages = MessageCount::default();
    loop {
        if messages.is_too_high() {
            let backend = running.name().clone();
            running.give_up("too many messages");
            return Rest::Failed(flood(backend));
        }
        let asks = !running.questions().is_empty();
        let item = tokio::select! {
            biased;
            news = flight.news() => {
                match news {
                    News::Over(over) => {
                        if over == Over::Cancelled {
                            running.give_up(reason(over));
                        }
                        return Rest::Over(reason(over));
                    }
                    News::Attached(Attached::Question(from, request)) if from.same_as(&running.from) => {
                        put(view, &mut running, request, &mut together);
                    }
                    News::Attached(Attached::Question(from, request)) => decline(&from, request.id),
                    News::Attached(Attached::Message(_)) => {}
                }
                continue;
            }
            item = running.next() => item,
            () = sleep_until(together), if asks => return Rest::Asks(Box::new(running)),
        };
        match item {
            ExchangeItem::Response(outcome) => return Rest::Answered(outcome, revision),
            ExchangeItem::Failed(error) => return Rest::Failed(error),
            // Every result for a modern client is stamped with who answers, so it is read whole.
            ExchangeItem::LargeResult => return Rest::Failed(running.closed()),
            ExchangeItem::Notification(told) => {
                messages.add();
                *said = true;
                if told.method == notification::CANCELLED {
                    withdraw(&mut running, &told);
                } else if let Some(message) = of_this_call(view, &running, told, revision) {
                    out.message(message.to_bytes()).await;
                }
            }
            ExchangeItem::Request(request) => {
                messages.add();
                *said = true;
                put(view, &mut running, request, &mut together);
            }
        }
    }
}

/// Notes a question for the client, if it is one that this client can be asked; otherwise the backend is told at once.
fn put(view: &View<'_>, running: &mut Running, request: Request, together: &mut Instant) {
    let id = request.id.clone();
    let first = running.questions().is_empty();
    if asks_for_input(view.method) && may_ask(view.capabilities, &request) && running.ask(request) {
        if first {
            *together = Instant::now() + TOGETHER;
        }
    } else {
        decline(&running.from, id);
    }
}

/// "Servers MUST NOT send an `inputRequests` that the client has not declared support for" (MCP 2026-07-28, Multi Round-Trip
/// Requests); nor can one be sent that its era does not have.
pub(crate) fn may_ask(capabilities: &RawJson, question: &Request) -> bool {
    let (name, params) = (question.method.as_str(), question.params.as_ref());
    can_be_asked(capabilities, name, params)
        && translate::server_request(name, params, Revision::LATEST_MODERN).is_some()
}

/// Whether a request of this method may be answered with `input_required` (MCP 2026-07-28, Multi Round-Trip Requests, Supported
/// Requests).
pub(crate) fn asks_for_input(name: &str) -> bool {
    matches!(name, method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ)
}

fn withdraw(running: &mut Running, told: &Notification) {
    let own_id = told.params.as_ref().and_then(|params| {
        let members = Members::read(params, &["requestId"]).ok()?;
        RequestId::from_raw(members.get("requestId")?)
    });
    if let Some(own_id) = own_id {
        running.withdraw(&own_id);
    }
}

/// What of a backend's notifications goes out on this call's stream: progress and logs, if the client asked for them.
/// Everything else is about more than this request, and has its own stream (Streamable HTTP, Receiving Messages).
fn of_this_call(view: &View<'_>, running: &Running, told: Notification, from: Revision) -> Option<Notification> {
    let told = match told.method.as_str() {
        notification::PROGRESS => {
            let (token, params) = (view.progress_token?, told.params.as_ref()?);
            let members = Members::read(params, &["progressToken"]).ok()?;
            Notification::new(notification::PROGRESS, Some(members.replace(&[("progressToken", token)])))
        }
        notification::MESSAGE if view.logs => told,
        notification::MESSAGE => return None,
        _ => {
            unsolicited::deliver(
                view.session.weak(),
                running.backend,
                &running.from,
                hawser_mcp::Message::Notification(told),
            );
            return None;
        }
    };
    translate::notification(told, from, Revision::LATEST_MODERN)
}
