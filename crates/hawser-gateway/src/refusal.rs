//! Every way in which a request is refused before it is dispatched, and its answer on the wire: the only place that maps them.

use bytes::Bytes;
use hawser_identity::{AuthenticateError, Resource};
use hawser_mcp::{ErrorObject, FrameError, Response as RpcResponse, code};
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::edge::EdgeError;
use crate::reply::{Body, RETRY_SECONDS, json};
use crate::sessions::{AdmitError, OpenError};

/// A request that is not dispatched.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// Refused at the edge.
    Edge(EdgeError),
    /// The credential is missing, wrong, or cannot be checked.
    Authenticate(AuthenticateError),
    /// The body is not a message.
    Frame(FrameError),
    /// A well-formed message that cannot be taken here.
    Invalid(ErrorObject),
    /// The one answer for every session that is not the caller's: it tells a prober nothing, it makes an honest client
    /// re-initialize (MCP 2025-11-25, Transports, Session Management).
    NoSession,
    /// The stream that the client wants to take up again is its own, but what came after the event that it has is not kept any
    /// more. Not the 404 of a lost session: the session stands.
    EventsGone,
    /// What has to be asked cannot be asked now.
    Unavailable,
    /// The owner has too many of something.
    TooMany(ErrorObject),
}

impl Rejection {
    /// The answer.
    pub(crate) fn into_response(self, resource: &Resource) -> Response<Body> {
        match self {
            Self::Edge(error) => edge(error),
            Self::Authenticate(error) => {
                let (status, headers, body) = error.to_response(resource);
                let mut response = Response::new(Body::whole(body));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                response
            }
            Self::Frame(error) => json(StatusCode::BAD_REQUEST, rpc(&error.to_error())),
            Self::Invalid(error) => json(StatusCode::BAD_REQUEST, rpc(&error)),
            Self::NoSession => {
                json(StatusCode::NOT_FOUND, rpc(&ErrorObject::new(code::SESSION_NOT_FOUND, "Session not found")))
            }
            Self::EventsGone => {
                let text = "what came after this event is not kept any more; the stream cannot be taken up again";
                json(StatusCode::GONE, rpc(&ErrorObject::new(code::INVALID_REQUEST, text)))
            }
            Self::Unavailable => {
                let error = ErrorObject::new(code::INTERNAL_ERROR, "temporarily unavailable; try again");
                json(StatusCode::SERVICE_UNAVAILABLE, rpc(&error))
            }
            Self::TooMany(error) => {
                let mut response = json(StatusCode::TOO_MANY_REQUESTS, rpc(&error));
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
                response
            }
        }
    }
}

/// Refusals at the edge, with the status that HTTP and MCP give each.
pub(crate) fn edge(error: EdgeError) -> Response<Body> {
    let status = match error {
        EdgeError::Host | EdgeError::Origin => StatusCode::FORBIDDEN,
        EdgeError::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        EdgeError::AcceptPost | EdgeError::AcceptGet => StatusCode::NOT_ACCEPTABLE,
        EdgeError::Header(_) | EdgeError::ProtocolVersion => StatusCode::BAD_REQUEST,
        EdgeError::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        EdgeError::Body => StatusCode::REQUEST_TIMEOUT,
        EdgeError::Method => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut response = json(status, rpc(&ErrorObject::new(code::INVALID_REQUEST, error.to_string())));
    if error == EdgeError::Method {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn rpc(error: &ErrorObject) -> Bytes {
    RpcResponse::error(None, error).to_bytes()
}

impl From<EdgeError> for Rejection {
    fn from(error: EdgeError) -> Self {
        Self::Edge(error)
    }
}

impl From<FrameError> for Rejection {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<AdmitError> for Rejection {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Refused(_) => Self::NoSession,
            AdmitError::Store(_) | AdmitError::NotNow => Self::Unavailable,
        }
    }
}

impl From<OpenError> for Rejection {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::TooManyOfOwner => Self::TooMany(ErrorObject::new(code::INVALID_REQUEST, error.to_string())),
            OpenError::TooMany | OpenError::Stopping | OpenError::Store(_) | OpenError::Seal(_) => Self::Unavailable,
        }
    }
}
