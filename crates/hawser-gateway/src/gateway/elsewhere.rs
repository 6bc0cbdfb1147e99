//! Requests that are about something another node holds: they are brought there, after they were admitted here.

use bytes::Bytes;
use hawser_mcp::{Request as RpcRequest, Response as RpcResponse};
use hawser_owner::Principal;
use http::request::Parts;
use http::{Response, StatusCode};
use tracing::debug;

use super::Inner;
use crate::claims::EventClaims;
use crate::event_log::StreamKind;
use crate::refusal::Rejection;
use crate::relay::{NodeName, NotReached, Relayed};
use crate::reply::{self, Body};

/// Why a request was not answered by the node that it is for.
enum NotAnswered {
    /// That node has ended, and what it held with it; or the request came from a node, which must know.
    Gone,
    /// It cannot be reached now.
    NotNow,
}

impl Inner {
    /// The client's answer to a question that another node put.
    pub(super) async fn answer_elsewhere(
        &self,
        node: NodeName,
        principal: &Principal,
        parts: &Parts,
        response: &RpcResponse,
    ) -> Result<Response<Body>, Rejection> {
        match self.bring(node, principal, parts, response.to_bytes()).await {
            Ok(response) => Ok(response),
            // A late answer is nobody's fault: the call ended first, with its node.
            Err(NotAnswered::Gone) => Ok(reply::empty(StatusCode::ACCEPTED)),
            Err(NotAnswered::NotNow) => Err(Rejection::Unavailable),
        }
    }

    /// A request that brings input to a call parked at another node. `None` if that is gone: then it is answered here, like the
    /// retry of any lost call.
    pub(super) async fn retry_elsewhere(
        &self,
        node: NodeName,
        principal: &Principal,
        parts: &Parts,
        request: &RpcRequest,
    ) -> Result<Option<Response<Body>>, Rejection> {
        match self.bring(node, principal, parts, request.to_bytes()).await {
            Ok(response) => Ok(Some(response)),
            Err(NotAnswered::Gone) => Ok(None),
            Err(NotAnswered::NotNow) => Err(Rejection::Unavailable),
        }
    }

    /// A GET that takes up a stream of another node. `None` if that is gone, or if it is a stream that belongs to no call and that
    /// node does not serve it now, as when it drains: such a stream may begin anew here.
    pub(super) async fn resume_elsewhere(
        &self,
        position: &EventClaims,
        principal: &Principal,
        parts: &Parts,
    ) -> Result<Option<Response<Body>>, Rejection> {
        let may_begin_anew = position.kind == StreamKind::Standing;
        match self.bring(position.node, principal, parts, Bytes::new()).await {
            Ok(response) if may_begin_anew && response.status() == StatusCode::SERVICE_UNAVAILABLE => Ok(None),
            Ok(response) => Ok(Some(response)),
            Err(NotAnswered::Gone) => Ok(None),
            Err(NotAnswered::NotNow) if may_begin_anew => Ok(None),
            Err(NotAnswered::NotNow) => Err(Rejection::Unavailable),
        }
    }

    /// A message that nobody waits for the answer of.
    pub(super) fn pass_on(&self, node: NodeName, principal: &Principal, parts: &Parts, message: Bytes) {
        let (Some(relay), Some(relayed)) = (self.relay.clone(), Relayed::of(parts, message)) else { return };
        let Ok(place) = self.sessions.bringing_place(principal) else {
            return debug!("a message for another node was dropped: its sender has as many on their way as may be");
        };
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = relay.forward(node, relayed).await {
                debug!(%error, "a message for another node was lost");
            }
        });
    }

    async fn bring(
        &self,
        node: NodeName,
        principal: &Principal,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Response<Body>, NotAnswered> {
        let relay = self.relay.as_ref().ok_or(NotAnswered::Gone)?;
        let _place = self.sessions.bringing_place(principal).map_err(|_| NotAnswered::NotNow)?;
        let (mut tries, mut answered) = (0, Err(NotReached::NoAnswer(node)));
        // A node that does not hear for a moment, as right after an outage of the store, has not ended. To say it again does no
        // harm: answers and parked calls are taken once, and streams are read from where the client is. Not every client that is
        // told to come back does.
        while tries < tries_for(&answered) {
            let relayed = Relayed::of(parts, body.clone()).ok_or(NotAnswered::Gone)?;
            answered = relay.forward(node, relayed).await;
            tries += 1;
        }
        answered.map_err(|error| {
            debug!(%error, "a request for another node was not answered");
            match error {
                NotReached::NoAnswer(_) => NotAnswered::Gone,
                // Whether it was done is known there, and told to who asks again.
                NotReached::Lost(_) | NotReached::Silent(_) | NotReached::Store(_) | NotReached::Busy(_) => {
                    NotAnswered::NotNow
                }
            }
        })
    }
}

/// How often something is brought in all to a node that answered like this at last. Each time takes a second.
fn tries_for(answered: &Result<Response<Body>, NotReached>) -> u32 {
    match answered {
        Err(NotReached::NoAnswer(_)) => 2,
        Err(NotReached::Silent(_)) => 3,
        _ => 0,
    }
}
