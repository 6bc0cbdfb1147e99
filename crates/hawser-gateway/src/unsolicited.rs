//! What backends say without being asked: forwarded to the session's streams, under the gateway's ids.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use hawser_backend::{BackendSession, Unsolicited, WeakBackendSession};
use hawser_mcp::{Era, Members, Message, Notification, RawJson, Request, RequestId, method, notification, translate};

use tokio_util::sync::CancellationToken;

use crate::in_flight::Attached;
use crate::lists;
use crate::modern::may_ask;
use crate::outbox::Readership;
use crate::pending::{PendingRequest, decline};
use crate::question_id::QuestionId;
use crate::session::Session;

/// Forwards until the backend session or the gateway session is over. A backend that a listening client misses is reached again.
pub(crate) fn forward(owner: Weak<Session>, backend: usize, from: WeakBackendSession, mut unsolicited: Unsolicited) {
    let Some(ended) = owner.upgrade().map(|owner| owner.ended().clone()) else {
        return;
    };
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                () = ended.cancelled() => return,
                message = unsolicited.next() => message,
            };
            let (Some(message), Some(from)) = (message, from.upgrade()) else {
                break;
            };
            deliver(&owner, backend, &from, message);
        }
        if let Some(owner) = owner.upgrade() {
            owner.work().pending.expire();
            if let Some(upstream) = owner.upstream(backend).filter(|upstream| upstream.was_lost()) {
                owner.endpoint().profiles().lost(backend);
                upstream.recover(&owner);
                owner.falls_silent(backend);
            }
        }
    });
}

/// Delivers what a backend said outside the client's own calls.
pub(crate) fn deliver(owner: &Weak<Session>, backend: usize, from: &BackendSession, message: Message) {
    let Some(owner) = owner.upgrade() else { return };
    match message {
        Message::Notification(notification) => deliver_notification(&owner, backend, from, &notification),
        Message::Request(request) => deliver_request(&owner, backend, from, &request),
        Message::Response(_) => {}
    }
}

fn deliver_notification(owner: &Arc<Session>, backend: usize, from: &BackendSession, notification: &Notification) {
    note_change(owner, backend, from, notification);
    let message = if notification.method == notification::CANCELLED {
        match withdraw(owner, from, notification) {
            Some(message) => message,
            None => return,
        }
    } else {
        match translate::notification(notification.clone(), from.server().revision, owner.revision()) {
            // A modern client's streams are its listeners alone; what is said of calls comes with the calls.
            Some(notification) if owner.is_pooled() => return owner.work().listeners.tell(backend, &notification),
            Some(notification) => notification.to_bytes(),
            None => return,
        }
    };
    let work = owner.work();
    let is_talk = matches!(notification.method.as_str(), notification::MESSAGE | notification::PROGRESS);
    let along = |message: &Bytes| work.in_flight.attach(backend, |_| Some(Attached::Message(message.clone())));
    if is_talk && !work.outbox.has_stream() && along(&message) {
        return;
    }
    if !owner.pass_on(&message) {
        work.outbox.send_or_keep(&notification.method, &message);
    }
}

/// Notes what a change makes stale, before the client can hear of it.
pub(crate) fn note_change(owner: &Session, backend: usize, from: &BackendSession, notification: &Notification) {
    for kind in lists::changed_by(notification) {
        owner.work().lists.changed(backend, *kind, from.server().revision.era());
        owner.heard_of_change(backend, *kind);
    }
}

/// A request that belongs to no call goes to a GET stream, or along with the newest call on the same backend.
fn deliver_request(owner: &Arc<Session>, backend: usize, from: &BackendSession, request: &Request) {
    if owner.is_pooled() {
        return deliver_to_modern(owner, backend, from, request);
    }
    let to_stream = |reader: Readership<'_>| {
        let carried_by = Some(reader.gone.clone());
        put_to_client(owner, backend, from, request, reader.client_id, carried_by).map(|put| put.message)
    };
    let along = |client_id: Option<&str>| {
        put_to_client(owner, backend, from, request, client_id, None).map(|put| Attached::Message(put.message))
    };
    let elsewhere = |client_id: Option<&str>| {
        put_to_client(owner, backend, from, request, client_id, None).map(|put| (put.number, put.message))
    };
    let work = owner.work();
    // Where another node has the client's stream, or had it once, a question that comes during a call goes with the call: that is
    // read for certain, and there a question may be as long as it is.
    let is_put = if owner.listener_elsewhere().is_some() {
        work.in_flight.attach(backend, along)
            || owner.pass_question_on(elsewhere).is_some()
            || work.outbox.send_with(to_stream).is_ok()
    } else {
        work.outbox.send_with(to_stream).is_ok() || work.in_flight.attach(backend, along)
    };
    if !is_put {
        decline(from, request.id.clone());
    }
}

