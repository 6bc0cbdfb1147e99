//! Answers to a POST: one JSON object where one suffices, a stream of server-sent events where more is said.
//!
//! The work behind an answer is a future that is polled with the response body: no task is spawned per call. What becomes of it
//! when the client goes away is up to whoever answers: [`Work::answer`] stops it, [`Work::answer_resumable`] lets it go on and
//! the client come back. Nothing is committed before the first message is known, except after a long silence.

mod body;
mod large;
mod out;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{encode_sse, encode_sse_comment};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use tokio::time::{Instant, Sleep, sleep};

use self::out::Said;
use crate::allowance::UnreadPlace;
use crate::event_log::{Reader, StreamKind};
use crate::outbox::StandingReader;
use crate::resumption::{EventWriter, Resumable, go_on, knows_polling, room_to_be_polled};

pub use self::body::{Body, BrokenAnswer};
pub(crate) use self::out::{Item, Out, Part};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a client should wait before it asks again, in seconds.
pub(crate) const RETRY_SECONDS: u64 = 2;
/// The work on an answer, and what it has said so far.
pub(crate) struct Work {
    future: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    said: Said,
}

impl Work {
    /// Wraps the work; it runs when polled.
    pub(crate) fn new<F: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Out) -> F) -> Self {
        let (out, said) = out::channel();
        Self { future: Some(Box::pin(work(out))), said }
    }

    /// The next message; `None` when all is said.
    pub(crate) fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        if let Some(future) = &mut self.future
            && future.as_mut().poll(context).is_ready()
        {
            self.future = None;
        }
        // The work is at rest, so whatever is said next is said when it is polled again.
        match self.said.take() {
            None if self.future.is_some() => Poll::Pending,
            item => Poll::Ready(item),
        }
    }

    /// Answers a single request: with JSON if its response comes first, otherwise with a stream. A client that goes away stops
    /// the work (MCP 2026-07-28, Cancellation).
    pub(crate) async fn answer(mut self, keep_alive: Duration) -> Response<Body> {
        loop {
            return match self.first(keep_alive).await {
                Some(Some(Item::Pause)) => continue,
                Some(Some(Item::Final(status, response))) => json(status, response),
                Some(Some(Item::Large(part))) => large::body(part, self),
                Some(Some(Item::Message(message))) => event_stream(Some(encode_sse(None, &message)), self, keep_alive),
                // Cancelled by its client: nothing more is said (MCP, Cancellation).
                Some(None) => event_stream(None, self, keep_alive),
                None => {
                    self.becomes_stream();
                    event_stream(Some(encode_sse_comment()), self, keep_alive)
                }
            };
        }
    }

    /// The same for clients of the session era: one that goes away has not cancelled anything, and may take the stream up again
    /// (MCP 2025-11-25, Transports, Sending Messages 6).
    pub(crate) async fn answer_resumable(self, to: Resumable, keep_alive: Duration) -> Response<Body> {
        let polls = knows_polling(to.session().revision());
        let mut held = Held { work: Some(self), to };
        loop {
            let Some(work) = &mut held.work else { return event_stream(None, Nothing, keep_alive) };
            return match work.first(keep_alive).await {
                Some(Some(Item::Pause)) if !polls => continue,
                Some(Some(Item::Final(status, response))) => {
                    held.work = None;
                    json(status, response)
                }
                // Its client has no event id and cannot come back, but what it asked for is done.
                Some(Some(Item::Large(part))) => match held.work.take() {
                    Some(work) => large::body(part, work),
                    None => event_stream(None, Nothing, keep_alive),
                },
                // Cancelled by its client: nothing more is said, and there is nothing to come back for.
                Some(None) => {
                    held.work = None;
                    event_stream(None, Nothing, keep_alive)
                }
                Some(Some(first)) => held.stream(Some(first), keep_alive),
                None => held.stream(None, keep_alive),
            };
        }
    }

    /// Answers with a stream whatever comes first: for batches, which have several responses.
    pub(crate) fn answer_streaming(self, to: Resumable, keep_alive: Duration) -> Response<Body> {
        Held { work: Some(self), to }.stream(None, keep_alive)
    }

    /// The answer is not a body of JSON any more, whatever comes.
    fn becomes_stream(&self) {
        self.said.no_large();
    }

    /// The first message, `None` after a silence of `patience`.
    async fn first(&mut self, patience: Duration) -> Option<Option<Item>> {
        let item = std::future::poll_fn(|context| self.poll_item(context));
        tokio::time::timeout(patience, item).await.ok()
    }
}

/// Work whose answer has not begun. A client that leaves now has no event id and cannot come back, but what it began is done.
struct Held {
    work: Option<Work>,
    to: Resumable,
}

impl Held {
    fn stream(mut self, first: Option<Item>, keep_alive: Duration) -> Response<Body> {
        self.work.iter().for_each(Work::becomes_stream);
        let driving = Driving::new(self.work.take());
        let session = self.to.session().work();
        let log = &session.events;
        let reader = log.open(StreamKind::Call, self.to.credential(), Some(driving.clone()));
        let writer = self.to.writer(reader.stream());
        // Where there is no such event, the client at least learns that it is being worked on.
        let opening = writer.priming(0).or_else(|| first.is_none().then(encode_sse_comment));
        let mut paused = None;
        match first {
            Some(Item::Message(message) | Item::Final(_, message)) => log.append(reader.stream(), message),
            Some(Item::Pause) => paused = room_to_be_polled(log),
            Some(Item::Large(_)) | None => {}
        }
        event_stream(opening, CallStream { reader, writer, driving, paused }, keep_alive)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            work.becomes_stream();
            go_on(&self.to.session().work().events, None, work, None);
        }
    }
}

