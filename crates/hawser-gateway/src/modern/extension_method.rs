//! Methods that only an extension of a backend defines: routed by what they name, otherwise to the one backend that can have
//! meant it (the policy stands in [`crate::extensions`]).

use hawser_mcp::{Members, RawJson, Request};

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
    name.contains('/') && !endpoint.profiles().with_own_methods().is_empty()
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
        let task =
            tasks::open(caller, &presented).and_then(|task| Some((task.backend.find(session)?.position(), task)));
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