/// A modern client can be asked only within a call of its own: the newest on the same backend, or the one that waits for its
/// input already. Anonymous callers share a session and are not one another: of several calls that run, none is asked what
/// another may have caused.
fn deliver_to_modern(owner: &Arc<Session>, backend: usize, from: &BackendSession, request: &Request) {
    let id = request.id.clone();
    if !may_ask(owner.client_capabilities(), request) {
        return decline(from, id);
    }
    let (shared, work) = (owner.is_shared(), owner.work());
    let put = work.in_flight.ask_along(backend, shared, from, request);
    let unclear = shared && work.in_flight.is_busy_at(backend);
    if !put && (unclear || !work.parked.ask_along(backend, from, request)) {
        decline(from, id);
    }
}

/// A backend's request as the client will see it.
#[derive(Debug)]
pub(crate) struct Put {
    /// The gateway's number of it.
    pub(crate) number: u64,
    /// The message.
    pub(crate) message: Bytes,
    /// The id of a URL elicitation that the gateway named itself, since the backend's revision has none.
    pub(crate) elicitation: Option<String>,
}

/// Registers a backend's request for the client that will read it, and writes it as that client will see it; `None` if the
/// client's revision has no such request, or too many wait already.
pub(crate) fn put_to_client(
    owner: &Arc<Session>,
    backend: usize,
    from: &BackendSession,
    request: &Request,
    client_id: Option<&str>,
    carried_by: Option<CancellationToken>,
) -> Option<Put> {
    let progress_token = progress_token(request.params.as_ref());
    let mut params = request.params.clone();
    if from.server().revision != owner.revision() {
        params = translate::server_request(&request.method, params.as_ref(), owner.revision())?;
    }
    let number = owner.work().pending.put(PendingRequest {
        backend,
        session: from.clone(),
        own_id: request.id.clone(),
        client_id: client_id.map(str::to_owned),
        progress_token: progress_token.clone(),
        carried_by,
        passed_on: OnceLock::new(),
    })?;
    let id = QuestionId { node: owner.node(), number };
    if progress_token.is_some() {
        // Two backends may use the same token; the gateway's id is unique.
        params = params.as_ref().and_then(|params| with_progress_token(params, &id.to_raw())).or(params);
    }
    let elicitation = (from.era() == Era::Modern && is_url_elicitation(&request.method, params.as_ref()))
        .then(|| format!("{}-{number}", owner.key().to_hex()));
    if let (Some(id), Some(raw)) = (&elicitation, &params) {
        params =
            Members::read(raw, &[]).ok().map(|members| members.replace(&[("elicitationId", &RawJson::string(id))]));
    }
    let request = Request { id: id.to_request_id(), method: request.method.clone(), params };
    Some(Put { number, message: request.to_bytes(), elicitation })
}

/// 2025-11-25 knows URL elicitations by an id; the modern era has none (Changelog).
fn is_url_elicitation(name: &str, params: Option<&RawJson>) -> bool {
    let mode = params.and_then(|params| Members::read(params, &[]).ok()?.string("mode"));
    name == method::ELICITATION_CREATE && mode.as_deref() == Some("url")
}

/// A backend withdraws a request: the client must be told under the id that it knows.
pub(crate) fn withdraw(owner: &Session, from: &BackendSession, notification: &Notification) -> Option<Bytes> {
    let params = notification.params.as_ref()?;
    let members = Members::read(params, &["requestId"]).ok()?;
    let own_id = RequestId::from_raw(members.get("requestId")?)?;
    let work = owner.work();
    let number = work.pending.number_of(from, &own_id)?;
    work.pending.forget(number);
    let params = members.replace(&[("requestId", &QuestionId { node: owner.node(), number }.to_raw())]);
    Some(Notification::new(notification::CANCELLED, Some(params)).to_bytes())
}

fn progress_token(params: Option<&RawJson>) -> Option<RawJson> {
    let meta = Members::read(params?, &["_meta"]).ok()?.get("_meta")?;
    Members::read(&meta, &["progressToken"]).ok()?.get("progressToken")
}

pub(crate) fn with_progress_token(params: &RawJson, token: &RawJson) -> Option<RawJson> {
    let members = Members::read(params, &["_meta"]).ok()?;
    let meta = members.get("_meta")?;
    let meta = Members::read(&meta, &["progressToken"]).ok()?.replace(&[("progressToken", token)]);
    Some(members.replace(&[("_meta", &meta)]))
}
