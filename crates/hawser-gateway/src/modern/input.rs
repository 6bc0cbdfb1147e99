//! Requests that may need more than one round: the client is asked for input and comes back (MCP 2026-07-28, Multi Round-Trip
//! Requests).
//!
//! Whoever asks, the client sees the same: `input_required` with a `requestState` of the gateway's own. Behind it waits a call
//! at a legacy backend, parked in the middle ([`super::parked`]), or a modern backend's own state. A state is refused with one
//! answer, whatever is wrong with it; a call that is not there any more is never run again.

use hawser_backend::BackendError;
use hawser_mcp::{
    Era, ErrorObject, InputRequest, InputRequired, Members, Outcome, RawJson, Request, Response, ResultType, Revision,
    can_be_asked, code, freshness, method, result_type, translate,
};
use hawser_owner::Refusal;
use serde::Deserialize;
use tracing::warn;

use super::answer::Answer;
use super::backend_tag::BackendTag;
use super::call::{self, Rest, asks_for_input};
use super::parked::{NotParked, ParkedCall, Question, Running};
use super::request_state::{STATE_BYTES_MAX, Waits};
use super::state::{invalid_state, nonce, not_waiting, open, refused, restore, seal, use_up};
use super::url_elicitation::url_elicitations;
use super::{ModernCaller, Target, head, tasks, towards};
use crate::in_flight::Flight;
use crate::reply::Out;
use crate::upstream::Upstream;

/// A request whose backends are known.
pub(super) async fn call(
    caller: &ModernCaller,
    request: &Request,
    target: &Target,
    flight: &mut Flight,
    out: &Out,
) -> Answer {
    let members = match Members::read(&target.params, &["inputResponses", "requestState", "task"]) {
        Ok(members) => members,
        Err(error) => return Answer::refused(&crate::dispatch::invalid(&error)),
    };
    let responses = members.get("inputResponses");
    let Some(presented) = members.get("requestState") else {
        return first_round(caller, request, target, flight, out).await;
    };
    let waits = match open(caller, request, &presented) {
        Ok(waits) => waits,
        Err(answer) => return answer,
    };
    match waits {
        Waits::Parked { node, session, number } => {
            if node != caller.session().node() || session != caller.session().key() {
                return not_waiting();
            }
            resume(caller, request, number, responses.as_ref(), flight, out).await
        }
        Waits::Backend { backend, nonce, state } => {
            let Some(upstream) = target.upstreams.iter().find(|upstream| backend.is(upstream)) else {
                return invalid_state();
            };
            if let Err(answer) = use_up(caller, &nonce).await {
                return answer;
            }
            let rest = start(caller, request, upstream, target, Some(&state), flight, out).await;
            let unused = match &rest {
                Rest::Failed(error) => error.was_not_processed(),
                Rest::Unfit(_) => true,
                _ => false,
            };
            if unused {
                restore(caller, &nonce).await;
            }
            finish(caller, request, upstream.position(), rest)
        }
        Waits::Nobody { nonce } => match use_up(caller, &nonce).await {
            Ok(()) => first_round(caller, request, target, flight, out).await,
            Err(answer) => answer,
        },
    }
}

/// Sends the request to the first backend that has a result for it. Answers without a state belong to no earlier request: a
/// modern backend may know them, towards a legacy one they are left out, and it asks.
async fn first_round(
    caller: &ModernCaller,
    request: &Request,
    target: &Target,
    flight: &mut Flight,
    out: &Out,
) -> Answer {
    let mut last = Answer::over("no backend answers this");
    for upstream in &target.upstreams {
        let rest = start(caller, request, upstream, target, None, flight, out).await;
        last = finish(caller, request, upstream.position(), rest);
        if last.is_result() {
            break;
        }
    }
    last
}

pub(super) async fn start(
    caller: &ModernCaller,
    request: &Request,
    upstream: &Upstream,
    target: &Target,
    own_state: Option<&str>,
    flight: &mut Flight,
    out: &Out,
) -> Rest {
    let params = |era| towards(caller, &request.method, &target.params, era, own_state);
    call::start(&caller.view(&request.method), upstream, params, &target.headers, flight, out).await
}

