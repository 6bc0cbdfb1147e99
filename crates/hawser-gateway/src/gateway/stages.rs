//! The steps of a request one at a time, so that what each of them costs can be counted (`budget/`). Every step here is the
//! code that requests pass through, called alone. Not compiled into the binary.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use hawser_identity::Authenticated;
use hawser_mcp::{Body as Frames, Message, RawJson, Request as RpcRequest, RequestId, method, parse_body};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::{Gateway, arriving};
use crate::call;
use crate::dispatch::{self, Caller};
use crate::edge::{self, SESSION_ID};
use crate::endpoint::Endpoint;
use crate::modern;
use crate::refusal::Rejection;
use crate::reply::{self, Body};
use crate::trace;

/// One `tools/call` on an owned session, of which any step can be done as often as one likes. A step that does not come out as it
/// should gives `None`, so that nobody counts a refusal.
pub struct Stages {
    gateway: Gateway,
    endpoint: Arc<Endpoint>,
    parts: Parts,
    body: Bytes,
    authenticated: Authenticated,
    caller: Caller,
    request: RpcRequest,
}

impl Gateway {
    /// The steps of this request, which must be a `tools/call` that would be served.
    pub async fn stages(&self, request: Request<Bytes>) -> Option<Stages> {
        let endpoint = self.endpoint(request.uri().path())?.endpoint;
        let (parts, body) = request.into_parts();
        let authenticated = self.0.authenticate(endpoint, &parts).await.ok()?;
        let Ok(Frames::Single(Message::Request(request))) = parse_body(&body, &self.0.limits.frames) else {
            return None;
        };
        let presented = presented(&parts).ok()?;
        let session = self.0.admit(endpoint, &authenticated, presented, method::TOOLS_CALL).await.ok()?;
        let caller = self.0.caller(session, &authenticated);
        let (gateway, endpoint) = (self.clone(), Arc::clone(endpoint));
        Some(Stages { gateway, endpoint, parts, body, authenticated, caller, request })
    }
}

fn presented(parts: &Parts) -> Result<Option<&str>, Rejection> {
    Ok(edge::single(&parts.headers, &SESSION_ID, "Mcp-Session-Id")?)
}

impl Stages {
    /// *Edge*: what is checked of the head, the body read, and its frame.
    pub async fn edge(&self) -> Option<()> {
        let (inner, parts) = (&self.gateway.0, black_box(&self.parts));
        inner.hosts.check(&parts.uri, &parts.headers).ok()?;
        edge::check_post(&parts.headers).ok()?;
        black_box(presented(parts).ok()?);
        let bytes = arriving::read(Full::new(self.body.clone()), &inner.limits).await.ok()?;
        let frames = parse_body(&bytes, &inner.limits.frames).ok()?;
        black_box(modern::era(&parts.headers, &frames).ok()?);
        matches!(black_box(frames), Frames::Single(Message::Request(_))).then_some(())
    }

    /// *Authenticate*: a token that was verified before.
    pub async fn authenticate(&self) -> Option<()> {
        let authenticated = self.gateway.0.authenticate(&self.endpoint, black_box(&self.parts)).await;
        black_box(authenticated).ok().map(drop)
    }

    /// *Admit*: the sealed id is opened, its session found and entered, the scopes are asked for.
    pub async fn admit(&self) -> Option<()> {
        let presented = presented(black_box(&self.parts)).ok()?;
        let session = self.gateway.0.admit(&self.endpoint, &self.authenticated, presented, method::TOOLS_CALL).await;
        black_box(session).ok().map(drop)
    }

    /// *Route*: from the exposed name to the way to a backend.
    pub fn route(&self) -> Option<()> {
        let (_members, exposed) =
            dispatch::routed(black_box(self.request.params.as_ref()), "name", &["arguments"]).ok()?;
        let to = self.caller.session.endpoint().router().route(&exposed)?;
        black_box(self.caller.session.upstream(to.backend)?);
        Some(())
    }

    /// *Splice*: `count` times, the params with the name that the backend knows, and the request to it in bytes.
    pub fn splice(&self, count: u64) -> Option<()> {
        let (members, exposed) = dispatch::routed(self.request.params.as_ref(), "name", &["arguments"]).ok()?;
        let to = self.caller.session.endpoint().router().route(&exposed)?;
        for number in 0..count {
            let params = black_box(&members).replace(&[("name", &RawJson::string(black_box(to.own_name)))]);
            let params = trace::onwards(&params, self.caller.sessions.entropy());
            let id = RequestId::number(number);
            let request = RpcRequest { id, method: method::TOOLS_CALL.to_owned(), params: Some(params) };
            black_box(request.to_bytes());
        }
        Some(())
    }

    /// *Reply*: a backend's answer is read, and becomes the response to the client's request.
    pub fn reply(&self, answer: &Bytes) -> Option<Response<Body>> {
        let Ok(Frames::Single(Message::Response(found))) = parse_body(black_box(answer), &self.gateway.0.limits.frames)
        else {
            return None;
        };
        let response = call::response(self.request.id.clone(), Ok(found.outcome));
        let mut response = reply::json(StatusCode::OK, response.to_bytes());
        self.gateway.0.allow_origin(&self.parts, &mut response);
        Some(response)
    }
}
