//! What a POST carries: one message of either era, or a batch of the oldest revision.

use std::sync::Arc;

use bytes::Bytes;
use hawser_identity::Authenticated;
use hawser_mcp::{
    Body as Frames, Era, ErrorObject, Members, Message, Request as RpcRequest, Response as RpcResponse, code, method,
    parse_body,
};
use hawser_owner::{Owned, Refusal, Refused};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use tracing::warn;

use super::{Inner, arriving, require_scopes};
use crate::audit;
use crate::credential::Credential;
use crate::dispatch::{self, Caller};
use crate::edge::SESSION_ID;
use crate::endpoint::Endpoint;
use crate::gate::Entered;
use crate::initialize;
use crate::modern::{self, ModernCaller};
use crate::pending::NotPending;
use crate::refusal::Rejection;
use crate::reply::{self, Body, Work};
use crate::resumption::Resumable;
use crate::sessions::{AdmitError, OpenError, Presence};

impl Inner {
    pub(super) async fn post<B>(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: Authenticated,
        presented: Option<&str>,
        parts: &Parts,
        body: B,
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let headers = &parts.headers;
        let bytes = arriving::read(body, &self.limits).await?;
        let frames = parse_body(&bytes, &self.limits.frames)?;
        if modern::era(headers, &frames)? == Era::Modern {
            return self.modern(endpoint, authenticated, parts, frames).await;
        }
        if let Frames::Single(Message::Request(request)) = &frames
            && request.method == method::INITIALIZE
            && presented.is_none()
        {
            require_scopes(endpoint, &authenticated)?;
            return self.initialize(endpoint, &authenticated, request).await;
        }
        let session = self.admit(endpoint, &authenticated, presented, operation(&frames)).await?;
        let caller = self.caller(session, &authenticated);
        // While the body was on its way. Requests ask once more, when a revocation can find them.
        if self.sessions.was_just_revoked(&caller.credential) {
            return Err(Rejection::Invalid(ErrorObject::new(code::INVALID_REQUEST, "the credential was revoked")));
        }
        if self.sessions.is_draining() && has_request(&frames) {
            return Err(Rejection::Unavailable);
        }
        let _at_work = match frames {
            Frames::Single(Message::Notification(_)) => None,
            _ => Some(self.sessions.set_to_work(&caller.session).await.map_err(AdmitError::from)?),
        };
        match frames {
            Frames::Single(message) => self.single(endpoint, &authenticated, caller, parts, message).await,
            Frames::Batch(_) if !caller.session.revision().allows_batches() => {
                let text = "batches exist in revision 2025-03-26 only; send one message per request";
                Err(Rejection::Invalid(ErrorObject::new(code::INVALID_REQUEST, text)))
            }
            Frames::Batch(messages) => Ok(self.batch(caller, parts, messages)),
        }
    }

    /// A message of the modern era: it stands for itself, whatever session id comes with it (MCP 2026-07-28, Earlier Streamable
    /// HTTP Revisions).
    async fn modern(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: Authenticated,
        parts: &Parts,
        frames: Frames,
    ) -> Result<Response<Body>, Rejection> {
        let headers = &parts.headers;
        let request = match frames {
            Frames::Single(Message::Request(request)) => request,
            // None is defined; one that nobody knows is accepted and has no effect.
            Frames::Single(Message::Notification(_)) => {
                modern::check_version(headers).map_err(|refused| Rejection::Invalid(refused.error))?;
                require_scopes(endpoint, &authenticated)?;
                return Ok(reply::empty(StatusCode::ACCEPTED));
            }
            Frames::Single(Message::Response(_)) | Frames::Batch(_) => {
                let text = "revision 2026-07-28 has neither batches nor responses of clients; send one request";
                return Err(Rejection::Invalid(ErrorObject::new(code::INVALID_REQUEST, text)));
            }
        };
        let head = match modern::read(headers, &request, |method| modern::is_known(endpoint, method)) {
            Ok(head) => head,
            Err(refused) => return Ok(modern::refusal(request.id, &refused)),
        };
        require_scopes(endpoint, &authenticated)?;
        if self.sessions.is_draining() && !goes_on(&request) {
            return Err(Rejection::Unavailable);
        }
        if let Some(node) = modern::parked_at(&self.sessions, endpoint, &authenticated, &request)
            && let Some(response) = self.retry_elsewhere(node, authenticated.principal(), parts, &request).await?
        {
            return Ok(response);
        }
        let presence = Presence {
            capabilities: head.capabilities.clone(),
            client_info: head.client_info.clone(),
            log_level: head.log_level.clone(),
        };
        let session = self.sessions.pooled(endpoint, &authenticated, presence).await?;
        let _at_work = self.sessions.set_to_work(&session).await.map_err(OpenError::from)?;
        let caller = ModernCaller {
            caller: self.caller(session, &authenticated),
            head,
            stream_lives: self.sessions.stream_lives(&authenticated),
        };
        let work = Work::new(|out| async move { modern::request(&caller, request, &out).await });
        Ok(work.answer(self.limits.keep_alive).await)
    }

    pub(super) fn caller(&self, session: Owned<Entered>, authenticated: &Authenticated) -> Caller {
        Caller {
            session,
            authenticated: authenticated.clone(),
            credential: Credential::of(authenticated),
            sessions: Arc::clone(&self.sessions),
            list_page: self.limits.list_page,
        }
    }