/// The work behind a stream: driven by whoever reads it, until it is handed over.
#[derive(Clone)]
pub(crate) struct Driving(Arc<Mutex<Option<Work>>>);

impl Driving {
    fn new(work: Option<Work>) -> Self {
        Self(Arc::new(Mutex::new(work)))
    }

    /// Takes the work over.
    pub(crate) fn take(&self) -> Option<Work> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Driving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driving").finish_non_exhaustive()
    }
}

/// The stream of a call, as its POST reads it.
struct CallStream {
    reader: Reader,
    writer: EventWriter,
    driving: Driving,
    /// The connection is to end although the call does not: where it goes on then. Where there is no room for that, the
    /// connection stays.
    paused: Option<UnreadPlace>,
}

impl CallStream {
    /// Works until there is something to read.
    fn poll_work(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut held = self.driving.lock();
        // Handed over: the reader of this stream is another by now.
        let Some(work) = held.as_mut() else { return Poll::Pending };
        match ready!(work.poll_item(context)) {
            Some(Item::Message(message) | Item::Final(_, message)) => {
                self.reader.log().append(self.reader.stream(), message);
            }
            Some(Item::Pause) if self.paused.is_none() && knows_polling(self.writer.session().revision()) => {
                self.paused = room_to_be_polled(self.reader.log());
            }
            Some(Item::Pause | Item::Large(_)) => {}
            None => {
                *held = None;
                self.reader.log().finish(self.reader.stream());
            }
        }
        Poll::Ready(())
    }
}

impl Source for CallStream {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match self.reader.poll_event(context) {
                Poll::Ready(Some((position, message))) => {
                    return Poll::Ready(Some(self.writer.event(position, &message)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                // The client knows when to come back: `retry` came with the priming event.
                Poll::Pending if self.paused.is_some() => return Poll::Ready(None),
                Poll::Pending => ready!(self.poll_work(context)),
            }
        }
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        if let Some(work) = self.driving.take() {
            go_on(self.reader.log(), Some(self.reader.stream()), work, self.paused.take());
        }
    }
}

/// What a stream of events is fed from.
trait Source: Send + Unpin {
    /// The next event, as it is written; `None` at the end.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>>;
}

impl Source for Work {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match ready!(self.poll_item(context)) {
                Some(Item::Message(message) | Item::Final(_, message)) => {
                    return Poll::Ready(Some(encode_sse(None, &message)));
                }
                Some(Item::Pause | Item::Large(_)) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A stream on which nothing is said.
struct Nothing;

impl Source for Nothing {
    fn poll_event(&mut self, _context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Poll::Ready(None)
    }
}

/// What a GET reads.
pub(crate) enum Got {
    /// A call's stream, taken up again.
    Call(Reader),
    /// What belongs to no call.
    Standing(StandingReader),
}

/// A GET stream, until it is closed from either side.
struct GetStream {
    from: Got,
    writer: EventWriter,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Source for GetStream {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let event = match &mut self.from {
            Got::Call(reader) => reader.poll_event(context),
            Got::Standing(reader) => reader.poll_event(context),
        };
        event.map(|event| event.map(|(position, message)| self.writer.event(position, &message)))
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
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let event = match this.source.poll_event(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(event)) => event,
            Poll::Pending if this.quiet.as_mut().poll(context).is_ready() => encode_sse_comment(),
            Poll::Pending => return Poll::Pending,
        };
        this.quiet.as_mut().reset(Instant::now() + this.keep_alive);
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

/// The answer to a GET, from after the event at `position` on. Ends with the session, and when the access token it was opened
/// with has expired: the client opens it again with the token it holds then.
pub(crate) fn get_stream(
    from: Got,
    position: u64,
    writer: EventWriter,
    token_lives: Option<Duration>,
    keep_alive: Duration,
) -> Response<Body> {
    // A call ends with its session by itself, and says so.
    let session = matches!(from, Got::Standing(_)).then(|| writer.session().ended().clone());
    let ended = Box::pin(async move {
        let with_session = async {
            match &session {
                Some(ended) => ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let with_token = async {
            match token_lives {
                Some(lives) => sleep(lives).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = with_session => {}
            () = with_token => {}
        }
    });
    event_stream(writer.priming(position), GetStream { from, writer, ended }, keep_alive)
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    with_media_type(&mut response, status);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    response
}

/// What every JSON answer says of itself.
fn with_media_type(response: &mut Response<Body>, status: StatusCode) {
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn event_stream(first: Option<Bytes>, source: impl Source + 'static, keep_alive: Duration) -> Response<Body> {
    let events = Events { first, source, quiet: Box::pin(sleep(keep_alive)), keep_alive };
    let mut response = Response::new(Body::stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
