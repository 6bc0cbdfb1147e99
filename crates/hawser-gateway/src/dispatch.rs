//! What each method of a client does. Every function here takes an `Owned` session: there is no other way in.

use std::sync::Arc;

use hawser_identity::Authenticated;
use hawser_mcp::{
    ErrorObject, ListKind, Members, MembersError, Notification, Outcome, RawJson, Request, RequestId, Response,
    client_notification, code, method, notification,
};
use hawser_owner::{Owned, Principal};

use crate::call::{self, Call};
use crate::credential::Credential;
use crate::gate::Entered;
use crate::in_flight::{Flight, NotStarted};
use crate::lists::{self, Cursors, Page};
use crate::nodes::{PASSED_ON_BYTES_MAX, Told};
use crate::pending::NotPending;
use crate::question_id::QuestionId;
use crate::relay::NodeName;
use crate::reply::Out;
use crate::sessions::Sessions;
use crate::trace;
use crate::upstream::Upstream;
use crate::wishes;

/// Longest URI that can be subscribed to, in bytes: it is kept for as long as the session.
const SUBSCRIBED_URI_MAX: usize = 8 * 1024;

/// The present request's session and who sent it.
pub(crate) struct Caller {
    pub(crate) session: Owned<Entered>,
    pub(crate) authenticated: Authenticated,
    pub(crate) credential: Credential,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) list_page: usize,
}

impl Caller {
    /// Who it is.
    pub(crate) fn principal(&self) -> &Principal {
        self.authenticated.principal()
    }
}

type Answer = Result<Outcome, ErrorObject>;

/// Answers one request.
pub(crate) async fn request(caller: &Caller, request: Request, out: &Out) {
    let started = caller.session.work().in_flight.start(&request.id, &caller.credential);
    let mut flight = match started {
        // From here on a revocation would find it.
        Ok(_) if caller.sessions.was_just_revoked(&caller.credential) => {
            let error = ErrorObject::new(code::INVALID_REQUEST, "the credential was revoked");
            return out.finish(Response::error(Some(request.id), &error).to_bytes()).await;
        }
        Ok(flight) => flight,
        Err(refused) => {
            let text = match refused {
                NotStarted::IdInUse => "a request with this id is still in progress",
                NotStarted::TooMany => "the session has as many requests in progress as it may",
            };
            let error = ErrorObject::new(code::INVALID_REQUEST, text);
            return out.finish(Response::error(Some(request.id), &error).to_bytes()).await;
        }
    };
    if let Some(answer) = answer(caller, &request, &mut flight, out).await {
        // Free the id first: a client may use it again as soon as it has read the answer.
        drop(flight);
        caller.session.touch(caller.sessions.now());
        out.finish(call::response(request.id, answer).to_bytes()).await;
    }
}

async fn answer(caller: &Caller, request: &Request, flight: &mut Flight, out: &Out) -> Option<Answer> {
    if let Some(kind) = ListKind::of_method(&request.method) {
        let listed = unless_over(flight, list(caller, kind, request.params.as_ref())).await;
        return listed.map_or_else(|over| over, |listed| Some(listed.map(|page| Outcome::Result(page.result))));
    }
    match request.method.as_str() {
        method::PING => Some(Ok(Outcome::Result(RawJson::empty_object()))),
        method::TOOLS_CALL | method::PROMPTS_GET => by_name(caller, request, flight, out).await,
        method::RESOURCES_READ => by_uri(caller, request, flight, out).await,
        method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => subscription(caller, request, flight, out).await,
        method::COMPLETION_COMPLETE => completion(caller, request, flight, out).await,
        method::LOGGING_SET_LEVEL => {
            unless_over(flight, set_level(caller, request)).await.map_or_else(|over| over, Some)
        }
        other => Some(Err(ErrorObject::new(code::METHOD_NOT_FOUND, format!("no method {:?}", clip(other))))),
    }
}

