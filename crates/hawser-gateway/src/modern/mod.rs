//! The modern era at the edge: requests that stand for themselves (MCP 2026-07-28).
//!
//! A modern client has no session. What the gateway holds on its behalf, for backends that need one, is found by who the
//! request's credential proves and what the request declares ([`crate::sessions::Presence`]); what a client brings back
//! (`requestState`, task ids, cursors) is sealed for its owner.

mod answer;
mod backend_tag;
mod call;
mod discover;
mod extension_method;
mod handles;
mod head;
mod input;
mod listen;
mod parked;
mod request_state;
mod spent;
mod state;
mod tasks;
mod url_elicitation;

use std::time::Duration;

use hawser_mcp::header::ParamHeaders;
use hawser_mcp::{Era, ErrorObject, ListKind, Members, RawJson, Request, RequestId, Revision, code, method, translate};
use hawser_owner::Owned;
use http::{HeaderMap, HeaderValue};

use self::answer::Answer;
use self::call::View;
use crate::dispatch::{self, Caller, routed};
use crate::endpoint::Endpoint;
use std::sync::Arc;

use crate::gate::Entered;
use crate::in_flight::Flight;
use crate::lists;
use crate::reply::Out;
use crate::trace;
use crate::unsolicited::with_progress_token;
use crate::upstream::Upstream;

pub(crate) use self::answer::refusal;
pub(crate) use self::call::may_ask;
pub(crate) use self::head::{Head, Refused, check_version, era, read};
pub(crate) use self::parked::ParkedCalls;
pub(crate) use self::state::parked_at;

/// The present modern request: who sent it, and what it says of itself.
pub(crate) struct ModernCaller {
    pub(crate) caller: Caller,
    pub(crate) head: Head,
    /// How long a stream may live that is opened now.
    pub(crate) stream_lives: Option<Duration>,
}

impl ModernCaller {
    fn session(&self) -> &Owned<Entered> {
        &self.caller.session
    }

    fn was_just_revoked(&self) -> bool {
        self.caller.sessions.was_just_revoked(&self.caller.credential)
    }

    fn view<'a>(&'a self, method: &'a str) -> View<'a> {
        View {
            session: self.session(),
            method,
            progress_token: self.head.progress_token.as_ref(),
            logs: self.head.log_level.is_some(),
            capabilities: &self.head.capabilities,
        }
    }
}

/// Where a request goes.
struct Target {
    /// The backends that may answer it, the likeliest first.
    upstreams: Vec<Arc<Upstream>>,
    /// The client's params with the name that the backend itself uses.
    params: RawJson,
    /// `Mcp-Param-*` headers to pass on.
    headers: HeaderMap,
}

/// Whether a method exists here for modern clients. What belonged to sessions does not (Changelog, major changes 1 to 9).
pub(crate) fn is_known(endpoint: &Endpoint, name: &str) -> bool {
    match name {
        method::SERVER_DISCOVER
        | method::TOOLS_CALL
        | method::PROMPTS_GET
        | method::RESOURCES_READ
        | method::COMPLETION_COMPLETE
        | method::SUBSCRIPTIONS_LISTEN
        | method::TASKS_GET
        | method::TASKS_UPDATE
        | method::TASKS_CANCEL => true,
        method::INITIALIZE
        | method::PING
        | method::LOGGING_SET_LEVEL
        | method::RESOURCES_SUBSCRIBE
        | method::RESOURCES_UNSUBSCRIBE => false,
        _ => ListKind::of_method(name).is_some() || extension_method::may_exist(endpoint, name),
    }
}

/// Answers one request.
pub(crate) async fn request(caller: &ModernCaller, request: Request, out: &Out) {
    let answer = if request.method == method::SUBSCRIPTIONS_LISTEN {
        // Not a call: it may stay for as long as it likes, and nothing waits for its end.
        listen::listen(caller, &request, out).await
    } else {
        Some(call(caller, &request, out).await)
    };
    caller.session().touch(caller.caller.sessions.now());
    if let Some(answer) = answer {
        let (status, response) = answer.into_response(request.id);
        out.finish_with(status, response.to_bytes()).await;
    }
}

