//! The ways to reach a server, behind one face.

use std::sync::Arc;

use hawser_mcp::{Message, Request, Response, Revision};
use http::HeaderMap;
use tokio::time::Instant;

use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::multiplex::MultiplexFlow;
use crate::sse::{SseFlow, SseLink};
use crate::stdio::StdioLink;
use crate::streamable::{HttpFlow, HttpLink};

/// One session's connection.
#[derive(Debug)]
pub(crate) enum Link {
    Http(Arc<HttpLink>),
    Sse(Arc<SseLink>),
    Stdio(Arc<StdioLink>),
}

/// What belongs to one request, as it arrives.
#[derive(Debug)]
pub(crate) enum Flow {
    Http(Box<HttpFlow>),
    Sse(SseFlow),
    Stdio(MultiplexFlow),
}

impl Link {
    /// Sends a request; `metadata` are the headers of one of the stateless era.
    pub(crate) async fn begin(
        &self,
        id: u64,
        request: &Request,
        metadata: Option<&HeaderMap>,
    ) -> Result<Flow, BackendError> {
        match self {
            Self::Http(link) => Ok(Flow::Http(Box::new(link.begin(id, request, metadata)))),
            Self::Sse(link) => link.begin(id, request).map(Flow::Sse),
            Self::Stdio(link) => link.begin(id, request).await.map(Flow::Stdio),
        }
    }

    /// Sends a notification or a response.
    pub(crate) async fn send(&self, message: &Message) -> Result<(), BackendError> {
        match self {
            Self::Http(link) => link.send(message).await,
            Self::Sse(link) => link.send(message).await,
            Self::Stdio(link) => link.send(message).await,
        }
    }

    /// Sends a notification or a response some time soon, or never.
    pub(crate) fn send_in_background(&self, message: Message) {
        match self {
            Self::Http(link) => link.send_in_background(message),
            Self::Sse(link) => link.send_in_background(message),
            Self::Stdio(link) => link.send_in_background(&message),
        }
    }

    /// What `initialize` settled.
    pub(crate) fn settle(&self, revision: Revision) {
        match self {
            Self::Http(link) => link.settle(revision),
            Self::Sse(link) => link.settle(revision),
            Self::Stdio(link) => link.settle(revision),
        }
    }

    /// Starts to listen outside of exchanges.
    pub(crate) fn listen(&self) {
        match self {
            Self::Http(link) => link.listen(),
            // There is no second stream: everything arrives already.
            Self::Sse(_) | Self::Stdio(_) => {}
        }
    }

    /// Whether whatever the server said outside of exchanges since then has arrived.
    pub(crate) fn has_heard_since(&self, since: Instant) -> bool {
        match self {
            Self::Http(link) => link.has_heard_since(since),
            Self::Sse(_) | Self::Stdio(_) => true,
        }
    }

    /// Whether what the server says outside of exchanges arrives, once that is known.
    pub(crate) async fn hears(&self) -> bool {
        match self {
            Self::Http(link) => link.hears().await,
            Self::Sse(_) | Self::Stdio(_) => true,
        }
    }

    /// Says goodbye and waits until that is done.
    pub(crate) async fn close(&self) {
        match self {
            Self::Http(link) => link.delete().await,
            Self::Sse(link) => link.ended().await,
            Self::Stdio(link) => link.stopped().await,
        }
    }

    /// Says goodbye when nobody is left to wait for it.
    pub(crate) fn close_in_background(&self) {
        match self {
            Self::Http(link) => link.delete_in_background(),
            // The stream's reader, or the child's supervisor, notices that the session is over.
            Self::Sse(_) | Self::Stdio(_) => {}
        }
    }
}

impl Flow {
    /// The next item. Cancel safe.
    pub(crate) async fn next(&mut self) -> ExchangeItem {
        match self {
            Self::Http(flow) => flow.next().await,
            Self::Sse(flow) => flow.next().await,
            Self::Stdio(flow) => flow.next().await,
        }
    }
}

/// The answer to a server's `ping` (MCP, Utilities, Ping).
pub(crate) fn pong(ping: Request) -> Message {
    Message::Response(Response::result(ping.id, hawser_mcp::RawJson::empty_object()))
}
