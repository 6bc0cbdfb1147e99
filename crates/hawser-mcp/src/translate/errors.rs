//! Error objects.
//!
//! Codes -32000 to -32019 mean what their sender wants them to; -32020 to -32099 are the specification's (2026-07-28, Error
//! Codes). A client gets none that its revision gives another meaning or none.

use crate::error::code;
use crate::input_required::{INPUT_REQUESTS_MAX, InputRequest, InputRequired};
use crate::members::Members;
use crate::names::method;
use crate::raw::RawJson;
use crate::revision::{Era, Revision};

/// An error of a server of revision `from`, for a client of revision `to`.
#[must_use]
pub fn error(error: RawJson, from: Revision, to: Revision) -> RawJson {
    let Some(members) = Members::last_holds(&error) else {
        return error;
    };
    let Some(found) = members.get("code").and_then(|code| code.read::<i32>().ok()) else {
        return error;
    };
    match (from.era(), to.era()) {
        (Era::Legacy, Era::Legacy) => error,
        (_, Era::Modern) => towards_modern(&error, &members, found, from.era()),
        (Era::Modern, Era::Legacy) => towards_legacy(&error, &members, found),
    }
}

fn towards_modern(error: &RawJson, members: &Members<'_>, found: i32, from: Era) -> RawJson {
    match found {
        code::RESOURCE_NOT_FOUND => with_code(members, code::INVALID_PARAMS),
        // What a call needs is the client's business; headers and versions between gateway and backend are not.
        code::MISSING_REQUIRED_CLIENT_CAPABILITY if from == Era::Modern => error.clone(),
        -32099..=-32020 => as_internal(error, members),
        -32019..=-32000 if from == Era::Legacy => as_internal(error, members),
        _ => error.clone(),
    }
}

fn towards_legacy(error: &RawJson, members: &Members<'_>, found: i32) -> RawJson {
    match found {
        code::INVALID_PARAMS if names_resource(members) => with_code(members, code::RESOURCE_NOT_FOUND),
        -32099..=-32020 => as_internal(error, members),
        _ => error.clone(),
    }
}

/// Whether the error is about a resource that is not there (2026-07-28, Resources, Error Handling: `data.uri`).
fn names_resource(members: &Members<'_>) -> bool {
    let data = members.get("data");
    data.as_ref().and_then(Members::last_holds).is_some_and(|data| data.string("uri").is_some())
}

fn with_code(members: &Members<'_>, code: i32) -> RawJson {
    members.replace(&[("code", &number(code))])
}

/// An internal error with the same message, the original in `data`.
fn as_internal(error: &RawJson, members: &Members<'_>) -> RawJson {
    let data = RawJson::object(&[("original", error)]);
    members.replace(&[("code", &number(code::INTERNAL_ERROR)), ("data", &data)])
}

fn number(code: i32) -> RawJson {
    RawJson::written(code.to_string())
}

/// The questions in an error that demands URLs to be opened first (2025-11-25, URL Elicitation Required), as a modern client is
/// asked them. `None` if it is no such error, or asks nothing that could be put.
pub fn url_elicitations(error: &RawJson) -> Option<InputRequired> {
    let members = Members::read(error, &["code", "data"]).ok()?;
    if members.get("code")?.read::<i32>().ok()? != code::URL_ELICITATION_REQUIRED {
        return None;
    }
    let data = members.get("data")?;
    let asked = Members::read(&data, &["elicitations"]).ok()?.get("elicitations")?.elements()?;
    if asked.is_empty() || asked.len() > INPUT_REQUESTS_MAX {
        return None;
    }
    let question = |(index, params): (usize, RawJson)| {
        let url_mode = Members::read(&params, &["mode", "url"]).ok()?.string("mode")? == "url";
        let params = super::server_request(method::ELICITATION_CREATE, Some(&params), Revision::LATEST_MODERN)?;
        let request = InputRequest { method: method::ELICITATION_CREATE.to_owned(), params };
        url_mode.then_some((format!("elicitation-{index}"), request))
    };
    let input_requests = asked.into_iter().enumerate().map(question).collect::<Option<_>>()?;
    Some(InputRequired { input_requests, request_state: None })
}