/// What the client is told of a call that came to rest.
pub(super) fn finish(caller: &ModernCaller, request: &Request, backend: usize, rest: Rest) -> Answer {
    match rest {
        Rest::Answered(Outcome::Result(result), from) => finished(caller, request, backend, result, from),
        Rest::Answered(Outcome::Error(error), from) => failed(caller, request, error, from),
        Rest::Asks(running) => park(caller, request, *running),
        Rest::Failed(error) => broken(caller, &request.method, &error),
        Rest::Unfit(error) => Answer::refused(&error),
        Rest::Over(reason) => Answer::over(reason),
    }
}

fn broken(caller: &ModernCaller, method: &str, error: &BackendError) -> Answer {
    warn!(endpoint = caller.session().endpoint().name(), method, %error, "a call failed");
    Answer::refused(&ErrorObject::new(code::INTERNAL_ERROR, error.client_message()))
}

fn finished(caller: &ModernCaller, request: &Request, backend: usize, result: RawJson, from: Revision) -> Answer {
    let protocol = |what: &str| {
        warn!(
            endpoint = caller.session().endpoint().name(),
            method = request.method,
            what,
            "a backend's result is refused"
        );
        Answer::refused(&ErrorObject::new(code::INTERNAL_ERROR, format!("the backend's answer is refused: {what}")))
    };
    if from.era() == Era::Modern {
        match result_type(&result) {
            Ok(ResultType::Complete) => {}
            Ok(ResultType::InputRequired) if asks_for_input(&request.method) => {
                return carry(caller, request, backend, &result).unwrap_or_else(protocol);
            }
            Ok(ResultType::InputRequired) => return protocol("it asks for input where none may be asked for"),
            Ok(ResultType::Task) => {
                return tasks::created(caller, backend, &result).unwrap_or_else(protocol);
            }
            Ok(ResultType::Other(_)) => return protocol("its resultType is not known"),
            Err(_) => return protocol("it cannot be read"),
        }
    }
    let kept =
        (request.method == method::RESOURCES_READ).then(|| freshness(&result).unwrap_or(hawser_mcp::Freshness::NONE));
    let result = translate::result(&request.method, result, from, Revision::LATEST_MODERN);
    Answer::complete(caller, result, kept)
}

fn failed(caller: &ModernCaller, request: &Request, error: RawJson, from: Revision) -> Answer {
    #[derive(Deserialize)]
    struct Code {
        code: i64,
    }
    let code = error.read::<Code>().ok().and_then(|error| i32::try_from(error.code).ok());
    match code {
        Some(code::URL_ELICITATION_REQUIRED) if from.era() == Era::Legacy && asks_for_input(&request.method) => {
            url_elicitations(caller, request, &error)
        }
        _ => Answer::error(translate::error(error, from, Revision::LATEST_MODERN)),
    }
}

/// A modern backend asks: its own state goes along under the gateway's seal.
fn carry(caller: &ModernCaller, request: &Request, backend: usize, result: &RawJson) -> Result<Answer, &'static str> {
    let asked = InputRequired::read(result).map_err(|_| "it asks for input in a form that cannot be read")?;
    let declared = &caller.head.capabilities;
    if !asked.input_requests.iter().all(|(_, asked)| can_be_asked(declared, &asked.method, asked.params.as_ref())) {
        return Err("it asks for input that the client did not declare that it can give");
    }
    let members = Members::read(result, &["requestState"]).map_err(|_| "it cannot be read")?;
    let result = match asked.request_state {
        // Nothing to bring back: the backend needs the answers alone.
        None => result.clone(),
        Some(state) if state.len() > STATE_BYTES_MAX => return Err("its requestState is too long"),
        Some(state) => {
            let backend = BackendTag::of(caller.session(), backend).ok_or("its backend is not known")?;
            let nonce = nonce(caller).ok_or("there is no randomness")?;
            let sealed =
                seal(caller, request, Waits::Backend { backend, nonce, state }).ok_or("it cannot be sealed")?;
            members.replace(&[("requestState", &RawJson::string(&sealed))])
        }
    };
    let server_info = caller.session().endpoint().server_info();
    Ok(Answer::result(translate::with_server_info(result, server_info)))
}

