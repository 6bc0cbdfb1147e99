//! Methods that only an extension of a backend defines: routed by what they name, otherwise to the one backend that can have
//! meant it (the policy stands in [`crate::extensions`]).

use hawser_mcp::{Members, RawJson, Request, method};

use super::answer::Answer;
use super::head::Refused;
use super::{ModernCaller, Target, input, tasks};
use crate::dispatch::invalid;
use crate::endpoint::Endpoint;
use crate::in_flight::Flight;
use crate::lists;
use crate::reply::Out;

/// Whether a method that is not the specification's may be an extension's.
pub(super) fn may_exist(endpoint: &Endpoint, name: &str) -> bool {
    is_no_other(name) && !endpoint.profiles().with_own_methods().is_empty()
}

/// Whether a name is not one that the specifications use otherwise: `tasks/result` and `tasks/list` of 2025-11-25 must not exist
/// (tasks extension), and would tell of everybody's tasks; what servers ask, no client asks; notifications are no requests.
fn is_no_other(name: &str) -> bool {
    let reserved = name.starts_with("tasks/")
        || name.starts_with("notifications/")
        || matches!(name, method::SAMPLING_CREATE_MESSAGE | method::ELICITATION_CREATE | method::ROOTS_LIST);
    name.contains('/') && !reserved
}

pub(super) async fn request(caller: &ModernCaller, request: &Request, flight: &mut Flight, out: &Out) -> Answer {
    let unknown = || Refused::unknown_method(&request.method).into();
    let (backend, params) = match route(caller, request).await {
        Ok(Some(routed)) => routed,
        Ok(None) => return unknown(),
        Err(answer) => return answer,
    };
    let Some(upstream) = caller.session().upstream(backend) else { return unknown() };
    let target = Target { upstreams: vec![upstream], params, headers: caller.head.params.clone() };
    input::call(caller, request, &target, flight, out).await
}

/// The backend, and the params with the name that it uses itself.
async fn route(caller: &ModernCaller, request: &Request) -> Result<Option<(usize, RawJson)>, Answer> {
    let session = caller.session();
    let candidates = session.endpoint().profiles().with_own_methods();
    let Some(params) = &request.params else { return Ok(None) };
    let routed = ["name", "uri", "taskId", "inputResponses", "requestState"];
    let members = Members::read(params, &routed).map_err(|error| Answer::refused(&invalid(&error)))?;
    if let Some(presented) = members.string("taskId") {
        let task = tasks::open(caller, &presented).and_then(|task| Some((task.backend.find(session)?, task)));
        return Ok(task.map(|(at, task)| (at, members.replace(&[("taskId", &RawJson::string(&task.own_id))]))));
    }
    if let Some(exposed) = members.string("name")
        && let Some(to) = session.endpoint().router().route(&exposed)
        && candidates.contains(&to.backend)
    {
        return Ok(Some((to.backend, members.replace(&[("name", &RawJson::string(to.own_name))]))));
    }
    if let Some(uri) = members.string("uri") {
        let backends = tokio::select! {
            biased;
            () = session.ended().cancelled() => return Err(Answer::over("the session has ended")),
            backends = lists::route_resource(session, &uri) => backends,
        };
        let mut listed = backends.into_iter().filter(|backend| candidates.contains(backend));
        if let (Some(backend), None) = (listed.next(), listed.next()) {
            return Ok(Some((backend, params.clone())));
        }
    }
    Ok(match candidates.as_slice() {
        [only] => Some((*only, params.clone())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::is_no_other;

    #[test]
    fn names_that_mean_something_else_are_no_extensions_methods() {
        for name in ["tasks/list", "tasks/result", "notifications/tasks", "roots/list", "elicitation/create", "x"] {
            assert!(!is_no_other(name), "{name}");
        }
        for name in ["skills/get", "resources/directory/read", "com.example/tasks/list"] {
            assert!(is_no_other(name), "{name}");
        }
    }
}
