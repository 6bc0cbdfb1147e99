//! Requests that are about something another node holds: they are brought there, after they were admitted here.

use bytes::Bytes;
use hawser_mcp::{Request as RpcRequest, Response as RpcResponse};
use http::request::Parts;
use http::{Response, StatusCode};
use tracing::debug;

use super::Inner;
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
        parts: &Parts,
        response: &RpcResponse,
    ) -> Result<Response<Body>, Rejection> {
        match self.bring(node, parts, response.to_bytes()).await {
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
        parts: &Parts,
        request: &RpcRequest,
    ) -> Result<Option<Response<Body>>, Rejection> {
        match self.bring(node, parts, request.to_bytes()).await {
            Ok(response) => Ok(Some(response)),
            Err(NotAnswered::Gone) => Ok(None),
            Err(NotAnswered::NotNow) => Err(Rejection::Unavailable),
        }
    }

    /// A GET that takes up a stream of another node. `None` if that is gone.
    pub(super) async fn resume_elsewhere(
        &self,
        node: NodeName,
        parts: &Parts,
    ) -> Result<Option<Response<Body>>, Rejection> {
        match self.bring(node, parts, Bytes::new()).await {
            Ok(response) => Ok(Some(response)),
            Err(NotAnswered::Gone) => Ok(None),
            Err(NotAnswered::NotNow) => Err(Rejection::Unavailable),
        }
    }

    /// A message that nobody waits for the answer of.
    pub(super) fn pass_on(&self, node: NodeName, parts: &Parts, message: Bytes) {
        let (Some(relay), Some(relayed)) = (self.relay.clone(), Relayed::of(parts, message)) else { return };
        tokio::spawn(async move {
            if let Err(error) = relay.forward(node, relayed).await {
                debug!(%error, "a message for another node was lost");
            }
        });
    }

    async fn bring(&self, node: NodeName, parts: &Parts, body: Bytes) -> Result<Response<Body>, NotAnswered> {
        let relay = self.relay.as_ref().ok_or(NotAnswered::Gone)?;
        let relayed = Relayed::of(parts, body).ok_or(NotAnswered::Gone)?;
        relay.forward(node, relayed).await.map_err(|error| {
            debug!(%error, "a request for another node was not answered");
            match error {
                NotReached::NoAnswer(_) | NotReached::Lost(_) => NotAnswered::Gone,
                NotReached::Store(_) | NotReached::Busy(_) => NotAnswered::NotNow,
            }
        })
    }
}