/// A legacy backend asked in the middle of a call: the call waits here, the client gets the questions.
fn park(caller: &ModernCaller, request: &Request, running: Running) -> Answer {
    // Nothing that cannot be put has been noted as a question.
    let translated = |question: &Question| {
        let (name, params) = (&question.method, question.params.as_ref());
        let params = translate::server_request(name, params, Revision::LATEST_MODERN)?;
        Some((question.key.clone(), InputRequest { method: name.clone(), params }))
    };
    let input_requests = running.questions().iter().filter_map(translated).collect();
    let session = caller.session();
    let call = ParkedCall { running, credential: caller.caller.credential.clone() };
    let number =
        match session.work().parked.park(call, || caller.caller.sessions.parked_place(caller.caller.principal())) {
            Ok(number) => number,
            Err(call) => {
                call.running.give_up("too many calls wait for input");
                let text = "you have as many calls waiting for your input as you may; this one was given up";
                return Answer::refused(&ErrorObject::new(code::INVALID_REQUEST, text));
            }
        };
    // A revocation may have looked through what is parked just before this was.
    let state = if caller.was_just_revoked() {
        None
    } else {
        seal(caller, request, Waits::Parked { node: session.node(), session: session.key(), number })
    };
    let Some(state) = state else {
        if let Ok(call) = session.work().parked.take(number, caller.caller.credential.client_id()) {
            call.running.give_up("the client could not be asked");
        }
        return Answer::over("the call could not be kept while it waits for input");
    };
    let asked = InputRequired { input_requests, request_state: Some(state) };
    Answer::result(translate::with_server_info(asked.to_result(), session.endpoint().server_info()))
}

/// The client is back: its answers go to the parked call, which goes on from where it was.
async fn resume(
    caller: &ModernCaller,
    request: &Request,
    number: u64,
    responses: Option<&RawJson>,
    flight: &mut Flight,
    out: &Out,
) -> Answer {
    // Read first: a malformed retry must not cost the call.
    let responses = match responses.map(read_responses).transpose() {
        Ok(responses) => responses.unwrap_or_default(),
        Err(error) => return Answer::refused(&error),
    };
    let session = caller.session();
    let taken = session.work().parked.take(number, caller.caller.credential.client_id());
    let mut running = match taken {
        Ok(call) => call.running,
        Err(NotParked::Gone) => return not_waiting(),
        Err(NotParked::OtherClient) => {
            refused(caller, Refusal::OtherClient);
            return invalid_state();
        }
    };
    // Before it is answered: what it asks next may come at once, and outside of the exchange.
    flight.at_backend(running.backend);
    flight.take_questions();
    for (key, answer) in responses {
        // "The server SHOULD ignore any information it does not recognize."
        let Some(question) = running.take_question(&key) else { continue };
        if let Err(error) = running.from.respond(&Response::result(question.own_id, answer)).await {
            return finish(caller, request, running.backend, Rest::Failed(error));
        }
    }
    let backend = running.backend;
    let mut said = true;
    let rest = call::follow(&caller.view(&request.method), running, flight, out, &mut said).await;
    finish(caller, request, backend, rest)
}

fn read_responses(responses: &RawJson) -> Result<Vec<(String, RawJson)>, ErrorObject> {
    let malformed = |what: &str| ErrorObject::new(code::INVALID_PARAMS, format!("inputResponses: {what}"));
    let members = Members::read(responses, &[]).map_err(|error| malformed(&error.to_string()))?;
    members
        .iter()
        .map(|(key, answer)| {
            let shown = head::clip(key);
            answer
                .is_object()
                .then(|| (key.to_owned(), answer))
                .ok_or_else(|| malformed(&format!("{shown:?} is not an object")))
        })
        .collect()
}