async fn call(caller: &ModernCaller, request: &Request, out: &Out) -> Answer {
    // The client's ids are its own business: two of its processes may use the same one at the same time.
    let number = RequestId::number(caller.session().next_number());
    let started = caller.session().work().in_flight.start(&number, &caller.caller.credential);
    match started {
        // From here on a revocation would find it.
        Ok(_) if caller.was_just_revoked() => Answer::over("the credential was revoked"),
        Ok(mut flight) => answer(caller, request, &mut flight, out).await,
        Err(_) => {
            let text = "you have as many requests in progress as you may";
            Answer::refused(&ErrorObject::new(code::INVALID_REQUEST, text))
        }
    }
}

async fn answer(caller: &ModernCaller, request: &Request, flight: &mut Flight, out: &Out) -> Answer {
    if let Some(kind) = ListKind::of_method(&request.method) {
        return unless_over(flight, list(caller, kind, request)).await;
    }
    match request.method.as_str() {
        method::SERVER_DISCOVER => unless_over(flight, discover::discover(caller)).await,
        method::TOOLS_CALL | method::PROMPTS_GET => by_name(caller, request, flight, out).await,
        method::RESOURCES_READ => by_uri(caller, request, flight, out).await,
        method::COMPLETION_COMPLETE => completion(caller, request, flight, out).await,
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => {
            tasks::request(caller, request, flight, out).await
        }
        _ => extension_method::request(caller, request, flight, out).await,
    }
}

/// Waits for work that is not a call at a backend, unless the session ends or the credential is revoked first.
async fn unless_over(flight: &mut Flight, work: impl Future<Output = Answer>) -> Answer {
    tokio::select! {
        biased;
        over = flight.over() => Answer::over(call::reason(over)),
        answer = work => answer,
    }
}

async fn list(caller: &ModernCaller, kind: ListKind, request: &Request) -> Answer {
    match dispatch::list(&caller.caller, kind, request.params.as_ref()).await {
        Ok(page) => Answer::complete(caller, page.result, Some(page.freshness)),
        Err(error) => Answer::refused(&error),
    }
}

/// `tools/call` and `prompts/get`: the exposed name tells the backend.
async fn by_name(caller: &ModernCaller, request: &Request, flight: &mut Flight, out: &Out) -> Answer {
    let (members, exposed) =
        match routed(request.params.as_ref(), "name", &["arguments", "inputResponses", "requestState"]) {
            Ok(routed) => routed,
            Err(error) => return Answer::refused(&error),
        };
    let what = if request.method == method::TOOLS_CALL { "tool" } else { "prompt" };
    let session = caller.session();
    let found = session.endpoint().router().route(&exposed);
    let found = found.and_then(|to| Some((session.upstream(to.backend)?, to.own_name)));
    let Some((upstream, own_name)) = found else {
        let text = format!("unknown {what} {:?}", head::clip(&exposed));
        return Answer::refused(&ErrorObject::new(code::INVALID_PARAMS, text));
    };
    let headers = match unrecognised_parameters(caller, request, &exposed, &members).await {
        Ok(headers) => headers,
        Err(refused) => return refused.into(),
    };
    let params = members.replace(&[("name", &RawJson::string(own_name))]);
    let target = Target { upstreams: vec![upstream], params, headers };
    input::call(caller, request, &target, flight, out).await
}

/// Checks the `Mcp-Param-*` headers that the tool demands, and gives those that it does not know: "Intermediate servers that do
/// not recognize an Mcp-Param-{Name} header MUST forward it" (Server Behavior for Custom Headers).
async fn unrecognised_parameters(
    caller: &ModernCaller,
    request: &Request,
    exposed: &str,
    members: &Members<'_>,
) -> Result<HeaderMap, Refused> {
    let mut passed_on = caller.head.params.clone();
    if request.method != method::TOOLS_CALL {
        return Ok(passed_on);
    }
    let tool = tokio::select! {
        biased;
        () = caller.session().ended().cancelled() => None,
        tool = lists::tool(caller.session(), exposed) => tool,
    };
    // A tool with annotations that cannot be used is not listed; what it mirrors is nobody's to check.
    let Some(known) = tool.and_then(|tool| ParamHeaders::of_tool(&tool).ok()).filter(|known| !known.is_empty()) else {
        return Ok(passed_on);
    };
    let values = |name: &str| caller.head.params.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    known
        .verify(members.get("arguments").as_ref(), values)
        .map_err(|mismatch| Refused::mismatch(mismatch.to_string()))?;
    let recognised: Vec<_> = passed_on.keys().filter(|name| known.recognises(name.as_str())).cloned().collect();
    for name in recognised {
        passed_on.remove(name);
    }
    Ok(passed_on)
}

