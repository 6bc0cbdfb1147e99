//! Answers to a POST: one JSON object where one suffices, a stream of server-sent events where more is said.
//!
//! The work behind an answer is a future that is polled with the response body: no task is spawned per call, and a client that
//! goes away stops it. Nothing is committed before the first message is known, except after a long silence.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{encode_sse, encode_sse_comment};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use crate::outbox::Reader;

/// The body of every answer of the gateway.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Messages a call may be ahead of its reader.
const AHEAD: usize = 8;

/// One message for the client.
#[derive(Debug)]
pub(crate) enum Item {
    /// A notification, or a request to the client.
    Message(Bytes),
    /// The response to a request, and the status it has where nothing was said before it.
    Final(StatusCode, Bytes),
}

/// Where a call puts its messages; waits while the reader is behind.
#[derive(Clone, Debug)]
pub(crate) struct Out(mpsc::Sender<Item>);

impl Out {
    pub(crate) async fn message(&self, message: Bytes) {
        // The reader is gone only if the whole reply was dropped, and then this future is as well.
        let _ = self.0.send(Item::Message(message)).await;
    }

    pub(crate) async fn finish(&self, response: Bytes) {
        self.finish_with(StatusCode::OK, response).await;
    }

    /// Ends with a response that has its own HTTP status (MCP 2026-07-28, Streamable HTTP, Server Validation).
    pub(crate) async fn finish_with(&self, status: StatusCode, response: Bytes) {
        let _ = self.0.send(Item::Final(status, response)).await;
    }
}

/// The work on an answer, and what it has said so far.
pub(crate) struct Work {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    items: mpsc::Receiver<Item>,
}

impl Work {
    /// Wraps the work; it runs when polled.
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Out) -> F) -> Self {
        let (sender, items) = mpsc::channel(AHEAD);
        Self { future: Some(Box::pin(work(Out(sender)))), items }
    }

    /// The next message; `None` when all is said.
    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        if let Some(future) = &mut self.future
            && future.as_mut().poll(context).is_ready()
        {
            self.future = None;
        }
        self.items.poll_recv(context)
    }

    /// Answers a single request: with JSON if its response comes first, otherwise with a stream.
    pub(crate) async fn answer(mut self, keep_alive: Duration) -> Response<Body> {
        match self.first(keep_alive).await {
            Some(Some(Item::Final(status, response))) => json(status, response),
            Some(Some(Item::Message(message))) => self.stream(Some(encode_sse(None, &message)), keep_alive),
            // Cancelled by its client: nothing more is said (MCP, Cancellation).
            Some(None) => self.stream(None, keep_alive),
            None => self.stream(Some(encode_sse_comment()), keep_alive),
        }
    }

    /// Answers with a stream whatever comes first: for batches, which have several responses.
    pub(crate) fn answer_streaming(self, keep_alive: Duration) -> Response<Body> {
        self.stream(None, keep_alive)
    }

    /// The first message, `None` after a silence of `patience`.
    async fn first(&mut self, patience: Duration) -> Option<Option<Item>> {
        let item = std::future::poll_fn(|context| self.poll_item(context));
        tokio::time::timeout(patience, item).await.ok()
    }

    fn stream(self, first: Option<Bytes>, keep_alive: Duration) -> Response<Body> {
        event_stream(first, self, keep_alive)
    }
}

/// What a stream of events is fed from.
trait Source: Send + Unpin {
    /// The next message; `None` at the end.
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl Source for Work {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let message = |item| match item {
            Item::Message(message) | Item::Final(_, message) => message,
        };
        self.poll_item(context).map(|item| item.map(message))
    }
}

/// What a session's outbox holds for one GET stream, until it is closed from either side.
struct OutboxMessages {
    reader: Reader,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Source for OutboxMessages {
    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        self.reader.poll_message(context)
    }
}

/// A body of server-sent events, with a comment after every silence so that intermediaries keep the connection.
struct Events<S> {
    first: Option<Bytes>,
    source: S,
    quiet: Pin<Box<Sleep>>,
    keep_alive: Duration,
}

impl<S: Source> http_body::Body for Events<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let event = match this.source.poll_message(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(message)) => encode_sse(None, &message),
            Poll::Pending if this.quiet.as_mut().poll(context).is_ready() => encode_sse_comment(),
            Poll::Pending => return Poll::Pending,
        };
        this.quiet.as_mut().reset(Instant::now() + this.keep_alive);
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

/// The answer to a GET. Ends with the session, and when the access token it was opened with has expired: the client opens it
/// again with the token it holds then.
pub(crate) fn outbox_stream(
    reader: Reader,
    ended: CancellationToken,
    token_lives: Option<Duration>,
    keep_alive: Duration,
) -> Response<Body> {
    let ended = Box::pin(async move {
        match token_lives {
            None => ended.cancelled().await,
            Some(lives) => tokio::select! {
                () = ended.cancelled() => {}
                () = sleep(lives) => {}
            },
        }
    });
    event_stream(None, OutboxMessages { reader, ended }, keep_alive)
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn event_stream(first: Option<Bytes>, source: impl Source + 'static, keep_alive: Duration) -> Response<Body> {
    let events = Events { first, source, quiet: Box::pin(sleep(keep_alive)), keep_alive };
    let mut response = Response::new(events.boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