/// Waits for work that is not a call at a backend, unless the client cancels (then there is no answer) or the session ends
/// first. Calls watch both themselves, since their backend has to be told.
async fn unless_over<T>(flight: &mut Flight, work: impl Future<Output = T>) -> Result<T, Option<Answer>> {
    tokio::select! {
        biased;
        over = flight.over() => Err(call::no_answer(over)),
        done = work => Ok(done),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

pub(crate) fn invalid(error: &MembersError) -> ErrorObject {
    let code = if matches!(error, MembersError::NotAnObject) { code::INVALID_PARAMS } else { code::INVALID_REQUEST };
    ErrorObject::new(code, format!("params: {error}"))
}

/// The params of a routed method and the member it is routed by.
pub(crate) fn routed<'a>(
    params: Option<&'a RawJson>,
    by: &'static str,
    also: &[&'static str],
) -> Result<(Members<'a>, String), ErrorObject> {
    let missing = || ErrorObject::new(code::INVALID_PARAMS, format!("params needs the member `{by}`, a string"));
    let names: Vec<_> = also.iter().copied().chain([by, "_meta"]).collect();
    let members = Members::read(params.ok_or_else(missing)?, &names).map_err(|error| invalid(&error))?;
    let value = members.string(by).ok_or_else(missing)?;
    Ok((members, value))
}

/// `tools/list` and its siblings.
pub(crate) async fn list(caller: &Caller, kind: ListKind, params: Option<&RawJson>) -> Result<Page, ErrorObject> {
    let session = &*caller.session;
    let cursors = Cursors {
        ring: caller.sessions.ring(),
        entropy: caller.sessions.entropy(),
        endpoint: session.endpoint().id(),
        principal: caller.principal(),
        now: caller.sessions.now(),
    };
    lists::page(session, kind, params, &cursors, caller.list_page).await
}

async fn forward(
    caller: &Caller,
    upstream: &Upstream,
    name: &str,
    params: Option<RawJson>,
    flight: &mut Flight,
    out: &Out,
) -> Option<Answer> {
    let session = &*caller.session;
    let params = params.map(|params| trace::onwards(&params, caller.sessions.entropy()));
    let call = Call { session, upstream, method: name, params, client_id: caller.credential.client_id() };
    call::run(&call, flight, out).await
}

/// `tools/call` and `prompts/get`: the exposed name tells the backend.
async fn by_name(caller: &Caller, request: &Request, flight: &mut Flight, out: &Out) -> Option<Answer> {
    let (members, exposed) = match routed(request.params.as_ref(), "name", &["arguments"]) {
        Ok(routed) => routed,
        Err(error) => return Some(Err(error)),
    };
    let what = if request.method == method::TOOLS_CALL { "tool" } else { "prompt" };
    let unknown = || ErrorObject::new(code::INVALID_PARAMS, format!("unknown {what} {:?}", clip(&exposed)));
    let Some(to) = caller.session.endpoint().router().route(&exposed) else {
        return Some(Err(unknown()));
    };
    let Some(upstream) = caller.session.upstream(to.backend) else {
        return Some(Err(unknown()));
    };
    let params = members.replace(&[("name", &RawJson::string(to.own_name))]);
    forward(caller, &upstream, &request.method, Some(params), flight, out).await
}

pub(crate) fn resource_not_found(uri: &str) -> ErrorObject {
    ErrorObject::new(code::RESOURCE_NOT_FOUND, "resource not found").with_data(serde_json::json!({ "uri": uri }))
}

/// `resources/read`: where the resource is listed; a link that nobody lists is asked for everywhere, since reading is safe.
async fn by_uri(caller: &Caller, request: &Request, flight: &mut Flight, out: &Out) -> Option<Answer> {
    let (members, uri) = match routed(request.params.as_ref(), "uri", &[]) {
        Ok(routed) => routed,
        Err(error) => return Some(Err(error)),
    };
    let params = members.replace(&[("uri", &RawJson::string(&uri))]);
    let mut last = Err(resource_not_found(&uri));
    let backends = match unless_over(flight, lists::route_resource(&caller.session, &uri)).await {
        Ok(backends) => backends,
        Err(over) => return over,
    };
    for backend in backends {
        let Some(upstream) = caller.session.upstream(backend) else { continue };
        match forward(caller, &upstream, &request.method, Some(params.clone()), flight, out).await? {
            Ok(Outcome::Result(result)) => return Some(Ok(Outcome::Result(result))),
            other => last = other,
        }
    }
    Some(last)
}

/// `resources/subscribe` and `resources/unsubscribe`: remembered, so that a backend session opened later knows them too.
async fn subscription(caller: &Caller, request: &Request, flight: &mut Flight, out: &Out) -> Option<Answer> {
    let (members, uri) = match routed(request.params.as_ref(), "uri", &[]) {
        Ok(routed) => routed,
        Err(error) => return Some(Err(error)),
    };
    if uri.len() > SUBSCRIBED_URI_MAX {
        let text = format!("a resource that is subscribed to may have a URI of at most {SUBSCRIBED_URI_MAX} bytes");
        return Some(Err(ErrorObject::new(code::INVALID_PARAMS, text)));
    }
    // A subscription is ended where it was made, whatever the lists say by now.
    let subscribed = caller.session.upstreams().into_iter().find(|upstream| upstream.is_subscribed_to(&uri));
    let found = match subscribed {
        Some(upstream) => Some(upstream),
        None => match unless_over(flight, lists::route_resource(&caller.session, &uri)).await {
            Ok(backends) => match backends.as_slice() {
                [backend] => caller.session.upstream(*backend),
                _ => None,
            },
            Err(over) => return over,
        },
    };
    let Some(upstream) = found else { return Some(Err(resource_not_found(&uri))) };
    let subscribe = request.method == method::RESOURCES_SUBSCRIBE;
    if subscribe && upstream.note_subscription(&uri).is_err() {
        let text = "the session is subscribed to as many resources as it may";
        return Some(Err(ErrorObject::new(code::INVALID_REQUEST, text)));
    }
    let params = members.replace(&[("uri", &RawJson::string(&uri))]);
    let answer = forward(caller, &upstream, &request.method, Some(params), flight, out).await;
    let done = matches!(answer, Some(Ok(Outcome::Result(_))));
    if subscribe != done {
        upstream.forget_subscription(&uri);
    }
    if done {
        caller.sessions.note_wishes(&caller.session).await;
        let told = Told::Subscription { backend: upstream.backend().name().to_string(), uri, subscribed: subscribe };
        caller.sessions.nodes().tell_all(caller.session.key(), told);
    }
    answer
}

/// `completion/complete`: the reference names a prompt, or a resource (template).
async fn completion(caller: &Caller, request: &Request, flight: &mut Flight, out: &Out) -> Option<Answer> {
    match unless_over(flight, completion_target(caller, request)).await {
        Err(over) => over,
        Ok(Err(error)) => Some(Err(error)),
        Ok(Ok((backend, params))) => {
            let upstream = caller.session.upstream(backend)?;
            forward(caller, &upstream, &request.method, Some(params), flight, out).await
        }
    }
}

pub(crate) async fn completion_target(caller: &Caller, request: &Request) -> Result<(usize, RawJson), ErrorObject> {
    let missing =
        || ErrorObject::new(code::INVALID_PARAMS, "params needs the member `ref` with `type` and `name` or `uri`");
    let params = request.params.as_ref().ok_or_else(missing)?;
    let members = Members::read(params, &["ref", "_meta"]).map_err(|error| invalid(&error))?;
    let reference = members.get("ref").ok_or_else(missing)?;
    let reference = Members::read(&reference, &["type", "name", "uri"]).map_err(|error| invalid(&error))?;
    match reference.string("type").as_deref() {
        Some("ref/prompt") => {
            let exposed = reference.string("name").ok_or_else(missing)?;
            let unknown = || ErrorObject::new(code::INVALID_PARAMS, format!("unknown prompt {:?}", clip(&exposed)));
            let to = caller.session.endpoint().router().route(&exposed).ok_or_else(unknown)?;
            let reference = reference.replace(&[("name", &RawJson::string(to.own_name))]);
            Ok((to.backend, members.replace(&[("ref", &reference)])))
        }
        Some("ref/resource") => {
            let uri = reference.string("uri").ok_or_else(missing)?;
            let backends = lists::route_resource(&caller.session, &uri).await;
            let backend = backends.first().ok_or_else(|| resource_not_found(&uri))?;
            Ok((*backend, params.clone()))
        }
        _ => Err(missing()),
    }
}

/// `logging/setLevel`: told to every backend that logs, now or when it is opened.
async fn set_level(caller: &Caller, request: &Request) -> Answer {
    let (members, level) = routed(request.params.as_ref(), "level", &[])?;
    let known = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    if !known.contains(&level.as_str()) {
        let text = format!("unknown level {:?}; levels are {}", clip(&level), known.join(", "));
        return Err(ErrorObject::new(code::INVALID_PARAMS, text));
    }
    let params = members.replace(&[("level", &RawJson::string(&level))]);
    wishes::set_log_level(&caller.session, &level, params).await;
    caller.sessions.note_wishes(&caller.session).await;
    caller.sessions.nodes().tell_all(caller.session.key(), Told::LogLevel { level });
    Ok(Outcome::Result(RawJson::empty_object()))
}

/// Takes one notification; gives the node that it is for, if that is another.
pub(crate) fn notification(caller: &Caller, told: &Notification) -> Option<NodeName> {
    match told.method.as_str() {
        notification::CANCELLED => cancel(caller, told),
        notification::PROGRESS => return progress(caller, told),
        client_notification::ROOTS_LIST_CHANGED => {
            for opened in caller.session.upstreams().iter().filter_map(|upstream| upstream.opened()) {
                opened.notify_in_background(told.clone());
            }
            // What goes along is left out where it is too long for other nodes: that the roots changed is what matters.
            let told = Some(told.clone()).filter(|told| told.to_bytes().len() <= PASSED_ON_BYTES_MAX);
            let told = told.unwrap_or_else(|| Notification::new(client_notification::ROOTS_LIST_CHANGED, None));
            if let Ok(message) = RawJson::parse(&told.to_bytes()) {
                caller.sessions.nodes().tell_all(caller.session.key(), Told::ForBackends { message });
            }
        }
        // `notifications/initialized` completes a handshake that the gateway does itself with every backend; others have no
        // receiver that could be known.
        _ => {}
    }
    None
}

/// The client no longer wants an answer; `reason` goes along to the backend.
fn cancel(caller: &Caller, told: &Notification) {
    let Some(params) = &told.params else { return };
    let Ok(members) = Members::read(params, &["requestId"]) else { return };
    let Some(id) = members.get("requestId").and_then(RequestId::from_raw) else { return };
    let reason = members.string("reason");
    let work = caller.session.present_work();
    if !work.is_some_and(|work| work.in_flight.cancel(&id, reason.clone())) {
        let told = Told::Cancelled { id: id.raw().clone(), reason };
        caller.sessions.nodes().tell_all(caller.session.key(), told);
    }
}

/// Progress on a backend's request, told by the client under the gateway's token; gives the node that put the request, if that is
/// another.
fn progress(caller: &Caller, told: &Notification) -> Option<NodeName> {
    let members = Members::read(told.params.as_ref()?, &["progressToken"]).ok()?;
    let question = QuestionId::read(&RequestId::from_raw(members.get("progressToken")?)?)?;
    if question.node != caller.session.node() {
        return Some(question.node);
    }
    let client_id = caller.credential.client_id();
    let (to, token) = caller.session.present_work()?.pending.progress_target(question.number, client_id)?;
    let params = members.replace(&[("progressToken", &token)]);
    to.notify_in_background(Notification::new(notification::PROGRESS, Some(params)));
    None
}

/// Takes the client's answer to a backend's request.
pub(crate) fn response(caller: &Caller, response: &Response) -> Result<(), NotPending> {
    let question = response.id.as_ref().and_then(QuestionId::read).ok_or(NotPending::Unknown)?;
    if question.node != caller.session.node() {
        return Err(NotPending::Elsewhere(question.node));
    }
    let client_id = caller.credential.client_id();
    let waiting = caller.session.work().pending.take(question.number, client_id)?;
    waiting.session.respond_in_background(Response { id: Some(waiting.own_id), outcome: response.outcome.clone() });
    Ok(())
}
