//! The tasks extension for modern clients (`io.modelcontextprotocol/tasks`): passed through, with task ids that are sealed for
//! their owner. "Authorization MUST be checked on each task request": the seal is opened for the present credential every time.

use std::sync::Arc;

use std::time::Duration;

use hawser_mcp::{Era, ErrorObject, Members, Outcome, RawJson, Request, Revision, code, task, translate};
use hawser_owner::{HandleKind, Payload};
use serde_json::json;

use super::answer::Answer;
use super::backend_tag::BackendTag;
use super::call::Rest;
use super::{ModernCaller, Target, input};
use crate::dispatch::routed;
use crate::in_flight::Flight;
use crate::lists::has_capability;
use crate::reply::Out;

/// How long a task id is good for where the backend names no end.
const LIFETIME: Duration = Duration::from_hours(7 * 24);
/// Longest id of a backend's own, in bytes.
const OWN_ID_BYTES_MAX: usize = 1024;

/// What a task id carries: whose task it is at which backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskClaims {
    pub(crate) backend: BackendTag,
    pub(crate) own_id: String,
}

impl Payload for TaskClaims {
    const KIND: HandleKind = HandleKind::Task;

    fn encode(&self, out: &mut Vec<u8>) {
        self.backend.encode(out);
        out.extend_from_slice(self.own_id.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (backend, own_id) = BackendTag::decode(bytes)?;
        Some(Self { backend, own_id: std::str::from_utf8(own_id).ok()?.to_owned() })
    }
}

/// A backend answered a call with a task.
pub(super) fn created(caller: &ModernCaller, backend: usize, result: &RawJson) -> Result<Answer, &'static str> {
    if !declares_tasks(&caller.head.capabilities) {
        return Err("it is a task, which the client does not know");
    }
    let own_id = task::task_id(result).map_err(|_| "it is a task without a readable id")?;
    let sealed = seal(caller, backend, own_id)?;
    let result = task::with_task_id(result, &sealed).map_err(|_| "it is a task without a readable id")?;
    Ok(Answer::result(translate::with_server_info(result, caller.session().endpoint().server_info())))
}

/// `tasks/get`, `tasks/update` and `tasks/cancel`.
pub(super) async fn request(caller: &ModernCaller, request: &Request, flight: &mut Flight, out: &Out) -> Answer {
    if !declares_tasks(&caller.head.capabilities) {
        return undeclared();
    }
    let (members, presented) = match routed(request.params.as_ref(), "taskId", &[]) {
        Ok(routed) => routed,
        Err(error) => return Answer::refused(&error),
    };
    let Some(claims) = open(caller, &presented) else {
        return Answer::refused(&ErrorObject::new(code::INVALID_PARAMS, "there is no such task"));
    };
    let Some(upstream) = claims.backend.find(caller.session()).and_then(|at| caller.session().upstream(at)) else {
        return Answer::refused(&ErrorObject::new(code::INVALID_PARAMS, "there is no such task"));
    };
    let params = members.replace(&[("taskId", &RawJson::string(&claims.own_id))]);
    let target = Target { upstreams: vec![Arc::clone(&upstream)], params, headers: caller.head.params.clone() };
    let rest = input::start(caller, request, &upstream, &target, None, flight, out).await;
    match rest {
        Rest::Answered(Outcome::Result(result), from) if from.era() == Era::Modern => {
            // Only results that are about the task name it; an acknowledgement does not.
            let result = task::with_task_id(&result, &presented).unwrap_or(result);
            Answer::result(translate::with_server_info(result, caller.session().endpoint().server_info()))
        }
        Rest::Answered(Outcome::Error(error), from) => {
            Answer::error(translate::error(error, from, Revision::LATEST_MODERN))
        }
        rest => input::finish(caller, request, upstream.position(), rest),
    }
}

/// What a client is told that names tasks without knowing them.
pub(super) fn undeclared() -> Answer {
    let error = ErrorObject::new(code::MISSING_REQUIRED_CLIENT_CAPABILITY, "this needs the tasks extension")
        .with_data(json!({ "requiredCapabilities": { "extensions": { task::EXTENSION: {} } } }));
    Answer::error(error.to_raw())
}

/// Whether a client knows tasks.
pub(super) fn declares_tasks(capabilities: &RawJson) -> bool {
    let extensions = Members::read(capabilities, &[]).ok().and_then(|members| members.get("extensions"));
    extensions.is_some_and(|extensions| has_capability(&extensions, task::EXTENSION))
}

/// The task behind a presented id, if it is the caller's.
pub(super) fn open(caller: &ModernCaller, presented: &str) -> Option<TaskClaims> {
    caller.open_handle("taskId", presented)
}

fn seal(caller: &ModernCaller, backend: usize, own_id: String) -> Result<String, &'static str> {
    if own_id.len() > OWN_ID_BYTES_MAX {
        return Err("its task id is too long");
    }
    let backend = BackendTag::of(caller.session(), backend).ok_or("its backend is not known")?;
    caller.seal_handle(TaskClaims { backend, own_id }, LIFETIME).ok_or("its task id cannot be sealed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn claims_round_trip(backend in BackendTag::any(), own_id: String) {
            let claims = TaskClaims { backend, own_id };
            let mut bytes = Vec::new();
            claims.encode(&mut bytes);
            prop_assert_eq!(TaskClaims::decode(&bytes), Some(claims));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = TaskClaims::decode(&bytes);
        }
    }
}