/// `resources/read`: where the resource is listed; a link that nobody lists is asked for everywhere, since reading is safe.
async fn by_uri(caller: &ModernCaller, request: &Request, flight: &mut Flight, out: &Out) -> Answer {
    let (members, uri) = match routed(request.params.as_ref(), "uri", &["inputResponses", "requestState"]) {
        Ok(routed) => routed,
        Err(error) => return Answer::refused(&error),
    };
    let params = members.replace(&[("uri", &RawJson::string(&uri))]);
    let session = caller.session();
    let backends = tokio::select! {
        biased;
        () = session.ended().cancelled() => return Answer::over("the session has ended"),
        backends = lists::route_resource(session, &uri) => backends,
    };
    let upstreams: Vec<_> = backends.into_iter().filter_map(|backend| session.upstream(backend)).collect();
    if upstreams.is_empty() {
        return Answer::refused(&dispatch::resource_not_found(&uri));
    }
    let target = Target { upstreams, params, headers: caller.head.params.clone() };
    input::call(caller, request, &target, flight, out).await
}

/// `completion/complete`: the reference names a prompt, or a resource (template).
async fn completion(caller: &ModernCaller, request: &Request, flight: &mut Flight, out: &Out) -> Answer {
    let target = tokio::select! {
        biased;
        () = caller.session().ended().cancelled() => return Answer::over("the session has ended"),
        target = dispatch::completion_target(&caller.caller, request) => target,
    };
    match target {
        Err(error) => Answer::refused(&error),
        Ok((backend, params)) => match caller.session().upstream(backend) {
            Some(upstream) => {
                let target = Target { upstreams: vec![upstream], params, headers: caller.head.params.clone() };
                input::call(caller, request, &target, flight, out).await
            }
            None => Answer::over("the session has ended"),
        },
    }
}

/// Params as a backend gets them, by its era: gateway-owned members stay on this side, the trace goes on as a child span.
fn towards(
    caller: &ModernCaller,
    method: &str,
    params: &RawJson,
    era: Era,
    own_state: Option<&str>,
) -> Result<Option<RawJson>, ErrorObject> {
    let invalid = |error| dispatch::invalid(&error);
    let params = match era {
        Era::Legacy => {
            only_modern(method, own_state)?;
            hawser_mcp::strip_request(Some(params)).map_err(invalid)?
        }
        Era::Modern => Some(match own_state {
            Some(state) => {
                Members::read(params, &[]).map_err(invalid)?.replace(&[("requestState", &RawJson::string(state))])
            }
            None => params.clone(),
        }),
    };
    Ok(params.map(|mut params| {
        if era == Era::Legacy && caller.head.progress_token.is_some() {
            // Several processes of the client may share this backend session; the gateway's number is unique in it.
            params = with_progress_token(&params, &RawJson::number(caller.session().next_number())).unwrap_or(params);
        }
        trace::onwards(&params, caller.caller.sessions.entropy())
    }))
}

/// What a server of the session era must not be sent. A backend may have become one since the client last heard of it: without
/// the state that it asked to be brought back it would begin from the start, and do again what it has done.
fn only_modern(method: &str, own_state: Option<&str>) -> Result<(), ErrorObject> {
    if own_state.is_some() {
        let text = "the backend that asked for this input does not speak this revision any more; nothing was run again";
        return Err(ErrorObject::new(code::INTERNAL_ERROR, text));
    }
    match method {
        method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ | method::COMPLETION_COMPLETE => Ok(()),
        method::TASKS_GET | method::TASKS_UPDATE | method::TASKS_CANCEL => {
            Err(ErrorObject::new(code::INVALID_PARAMS, "there is no such task"))
        }
        other => Err(ErrorObject::new(code::METHOD_NOT_FOUND, format!("no method {:?}", head::clip(other)))),
    }
}

/// An error of the gateway's own legacy vocabulary, as a modern client knows it.
fn modern_error(error: &ErrorObject) -> RawJson {
    translate::error(error.to_raw(), Revision::LATEST, Revision::LATEST_MODERN)
}
