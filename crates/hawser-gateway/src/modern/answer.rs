//! What a modern client is answered: results with what every modern result carries, errors with the HTTP status that the
//! specification gives them (MCP 2026-07-28, Base Protocol, Responses and Error Codes; Streamable HTTP).

use hawser_mcp::{ErrorObject, Freshness, Outcome, RawJson, RequestId, Response as RpcResponse, code, translate};
use http::StatusCode;
use serde::Deserialize;

use super::head::Refused;
use super::{ModernCaller, modern_error};
use crate::reply::{self, Body};

/// An answer, and the status it has where nothing was said before it.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    outcome: Outcome,
}

impl Answer {
    /// A finished result.
    pub(crate) fn complete(caller: &ModernCaller, result: RawJson, freshness: Option<Freshness>) -> Self {
        let server_info = caller.caller.session.endpoint().server_info();
        Self::result(translate::complete(result, freshness, server_info))
    }

    /// A result that is complete as it is.
    pub(crate) const fn result(result: RawJson) -> Self {
        Self { status: StatusCode::OK, outcome: Outcome::Result(result) }
    }

    /// Refused, with an error of the gateway's own.
    pub(crate) fn refused(error: &ErrorObject) -> Self {
        Self::error(modern_error(error))
    }

    /// An error as the client is to see it.
    pub(crate) fn error(error: RawJson) -> Self {
        Self { status: status_of(&error), outcome: Outcome::Error(error) }
    }

    /// There is no answer any more, for this reason.
    pub(crate) fn over(reason: &str) -> Self {
        Self::refused(&ErrorObject::new(code::INTERNAL_ERROR, reason))
    }

    /// What has to be asked cannot be asked now.
    pub(crate) fn unavailable() -> Self {
        let error = ErrorObject::new(code::INTERNAL_ERROR, "temporarily unavailable; try again");
        Self { status: StatusCode::SERVICE_UNAVAILABLE, outcome: Outcome::Error(error.to_raw()) }
    }

    /// Whether it is a result.
    pub(crate) const fn is_result(&self) -> bool {
        matches!(self.outcome, Outcome::Result(_))
    }

    pub(crate) fn into_response(self, id: RequestId) -> (StatusCode, RpcResponse) {
        (self.status, RpcResponse { id: Some(id), outcome: self.outcome })
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        Self { status: refused.status, outcome: Outcome::Error(refused.error.to_raw()) }
    }
}

/// Unknown methods are 404, what is wrong with the request's metadata is 400; any other error is an answer like a result.
fn status_of(error: &RawJson) -> StatusCode {
    #[derive(Deserialize)]
    struct Code {
        code: i64,
    }
    let code = error.read::<Code>().ok().and_then(|error| i32::try_from(error.code).ok());
    match code {
        Some(code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(
            code::HEADER_MISMATCH
            | code::MISSING_REQUIRED_CLIENT_CAPABILITY
            | code::UNSUPPORTED_PROTOCOL_VERSION
            | code::INVALID_REQUEST
            | code::PARSE_ERROR,
        ) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// A modern request that is refused before it is dispatched; the error echoes the request's id.
pub(crate) fn refusal(id: RequestId, refused: &Refused) -> http::Response<Body> {
    reply::json(refused.status, RpcResponse::error(Some(id), &refused.error).to_bytes())
}