    async fn initialize(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
        request: &RpcRequest,
    ) -> Result<Response<Body>, Rejection> {
        let opening = initialize::read(request)?;
        let revision = opening.revision;
        let result = initialize::result(endpoint, revision).await;
        let opened = self.sessions.open(endpoint, authenticated, opening).await;
        let (id, _session) =
            opened.inspect_err(|error| warn!(endpoint = endpoint.name(), %error, "no session was opened"))?;
        let mut response = reply::json(StatusCode::OK, RpcResponse::result(request.id.clone(), result).to_bytes());
        let id = HeaderValue::try_from(id).map_err(|_| Rejection::Unavailable)?;
        response.headers_mut().insert(SESSION_ID, id);
        Ok(response)
    }

    async fn single(
        &self,
        endpoint: &Endpoint,
        authenticated: &Authenticated,
        caller: Caller,
        parts: &Parts,
        message: Message,
    ) -> Result<Response<Body>, Rejection> {
        match message {
            Message::Request(request) if request.method == method::INITIALIZE => {
                let error = ErrorObject::new(code::INVALID_REQUEST, "the session is initialized already");
                Ok(reply::json(StatusCode::BAD_REQUEST, RpcResponse::error(Some(request.id), &error).to_bytes()))
            }
            Message::Request(request) => {
                let caller = Arc::new(caller);
                let to = Resumable::new(Arc::clone(&caller));
                let work = Work::new(|out| async move { dispatch::request(&caller, request, &out).await });
                Ok(work.answer_resumable(to, self.limits.keep_alive).await)
            }
            Message::Notification(notification) => {
                if let Some(node) = dispatch::notification(&caller, &notification) {
                    self.pass_on(node, caller.principal(), parts, notification.to_bytes());
                }
                Ok(reply::empty(StatusCode::ACCEPTED))
            }
            Message::Response(response) => match dispatch::response(&caller, &response) {
                Err(NotPending::Elsewhere(node)) => {
                    self.answer_elsewhere(node, caller.principal(), parts, &response).await
                }
                // A late answer is nobody's fault: the call ended first.
                Ok(()) | Err(NotPending::Late) => Ok(reply::empty(StatusCode::ACCEPTED)),
                Err(NotPending::Unknown) => {
                    let error = ErrorObject::new(code::INVALID_REQUEST, "no request with this id waits for an answer");
                    Err(Rejection::Invalid(error))
                }
                Err(NotPending::OtherClient) => {
                    let owner = caller.session.owner();
                    let refused = Refused { reason: Refusal::OtherClient, owner: Some(owner), presented_by: owner };
                    audit::refused(endpoint.name(), "response", &refused, authenticated);
                    Err(Rejection::NoSession)
                }
            },
        }
    }

    /// A batch (2025-03-26, Transports, Sending Messages): requests run side by side, their responses leave as they come.
    fn batch(
        &self,
        caller: Caller,
        parts: &Parts,
        messages: Vec<Result<Message, hawser_mcp::FrameError>>,
    ) -> Response<Body> {
        let mut requests = Vec::new();
        let mut refused = Vec::new();
        for message in messages {
            match message {
                Ok(Message::Request(request)) if request.method == method::INITIALIZE => {
                    let error = ErrorObject::new(code::INVALID_REQUEST, "initialize cannot be part of a batch");
                    refused.push(RpcResponse::error(Some(request.id), &error).to_bytes());
                }
                Ok(Message::Request(request)) => requests.push(request),
                Ok(Message::Notification(notification)) => {
                    if let Some(node) = dispatch::notification(&caller, &notification) {
                        self.pass_on(node, caller.principal(), parts, notification.to_bytes());
                    }
                }
                Ok(Message::Response(response)) => match dispatch::response(&caller, &response) {
                    Ok(()) | Err(NotPending::Late) => {}
                    Err(NotPending::Elsewhere(node)) => {
                        self.pass_on(node, caller.principal(), parts, response.to_bytes());
                    }
                    Err(NotPending::Unknown | NotPending::OtherClient) => {
                        let error =
                            ErrorObject::new(code::INVALID_REQUEST, "no request with this id waits for an answer");
                        refused.push(RpcResponse::error(None, &error).to_bytes());
                    }
                },
                Err(error) => refused.push(RpcResponse::error(None, &error.to_error()).to_bytes()),
            }
        }
        if requests.is_empty() && refused.is_empty() {
            return reply::empty(StatusCode::ACCEPTED);
        }
        let caller = Arc::new(caller);
        let to = Resumable::new(Arc::clone(&caller));
        let work = Work::new(|out| async move {
            for refusal in refused {
                out.finish(refusal).await;
            }
            let running = requests.into_iter().map(|request| dispatch::request(&caller, request, &out));
            futures_util::future::join_all(running).await;
        });
        work.answer_streaming(to, self.limits.keep_alive)
    }
}

/// Whether something new is asked for, and not only said to what is under way.
fn has_request(frames: &Frames) -> bool {
    match frames {
        Frames::Single(message) => matches!(message, Message::Request(_)),
        Frames::Batch(messages) => messages.iter().any(|message| matches!(message, Ok(Message::Request(_)))),
    }
}

/// Whether a modern request is the next round of one that was made before.
fn goes_on(request: &RpcRequest) -> bool {
    let members = request.params.as_ref().and_then(|params| Members::read(params, &["requestState"]).ok());
    members.is_some_and(|members| members.get("requestState").is_some())
}

/// What a message asks for, for the audit log.
fn operation(frames: &Frames) -> &str {
    match frames {
        Frames::Batch(_) => "batch",
        Frames::Single(Message::Request(request)) => &request.method,
        Frames::Single(Message::Notification(notification)) => &notification.method,
        Frames::Single(Message::Response(_)) => "response",
    }
}
