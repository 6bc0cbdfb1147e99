//! Multi round-trip requests (2026-07-28): a result that asks for input, and the retry that brings it.

use thiserror::Error;

use crate::members::{Members, MembersError};
use crate::names::method;
use crate::raw::RawJson;

/// Most questions that one result may ask.
pub const INPUT_REQUESTS_MAX: usize = 32;
/// Longest key of a question in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Longest `requestState` of a backend in bytes.
const STATE_BYTES_MAX: usize = 256 * 1024;

/// What a result is (2026-07-28, Result Types).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// The answer. Also where the member is absent, as up to 2025-11-25.
    Complete,
    /// Input is needed first: read with [`InputRequired::read`].
    InputRequired,
    /// A task was made (tasks extension).
    Task,
    /// Something this crate does not know: not to be taken for an answer.
    Other(String),
}

/// What kind of result this is.
pub fn result_type(result: &RawJson) -> Result<ResultType, MembersError> {
    let members = Members::read(result, &["resultType"])?;
    let Some(value) = members.get("resultType") else {
        return Ok(ResultType::Complete);
    };
    let name = value.as_string().ok_or(MembersError::MemberNotAString("resultType"))?;
    Ok(match name.as_str() {
        "complete" => ResultType::Complete,
        "input_required" => ResultType::InputRequired,
        "task" => ResultType::Task,
        _ => ResultType::Other(name),
    })
}

/// A result that asks for input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRequired {
    /// The questions under their keys, in order.
    pub input_requests: Vec<(String, InputRequest)>,
    /// To be brought back as it is.
    pub request_state: Option<String>,
}

/// One question of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRequest {
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: String,
    /// An object, if present.
    pub params: Option<RawJson>,
}

/// Why a result that asks for input is refused.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum InputRequiredError {
    /// A part is ambiguous or of the wrong type.
    #[error("{part}: {error}")]
    Members {
        /// Which.
        part: &'static str,
        /// Why.
        error: MembersError,
    },
    /// Neither questions nor state: a retry would bring nothing new.
    #[error("there is nothing in `inputRequests` and no `requestState`")]
    Empty,
    /// Too many questions.
    #[error("`inputRequests` holds more than {INPUT_REQUESTS_MAX} requests")]
    TooMany,
    /// A key is too long.
    #[error("a key of `inputRequests` is longer than {KEY_BYTES_MAX} bytes")]
    Key,
    /// A question is none of those that may be asked.
    #[error("a request of `inputRequests` is none of elicitation/create, sampling/createMessage and roots/list")]
    Method,
    /// A question's parameters are not an object.
    #[error("the `params` of a request of `inputRequests` are not an object")]
    Params,
    /// The state is not a string or too long.
    #[error("`requestState` must be a string of at most {STATE_BYTES_MAX} bytes")]
    State,
}

impl InputRequired {
    /// Reads a result of type `input_required`.
    pub fn read(result: &RawJson) -> Result<Self, InputRequiredError> {
        let members = Members::read(result, &["resultType", "inputRequests", "requestState"])
            .map_err(|error| InputRequiredError::Members { part: "the result", error })?;
        let input_requests = members.get("inputRequests").map(|requests| read_requests(&requests)).transpose()?;
        let input_requests = input_requests.unwrap_or_default();
        let request_state = match members.get("requestState") {
            None => None,
            Some(state) if state.bytes().len() > STATE_BYTES_MAX => return Err(InputRequiredError::State),
            Some(state) => Some(state.as_string().ok_or(InputRequiredError::State)?),
        };
        if input_requests.is_empty() && request_state.is_none() {
            return Err(InputRequiredError::Empty);
        }
        Ok(Self { input_requests, request_state })
    }

    /// The result, as the gateway itself asks.
    pub fn to_result(&self) -> RawJson {
        let kind = RawJson::string("input_required");
        let requests = write_requests(&self.input_requests);
        let state = self.request_state.as_deref().map(RawJson::string);
        let mut members = vec![("resultType", &kind)];
        if !self.input_requests.is_empty() {
            members.push(("inputRequests", &requests));
        }
        if let Some(state) = &state {
            members.push(("requestState", state));
        }
        RawJson::object(&members)
    }
}

/// Reads the questions of a result or a task.
pub(crate) fn read_requests(requests: &RawJson) -> Result<Vec<(String, InputRequest)>, InputRequiredError> {
    let members =
        Members::read(requests, &[]).map_err(|error| InputRequiredError::Members { part: "`inputRequests`", error })?;
    let mut read = Vec::new();
    for (key, request) in members.iter() {
        if read.len() == INPUT_REQUESTS_MAX {
            return Err(InputRequiredError::TooMany);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(InputRequiredError::Key);
        }
        read.push((key.to_owned(), read_request(&request)?));
    }
    Ok(read)
}

fn read_request(request: &RawJson) -> Result<InputRequest, InputRequiredError> {
    let members = Members::read(request, &["method", "params"])
        .map_err(|error| InputRequiredError::Members { part: "a request of `inputRequests`", error })?;
    let name = members.string("method").filter(|name| is_question(name)).ok_or(InputRequiredError::Method)?;
    let params = members.get("params");
    if params.as_ref().is_some_and(|params| !params.is_object()) {
        return Err(InputRequiredError::Params);
    }
    Ok(InputRequest { method: name, params })
}

/// Whether a server may ask a client this (2026-07-28, Multi Round-Trip Requests).
fn is_question(name: &str) -> bool {
    matches!(name, method::ELICITATION_CREATE | method::SAMPLING_CREATE_MESSAGE | method::ROOTS_LIST)
}

fn write_requests(requests: &[(String, InputRequest)]) -> RawJson {
    let written: Vec<(&str, RawJson)> = requests
        .iter()
        .map(|(key, request)| {
            let name = RawJson::string(&request.method);
            let mut members = vec![("method", &name)];
            members.extend(request.params.as_ref().map(|params| ("params", params)));
            (key.as_str(), RawJson::object(&members))
        })
        .collect();
    let members: Vec<(&str, &RawJson)> = written.iter().map(|(key, request)| (*key, request)).collect();
    RawJson::object(&members)
}

/// The parameters of the retry: the same with the answers and the state, or without them where there are none.
pub fn with_input_responses(
    params: &RawJson,
    responses: &[(String, RawJson)],
    request_state: Option<&str>,
) -> Result<RawJson, MembersError> {
    let params = Members::read(params, &["inputResponses", "requestState"])?;
    let answers: Vec<(&str, &RawJson)> = responses.iter().map(|(key, answer)| (key.as_str(), answer)).collect();
    let answers = RawJson::object(&answers);
    let state = request_state.map(RawJson::string);
    let mut with = Vec::new();
    if !responses.is_empty() {
        with.push(("inputResponses", &answers));
    }
    if let Some(state) = &state {
        with.push(("requestState", state));
    }
    Ok(params.edit(&with, &["inputResponses", "requestState"]))
}
